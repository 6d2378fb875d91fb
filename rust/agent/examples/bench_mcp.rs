//! What a tool round costs: a call through `McpServer` beside the same call made with rmcp directly, to a server of the
//! same program over stdio, in turns. One JSON record a line: {name, value, unit, baseline, ratio}.
//!
//!     bench_mcp [CALLS]
//!
//! `echo` is this program itself as a server (it answers in microseconds, so that what is ours shows); `python` is the
//! small server of the tests; `time` is `mcp-server-time`, if `tools/mcp_servers.sh` has installed it.

use omni_agent::{Invocation, McpOptions, McpServer, ProgressSink, ServerConfig, ToolSource};
use omni_core::{Error, Object, Result};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Calls of one side before it is the other's turn: what the machine does meanwhile meets both.
const TURN: usize = 50;

fn main() -> std::process::ExitCode {
    let first = std::env::args().nth(1);
    let outcome = if first.as_deref() == Some("--serve") {
        serve().map_err(|error| Error::internal(error.to_string()))
    } else {
        let calls = first.and_then(|calls| calls.parse().ok()).unwrap_or(2000);
        tokio::runtime::Runtime::new()
            .map_err(|error| Error::internal(error.to_string()))
            .and_then(|runtime| runtime.block_on(bench(calls)))
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// The fastest server there is: a line in, a line out.
fn serve() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        let Some(id) = message.get("id") else { continue };
        let result = match message["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "echo", "version": "1"},
            }),
            Some("tools/list") => json!({"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}),
            _ => json!({"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]}),
        };
        let mut answer = serde_json::to_vec(&json!({"jsonrpc": "2.0", "id": id, "result": result}))?;
        answer.push(b'\n');
        out.write_all(&answer)?;
        out.flush()?;
    }
    Ok(())
}

struct Case {
    name: &'static str,
    command: String,
    args: Vec<String>,
    tool: &'static str,
    arguments: Object,
}

fn cases() -> Result<Vec<Case>> {
    let text = |value: Value| value.as_object().cloned().unwrap_or_default();
    let own = std::env::current_exe().map_err(|error| Error::internal(error.to_string()))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let say = text(json!({"text": "a line of text, as long as a short answer of a tool is"}));
    let mut cases = vec![
        Case {
            name: "echo",
            command: own.to_string_lossy().into_owned(),
            args: vec!["--serve".to_owned()],
            tool: "echo",
            arguments: say.clone(),
        },
        Case {
            name: "python",
            command: std::env::var("OMNI_BRIDGE_PYTHON").unwrap_or_else(|_| "python3".to_owned()),
            args: vec![
                root.join("tests/mcp_servers/bad.py")
                    .to_string_lossy()
                    .into_owned(),
            ],
            tool: "echo",
            arguments: say,
        },
    ];
    let time = root.join(".tools/mcp/venv/bin/mcp-server-time");
    if time.exists() {
        cases.push(Case {
            name: "time",
            command: time.to_string_lossy().into_owned(),
            args: Vec::new(),
            tool: "get_current_time",
            arguments: text(json!({"timezone": "Etc/UTC"})),
        });
    }
    Ok(cases)
}

async fn bench(calls: usize) -> Result<()> {
    for case in cases()? {
        let (ours, direct) = both(&case, calls).await?;
        for (label, share) in [("p50", 0.5), ("p95", 0.95)] {
            let (value, baseline) = (micros(&ours, share), micros(&direct, share));
            let record = json!({
                "name": format!("agent.mcp.round.{}.{label}", case.name),
                "value": value,
                "unit": "µs",
                "baseline": baseline,
                "ratio": value / baseline,
            });
            println!("{record}");
        }
    }
    Ok(())
}

/// Microseconds at a share of the sorted times.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a short list"
)]
fn micros(times: &[Duration], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = ((times.len() as f64 - 1.0) * share) as usize;
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

async fn both(case: &Case, calls: usize) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let failed = |what: &str, error: String| Error::internal(format!("{}: {what}: {error}", case.name));
    let config: ServerConfig = serde_json::from_value(json!({"command": case.command, "args": case.args}))
        .map_err(|error| Error::internal(error.to_string()))?;
    let server = McpServer::new("bench", config, McpOptions::default());
    server.tools().await?;

    let mut child = tokio::process::Command::new(&case.command)
        .args(&case.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed("start", error.to_string()))?;
    let (Some(stdout), Some(stdin)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(Error::internal("a child without its pipes"));
    };
    let client = ().serve((stdout, stdin)).await;
    let client = client.map_err(|error| failed("handshake", error.to_string()))?;

    // Both must answer the same before it counts what they cost.
    let ours = server
        .call(invocation(case))
        .await
        .map_err(|error| failed("call", error.message))?;
    let direct = client
        .call_tool(CallToolRequestParams::new(case.tool).with_arguments(case.arguments.clone()))
        .await
        .map_err(|error| failed("direct call", error.to_string()))?;
    let direct = direct
        .content
        .first()
        .and_then(|block| block.as_text().map(|text| text.text.clone()));
    if case.name != "time" && direct.as_deref() != Some(&ours.content.text()) {
        return Err(failed("answers", "the two sides differ".to_owned()));
    }

    let (mut ours, mut direct) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    for turn in 0..calls.div_ceil(TURN) + 2 {
        // The first turns warm both up.
        let counts = turn >= 2;
        for _ in 0..TURN {
            let call = invocation(case);
            let begun = Instant::now();
            let answer = server.call(call).await;
            if counts {
                ours.push(begun.elapsed());
            }
            answer.map_err(|error| failed("call", error.message))?;
        }
        for _ in 0..TURN {
            let params = CallToolRequestParams::new(case.tool).with_arguments(case.arguments.clone());
            let begun = Instant::now();
            let answer = client.call_tool(params).await;
            if counts {
                direct.push(begun.elapsed());
            }
            answer.map_err(|error| failed("direct call", error.to_string()))?;
        }
    }
    server.close().await;
    // It ends with its input; what it says last is of no interest.
    let _ = client.cancel().await;
    Ok((ours, direct))
}

fn invocation(case: &Case) -> Invocation {
    Invocation {
        own_name: case.tool.to_owned(),
        arguments: case.arguments.clone(),
        session_id: String::new(),
        call_id: "bench".to_owned(),
        progress: ProgressSink::new(|_| ()),
    }
}
