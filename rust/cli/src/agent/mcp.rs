//! `omni mcp`.

use crate::agent::args::{Mcp, McpCommand};
use crate::agent::setup;
use crate::exit::{DONE, Failure, exit_code};
use crate::output::Output;
use omni_agent::{AgentConfig, McpOptions, McpServers};
use omni_core::Code;
use serde_json::json;
use std::time::Instant;

pub(crate) async fn run(mcp: Mcp) -> Result<i32, Failure> {
    let mut config = match &mcp.setup.config {
        Some(path) => setup::config_file(path)?,
        None => AgentConfig::default(),
    };
    config.mcp_servers.extend(setup::servers(&mcp.mcp)?);
    if config.mcp_servers.is_empty() {
        let message = "no servers: name a file with --mcp servers.json, {\"mcpServers\": {…}}, or a configuration \
                       with --config agent.toml";
        return Err(Failure::Usage(message.to_owned()));
    }
    match mcp.command {
        McpCommand::List { json } => list(&config, json),
        McpCommand::Check { json } => check(config, json).await,
    }
}

fn list(config: &AgentConfig, json: bool) -> Result<i32, Failure> {
    let mut output = Output::stdout();
    let mut all = Vec::new();
    for (name, server) in &config.mcp_servers {
        let kind = if server.is_http() { "http" } else { "stdio" };
        let command = server.command.as_deref().unwrap_or_default();
        let place = server
            .url
            .as_deref()
            .map_or_else(|| command.to_owned(), without_secrets);
        if json {
            // Arguments, variables and headers may hold secrets: only the place is told.
            all.push(json!({"name": name, "type": kind, "place": place, "disabled": server.disabled}));
        } else {
            let state = if server.disabled { "  (disabled)" } else { "" };
            output.text(&format!("{name}  {kind}  {place}{state}\n"));
        }
    }
    if json {
        output.json(&all, false);
    }
    output.flush()?;
    Ok(DONE)
}

/// An address without its query and its user: both may be keys.
fn without_secrets(url: &str) -> String {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = place.split_once("://") else {
        return place.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Starts all of them at once, and tells each. What is wrong with a configuration is told of its server alone.
async fn check(mut config: AgentConfig, json: bool) -> Result<i32, Failure> {
    let mut wrong = Vec::new();
    config.mcp_servers.retain(|name, server| {
        let refused = server.check(name).err();
        let fits = refused.is_none();
        wrong.extend(refused.map(|error| (name.clone(), Err(error), 0)));
        fits
    });
    let config = &config;
    let servers = McpServers::of_agent(config, McpOptions::default());
    let mut output = Output::stdout();
    let mut failed = false;
    let mut all = Vec::new();
    let begun = Instant::now();
    let sources = servers.sources();
    let asked = sources.iter().map(|source| async move {
        let tools = source.tools().await;
        (source.name().to_owned(), tools, begun.elapsed().as_millis())
    });
    let found = tokio::select! {
        found = futures_util::future::join_all(asked) => found,
        _ = tokio::signal::ctrl_c() => {
            servers.close().await;
            return Err(Failure::Interrupted);
        }
    };
    for (name, tools, ms) in wrong.into_iter().chain(found) {
        match tools {
            Ok(tools) if json => {
                let names: Vec<&str> = tools.iter().map(|tool| tool.own_name.as_str()).collect();
                all.push(json!({"name": name, "ok": true, "tools": names, "duration_ms": ms}));
            }
            Ok(tools) => {
                output.text(&format!("✓ {name}: {} tools in {ms} ms\n", tools.len()));
                for tool in &tools {
                    output.text(&format!("    {}\n", tool.name));
                }
            }
            Err(error) => {
                failed = true;
                if json {
                    all.push(json!({"name": name, "ok": false, "error": error, "duration_ms": ms}));
                } else {
                    output.text(&format!("✗ {name}: {}\n", error.message));
                }
            }
        }
    }
    if json {
        output.json(&all, false);
    }
    output.flush()?;
    servers.close().await;
    Ok(if failed { exit_code(Code::Connection) } else { DONE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_without_what_may_be_a_key() {
        for (url, told) in [
            ("https://mcp.example/a?key=sk-secret", "https://mcp.example/a"),
            (
                "http://me:sk-secret@mcp.example:8/a/b#sk-secret",
                "http://mcp.example:8/a/b",
            ),
            ("https://sk-secret@mcp.example", "https://mcp.example"),
            ("no address", "no address"),
        ] {
            assert_eq!(without_secrets(url), told);
        }
    }
}
