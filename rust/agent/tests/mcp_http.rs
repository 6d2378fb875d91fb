//! Servers that are reached by HTTP: headers, authorization, and what goes wrong on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at what it does not expect, and starts its servers itself"
)]

mod mcp_common;

use mcp_common::{call, config, installed, python, root, server, text_of, until, watched};
use omni_agent::mcp::TokenStore;
use omni_agent::{McpOptions, McpServer, Notice, ToolFailure, ToolSource};
use omni_core::{Code, Result};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A server of ours that runs until it is dropped.
struct Web {
    child: Child,
    port: u16,
}

impl Web {
    fn start(kind: &str, port: u16) -> Self {
        let mut child = Command::new(python())
            .arg(root().join("tests/mcp_servers/web.py"))
            .args([kind, &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().parse().expect("it prints its port");
        Self { child, port }
    }

    fn new(kind: &str) -> Self {
        Self::start(kind, 0)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    fn server(&self) -> McpServer {
        server(config(json!({"type": "http", "url": self.url()})))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn seen(server: &McpServer) -> Value {
    serde_json::from_str(&text_of(server, "seen", json!({})).await).unwrap()
}

#[tokio::test]
async fn headers_of_the_configuration_reach_the_server_with_their_variables() {
    let web = Web::new("plain");
    let server = server(config(json!({
        "type": "http",
        "url": web.url(),
        "headers": {"Authorization": "Bearer ${CARGO_PKG_NAME}", "X-Plain": "yes"},
    })));
    let headers = seen(&server).await["headers"].clone();
    assert_eq!(headers["authorization"], "Bearer omni-agent", "{headers}");
    assert_eq!(headers["x-plain"], "yes");
    assert_eq!(headers["mcp-protocol-version"], "2025-11-25");
    server.close().await;
}

#[tokio::test]
async fn a_header_without_its_variable_or_in_the_wrong_shape_is_named() {
    for (headers, says) in [
        (json!({"X-Token": "${OMNI_TEST_NOT_SET}"}), "OMNI_TEST_NOT_SET"),
        (json!({"X Token": "a"}), "headers.X Token"),
        (json!({"Accept": "text/plain"}), "\"accept\""),
    ] {
        let web = Web::new("plain");
        let document = json!({"url": web.url(), "headers": headers});
        let error = server(config(document)).tools().await.unwrap_err();
        assert!(error.message.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_says_so_without_its_address() {
    let web = Web::new("plain");
    let url = format!("{}?key=sk-secret", web.url());
    drop(web);
    let error = server(config(json!({"url": url}))).tools().await.unwrap_err();
    assert_eq!(error.code, Code::Connection);
    assert!(error.message.contains("cannot be reached"), "{error}");
    assert!(!error.message.contains("sk-secret"), "{error}");
}

#[tokio::test]
async fn a_server_that_goes_away_is_gone_for_its_call_and_works_when_it_is_back() {
    let web = Web::new("plain");
    let server = web.server();
    server.tools().await.unwrap();
    let port = web.port;
    drop(web);
    let failed = call(&server, "seen", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::ServerGone, "{}", failed.message);
    let _back = Web::start("plain", port);
    let mut seen = watched(&server);
    let mut connected = 0;
    seen.find(|notice| {
        connected += usize::from(matches!(notice, Notice::Connected(_)));
        (connected >= 2).then_some(())
    })
    .await;
    assert!(call(&server, "seen", json!({})).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_no_answer_at_all_fails_its_call_alone() {
    let web = Web::new("plain");
    let server = web.server();
    for (tool, kind, says) in [
        ("huge", ToolFailure::Malformed, "16777216"),
        ("html", ToolFailure::Malformed, "text/html"),
        ("busy", ToolFailure::Failed, "503"),
    ] {
        let failed = call(&server, tool, json!({})).await.unwrap_err();
        assert_eq!(failed.kind, kind, "{tool}: {}", failed.message);
        assert!(failed.message.contains(says), "{tool}: {}", failed.message);
        assert!(call(&server, "seen", json!({})).await.is_ok());
    }
}

#[tokio::test]
async fn a_server_of_the_newest_protocol_is_found_without_a_handshake() {
    let web = Web::new("newest");
    let server = web.server();
    assert!(!server.tools().await.unwrap().is_empty());
    assert_eq!(server.protocol_version().await.unwrap(), "2026-07-28");
    assert!(call(&server, "seen", json!({})).await.is_ok());
}

// --------------------------------------------------------------------------------------------- authorization

#[derive(Default)]
struct Kept(Mutex<Option<String>>);

impl TokenStore for Kept {
    fn load(&self, server: &str) -> Option<String> {
        assert_eq!(server, "s");
        self.0.lock().unwrap().clone()
    }

    fn save(&self, _: &str, tokens: Option<&str>) -> Result<()> {
        *self.0.lock().unwrap() = tokens.map(str::to_owned);
        Ok(())
    }
}

/// A person who says yes at once.
fn willing(store: &Arc<Kept>) -> (McpOptions, Arc<Mutex<Vec<String>>>) {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let pages = Arc::clone(&opened);
    let options = McpOptions {
        open_url: Some(Arc::new(move |server, url| {
            pages.lock().unwrap().push(format!("{server} {url}"));
            let url = url.to_owned();
            tokio::spawn(async move { reqwest::get(url).await.unwrap() });
        })),
        tokens: Some(Arc::clone(store) as Arc<dyn TokenStore>),
        ..McpOptions::default()
    };
    (options, opened)
}

#[tokio::test]
async fn a_person_authorises_once_and_the_token_is_kept_and_shown_nowhere() {
    let web = Web::new("oauth");
    let store = Arc::new(Kept::default());
    let (options, opened) = willing(&store);
    let document = config(json!({"url": web.url()}));
    let server = McpServer::new("s", document.clone(), options.clone());
    let notices = watched(&server);
    let first = seen(&server).await;
    assert_eq!(first["seen"], json!(["register", "token authorization_code"]));
    let token = first["headers"]["authorization"].as_str().unwrap().to_owned();
    let token = token.strip_prefix("Bearer ").unwrap();
    assert!(store.0.lock().unwrap().as_ref().unwrap().contains(token));
    assert!(opened.lock().unwrap()[0].starts_with("s http://127.0.0.1"));
    let told = format!("{:?} {server:?} {options:?}", notices.all());
    assert!(!told.contains(token), "{told}");
    server.close().await;
    // The next start needs nobody.
    let again = McpServer::new("s", document, options);
    assert_eq!(seen(&again).await["seen"], first["seen"]);
    assert_eq!(opened.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn without_somebody_to_ask_the_error_says_what_to_do() {
    let web = Web::new("oauth");
    let error = web.server().tools().await.unwrap_err();
    assert_eq!(error.code, Code::Authentication);
    assert!(
        error.message.contains("headers") && error.message.contains("client_credentials"),
        "{error}"
    );
}

fn robot(web: &Web, secret: &str) -> McpServer {
    server(config(json!({
        "url": web.url(),
        "oauth": {"grant": "client_credentials", "client_id": "robot", "client_secret": secret},
    })))
}

#[tokio::test]
async fn a_program_gets_its_own_token_and_a_new_one_when_it_is_refused() {
    let web = Web::new("oauth");
    let server = robot(&web, "test-secret");
    assert_eq!(seen(&server).await["seen"], json!(["token client_credentials"]));
    call(&server, "forget", json!({})).await.unwrap();
    // The token is refused now: one call fails, and the connection is made anew with another token.
    let failed = call(&server, "seen", json!({})).await.unwrap_err();
    assert!(failed.message.contains("401"), "{}", failed.message);
    let found = seen(&server).await["seen"].clone();
    assert_eq!(
        found,
        json!(["token client_credentials", "token client_credentials"])
    );
}

#[tokio::test]
async fn a_refused_secret_is_an_error_that_does_not_show_it() {
    let web = Web::new("oauth");
    let server = robot(&web, "wrong-secret");
    let notices = watched(&server);
    let error = server.tools().await.unwrap_err();
    assert_eq!(error.code, Code::Authentication, "{error}");
    let told = format!("{error} {:?} {server:?}", notices.all());
    assert!(!told.contains("wrong-secret"), "{told}");
}

// ---------------------------------------------------------------------------------------------- real servers

/// npm's `server-everything` over HTTP.
fn everything(transport: &str) -> Web {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let child = Command::new(installed("bin/node"))
        .arg(installed("node_modules/.bin/mcp-server-everything"))
        .arg(transport)
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Web { child, port }
}

async fn listens(web: &Web) {
    until("it listens", || {
        std::net::TcpStream::connect(("127.0.0.1", web.port)).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_real_server_over_streamable_http_works() {
    let web = everything("streamableHttp");
    listens(&web).await;
    let server = web.server();
    assert_eq!(
        text_of(&server, "get-sum", json!({"a": 2, "b": 3})).await,
        "The sum of 2 and 3 is 5."
    );
    let (sink, steps) = mcp_common::progress();
    let long = mcp_common::invocation_with(
        "trigger-long-running-operation",
        json!({"duration": 0.2, "steps": 4}),
        sink,
    );
    server.call(long).await.unwrap();
    assert_eq!(steps.lock().unwrap().len(), 4);
    server.close().await;
}

#[tokio::test]
async fn a_server_of_the_retired_transport_is_told_from_a_broken_one() {
    let web = everything("sse");
    listens(&web).await;
    let url = format!("http://127.0.0.1:{}/sse", web.port);
    let error = server(config(json!({"url": url}))).tools().await.unwrap_err();
    assert_eq!(error.code, Code::Unsupported, "{error}");
    assert!(error.message.contains("retired HTTP+SSE"), "{error}");
    // An address at which nothing is: no such claim.
    let url = format!("http://127.0.0.1:{}/nothing", web.port);
    let error = server(config(json!({"url": url}))).tools().await.unwrap_err();
    assert!(
        error.message.contains("404") && !error.message.contains("retired"),
        "{error}"
    );
}
