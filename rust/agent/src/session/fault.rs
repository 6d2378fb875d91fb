//! What SQLite says, as an error of ours: what happened, to which file, and what to do next. Never a row's content.

use omni_core::{Code, Error};
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// A failure inside the store: SQLite's, which still needs the place, or one of ours, which tells enough.
#[derive(Debug)]
pub(super) enum Trouble {
    Sql(rusqlite::Error),
    Told(Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Sql(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Told(error)
    }
}

/// A result inside the store.
pub(super) type Inner<T> = Result<T, Trouble>;

/// Where the store is, for its errors.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `None` is memory.
    path: Option<PathBuf>,
}

impl Place {
    pub(super) fn file(path: &Path) -> Self {
        Self {
            path: Some(path.to_owned()),
        }
    }

    pub(super) fn memory() -> Self {
        Self { path: None }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// `the session store /path`.
    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => format!("the session store {}", path.display()),
            None => "the session store in memory".to_owned(),
        }
    }

    /// `trouble` met while `doing` (`appending to session "x"`).
    pub(super) fn tell(&self, doing: &str, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Told(error) => error,
            Trouble::Sql(error) => self.tell_sql(doing, &error),
        }
    }

    fn tell_sql(&self, doing: &str, error: &rusqlite::Error) -> Error {
        let name = self.name();
        let Some(code) = error.sqlite_error_code() else {
            // A row that does not have the shape of its table: SQLite itself saw nothing wrong.
            return lasting(
                Code::Protocol,
                format!("{name}: {doing} met a row that is not what the schema says: {MEND}"),
            );
        };
        let extended = error.sqlite_extended_error_code().unwrap_or_default();
        match code {
            ErrorCode::DiskFull => lasting(
                Code::Internal,
                format!(
                    "{name}: {doing} failed because the disk is full. Nothing of it was stored, and what was stored \
                     before is whole and readable. Make room, then try again"
                ),
            ),
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => lasting(
                Code::Internal,
                format!(
                    "{name}: {doing} failed: the operating system could not read or write the file (SQLite code \
                     {extended}). Nothing of it was stored. Look whether the disk is full, a limit on the size of \
                     files or on open files is reached, or the disk is gone; then try again"
                ),
            ),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => self.read_only(doing),
            ErrorCode::DatabaseCorrupt => lasting(
                Code::Protocol,
                format!("{name}: {doing} failed: the file is damaged there. {MEND}"),
            ),
            ErrorCode::NotADatabase => lasting(
                Code::InvalidRequest,
                format!(
                    "{name} is no SQLite database, or its beginning is damaged. Nothing in it was changed. Name \
                     another file, or put a backup in its place"
                ),
            ),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error {
                retryable: true,
                ..Error::new(
                    Code::Overloaded,
                    format!(
                        "{name}: {doing} waited in vain for another process that is writing. Nothing of it was \
                         stored. Try again; if it stays so, look for a process that hangs with the file open"
                    ),
                )
            },
            ErrorCode::OutOfMemory | ErrorCode::TooBig => lasting(
                Code::InvalidRequest,
                format!(
                    "{name}: {doing} failed: the event is too large for the store (SQLite code {extended})"
                ),
            ),
            _ => lasting(
                Code::Internal,
                format!("{name}: {doing} failed with SQLite code {extended}. Please report it"),
            ),
        }
    }

    /// Something was to be written where only reading is possible.
    pub(super) fn read_only(&self, doing: &str) -> Error {
        lasting(
            Code::Permission,
            format!(
                "{}: {doing} failed because the file can only be read. Its sessions stay readable; to write, make \
                 the file and its folder writable for this user, or copy the file to another place",
                self.name()
            ),
        )
    }
}

/// What to do about a damaged file.
const MEND: &str = "Sessions that do not lie at the damaged place stay readable: copy the file and its -wal file away \
                    first, export these sessions, then go on with a new file or a backup";

/// An error that another try does not help.
pub(super) fn lasting(code: Code, message: String) -> Error {
    Error {
        retryable: false,
        ..Error::new(code, message)
    }
}
