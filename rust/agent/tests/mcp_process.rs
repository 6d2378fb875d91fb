//! A server's program: what it may see of us, and that nothing of it stays behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it does not expect"
)]

mod mcp_common;

use mcp_common::{bad_config, bad_with, call, is_our_zombie, runs, text_of, until, watched};
use omni_agent::{McpOptions, McpServers, ToolFailure, ToolSource};
use omni_core::Code;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The process ids that a server with a grandchild has written down: its own, and the grandchild's.
fn family(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn closing_ends_the_program_and_its_grandchildren_and_leaves_no_zombie() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["grandchild", "stubborn"] {
        let file = folder.path().join(kind);
        let server = bad_with(kind, &file, json!({}));
        server.tools().await.unwrap();
        let family = family(&file);
        assert_eq!(family.len(), 2);
        assert!(family.iter().all(|pid| runs(pid)), "{kind}");
        server.close().await;
        for pid in &family {
            assert!(!is_our_zombie(pid), "{kind}: a zombie of ours");
            until(&format!("{kind}: process {pid} ends"), || !runs(pid)).await;
        }
        // Once more does nothing, and a call says what it is.
        server.close().await;
        assert_eq!(server.tools().await.unwrap_err().code, Code::Cancelled);
        assert_eq!(
            call(&server, "echo", json!({})).await.unwrap_err().kind,
            ToolFailure::ServerGone
        );
    }
}

#[tokio::test]
async fn closing_in_the_middle_of_a_start_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("family");
    let server = bad_with("never_starts", &file, json!({}));
    let started = until("it runs", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))
    });
    tokio::select! {
        outcome = server.tools() => panic!("it started: {outcome:?}"),
        () = started => {}
    }
    server.close().await;
    let pid = &family(&file)[0];
    assert!(!runs(pid) && !is_our_zombie(pid));
}

#[tokio::test]
async fn dropping_ends_the_program_and_its_grandchildren() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("family");
    let server = bad_with("stubborn", &file, json!({}));
    server.tools().await.unwrap();
    let family = family(&file);
    drop(server);
    for pid in &family {
        until("it ends", || !runs(pid) && !is_our_zombie(pid)).await;
    }
}

#[test]
fn the_end_of_the_runtime_ends_the_program_and_its_grandchildren() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("family");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = bad_with("stubborn", &file, json!({}));
    runtime.block_on(server.tools()).unwrap();
    let family = family(&file);
    assert!(family.iter().all(|pid| runs(pid)));
    drop(runtime);
    assert!(!is_our_zombie(&family[0]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for pid in &family {
        runtime.block_on(until("it ends", || !runs(pid)));
    }
}

#[tokio::test]
async fn a_program_that_ends_takes_its_grandchildren_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("family");
    let server = bad_with("grandchild", &file, json!({}));
    let mut seen = watched(&server);
    server.tools().await.unwrap();
    let first = family(&file);
    let pid = rustix::process::Pid::from_raw(first[0].parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    seen.find(|notice| matches!(notice, omni_agent::Notice::Failed { will_retry: true, .. }).then_some(()))
        .await;
    until("the grandchild ends", || !runs(&first[1])).await;
    // And the next one is another program.
    server.tools().await.unwrap();
    assert_eq!(family(&file).len(), 4);
}

#[tokio::test]
async fn a_program_sees_what_it_needs_and_none_of_our_keys() {
    // Cargo's variables stand for keys: they are in our environment, and no server's business.
    let more = json!({"env": {"TOKEN": "from ${CARGO_PKG_NAME}", "PLAIN": "$HOME"}});
    let server = bad_with("good", "".as_ref(), more);
    let seen: BTreeMap<String, String> =
        serde_json::from_str(&text_of(&server, "env", json!({})).await).unwrap();
    assert_eq!(seen["TOKEN"], "from omni-agent");
    assert_eq!(seen["PLAIN"], "$HOME");
    assert!(seen.contains_key("PATH"));
    assert!(!seen.contains_key("CARGO_MANIFEST_DIR"), "{:?}", seen.keys());
}

#[tokio::test]
async fn a_variable_that_is_not_set_stops_the_start_and_is_named() {
    let more = json!({"env": {"TOKEN": "${OMNI_TEST_NOT_SET}"}});
    let error = bad_with("good", "".as_ref(), more).tools().await.unwrap_err();
    assert!(
        error.message.contains("OMNI_TEST_NOT_SET") && error.message.contains("env.TOKEN"),
        "{error}"
    );
}

#[tokio::test]
async fn a_secret_of_the_configuration_stands_in_no_error_and_no_notice() {
    let more = json!({"env": {"SECRET": "database"}});
    let server = bad_with("crash_at_start", "".as_ref(), more);
    let mut seen = watched(&server);
    let error = server.tools().await.unwrap_err();
    assert!(error.message.contains("cannot find my …"), "{error}");
    seen.log("cannot find my …").await;
    let told = format!("{:?} {server:?}", seen.all());
    assert!(!told.contains("database"), "{told}");
}

#[tokio::test]
async fn all_servers_start_at_once_and_one_that_fails_stops_no_other() {
    let configs = BTreeMap::from([
        ("a".to_owned(), bad_config("good", "", json!({}))),
        ("b".to_owned(), bad_config("good", "", json!({}))),
        ("broken".to_owned(), bad_config("crash_at_start", "", json!({}))),
        (
            "off".to_owned(),
            bad_config("good", "", json!({"disabled": true})),
        ),
    ]);
    let servers = McpServers::new(&configs, &McpOptions::default());
    let started = servers.start().await;
    let names: Vec<&str> = started.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "broken"]);
    assert!(started[2].1.is_err());
    let mut tools = Vec::new();
    for (_, outcome) in &started[..2] {
        tools.extend(outcome.as_ref().unwrap().iter().map(|tool| tool.name.clone()));
    }
    assert_eq!(
        tools,
        ["a__echo", "a__bad", "a__env", "b__echo", "b__bad", "b__env"]
    );
    assert_eq!(servers.sources().len(), 3);
    let pid: Value = json!({});
    assert!(text_of(servers.get("a").unwrap(), "echo", pid).await.is_empty());
    servers.close().await;
}
