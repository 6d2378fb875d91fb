//! Keys in a file that only its owner can read, for machines without a keychain. It exists only where somebody asked
//! for it with `omni auth set --file`.

use super::Secret;
use omni_core::{Code, Error, Result};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// A file of keys is small; a larger one is something else.
const MAX_LENGTH: u64 = 1 << 20;

/// A file of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
}

/// By what a changed file is told from the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// Each write makes a new file.
    number: u64,
    mode: u32,
}

#[derive(Deserialize)]
struct Document {
    version: u32,
    keys: BTreeMap<String, StoredKey>,
}

struct StoredKey(Secret);

impl<'de> Deserialize<'de> for StoredKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|key| Self(Secret::from(key)))
    }
}

impl KeyFile {
    /// The file at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the file is for these variables: `OMNI_CREDENTIALS`, else `omni/credentials.json` in the user's folder
    /// for configuration. `None` where there is neither.
    pub fn usual(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let path = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(named) = path("OMNI_CREDENTIALS") {
            return Some(Self::at(named));
        }
        let folder = path(if cfg!(windows) { "APPDATA" } else { "XDG_CONFIG_HOME" })
            // The specification has relative ones ignored.
            .filter(|folder| folder.is_absolute())
            .or_else(|| path("HOME").map(|home| home.join(".config")))?;
        Some(Self::at(folder.join("omni").join("credentials.json")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of a provider, `None` if there is none or no file.
    ///
    /// # Errors
    /// `authentication`: others can read the file, or it is none of ours; with the command that mends it.
    pub fn get(&self, provider: &str) -> Result<Option<Secret>> {
        Ok(self.read()?.remove(provider))
    }

    /// The providers whose keys are in it, in the order of their names.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn providers(&self) -> Result<Vec<String>> {
        Ok(self.read()?.into_keys().collect())
    }

    /// Keeps a provider's key in place of an older one. The file is replaced whole: whoever reads it meanwhile sees the
    /// old keys or the new ones.
    ///
    /// # Errors
    /// As [`get`](Self::get); also if the file cannot be written.
    pub fn set(&self, provider: &str, secret: &Secret) -> Result<()> {
        let mut keys = self.read()?;
        keys.insert(provider.to_owned(), secret.clone());
        self.write(&keys)
    }

    /// Forgets a provider's key; whether there was one.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn remove(&self, provider: &str) -> Result<bool> {
        let mut keys = self.read()?;
        let found = keys.remove(provider).is_some();
        if found {
            self.write(&keys)?;
        }
        Ok(found)
    }

    /// What the file looks like from outside, `None` without one.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        fs::metadata(&self.path).ok().map(|found| stamp(&found))
    }

    /// All keys; none without a file.
    pub(super) fn read(&self) -> Result<BTreeMap<String, Secret>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.failed("cannot be read", &error)),
        };
        // Asked of the open file: nobody can put another in its place in between.
        let found = file
            .metadata()
            .map_err(|error| self.failed("cannot be read", &error))?;
        self.check_mode(stamp(&found).mode)?;
        if found.len() > MAX_LENGTH {
            return Err(self.broken("it is too large"));
        }
        // Room for all of it, so that no smaller buffer is left behind with a part.
        let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0) + 1));
        (&mut file)
            .take(MAX_LENGTH)
            .read_to_end(&mut text)
            .map_err(|error| self.failed("cannot be read", &error))?;
        let document: Document = serde_json::from_slice(&text).map_err(|error| {
            // serde's words may quote what it read.
            self.broken(&format!("line {}, column {}", error.line(), error.column()))
        })?;
        if document.version != 1 {
            return Err(self.broken(&format!("its version is {}, ours is 1", document.version)));
        }
        Ok(document
            .keys
            .into_iter()
            .map(|(provider, key)| (provider, key.0))
            .collect())
    }

    fn write(&self, keys: &BTreeMap<String, Secret>) -> Result<()> {
        let cannot = |error: std::io::Error| self.failed("cannot be written", &error);
        let text = document(keys).map_err(|_| Error::internal("keys that are text cannot be JSON"))?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        make_folder(folder).map_err(cannot)?;
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        let beside = folder.join(name);
        let written = create(&beside).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&beside, &self.path)) {
            // Nothing more can be done if this fails too.
            let _ = fs::remove_file(&beside);
            return Err(cannot(error));
        }
        // The new name is on the disk only with its folder; not every system can do that.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }

    /// Refuses a file that others can read or write.
    fn check_mode(&self, mode: u32) -> Result<()> {
        if mode.trailing_zeros() >= 6 {
            // Nothing for the group, nothing for the others.
            return Ok(());
        }
        Err(Error::new(
            Code::Authentication,
            format!(
                "the key file {} has mode {:04o}, so others can reach it: chmod 600 {}",
                self.path.display(),
                mode & 0o7777,
                quoted(&self.path)
            ),
        ))
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> Error {
        Error::new(
            Code::Authentication,
            format!(
                "the key file {} {what} ({error}): see whose it is, or name another in OMNI_CREDENTIALS",
                self.path.display()
            ),
        )
    }

    fn broken(&self, why: &str) -> Error {
        Error::new(
            Code::Authentication,
            format!(
                "the key file {} is not one that `omni auth set --file` wrote ({why}): move it away and set the keys \
                 again",
                self.path.display()
            ),
        )
    }
}

/// The file's text, in one buffer that is large enough from the start and overwritten at the end.
fn document(keys: &BTreeMap<String, Secret>) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    // A byte of a key may become an escape of six.
    let length: usize = keys
        .iter()
        .map(|(provider, key)| 6 * (provider.len() + key.expose().len()) + 16)
        .sum();
    let mut text = Zeroizing::new(Vec::with_capacity(length + 64));
    text.extend_from_slice(b"{\n  \"version\": 1,\n  \"keys\": {");
    for (at, (provider, key)) in keys.iter().enumerate() {
        text.extend_from_slice(if at == 0 { b"\n    " } else { b",\n    " });
        serde_json::to_writer(&mut *text, provider)?;
        text.extend_from_slice(b": ");
        serde_json::to_writer(&mut *text, key.expose())?;
    }
    text.extend_from_slice(b"\n  }\n}\n");
    Ok(text)
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(unix)]
fn stamp(found: &fs::Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;

    Stamp {
        modified: found.modified().ok(),
        length: found.len(),
        number: found.ino(),
        mode: found.mode(),
    }
}

#[cfg(not(unix))]
fn stamp(found: &fs::Metadata) -> Stamp {
    // The user's own folder is closed to others there; there are no modes.
    Stamp {
        modified: found.modified().ok(),
        length: found.len(),
        number: 0,
        mode: 0,
    }
}

/// A new file that nobody else can open, not even before its mode is set.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // Left by a process of our number that was killed while it wrote.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// Makes the folder for its owner alone; one that is there stays as it is, since it may hold more than our file.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
