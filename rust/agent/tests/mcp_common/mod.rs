//! What the tests of the MCP client share: servers to start, and what they tell.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "each test program uses its own part of it, stops at what it does not expect, and writes json!() in place"
)]

use omni_agent::{
    Invocation, McpOptions, McpServer, Notice, Progress, ProgressSink, ServerConfig, ToolError, ToolOutput,
    ToolSource,
};
use omni_core::Object;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Longer than anything here takes, on a machine with much else to do.
pub const LONG: Duration = Duration::from_secs(60);

pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

/// What `tools/mcp_servers.sh` has installed.
pub fn installed(path: &str) -> String {
    let found = root().join(".tools/mcp").join(path);
    assert!(
        found.exists(),
        "there is no {}: run tools/mcp_servers.sh first",
        found.display()
    );
    found.to_str().unwrap().to_owned()
}

pub fn python() -> String {
    std::env::var("OMNI_BRIDGE_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// A server's configuration from its document.
pub fn config(document: Value) -> ServerConfig {
    serde_json::from_value(document).unwrap()
}

/// A server that does one thing wrong; `more` is added to its configuration.
pub fn bad_config(kind: &str, argument: &str, more: Value) -> ServerConfig {
    let script = root().join("tests/mcp_servers/bad.py");
    let mut document = json!({"command": python(), "args": [script, kind, argument]});
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    config(document)
}

pub fn server(config: ServerConfig) -> McpServer {
    McpServer::new("s", config, McpOptions::default())
}

pub fn bad(kind: &str) -> McpServer {
    server(bad_config(kind, "", json!({})))
}

pub fn bad_with(kind: &str, argument: &Path, more: Value) -> McpServer {
    server(bad_config(kind, argument.to_str().unwrap(), more))
}

pub fn invocation(tool: &str, arguments: Value) -> Invocation {
    invocation_with(tool, arguments, ProgressSink::new(|_| ()))
}

pub fn invocation_with(tool: &str, arguments: Value, progress: ProgressSink) -> Invocation {
    let arguments: Object = serde_json::from_value(arguments).unwrap();
    Invocation {
        own_name: tool.to_owned(),
        arguments,
        session_id: "s".to_owned(),
        call_id: "t1.1.1".to_owned(),
        progress,
    }
}

pub async fn call(server: &McpServer, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
    tokio::time::timeout(LONG, server.call(invocation(tool, arguments)))
        .await
        .expect("the call comes to an end")
}

pub async fn text_of(server: &McpServer, tool: &str, arguments: Value) -> String {
    let output = call(server, tool, arguments).await.unwrap();
    output.content.text().into_owned()
}

/// It still works: for the ends of tests that hurt it.
pub async fn echoes(server: &McpServer) {
    assert_eq!(
        text_of(server, "echo", json!({"text": "still here"})).await,
        "still here"
    );
}

/// Collects progress in its order.
pub fn progress() -> (ProgressSink, Arc<Mutex<Vec<Progress>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&seen);
    let sink = ProgressSink::new(move |step| into.lock().unwrap().push(step));
    (sink, seen)
}

/// The notices of a server.
pub struct Seen(watch::Receiver<Vec<Notice>>);

pub fn watched(server: &McpServer) -> Seen {
    let (sender, receiver) = watch::channel(Vec::new());
    server.watch(Arc::new(move |_, notice| {
        sender.send_modify(|all| all.push(notice));
    }));
    Seen(receiver)
}

impl Seen {
    pub fn all(&self) -> Vec<Notice> {
        self.0.borrow().clone()
    }

    /// Waits for a notice.
    pub async fn find<T>(&mut self, mut pick: impl FnMut(&Notice) -> Option<T>) -> T {
        let mut found = None;
        let waited = self.0.wait_for(|all| {
            found = all.iter().find_map(&mut pick);
            found.is_some()
        });
        let outcome = tokio::time::timeout(LONG, waited).await.map(drop);
        outcome.unwrap_or_else(|_| panic!("no such notice among {:#?}", self.all()));
        found.unwrap()
    }

    pub async fn log(&mut self, part: &str) -> String {
        self.find(|notice| match notice {
            Notice::Log(_, text) if text.contains(part) => Some(text.clone()),
            _ => None,
        })
        .await
    }
}

/// Waits until `done`; for what tells nobody, such as a process that ends.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + LONG;
    while !done() {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process runs; a zombie of somebody else's does not count.
pub fn runs(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|text| {
        let state = text
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().next().map(str::to_owned));
        state.as_deref() != Some("Z")
    })
}

/// Whether a process is a zombie that waits for us.
pub fn is_our_zombie(pid: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let mut fields = text.rsplit(')').next().unwrap().split_whitespace();
    let (state, parent) = (fields.next().unwrap(), fields.next().unwrap());
    state == "Z" && parent == std::process::id().to_string()
}
