//! What the cases share: waiting, reading, processes, folders.

use futures_util::StreamExt;
use omni_bridge_py::embedded::{Embedded, EmbeddedConfig, RawCall};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Far beyond what anything here takes on a loaded machine; reached only when something hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread; panics when it takes longer than [`LONG`].
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let deadline = Instant::now() + LONG;
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "nothing came within {} s", LONG.as_secs());
        std::thread::park_timeout(left);
    }
}

/// The engine of this process.
pub(crate) fn engine() -> Embedded {
    Embedded::connect(&EmbeddedConfig::default())
        .expect("the engine; OMNI_BRIDGE_PYTHON names an interpreter that has it")
}

/// Starts a call.
pub(crate) fn start(engine: &Embedded, op: &Value) -> RawCall {
    engine.raw(op.to_string().as_bytes())
}

/// The documents of a batch.
pub(crate) fn documents(batch: &[u8]) -> Vec<Value> {
    batch
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect()
}

/// Reads a call to its end.
pub(crate) fn read(call: RawCall) -> Vec<Value> {
    wait(call.map(|batch| documents(&batch)).collect::<Vec<_>>()).concat()
}

/// Reads the next batch.
pub(crate) fn next(call: &mut RawCall) -> Vec<Value> {
    documents(&wait(call.next()).expect("another batch"))
}

/// The last document of a call, which must be an error: its code and message.
pub(crate) fn failure(call: RawCall) -> (String, String) {
    let all = read(call);
    let last = all.last().expect("a last event");
    assert_eq!(last["type"], "error", "{last}");
    (
        last["error"]["code"].as_str().unwrap().to_owned(),
        last["error"]["message"].as_str().unwrap().to_owned(),
    )
}

/// What the loop has: tasks beside the one that asks, and the names of Python's threads.
pub(crate) fn state(engine: &Embedded) -> (u64, Vec<String>) {
    let state = wait(engine.op("debug", serde_json::json!({ "do": "state" }))).expect("the state");
    let threads = state["threads"].as_array().unwrap();
    (
        state["tasks"].as_u64().unwrap(),
        threads
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect(),
    )
}

/// Turns the loop, by asking for its state, until no call and no task is left.
pub(crate) fn settle(engine: &Embedded) {
    let deadline = Instant::now() + LONG;
    while state(engine).0 > 0 || engine.open_calls() > 0 {
        assert!(
            Instant::now() < deadline,
            "{:?} and {} calls are left",
            state(engine),
            engine.open_calls()
        );
    }
}

/// This program again, as the process of a case.
pub(crate) fn host(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--host", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for a process, killing it after `limit`; the time that it took.
pub(crate) fn finish(child: Child, limit: Duration) -> (Output, Duration) {
    let begin = Instant::now();
    let id = child.id();
    let (send, receive) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let output = child.wait_with_output().unwrap();
        let _ = send.send(());
        output
    });
    let in_time = receive.recv_timeout(limit).is_ok();
    if !in_time {
        // SAFETY: the process is a child of ours that has not been waited for.
        unsafe { kill(i32::try_from(id).unwrap(), 9) };
    }
    let output = waiter.join().unwrap();
    assert!(in_time, "it hung: {}", told(&output));
    (output, begin.elapsed())
}

/// What a process said.
pub(crate) fn told(output: &Output) -> String {
    format!(
        "{} out: {:?} err: {:?}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

unsafe extern "C" {
    pub(crate) fn kill(process: i32, signal: i32) -> i32;
    pub(crate) fn fork() -> i32;
    pub(crate) fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    pub(crate) fn signal(signal: i32, handler: usize) -> usize;
    pub(crate) fn _exit(code: i32) -> !;
}

pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGTERM: i32 = 15;

/// A folder of its own, removed with everything in it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "omni-embed-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a program.
    pub(crate) fn program(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The path below it.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
