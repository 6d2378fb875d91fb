//! A server's program: its own process group, ended with everything that it started, and what it wrote to its
//! standard error.

use super::env;
use super::notices::{Notices, cut};
use crate::config::ServerConfig;
use crate::protocol::LogLevel;
use omni_core::{Code, Error, Result};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a program may take to end by itself, after its input was closed and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// How long what it still wrote may take to be read after it ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Lines of standard error that are kept for an error's text, and the bytes of one.
const KEPT_LINES: usize = 20;
const LONGEST_LINE: usize = 1000;

/// A program that runs.
pub(super) struct Process {
    stop: CancellationToken,
    exited: watch::Receiver<Option<String>>,
    ended: watch::Receiver<bool>,
    stderr: Arc<Tail>,
    /// Its standard error was read to the end.
    drained: CancellationToken,
}

impl Process {
    /// Starts the program of `config`. `gone` is cancelled when it has ended; `all` waits for that, whatever becomes of
    /// this value.
    pub(super) fn start(
        name: &str,
        config: &ServerConfig,
        notices: &Arc<Notices>,
        gone: CancellationToken,
        all: &TaskTracker,
    ) -> Result<(Self, ChildStdout, ChildStdin)> {
        let program = config.command.as_deref().unwrap_or_default();
        let environment = env::of_child(name, &config.env)?;
        notices.add_secrets(
            config
                .env
                .keys()
                .filter_map(|key| environment.get(key))
                .map(String::as_str),
        );
        if let Some(folder) = config.cwd.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Error::invalid(format!(
                "mcp_servers.{name}.cwd: there is no folder {}",
                folder.display()
            )));
        }
        let mut command = Command::new(program);
        command
            .args(&config.args)
            .env_clear()
            .envs(&environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(folder) = &config.cwd {
            command.current_dir(folder);
        }
        let mut child = command
            .spawn()
            .map_err(|error| not_started(name, program, &error))?;
        let (Some(stdin), Some(stdout), Some(stderr), Some(id)) = (
            child.stdin.take(),
            child.stdout.take(),
            child.stderr.take(),
            child.id(),
        ) else {
            return Err(Error::internal("a child process without its pipes"));
        };
        let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
            return Err(Error::internal("a child process without a process id"));
        };
        let tail = Arc::new(Tail::default());
        let drained = CancellationToken::new();
        let reader = read_stderr(stderr, Arc::clone(&tail), Arc::clone(notices));
        let at_end = drained.clone().drop_guard();
        tokio::spawn(async move {
            reader.await;
            drop(at_end);
        });
        let stop = CancellationToken::new();
        let (exited_tx, exited) = watch::channel(None);
        let (ended_tx, ended) = watch::channel(false);
        let group = Group {
            child,
            number: group,
            over: false,
        };
        all.spawn(group.attend(stop.clone(), exited_tx, ended_tx, gone));
        let process = Self {
            stop,
            exited,
            ended,
            stderr: tail,
            drained,
        };
        Ok((process, stdout, stdin))
    }

    /// Ends it and everything that it started, and waits until that is done.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        let mut ended = self.ended.clone();
        // An error: the task is gone, and its guard has ended the group.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// How it ended, if it ends soon, with its last words: for an error's text.
    pub(super) async fn last_words(&self) -> String {
        let mut exited = self.exited.clone();
        // An error: it has not ended, and its output alone is closed.
        let _ = tokio::time::timeout(LAST_WORDS * 2, exited.wait_for(Option::is_some)).await;
        let status = exited.borrow().clone();
        let status = status.unwrap_or_else(|| "it closed its output".to_owned());
        let _ = tokio::time::timeout(LAST_WORDS, self.drained.cancelled()).await;
        let said = self.stderr.text();
        if said.is_empty() {
            status
        } else {
            format!("{status}; its last words: {said}")
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn not_started(name: &str, program: &str, error: &io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "mcp_servers.{name}: there is no program \"{program}\"; install it, or give its whole path as \"command\""
        ),
        io::ErrorKind::PermissionDenied => {
            format!("mcp_servers.{name}: \"{program}\" may not be run; make it executable")
        }
        _ => format!("mcp_servers.{name}: \"{program}\" could not be started: {error}"),
    };
    Error::new(Code::InvalidRequest, message)
}

/// A process group and its leader. Dropped while it runs (the runtime ends), it is killed at once.
struct Group {
    child: Child,
    number: Pid,
    over: bool,
}

impl Group {
    async fn attend(
        mut self,
        stop: CancellationToken,
        exited: watch::Sender<Option<String>>,
        ended: watch::Sender<bool>,
        gone: CancellationToken,
    ) {
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = stop.cancelled() => self.end_leader().await,
        };
        exited.send_replace(Some(describe(&status)));
        // A group keeps its number as long as it has members; without any, the kernel does not give the number to
        // another one within the microseconds since: it hands them out in turn.
        self.end_rest().await;
        self.over = true;
        ended.send_replace(true);
        if !stop.is_cancelled() {
            tokio::time::sleep(LAST_WORDS).await;
        }
        gone.cancel();
    }

    /// Its input is closed: that asks it to end. Then SIGTERM, then SIGKILL.
    async fn end_leader(&mut self) -> io::Result<ExitStatus> {
        if let Ok(status) = tokio::time::timeout(GRACE / 4, self.child.wait()).await {
            return status;
        }
        let _ = kill_process_group(self.number, Signal::TERM);
        if let Ok(status) = tokio::time::timeout(GRACE, self.child.wait()).await {
            return status;
        }
        let _ = kill_process_group(self.number, Signal::KILL);
        self.child.wait().await
    }

    /// What the leader has left behind: SIGTERM, then SIGKILL.
    async fn end_rest(&mut self) {
        if kill_process_group(self.number, Signal::TERM).is_err() {
            return;
        }
        let pause = Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        while waited < GRACE {
            if test_kill_process_group(self.number).is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
        let _ = kill_process_group(self.number, Signal::KILL);
    }
}

impl Drop for Group {
    #[allow(
        clippy::disallowed_methods,
        reason = "the runtime is gone: a killed process takes about a millisecond to be reaped"
    )]
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let _ = kill_process_group(self.number, Signal::KILL);
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn describe(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it ended with {status}"),
        Err(_) => "it ended".to_owned(),
    }
}

/// The last lines of standard error.
#[derive(Default)]
struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// Reads standard error to its end, whatever comes: a program whose pipe is full would stand still.
async fn read_stderr(mut stderr: impl AsyncRead + Unpin, tail: Arc<Tail>, notices: Arc<Notices>) {
    let mut buffer = vec![0_u8; 8192];
    let mut line: Vec<u8> = Vec::new();
    let say = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        let text = notices.hide(cut(text.trim(), LONGEST_LINE));
        if !text.is_empty() {
            notices.log(LogLevel::Debug, &text);
            tail.push(text);
        }
        line.clear();
    };
    while let Ok(read) = stderr.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        for byte in &buffer[..read] {
            if *byte == b'\n' {
                say(&mut line);
            } else if line.len() < LONGEST_LINE {
                line.push(*byte);
            }
        }
    }
    say(&mut line);
}
