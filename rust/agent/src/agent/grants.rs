//! The approvals file: which tools are approved for always.

use omni_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Document {
    /// Tools, as the model names them.
    always: BTreeSet<String>,
}

/// What is approved for always; nothing if there is no file yet.
pub(super) fn read(file: &Path) -> Result<BTreeSet<String>> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(trouble(file, "cannot be read", &error)),
    };
    let document: Document = serde_json::from_slice(&text).map_err(|error| {
        let what = format!("the approvals file {}", file.display());
        omni_core::unreadable(&what, &error)
    })?;
    Ok(document.always)
}

/// Writes the file anew, whole or not at all. What another process added meanwhile stays.
pub(super) fn write(file: &Path, always: &BTreeSet<String>) -> Result<()> {
    let mut document = Document {
        always: read(file).unwrap_or_default(),
    };
    document.always.extend(always.iter().cloned());
    let failed = |error: &std::io::Error| trouble(file, "cannot be written", error);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
    text.push(b'\n');
    std::fs::File::create(&beside)
        .and_then(|mut to| to.write_all(&text))
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|error| failed(&error))
}

fn trouble(file: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::invalid(format!(
        "the approvals file {} {what}: {error}; set \"approval.file\" to a file that can be read and written",
        file.display()
    ))
}
