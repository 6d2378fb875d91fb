//! Servers that answer wrongly, too much, too late or not at all: each hurts its own call and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it does not expect"
)]

mod mcp_common;

use mcp_common::{
    bad, bad_with, call, config, echoes, invocation, invocation_with, progress, server, text_of, until,
    watched,
};
use omni_agent::{LogLevel, Notice, ToolFailure, ToolSource};
use omni_core::Code;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

// ------------------------------------------------------------------------------------------------ its start

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let server = server(config(json!({"command": "omni-no-such-program"})));
    let mut seen = watched(&server);
    let error = server.tools().await.unwrap_err();
    assert_eq!(error.code, Code::InvalidRequest);
    assert!(
        error.message.contains("\"omni-no-such-program\"") && error.message.contains("mcp_servers.s"),
        "{error}"
    );
    let retried = seen.find(|notice| match notice {
        Notice::Failed { will_retry, .. } => Some(*will_retry),
        _ => None,
    });
    assert!(!retried.await, "another try makes no other configuration");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let server = bad_with("good", "".as_ref(), json!({"cwd": "/no/such/folder"}));
    let error = server.tools().await.unwrap_err();
    assert!(error.message.contains("/no/such/folder"), "{error}");
}

#[tokio::test]
async fn a_crash_at_the_start_is_told_with_its_status_and_its_last_words() {
    let server = bad("crash_at_start");
    let mut seen = watched(&server);
    let error = server.tools().await.unwrap_err();
    assert!(error.message.contains("exit status: 7"), "{error}");
    assert!(error.message.contains("cannot find my database"), "{error}");
    seen.log("cannot find my database").await;
    // It is tried again, and then left alone.
    let last = seen.find(|notice| match notice {
        Notice::Failed {
            will_retry: false,
            error,
        } => Some(error.clone()),
        _ => None,
    });
    assert_eq!(last.await.message, error.message);
    let failures = seen
        .all()
        .into_iter()
        .filter(|notice| matches!(notice, Notice::Failed { .. }));
    assert_eq!(failures.count(), 5);
    // A call meanwhile does not wait for ever.
    let failed = call(&server, "echo", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::ServerGone);
}

#[tokio::test]
async fn a_server_that_fails_once_is_started_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = bad_with("crash_once", &folder.path().join("seen"), json!({}));
    let mut seen = watched(&server);
    server.tools().await.unwrap_err();
    seen.find(|notice| matches!(notice, Notice::Connected(_)).then_some(()))
        .await;
    echoes(&server).await;
}

#[tokio::test]
async fn a_server_that_never_starts_is_given_up_in_time() {
    let server = bad_with("never_starts", "".as_ref(), json!({"startup_timeout": 0.3}));
    let error = server.tools().await.unwrap_err();
    assert_eq!(error.code, Code::Timeout);
    assert!(error.message.contains("startup_timeout"), "{error}");
}

#[tokio::test]
async fn text_before_the_first_message_and_noise_on_stderr_do_no_harm() {
    for kind in ["garbage_at_start", "stderr_flood"] {
        let server = bad(kind);
        let seen = watched(&server);
        echoes(&server).await;
        assert!(seen.all().len() < 300, "{kind}: {} notices", seen.all().len());
    }
}

// ------------------------------------------------------------------------------------------------ its calls

#[tokio::test]
async fn a_server_that_dies_in_a_call_fails_it_and_works_in_the_next() {
    let server = bad("crash_in_call");
    let mut seen = watched(&server);
    let failed = call(&server, "bad", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::ServerGone);
    assert!(failed.message.contains("exit status: 3"), "{}", failed.message);
    assert!(
        failed.message.contains("about to fall over"),
        "{}",
        failed.message
    );
    echoes(&server).await;
    let again = seen.find(|notice| match notice {
        Notice::Failed { will_retry, .. } => Some(*will_retry),
        _ => None,
    });
    assert!(again.await);
    // Every other call that was under way has failed too, and none hangs.
    let (one, two) = tokio::join!(call(&server, "bad", json!({})), call(&server, "bad", json!({})));
    assert_eq!(one.unwrap_err().kind, ToolFailure::ServerGone);
    assert_eq!(two.unwrap_err().kind, ToolFailure::ServerGone);
    assert!(server.tools().await.is_ok());
}

#[tokio::test]
async fn an_answer_in_the_wrong_shape_is_malformed_at_once() {
    for kind in ["garbage", "wrong_shape", "other_result", "bad_image"] {
        let server = bad(kind);
        let begun = Instant::now();
        let failed = call(&server, "bad", json!({})).await.unwrap_err();
        assert_eq!(failed.kind, ToolFailure::Malformed, "{kind}: {}", failed.message);
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{kind}: it waited for the limit"
        );
        echoes(&server).await;
    }
}

#[tokio::test]
async fn a_list_in_the_wrong_shape_is_an_error_and_so_is_one_without_an_end() {
    for (kind, says) in [
        ("bad_list", "no proper answer"),
        ("endless_list", "without an end"),
    ] {
        let error = bad(kind).tools().await.unwrap_err();
        assert_eq!(error.code, Code::Protocol, "{kind}: {error}");
        assert!(error.message.contains(says), "{kind}: {error}");
    }
}

#[tokio::test]
async fn a_message_without_measure_fails_its_call_and_is_never_held() {
    let server = bad("flood_line");
    echoes(&server).await;
    let before = peak_memory();
    let failed = call(&server, "bad", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::Malformed, "{}", failed.message);
    assert!(failed.message.contains("16 MiB"), "{}", failed.message);
    let grown = peak_memory() - before;
    assert!(grown < 50_000, "60 MB came, and {grown} kB were held");
    echoes(&server).await;
}

/// In kB. Tests of one program run at once: this one is the only one that grows by so much.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_flood_of_what_is_no_message_ends_the_server_and_the_next_call_works() {
    let server = bad("flood_garbage");
    let failed = call(&server, "bad", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::Malformed, "{}", failed.message);
    assert!(failed.message.contains("64 MiB"), "{}", failed.message);
    echoes(&server).await;
}

#[tokio::test]
async fn a_server_that_asks_and_reads_no_answer_is_ended() {
    let server = bad("flood_pings");
    let failed = call(&server, "bad", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::Malformed, "{}", failed.message);
    assert!(
        failed.message.contains("reads none of the answers"),
        "{}",
        failed.message
    );
}

#[tokio::test]
async fn a_flood_of_log_lines_is_thinned_and_the_call_gets_its_answer() {
    let server = bad("flood_notices");
    let seen = watched(&server);
    assert_eq!(text_of(&server, "bad", json!({})).await, "done");
    assert!(seen.all().len() < 300, "{}", seen.all().len());
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_limit_and_is_cancelled_at_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen");
    let server = bad_with("never", &file, json!({"tool_timeout": 0.5}));
    server.tools().await.unwrap();
    let failed = call(&server, "bad", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::Timeout);
    assert!(failed.message.contains("0.5 s"), "{}", failed.message);
    until("the server is told", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let called = text.lines().find_map(|line| line.strip_prefix("called "));
        called.is_some_and(|id| text.contains(&format!("cancelled {id}")))
    })
    .await;
    echoes(&server).await;
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled_at_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen");
    let server = bad_with("never", &file, json!({}));
    server.tools().await.unwrap();
    {
        let mut waiting = server.call(invocation("bad", json!({})));
        let called = until("the call arrives", || {
            std::fs::read_to_string(&file).is_ok_and(|text| text.contains("called"))
        });
        tokio::select! {
            outcome = &mut waiting => panic!("it answered: {outcome:?}"),
            () = called => {}
        }
    }
    until("the server is told", || {
        std::fs::read_to_string(&file).unwrap().contains("cancelled")
    })
    .await;
    echoes(&server).await;
}

#[tokio::test]
async fn a_failure_of_the_tool_and_an_error_of_the_protocol_are_told_apart() {
    let output = call(&bad("fails"), "bad", json!({})).await.unwrap();
    assert!(output.is_error);
    assert_eq!(output.content.text(), "it did not work");
    let failed = call(&bad("refuses"), "bad", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::Failed);
    assert!(
        failed.message.contains("something inside broke"),
        "{}",
        failed.message
    );
    let failed = call(&bad("good"), "no_such_tool", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::InvalidArguments);
}

// ------------------------------------------------------------------------------------ what it tells and asks

#[tokio::test]
async fn progress_comes_whole_in_order_and_before_the_result() {
    let server = bad("progress");
    let (sink, seen) = progress();
    let output = server
        .call(invocation_with("bad", json!({}), sink))
        .await
        .unwrap();
    assert_eq!(output.content.text(), "done");
    let seen = seen.lock().unwrap();
    let steps: Vec<f64> = seen.iter().map(|step| step.progress).collect();
    assert_eq!(steps, (1..=100).map(f64::from).collect::<Vec<_>>());
    assert_eq!(seen[0].total, Some(100.0));
    assert_eq!(seen[0].message.as_deref(), Some("step 1"));
}

#[tokio::test]
async fn what_is_not_supported_is_refused_a_ping_is_answered_and_the_connection_lives_on() {
    let server = bad("asks");
    let answers: Value = serde_json::from_str(&text_of(&server, "bad", json!({})).await).unwrap();
    for method in [
        "sampling/createMessage",
        "roots/list",
        "elicitation/create",
        "no/such/method",
    ] {
        assert_eq!(answers[method]["error"]["code"], -32601, "{method}: {answers}");
    }
    assert_eq!(answers["ping"]["result"], json!({}), "{answers}");
    echoes(&server).await;
}

#[tokio::test]
async fn a_log_line_of_the_server_is_a_notice() {
    let server = bad("logs");
    let mut seen = watched(&server);
    call(&server, "bad", json!({})).await.unwrap();
    let level = seen.find(|notice| match notice {
        Notice::Log(level, text) if text == "disk: nearly full" => Some(*level),
        _ => None,
    });
    assert_eq!(level.await, LogLevel::Warning);
}

// ------------------------------------------------------------------------------------------------- its lists

#[tokio::test]
async fn a_changed_list_is_read_again_and_told() {
    let server = bad("changes");
    let mut seen = watched(&server);
    let names =
        |tools: Vec<omni_agent::ToolSpec>| tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>();
    assert_eq!(
        names(server.tools().await.unwrap()),
        ["s__echo", "s__bad", "s__env"]
    );
    call(&server, "bad", json!({"name": "later"})).await.unwrap();
    let told = seen.find(|notice| match notice {
        Notice::ToolsChanged(names) => Some(names.clone()),
        _ => None,
    });
    assert_eq!(told.await, ["echo", "bad", "env", "later"]);
    assert_eq!(
        names(server.tools().await.unwrap()),
        ["s__echo", "s__bad", "s__env", "s__later"]
    );
}

#[tokio::test]
async fn a_list_is_kept_for_its_time_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    for (ttl, asked) in [(json!({"tools_ttl": 1000}), 1), (json!({"tools_ttl": 0}), 3)] {
        let file = folder.path().join(format!("asked{asked}"));
        let server = bad_with("static", &file, ttl);
        for _ in 0..2 {
            server.tools().await.unwrap();
        }
        // The start reads it too.
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), asked);
    }
    // A server that says when its list changes is believed until then.
    let file = folder.path().join("told");
    let server = bad_with("changes", &file, json!({}));
    for _ in 0..3 {
        server.tools().await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn every_page_of_a_list_is_read() {
    let server = bad("pages");
    let tools = server.tools().await.unwrap();
    assert_eq!(
        tools
            .iter()
            .map(|tool| tool.own_name.as_str())
            .collect::<Vec<_>>(),
        ["tool0", "tool1", "tool2", "tool3", "tool4"]
    );
    assert_eq!(server.resources().await.unwrap().len(), 5);
    assert_eq!(server.prompts().await.unwrap()[4].name, "p4");
}

#[tokio::test]
async fn only_enabled_tools_are_offered_and_may_be_called() {
    let server = bad_with("good", "".as_ref(), json!({"enabled_tools": ["echo", "ecco"]}));
    let mut seen = watched(&server);
    let tools = server.tools().await.unwrap();
    assert_eq!(
        tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(),
        ["s__echo"]
    );
    assert!(seen.log("\"ecco\"").await.contains("\"echo\""));
    let failed = call(&server, "env", json!({})).await.unwrap_err();
    assert_eq!(failed.kind, ToolFailure::Unknown);
}

#[tokio::test]
async fn a_tool_that_is_listed_twice_counts_once_and_a_server_may_have_none() {
    let server = bad("twice");
    let mut seen = watched(&server);
    assert_eq!(server.tools().await.unwrap().len(), 1);
    seen.log("twice").await;
    assert_eq!(bad("no_tools").tools().await.unwrap(), []);
}

#[tokio::test]
async fn a_tool_is_offered_with_its_schema_and_what_it_says_of_itself() {
    let tools = bad("good").tools().await.unwrap();
    let echo = &tools[0];
    assert!(echo.read_only && !tools[1].read_only);
    assert_eq!(echo.server, "s");
    assert_eq!(
        serde_json::to_value(&echo.tool).unwrap(),
        json!({"type": "function", "function": {
            "name": "s__echo",
            "description": "Says it again.",
            "parameters": {"type": "object", "properties": {}},
        }})
    );
}
