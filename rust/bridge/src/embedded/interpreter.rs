//! Which interpreter is to be embedded, and where its things are.

use omni_core::{Code, Error, Result};
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long an interpreter may take to say where its things are. A cold start from a slow disk takes a second or two.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// Prints what [`Interpreter`] holds.
const PROBE: &str = include_str!("probe.py");

/// The oldest version that the package supports.
const OLDEST: (u8, u8) = (3, 10);

/// An interpreter as it describes itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Interpreter {
    implementation: String,
    /// Major, minor, micro.
    pub version: (u8, u8, u8),
    free_threaded: bool,
    /// The executable; in a venv the venv's own.
    pub program: PathBuf,
    /// Where its standard library is.
    pub prefix: PathBuf,
    /// Where the binary half of its standard library is.
    pub exec_prefix: PathBuf,
    shared: bool,
    libraries: Vec<PathBuf>,
    packages: Vec<PathBuf>,
    bits: u32,
    /// Who named it, for messages.
    #[serde(skip)]
    pub chosen_by: String,
}

/// `engine_unavailable`, in one form: which interpreter, what is wrong, what to do.
pub(super) fn unavailable(message: impl Into<String>) -> Error {
    Error::new(Code::EngineUnavailable, message)
}

/// An interpreter that somebody named.
struct Choice {
    path: PathBuf,
    by: String,
}

impl Interpreter {
    /// Finds the interpreter: `given` by the caller, else `OMNI_BRIDGE_PYTHON`, `VIRTUAL_ENV`, `python3` on the path.
    /// Starts it once, isolated and without site, to learn where its things are.
    ///
    /// # Errors
    /// `engine_unavailable` with the path and what to do.
    pub fn find(given: Option<&Path>) -> Result<Self> {
        let choice = choose(given)?;
        let mut found = probe(&choice)?;
        found.chosen_by = choice.by;
        found.check()?;
        Ok(found)
    }

    fn check(&self) -> Result<()> {
        let name = self.describe();
        let (major, minor, _) = self.version;
        if self.implementation != "cpython" {
            return Err(unavailable(format!(
                "{name} is {}: LiteLLM is embedded in CPython {}.{} or newer; name one in OMNI_BRIDGE_PYTHON",
                self.implementation, OLDEST.0, OLDEST.1
            )));
        }
        if (major, minor) < OLDEST {
            return Err(unavailable(format!(
                "{name} is Python {major}.{minor}, which is too old: name Python {}.{} or newer, or a venv of one, in \
                 OMNI_BRIDGE_PYTHON",
                OLDEST.0, OLDEST.1
            )));
        }
        if self.free_threaded {
            return Err(unavailable(format!(
                "{name} is a free-threaded build, for which the omni_bridge wheel is not made: name an ordinary build in \
                 OMNI_BRIDGE_PYTHON"
            )));
        }
        if self.bits != usize::BITS {
            return Err(unavailable(format!(
                "{name} is a {}-bit program, this one has {} bits: name a matching interpreter in OMNI_BRIDGE_PYTHON",
                self.bits,
                usize::BITS
            )));
        }
        Ok(())
    }

    /// Path and origin, for messages.
    pub fn describe(&self) -> String {
        format!("{} (from {})", self.program.display(), self.chosen_by)
    }

    /// The shared library, which is what can be embedded.
    ///
    /// # Errors
    /// `engine_unavailable` if there is none: the build is static, or its package lacks the file.
    pub fn library(&self) -> Result<&Path> {
        self.libraries.iter().find(|path| path.is_file()).map(PathBuf::as_path).ok_or_else(|| {
            let (major, minor, _) = self.version;
            let how = if self.shared { "its libpython is missing or was moved" } else { "it was built without a shared library" };
            let looked = self.libraries.first().map_or_else(
                || format!("libpython{major}.{minor}"),
                |path| path.display().to_string(),
            );
            unavailable(format!(
                "{} cannot be embedded: {how} (looked for {looked}). On Debian or Ubuntu: apt-get install \
                 libpython{major}.{minor}; with pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install; or name another \
                 interpreter in OMNI_BRIDGE_PYTHON, or use a bridge service (bridge_url)",
                self.describe()
            ))
        })
    }

    /// Its site-packages, each followed by what the plain lines of its `.pth` files name.
    ///
    /// Lines with code (`import …`) are not run: they would run in the host's process, unasked.
    pub fn packages(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        let mut add = |path: PathBuf| {
            if path.is_dir() && !all.contains(&path) {
                all.push(path);
                true
            } else {
                false
            }
        };
        for folder in &self.packages {
            if !add(folder.clone()) {
                continue;
            }
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            let mut files: Vec<_> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "pth"))
                .filter(|path| {
                    !path
                        .file_name()
                        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
                })
                .collect();
            files.sort();
            for file in files {
                // Bytes that are not UTF-8 cannot be a path that we know; site ignores such files as well.
                let Ok(text) = std::fs::read_to_string(&file) else {
                    continue;
                };
                for line in text.lines().map(str::trim_end) {
                    let code = line.starts_with("import ") || line.starts_with("import\t");
                    if !line.is_empty() && !line.starts_with('#') && !code {
                        add(folder.join(line));
                    }
                }
            }
        }
        all
    }

    /// The package among `packages`.
    ///
    /// # Errors
    /// `engine_unavailable` if it is not installed there, or lacks its extension module.
    pub fn bridge(&self, packages: &[PathBuf]) -> Result<PathBuf> {
        let ours = env!("CARGO_PKG_VERSION");
        let Some(found) = packages
            .iter()
            .map(|path| path.join("omni_bridge"))
            .find(|path| path.is_dir())
        else {
            return Err(unavailable(format!(
                "{} has no package omni_bridge: {} -m pip install omni-bridge=={ours}, or name an interpreter that has it in \
                 OMNI_BRIDGE_PYTHON",
                self.describe(),
                self.program.display()
            )));
        };
        let module = std::fs::read_dir(&found).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("_native.") && (name.ends_with(".so") || name.ends_with(".dylib"))
            })
        });
        if !module {
            return Err(unavailable(format!(
                "{} has omni_bridge in {}, but without its extension module _native: {} -m pip install --force-reinstall \
                 omni-bridge=={ours} (in a checkout: make build)",
                self.describe(),
                found.display(),
                self.program.display()
            )));
        }
        Ok(found)
    }
}

fn choose(given: Option<&Path>) -> Result<Choice> {
    if let Some(path) = given.filter(|path| !path.as_os_str().is_empty()) {
        return executable(path, "the configuration");
    }
    for name in ["OMNI_BRIDGE_PYTHON", "VIRTUAL_ENV"] {
        if let Some(path) = std::env::var_os(name).filter(|path| !path.is_empty()) {
            return executable(Path::new(&path), name);
        }
    }
    on_path("python3", "python3 on the PATH").ok_or_else(|| {
        unavailable(
            "no Python was found: OMNI_BRIDGE_PYTHON and VIRTUAL_ENV are not set, and there is no python3 on the PATH. \
             Install Python 3.10 or newer with the package omni-bridge, or use a bridge service (bridge_url)",
        )
    })
}

/// An interpreter, the interpreter of a venv, or a command on the path.
fn executable(path: &Path, by: &str) -> Result<Choice> {
    if path.is_dir() {
        let inside = ["bin/python3", "bin/python"]
            .iter()
            .map(|name| path.join(name))
            .find(|path| path.is_file());
        return inside.map(|path| Choice { path, by: by.to_owned() }).ok_or_else(|| {
            unavailable(format!(
                "{} (from {by}) is a folder without bin/python: name an interpreter or a venv; a venv whose Python was moved \
                 or removed has to be made anew (python3 -m venv)",
                path.display()
            ))
        });
    }
    if path.is_file() {
        return Ok(Choice {
            path: path.to_owned(),
            by: by.to_owned(),
        });
    }
    let name = path.to_str().filter(|_| path.components().count() == 1);
    if let Some(found) = name.and_then(|name| on_path(name, by)) {
        return Ok(found);
    }
    Err(unavailable(format!(
        "{} (from {by}) does not exist, or is a link to nothing: name an interpreter or a venv that is there",
        path.display()
    )))
}

fn on_path(name: &str, by: &str) -> Option<Choice> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .map(|path| Choice {
            path,
            by: by.to_owned(),
        })
}

fn probe(choice: &Choice) -> Result<Interpreter> {
    let name = format!("{} (from {})", choice.path.display(), choice.by);
    let unable = |what: String| {
        unavailable(format!(
            "{name} could not say where its library is: {what}; name a working interpreter in OMNI_BRIDGE_PYTHON"
        ))
    };
    let mut child = Command::new(&choice.path)
        .args(["-I", "-S", "-c", PROBE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| unable(format!("it does not start ({error})")))?;
    let (out, err) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
    let Ok(answer) = out.recv_timeout(PROBE_TIME) else {
        end(&mut child);
        return Err(unable(format!(
            "it did not answer within {} s",
            PROBE_TIME.as_secs()
        )));
    };
    end(&mut child);
    let complaint = err.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    serde_json::from_slice(&answer).map_err(|_| {
        let text = String::from_utf8_lossy(&complaint);
        // The last line of a traceback says most; all of it would drown the advice.
        let last = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it printed something else")
            .trim();
        unable(last.chars().take(300).collect())
    })
}

/// Reads a pipe to its end on a thread, so that the reader can stop waiting.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        // Without a thread the receiver sees the closed channel, which reads as no answer.
        let _ = std::thread::Builder::new()
            .name("omni-probe".into())
            .spawn(move || {
                let mut text = Vec::new();
                let _ = pipe.read_to_end(&mut text);
                let _ = send.send(text);
            });
    }
    receive
}

fn end(child: &mut Child) {
    // It has closed its output or used up its time: either way there is nothing to wait for.
    if !matches!(child.try_wait(), Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
}
