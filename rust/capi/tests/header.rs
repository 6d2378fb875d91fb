//! `include/omni_bridge.h` is what the source gives. A test without a harness, because it is the generator as well:
//!
//! ```text
//! cargo test -p omni-capi --test header              checks; a stale header fails with a diff
//! cargo test -p omni-capi --test header -- --write   writes it anew
//! ```

use std::path::Path;
use std::process::ExitCode;

const MEND: &str = "cargo test -p omni-capi --test header -- --write";

const BANNER: &str = "\
/* omni_bridge: one LLM call for every provider, from C.

   JSON text in and out: UTF-8 that ends in a NUL (JSON writes a NUL in a text as \\u0000, so nothing is cut short).
   Lone surrogates and invalid UTF-8 become U+FFFD. Requests, replies, events and errors are those of the contract.

   Handles are numbers behind a pointer type: one that was freed, or was never one, is refused with an error. A
   text that a function gives as char * is the caller's and goes back by omni_string_free; one that it gives as
   const char * is never freed. A function that fails says so in its result and leaves the reason in omni_last_error.

   Every function may be called from any thread, and from inside a callback; each comment says what it does there.
   None may be called from a signal handler: set a flag there, and wait with a time limit.

   Build: cc chat.c -lomni_bridge

   Generated from rust/capi/src; mend it with: cargo test -p omni-capi --test header -- --write */";

fn main() -> ExitCode {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("include/omni_bridge.h");
    let fresh = match generate(here) {
        Ok(fresh) => fresh,
        Err(error) => {
            eprintln!("omni_bridge.h cannot be generated: {error}");
            return ExitCode::FAILURE;
        }
    };
    if std::env::args().any(|argument| argument == "--write") {
        if let Err(error) = std::fs::write(&path, fresh) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("omni_bridge.h: written");
        return ExitCode::SUCCESS;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed == fresh {
        println!("omni_bridge.h: up to date");
        return ExitCode::SUCCESS;
    }
    println!(
        "omni_bridge.h is stale (- committed, + what the source gives):\n{}",
        diff(&committed, &fresh)
    );
    println!("mend it with: {MEND}");
    ExitCode::FAILURE
}

fn generate(here: &Path) -> Result<String, cbindgen::Error> {
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(BANNER.to_owned()),
        include_guard: Some("OMNI_BRIDGE_H".to_owned()),
        no_includes: true,
        sys_includes: vec!["stdint.h".to_owned()],
        cpp_compat: true,
        documentation_style: cbindgen::DocumentationStyle::C99,
        style: cbindgen::Style::Type,
        usize_is_size_t: true,
        line_length: 120,
        enumeration: cbindgen::EnumConfig {
            rename_variants: cbindgen::RenameRule::QualifiedScreamingSnakeCase,
            ..cbindgen::EnumConfig::default()
        },
        ..cbindgen::Config::default()
    };
    let bindings = cbindgen::Builder::new()
        .with_crate(here)
        .with_config(config)
        .generate()?;
    let mut header = Vec::new();
    bindings.write(&mut header);
    Ok(String::from_utf8_lossy(&header).into_owned())
}

/// The lines that differ, by the longest common subsequence; a header is short.
fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut common = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        let (sign, line) = if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ("-", old[i - 1])
        } else {
            j += 1;
            ("+", new[j - 1])
        };
        out.extend([sign, " ", line, "\n"]);
    }
    out
}
