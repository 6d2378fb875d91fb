//! Who may write a session: one process, by a row with its identity and a time after which it counts as gone.

use super::fault::{Inner, Trouble, lasting};
use super::row;
use omni_core::{Code, Error};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A lease that nobody renews for so long is free for all, whatever its process does.
pub(super) const LIFE: Duration = Duration::from_secs(30);

/// This process, as others can look it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The boot of the machine and the space of its process ids: a pid means nothing elsewhere.
    host: String,
    pid: u32,
    /// When the process began, as the system counts: a pid is used again.
    started: u64,
}

impl Identity {
    pub(super) fn own() -> Self {
        let pid = std::process::id();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: format!("{} {}", boot.trim(), space.display())
                .trim_end()
                .to_owned(),
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }
}

/// When a process began; `None` if there is none, or only what it left to be reaped.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses and spaces too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then_some(started)
}

/// Whether a process of this machine is there still.
fn runs(pid: u32, since: u64) -> bool {
    if since != 0 {
        return started(pid) == Some(since);
    }
    // No /proc where the lease was taken: the pid alone has to do.
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// A lease as it stands in its row.
struct Held {
    token: String,
    host: String,
    pid: u32,
    started: u64,
    expires_ms: u64,
}

impl Held {
    fn read(connection: &Connection, session_id: &str) -> Inner<Option<Self>> {
        Ok(connection
            .prepare_cached("SELECT token, host, pid, started, expires_ms FROM leases WHERE session_id = ?1")?
            .query_row([session_id], |found| {
                Ok(Self {
                    token: found.get("token")?,
                    host: found.get("host")?,
                    pid: found.get("pid")?,
                    started: row::unsigned(found, "started")?,
                    expires_ms: row::unsigned(found, "expires_ms")?,
                })
            })
            .optional()?)
    }

    /// Whether its writer can be alive.
    fn living(&self, own: &Identity) -> bool {
        now_ms() < self.expires_ms && (self.host != own.host || runs(self.pid, self.started))
    }

    fn who(&self, own: &Identity) -> String {
        if self.host != own.host {
            format!("process {} on another machine or in another container", self.pid)
        } else if self.pid == own.pid {
            format!("this process ({})", self.pid)
        } else {
            format!("process {}", self.pid)
        }
    }
}

/// Takes the lease of a session, from a dead writer too. Inside a transaction.
pub(super) fn take(
    connection: &Connection,
    session_id: &str,
    own: &Identity,
    owner: &str,
    token: &str,
    life: Duration,
) -> Inner<()> {
    refuse_if_held(connection, session_id, own, "written")?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO leases (session_id, owner, token, host, pid, started, expires_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            session_id,
            owner,
            token,
            own.host,
            own.pid,
            row::signed(own.started),
            row::signed(expiry(life)),
        ])?;
    Ok(())
}

/// An error that names the living writer, if there is one.
pub(super) fn refuse_if_held(
    connection: &Connection,
    session_id: &str,
    own: &Identity,
    what: &str,
) -> Inner<()> {
    match Held::read(connection, session_id)? {
        Some(held) if held.living(own) => Err(Trouble::Told(Error {
            retryable: true,
            ..Error::new(
                Code::Permission,
                format!(
                    "session \"{session_id}\" cannot be {what} now: {} is writing it. Wait for its end or end it; \
                     reading and forking work meanwhile",
                    held.who(own)
                ),
            )
        })),
        _ => Ok(()),
    }
}

/// An error unless `token` holds the lease of the session: a writer that was away too long writes no more.
pub(super) fn hold(connection: &Connection, session_id: &str, own: &Identity, token: &str) -> Inner<()> {
    let lost = match Held::read(connection, session_id)? {
        Some(held) if held.token == token => return Ok(()),
        Some(held) => format!("{} has taken it over", held.who(own)),
        None if row::load(connection, session_id)?.is_none() => "it was deleted".to_owned(),
        None => "another writer has taken it over and ended".to_owned(),
    };
    Err(Trouble::Told(lasting(
        Code::Permission,
        format!(
            "session \"{session_id}\" is not this writer's any more: {lost}. Nothing was appended. Resume the \
             session to go on from what is stored now"
        ),
    )))
}

/// Says that all writers of `owner` are alive.
pub(super) fn renew(connection: &Connection, owner: &str, life: Duration) -> Inner<()> {
    connection
        .prepare_cached("UPDATE leases SET expires_ms = ?2 WHERE owner = ?1")?
        .execute(params![owner, row::signed(expiry(life))])?;
    Ok(())
}

/// Gives a lease back.
pub(super) fn release(connection: &Connection, token: &str) -> Inner<()> {
    connection
        .prepare_cached("DELETE FROM leases WHERE token = ?1")?
        .execute([token])?;
    Ok(())
}

fn expiry(life: Duration) -> u64 {
    now_ms().saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX))
}

/// Unix milliseconds.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_not_by_its_pid_alone() {
        let own = Identity::own();
        assert!(runs(own.pid, own.started));
        if own.started != 0 {
            assert!(!runs(own.pid, own.started + 1), "the pid was used again");
        }
        assert!(runs(own.pid, 0), "without a start the pid decides");
    }

    #[test]
    fn a_process_that_ended_is_gone_even_before_it_is_reaped() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let since = started(pid).unwrap();
        assert!(runs(pid, since));
        drop(child.stdin.take());
        // The end of its output is the end of the process, up to a moment.
        std::io::copy(&mut child.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while runs(pid, since) && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(!runs(pid, since), "a zombie is no writer");
        child.wait().unwrap();
        assert!(!runs(pid, since));
    }
}
