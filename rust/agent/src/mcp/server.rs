//! One MCP server: started when it is first wanted, started again when it ends (`life`), its list of tools kept.

mod life;

use super::McpOptions;
use super::connection::{Connection, Trouble};
use super::content;
use super::names;
use super::notices::Notices;
use crate::config::ServerConfig;
use crate::protocol::{LogLevel, ToolFailure};
use crate::tool::{Invocation, NoticeSink, ToolError, ToolOutput, ToolSource, ToolSpec};
use omni_core::{BoxFuture, Code, Error, Object, Result, Tool, near_match};
use rmcp::model::{CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ServerResult};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Seconds that a server may take to start and to list its tools.
const STARTUP: f64 = 30.0;
/// Seconds that a list of tools is believed, of a server that does not say when it changes.
const TTL: f64 = 300.0;
/// How long it is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// An MCP server.
///
/// It is started by the first call of `tools` or `call`, and ended by `close` or when it is dropped. It must be used
/// within one tokio runtime.
pub struct McpServer {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) name: String,
    config: ServerConfig,
    options: McpOptions,
    notices: Arc<Notices>,
    status: watch::Sender<Status>,
    /// Somebody wants it.
    wanted: Notify,
    closed: CancellationToken,
    /// The task that starts and restarts it has ended, and with it everything that it started.
    done: CancellationToken,
    supervised: Mutex<bool>,
    /// Programs that run, or are being ended.
    programs: TaskTracker,
    list: Mutex<Option<List>>,
    listing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
enum Status {
    /// Nobody has wanted it.
    Idle,
    /// It starts for the first time, or again after it ran.
    Starting,
    Up(Arc<Connection>),
    /// It does not start.
    Down {
        error: Error,
        since: Instant,
        again: bool,
    },
    Closed,
}

/// The tools of a connection.
struct List {
    specs: Vec<ToolSpec>,
    read: Instant,
    /// It is believed until the server says that it changed.
    until_told: bool,
    stale: bool,
}

impl McpServer {
    /// The server `name` of a configuration.
    pub fn new(name: impl Into<String>, config: ServerConfig, options: McpOptions) -> Self {
        let name = name.into();
        let notices = Arc::new(Notices::new(&name));
        let shared = Shared {
            name,
            config,
            options,
            notices,
            status: watch::channel(Status::Idle).0,
            wanted: Notify::new(),
            closed: CancellationToken::new(),
            done: CancellationToken::new(),
            supervised: Mutex::new(false),
            programs: TaskTracker::new(),
            list: Mutex::new(None),
            listing: tokio::sync::Mutex::new(()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What the server says how it is to be used, where it says so. Starts it if it must.
    pub async fn instructions(&self) -> Result<Option<String>> {
        let connection = self.connection().await?;
        Ok(connection.info().and_then(|info| info.instructions.clone()))
    }

    /// The version of the protocol that both speak. Starts it if it must.
    pub async fn protocol_version(&self) -> Result<String> {
        let connection = self.connection().await?;
        let version = connection.info().map(|info| info.protocol_version.to_string());
        Ok(version.unwrap_or_default())
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A connection that works.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>> {
        Shared::connection(&self.shared).await
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

impl std::fmt::Debug for McpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpServer")
            .field("name", &self.shared.name)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl ToolSource for McpServer {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn tools(&self) -> BoxFuture<'_, Result<Vec<ToolSpec>>> {
        Box::pin(self.shared.tools())
    }

    fn call(&self, invocation: Invocation) -> BoxFuture<'_, std::result::Result<ToolOutput, ToolError>> {
        Box::pin(self.shared.call(invocation))
    }

    fn watch(&self, sink: NoticeSink) {
        self.shared.notices.watch(sink);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.closed.cancel();
            if *self.shared.supervised() {
                self.shared.done.cancelled().await;
            }
        })
    }
}

fn seconds(value: Option<f64>, default: f64) -> Duration {
    Duration::try_from_secs_f64(value.unwrap_or(default)).unwrap_or(Duration::MAX)
}

impl Shared {
    fn startup(&self) -> Duration {
        seconds(self.config.startup_timeout, STARTUP)
    }

    pub(super) fn tool_timeout(&self) -> Duration {
        seconds(self.config.tool_timeout, self.options.tool_timeout.as_secs_f64())
    }

    fn supervised(&self) -> MutexGuard<'_, bool> {
        self.supervised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> MutexGuard<'_, Option<List>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed_error(&self) -> Error {
        Error::new(
            Code::Cancelled,
            format!("the MCP server \"{}\" was closed", self.name),
        )
    }

    /// Waits for a connection that works, and wants one.
    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>> {
        if let Status::Up(connection) = &*self.status.borrow()
            && !connection.is_over()
        {
            return Ok(Arc::clone(connection));
        }
        if self.closed.is_cancelled() {
            return Err(self.closed_error());
        }
        let mut status = self.status.subscribe();
        {
            let mut supervised = self.supervised();
            if !*supervised {
                *supervised = true;
                self.status.send_replace(Status::Starting);
                tokio::spawn(Arc::clone(self).supervise());
            }
        }
        let left_alone = self.status.send_if_modified(|status| match status {
            Status::Down { since, again, .. } if !*again && since.elapsed() >= LEFT_ALONE => {
                *status = Status::Starting;
                true
            }
            _ => false,
        });
        if left_alone {
            self.wanted.notify_one();
        }
        let found = status
            .wait_for(|status| match status {
                Status::Up(connection) => !connection.is_over(),
                Status::Down { .. } | Status::Closed => true,
                Status::Idle | Status::Starting => false,
            })
            .await;
        match found.as_deref() {
            Ok(Status::Up(connection)) => Ok(Arc::clone(connection)),
            Ok(Status::Down { error, .. }) => Err(error.clone()),
            _ => Err(self.closed_error()),
        }
    }

    // ------------------------------------------------------------------------------------------- its tools

    fn forget_list(&self) {
        *self.list() = None;
    }

    fn own_names(&self) -> Vec<String> {
        let list = self.list();
        let specs = list.iter().flat_map(|list| &list.specs);
        specs.map(|spec| spec.own_name.clone()).collect()
    }

    fn kept(&self) -> Option<Vec<ToolSpec>> {
        let list = self.list();
        let list = list.as_ref().filter(|list| !list.stale)?;
        let fresh = list.until_told || list.read.elapsed() < seconds(self.config.tools_ttl, TTL);
        fresh.then(|| list.specs.clone())
    }

    async fn tools(self: &Arc<Self>) -> Result<Vec<ToolSpec>> {
        let connection = self.connection().await?;
        if let Some(specs) = self.kept() {
            return Ok(specs);
        }
        tokio::time::timeout(self.startup(), self.read_list(&connection))
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    Code::Timeout,
                    format!("the MCP server \"{}\" does not list its tools", self.name),
                ))
            })
    }

    /// Reads the list, unless somebody just did.
    async fn read_list(&self, connection: &Connection) -> Result<Vec<ToolSpec>> {
        let _one_at_a_time = self.listing.lock().await;
        if let Some(specs) = self.kept() {
            return Ok(specs);
        }
        let tools = if connection
            .info()
            .is_some_and(|info| info.capabilities.tools.is_some())
        {
            connection.list_tools(&self.name).await?
        } else {
            Vec::new()
        };
        let specs = self.specs(tools);
        *self.list() = Some(List {
            specs: specs.clone(),
            read: Instant::now(),
            until_told: self.config.tools_ttl.is_none() && connection.says_changes(),
            stale: false,
        });
        Ok(specs)
    }

    fn specs(&self, tools: Vec<rmcp::model::Tool>) -> Vec<ToolSpec> {
        let mut seen = HashSet::new();
        let mut kept: Vec<rmcp::model::Tool> = Vec::with_capacity(tools.len());
        for tool in tools {
            if !seen.insert(tool.name.to_string()) {
                self.notices.log(
                    LogLevel::Warning,
                    &format!(
                        "it lists the tool \"{}\" twice: the second is left out",
                        tool.name
                    ),
                );
            } else if self.enabled(&tool.name) {
                kept.push(tool);
            }
        }
        for name in self.config.enabled_tools.iter().flatten() {
            if !seen.contains(name) {
                let near = near_match(name, seen.iter().map(String::as_str));
                let near = near.map(|near| format!("; did you mean \"{near}\"?"));
                self.notices.log(
                    LogLevel::Warning,
                    &format!(
                        "enabled_tools names \"{name}\", which it does not have{}",
                        near.unwrap_or_default()
                    ),
                );
            }
        }
        let own: Vec<String> = kept.iter().map(|tool| tool.name.to_string()).collect();
        let offered = names::offered(&self.name, &own);
        kept.into_iter()
            .zip(offered)
            .map(|(tool, name)| self.spec(tool, name))
            .collect()
    }

    fn enabled(&self, tool: &str) -> bool {
        let enabled = self.config.enabled_tools.as_ref();
        enabled.is_none_or(|enabled| enabled.iter().any(|name| name == tool))
    }

    fn spec(&self, tool: rmcp::model::Tool, name: String) -> ToolSpec {
        let mut parameters = Arc::unwrap_or_clone(tool.input_schema);
        // Some servers leave out of a tool without arguments what every provider wants.
        parameters.entry("type").or_insert_with(|| json!("object"));
        parameters.entry("properties").or_insert_with(|| json!({}));
        let mut function = Object::new();
        function.insert("name".to_owned(), Value::String(name.clone()));
        if let Some(description) = tool.description.or(tool.title.map(Into::into)) {
            function.insert("description".to_owned(), Value::String(description.into_owned()));
        }
        function.insert("parameters".to_owned(), Value::Object(parameters));
        ToolSpec {
            name,
            own_name: tool.name.into_owned(),
            server: self.name.clone(),
            tool: Tool::Function {
                function,
                other: Object::new(),
            },
            read_only: tool.annotations.and_then(|hints| hints.read_only_hint) == Some(true),
        }
    }

    // -------------------------------------------------------------------------------------------- its calls

    async fn call(self: &Arc<Self>, invocation: Invocation) -> std::result::Result<ToolOutput, ToolError> {
        if !self.enabled(&invocation.own_name) {
            return Err(ToolError::new(
                ToolFailure::Unknown,
                format!(
                    "the tool \"{}\" of the MCP server \"{}\" is not enabled",
                    invocation.own_name, self.name
                ),
            ));
        }
        let limit = self.tool_timeout();
        match tokio::time::timeout(limit, self.call_without_limit(invocation)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ToolError::new(
                ToolFailure::Timeout,
                format!(
                    "the MCP server \"{}\" gave no answer in {} s; the call was cancelled",
                    self.name,
                    limit.as_secs_f64()
                ),
            )),
        }
    }

    async fn call_without_limit(
        self: &Arc<Self>,
        invocation: Invocation,
    ) -> std::result::Result<ToolOutput, ToolError> {
        let connection = self
            .connection()
            .await
            .map_err(|error| ToolError::new(ToolFailure::ServerGone, self.notices.hide(&error.message)))?;
        let params = CallToolRequestParams::new(invocation.own_name).with_arguments(invocation.arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let answer = connection.ask(request, Some(invocation.progress)).await;
        let result = match answer {
            Ok(ServerResult::CallToolResult(result)) => result,
            // A result without content.
            Ok(ServerResult::EmptyResult(_) | ServerResult::TaskAckResult(_)) => CallToolResult::default(),
            Ok(ServerResult::InputRequiredResult(_)) => {
                return Err(self.failed_call(Trouble::Other(
                    "the tool asks the user for more, which is not supported here".to_owned(),
                )));
            }
            Ok(_) => {
                return Err(self.failed_call(Trouble::Malformed("its answer is no tool result".to_owned())));
            }
            Err(trouble) => return Err(self.failed_call(trouble)),
        };
        content::output(result).map_err(|why| self.failed_call(Trouble::Malformed(why)))
    }

    fn failed_call(&self, trouble: Trouble) -> ToolError {
        let mut error = trouble.of_tool(&self.name);
        error.message = self.notices.hide(&error.message);
        error
    }
}
