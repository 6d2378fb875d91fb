//! The client that the protocol's public conformance suite drives (`tools/mcp_conformance.sh`): it connects to the
//! server that it is given, calls every tool, and ends. The suite looks at what the server saw.
//!
//!     mcp_conformance URL          MCP_CONFORMANCE_SCENARIO and MCP_CONFORMANCE_CONTEXT say what is tested

use omni_agent::{
    Invocation, McpOptions, McpServer, Notice, ProgressSink, ServerConfig, ToolFailure, ToolSource,
};
use omni_core::{Error, Object, Result};
use serde_json::{Value, json};
use std::sync::Arc;

/// A client's description that the suite knows (it is never fetched).
const CLIENT_METADATA: &str = "https://conformance-test.local/client-metadata.json";
/// Calls of one tool: one that is told to get more authorization is made again.
const TRIES: usize = 4;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let url = std::env::args().nth(1);
    let url = url.ok_or_else(|| Error::invalid("usage: mcp_conformance URL"))?;
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    let config = json!({"type": "http", "url": url, "oauth": oauth(&scenario, &context)});
    let config: ServerConfig =
        serde_json::from_value(config).map_err(|error| Error::invalid(error.to_string()))?;
    let options = McpOptions {
        open_url: Some(Arc::new(|_, url| {
            // Who is asked says yes: the page redirects at once.
            let url = url.to_owned();
            tokio::spawn(async move { reqwest::get(url).await.map(drop) });
        })),
        ..McpOptions::default()
    };
    let server = McpServer::new("conformance", config, options);
    server.watch(Arc::new(|_, notice| {
        if let Notice::Failed { error, .. } = notice {
            eprintln!("failed: {error}");
        }
    }));
    for tool in server.tools().await? {
        for _ in 0..TRIES {
            let outcome = server.call(invocation(&tool.own_name)).await;
            eprintln!("{}: {outcome:?}", tool.own_name);
            match outcome {
                Err(error) if matches!(error.kind, ToolFailure::Failed | ToolFailure::ServerGone) => {}
                _ => break,
            }
        }
    }
    server.close().await;
    Ok(())
}

/// What a person would write under `oauth` for the scenario.
fn oauth(scenario: &str, context: &Value) -> Value {
    let known = json!({"client_id": context["client_id"], "client_secret": context["client_secret"]});
    match scenario {
        "auth/basic-cimd" => json!({"client_metadata_url": CLIENT_METADATA}),
        "auth/pre-registration" => known,
        "auth/client-credentials-basic" => {
            let mut known = known;
            known["grant"] = json!("client_credentials");
            known
        }
        _ => json!({}),
    }
}

fn invocation(tool: &str) -> Invocation {
    let mut arguments = Object::new();
    if tool == "add_numbers" {
        arguments.insert("a".to_owned(), json!(5));
        arguments.insert("b".to_owned(), json!(3));
    }
    Invocation {
        own_name: tool.to_owned(),
        arguments,
        session_id: String::new(),
        call_id: "conformance".to_owned(),
        progress: ProgressSink::new(|_| ()),
    }
}
