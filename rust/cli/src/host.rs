//! Who hosts the command line, and handing over to the commands that are written in Python.

use crate::args::Common;
use crate::exit::Failure;
use omni_bridge::{Client, ClientBuilder};
use omni_bridge_py::embedded::Interpreter;
use omni_core::{Code, Error};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the command line is made of: who hosts it, and where its client begins.
pub struct Composition {
    /// The process is a Python interpreter.
    python: bool,
    builder: ClientBuilder,
}

impl Composition {
    /// The binary `omni`.
    pub fn binary() -> Self {
        Self {
            python: false,
            builder: Client::builder(),
        }
    }

    /// Inside a Python process, whose interpreter is used as it is.
    pub fn python() -> Self {
        Self {
            python: true,
            builder: Client::builder(),
        }
    }

    /// With a client of one's own, for tests.
    #[must_use]
    pub fn with(self, builder: ClientBuilder) -> Self {
        Self { builder, ..self }
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        self.builder.clone()
    }

    pub(crate) const fn in_python(&self) -> bool {
        self.python
    }
}

/// The interpreter that the options name or the machine has: its program, and the rest where it was looked at.
pub(crate) fn interpreter(
    common: &Common,
    composition: &Composition,
) -> Result<(PathBuf, Option<Interpreter>), Error> {
    if composition.in_python() {
        let program = std::env::current_exe().map_err(|error| {
            Error::new(
                Code::EngineUnavailable,
                format!("this process's program cannot be found: {error}"),
            )
        })?;
        return Ok((program, None));
    }
    Interpreter::find(common.python.as_deref()).map(|found| (found.program.clone(), Some(found)))
}

/// Becomes `python -m omni_bridge COMMAND …`: signals, standard streams and the exit code are the command's own.
pub(crate) fn exec(
    command: &str,
    arguments: &[OsString],
    common: &Common,
    composition: &Composition,
) -> Result<i32, Failure> {
    let (program, found) = interpreter(common, composition)?;
    // Python would say in its own words that there is no such module.
    if let Some(error) = found.and_then(|found| found.bridge(&found.packages()).err())
        && !has_package(&program)
    {
        return Err(Failure::Call(error));
    }
    // Returns only if it fails.
    let error = Command::new(&program)
        .args(["-m", "omni_bridge", command])
        .args(arguments)
        .exec();
    let message = format!(
        "{} cannot be started: {error}; name another interpreter with --python",
        program.display()
    );
    Err(Failure::Call(Error::new(Code::EngineUnavailable, message)))
}

/// Whether an interpreter finds the package, also where we did not look: its `PYTHONPATH`, a user's own packages.
fn has_package(program: &Path) -> bool {
    let code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('omni_bridge') is None)";
    Command::new(program)
        .args(["-c", code])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
