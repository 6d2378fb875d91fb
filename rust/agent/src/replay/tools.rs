//! Tools that answer as the log says.

use super::recording::Recording;
use super::rerun::Pacer;
use crate::protocol::ToolFailure;
use crate::tool::{Invocation, NoticeSink, ToolError, ToolOutput, ToolSource, ToolSpec};
use omni_core::{BoxFuture, Error, Object, Tool};
use serde_json::{Value, json};
use std::sync::Arc;

/// The tools of one server as a log knows them: those that were called, with the results that they gave. A result comes
/// when it came, counted in events.
pub struct RecordedTools {
    recording: Arc<Recording>,
    server: String,
    pacer: Option<Pacer>,
}

impl RecordedTools {
    /// The sources of a log, one for each server. Alone, without [`super::test_run`], results come at once.
    pub fn of(recording: &Arc<Recording>) -> Vec<Self> {
        Self::paced(recording, None)
    }

    pub(super) fn paced(recording: &Arc<Recording>, pacer: Option<&Pacer>) -> Vec<Self> {
        let servers = recording.tools.keys();
        let source = |server: &String| Self {
            recording: Arc::clone(recording),
            server: server.clone(),
            pacer: pacer.cloned(),
        };
        servers.map(source).collect()
    }
}

impl ToolSource for RecordedTools {
    fn name(&self) -> &str {
        &self.server
    }

    fn tools(&self) -> BoxFuture<'_, Result<Vec<ToolSpec>, Error>> {
        let tools = self.recording.tools.get(&self.server);
        let specs = tools.into_iter().flatten().map(|tool| {
            let mut function = Object::new();
            function.insert("name".to_owned(), Value::String(tool.name.clone()));
            function.insert("parameters".to_owned(), json!({"type": "object"}));
            ToolSpec {
                name: tool.name.clone(),
                own_name: tool.name.clone(),
                server: self.server.clone(),
                tool: Tool::Function {
                    function,
                    other: Object::new(),
                },
                // What ran without being asked for was only read, as far as a policy can tell.
                read_only: tool.unasked,
            }
        });
        let specs = specs.collect();
        Box::pin(async { Ok(specs) })
    }

    fn call(&self, invocation: Invocation) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let call = self.recording.calls.get(&invocation.call_id);
            let Some(call) = call.filter(|call| call.name == invocation.own_name) else {
                return Err(ToolError::new(
                    ToolFailure::Failed,
                    format!(
                        "the log has no result of {} as call {}: the loop calls something else than it did",
                        invocation.own_name, invocation.call_id
                    ),
                ));
            };
            let Some(result) = &call.result else {
                return std::future::pending().await;
            };
            if let Some(pacer) = &self.pacer {
                pacer.reach(call.at).await;
            }
            result.clone()
        })
    }

    fn watch(&self, _: NoticeSink) {}

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl std::fmt::Debug for RecordedTools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedTools")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
