//! Opening a file: what it is, whether this library may write it, and the settings of each connection.

use super::fault::{Inner, Place, Trouble, lasting};
use super::{Durability, schema};
use omni_core::{Code, Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// Older ones can lose what was committed when two connections write and checkpoint at once (SQLite's own report).
const OLDEST_LIBRARY: i32 = 3_051_003;

/// How long a connection waits for another process's transaction: a deletion may rewrite a large file.
pub(super) const BUSY: Duration = Duration::from_secs(30);

/// The connections of a store on a file.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    pub(super) watcher: Connection,
    pub(super) read_only: bool,
}

pub(super) fn memory(place: &Place) -> Result<Connection> {
    check_library(rusqlite::version_number())?;
    let mut connection =
        Connection::open_in_memory().map_err(|error| place.tell("opening it", error.into()))?;
    set(&connection, Durability::ProcessKill).map_err(|trouble| place.tell("opening it", trouble))?;
    schema::migrate(&mut connection, place)?;
    Ok(connection)
}

pub(super) fn file(path: &Path, place: &Place, durability: Durability, readers: usize) -> Result<Opened> {
    check_library(rusqlite::version_number())?;
    make(path, place)?;
    let opening = |trouble| place.tell("opening it", trouble);
    let mut way = Way::Usual;
    let mut writer = connect(path, way).map_err(opening)?;
    let read_only = writer
        .is_readonly(rusqlite::MAIN_DB)
        .map_err(|error| opening(error.into()))?;
    if read_only && needs_immutable(&writer) && !has_content(&beside(path, "-wal")) {
        way = Way::Immutable;
        writer = connect(path, way).map_err(opening)?;
    }
    let found = schema::look(&writer, place)?;
    if read_only {
        if found != schema::Found::Current {
            return Err(place.read_only("bringing the tables to this program's version"));
        }
    } else {
        write_ahead(&writer, place)?;
        set(&writer, durability).map_err(opening)?;
        if found != schema::Found::Current {
            schema::migrate(&mut writer, place)?;
        }
    }
    let reader = || -> Result<Connection> {
        let connection = connect(path, way).map_err(opening)?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(|error| opening(error.into()))?;
        Ok(connection)
    };
    Ok(Opened {
        readers: (0..readers).map(|_| reader()).collect::<Result<_>>()?,
        watcher: reader()?,
        writer,
        read_only,
    })
}

fn check_library(version: i32) -> Result<()> {
    if version >= OLDEST_LIBRARY {
        return Ok(());
    }
    Err(lasting(
        Code::Unsupported,
        format!(
            "this program was built with SQLite {}, and versions before 3.51.3 can lose what was written. Build it \
             with rusqlite's feature \"bundled\"",
            rusqlite::version()
        ),
    ))
}

/// Sees that there is a file, readable for its owner alone if it is new, and says what is in the way.
fn make(path: &Path, place: &Place) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    if path.is_dir() {
        return Err(Error::invalid(format!(
            "{} cannot be opened: this is a folder. Name a file in it",
            place.name()
        )));
    }
    if !folder.is_dir() {
        return Err(Error::invalid(format!(
            "{} cannot be opened: the folder {} does not exist. Make it, or name a file elsewhere",
            place.name(),
            folder.display()
        )));
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // SQLite gives the files beside it the same mode.
    let made = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => std::fs::File::open(path),
        made => made,
    };
    made.map(drop).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::Permission,
            _ => Code::Internal,
        };
        lasting(
            code,
            format!(
                "{} cannot be opened: {error}. Look at the rights of the file and its folder and at the room on the \
                 disk, or name a file elsewhere",
                place.name()
            ),
        )
    })
}

#[derive(Clone, Copy)]
pub(super) enum Way {
    Usual,
    /// Nobody can write the file and nothing waits beside it: it is read as it is.
    Immutable,
}

pub(super) fn connect(path: &Path, way: Way) -> Inner<Connection> {
    let common = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match way {
        Way::Usual => Connection::open_with_flags(path, common | OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        Way::Immutable => Connection::open_with_flags(
            format!("file:{}?immutable=1", escaped(path)),
            common | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        )?,
    };
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// What SQLite finds wrong.
pub(super) fn check(connection: &Connection) -> Inner<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let mut rows = statement.query([])?;
    let mut found: Vec<String> = Vec::new();
    loop {
        match rows.next() {
            Ok(Some(row)) => found.push(row.get(0)?),
            Ok(None) => break,
            // A search table whose pages are damaged ends the check itself.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                found.push("the check met damage that it cannot read past".to_owned());
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    found.retain(|line| line != "ok");
    Ok(found)
}

/// A path inside a URI.
fn escaped(path: &Path) -> String {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Whether the file is in WAL mode and its index can neither be opened nor made.
fn needs_immutable(connection: &Connection) -> bool {
    let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    matches!(
        read.map_err(|error| error.sqlite_error_code()),
        Err(Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
    )
}

fn has_content(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// A file beside the store's.
pub(super) fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Readers do not wait for writers, and writers not for readers.
fn write_ahead(connection: &Connection, place: &Place) -> Result<()> {
    let until = Instant::now() + BUSY;
    loop {
        let mode: rusqlite::Result<String> =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(lasting(
                    Code::Unsupported,
                    format!(
                        "{} cannot be opened: its file system does not let processes share memory, which SQLite's \
                         write-ahead log needs. Name a file on a local disk",
                        place.name()
                    ),
                ));
            }
            // SQLite does not wait here of its own: two processes that make a store at once meet in this place.
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until =>
            {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(error) => return Err(place.tell("opening it", Trouble::Sql(error))),
        }
    }
}

fn set(connection: &Connection, durability: Durability) -> Inner<()> {
    let synchronous = match durability {
        Durability::ProcessKill => "NORMAL",
        Durability::PowerLoss => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    // After a long reader the write-ahead log shrinks again.
    connection.pragma_update(None, "journal_size_limit", 8 << 20)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_can_lose_writes_is_refused() {
        let error = check_library(3_051_002).unwrap_err();
        assert!(error.message.contains("3.51.3"), "{error}");
        assert_eq!(check_library(3_051_003), Ok(()));
        assert_eq!(check_library(rusqlite::version_number()), Ok(()));
    }

    #[test]
    fn a_path_is_no_query() {
        assert_eq!(
            escaped(Path::new("/a b/c?d#é%.db")),
            "/a%20b/c%3Fd%23%C3%A9%25.db"
        );
    }
}
