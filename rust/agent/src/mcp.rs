//! The MCP client, on the official SDK (rmcp): programs over stdio and addresses over streamable HTTP.
//!
//! What is ours is what an agent needs around the SDK: a server's program ends with everything that it started, a
//! server that ends is started again, a bad answer fails its own call at once, and nothing that a server sends is
//! without a bound.

mod catalogue;
mod connection;
mod content;
mod env;
mod http;
mod lines;
mod names;
mod notices;
mod oauth;
mod process;
mod server;
mod tap;

pub use catalogue::{Prompt, PromptArgument, Resource, ResourceBody, ResourceContent};
pub use oauth::{OpenUrl, TokenStore};
pub use server::McpServer;

use crate::config::{AgentConfig, ServerConfig};
use crate::tool::{NoticeSink, ToolSource, ToolSpec};
use futures_util::future::join_all;
use omni_core::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What servers need from their host.
#[derive(Clone)]
pub struct McpOptions {
    /// How long a call may take, unless a server's own `tool_timeout` says otherwise.
    pub tool_timeout: Duration,
    /// Opens the page on which a person authorises an HTTP server; without it such a server fails with a clear error.
    pub open_url: Option<OpenUrl>,
    /// Where tokens are kept; in memory without it.
    pub tokens: Option<Arc<dyn TokenStore>>,
}

impl Default for McpOptions {
    fn default() -> Self {
        Self {
            tool_timeout: Duration::from_secs(120),
            open_url: None,
            tokens: None,
        }
    }
}

impl std::fmt::Debug for McpOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpOptions")
            .field("tool_timeout", &self.tool_timeout)
            .field("open_url", &self.open_url.is_some())
            .field("tokens", &self.tokens.is_some())
            .finish()
    }
}

/// All MCP servers of an agent.
#[derive(Debug)]
pub struct McpServers {
    servers: Vec<Arc<McpServer>>,
}

impl McpServers {
    /// The servers of `configs` that are not disabled. None is started yet.
    pub fn new(configs: &BTreeMap<String, ServerConfig>, options: &McpOptions) -> Self {
        let servers = configs
            .iter()
            .filter(|(_, config)| !config.disabled)
            .map(|(name, config)| Arc::new(McpServer::new(name, config.clone(), options.clone())))
            .collect();
        Self { servers }
    }

    /// The servers of an agent, with its time limit for tools.
    pub fn of_agent(config: &AgentConfig, mut options: McpOptions) -> Self {
        if let Ok(limit) = Duration::try_from_secs_f64(config.timeouts.tool) {
            options.tool_timeout = limit;
        }
        Self::new(&config.mcp_servers, &options)
    }

    /// Starts all of them at once and waits until each has its tools, or an error. One that fails stops no other.
    pub async fn start(&self) -> Vec<(String, Result<Vec<ToolSpec>>)> {
        let started = self
            .servers
            .iter()
            .map(|server| async { (server.name().to_owned(), server.tools().await) });
        join_all(started).await
    }

    /// The servers, in the order of their names.
    pub fn servers(&self) -> &[Arc<McpServer>] {
        &self.servers
    }

    /// The server of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<McpServer>> {
        self.servers.iter().find(|server| server.name() == name)
    }

    /// The servers as sources of tools. No two of them have a tool of one name.
    pub fn sources(&self) -> Vec<Arc<dyn ToolSource>> {
        let sources = self
            .servers
            .iter()
            .map(|server| Arc::clone(server) as Arc<dyn ToolSource>);
        sources.collect()
    }

    /// Where the notices of all go from now on.
    pub fn watch(&self, sink: &NoticeSink) {
        for server in &self.servers {
            server.watch(Arc::clone(sink));
        }
    }

    /// Ends all of them at once, with everything that they started.
    pub async fn close(&self) {
        join_all(self.servers.iter().map(|server| server.close())).await;
    }
}
