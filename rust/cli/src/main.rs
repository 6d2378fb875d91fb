//! `omni`, the Rust binary: everything is in the library, which the Python package hosts too.

use std::process::ExitCode;

fn main() -> ExitCode {
    let code = omni_cli::run(std::env::args_os(), &omni_cli::Composition::binary());
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
