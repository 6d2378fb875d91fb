//! The header `anthropic-beta`: only what a feature of the request still needs, as data.

use super::messages::Conversation;
use super::model::{Ability, Thinking};
use super::tools::WireTool;
use super::wire::{Block, Body, Said, Source};
use crate::value::{says_something, text};
use omni_core::{Object, Request};
use serde_json::Value;

const FILES: &str = "files-api-2025-04-14";
const ADVANCED_TOOLS: &str = "advanced-tool-use-2025-11-20";
const CONTEXT: &str = "context-management-2025-06-27";
const TOOL_CHANGES: &str = "mid-conversation-tool-changes-2026-07-01";
const COMPACTION: &str = "compact-2026-09-04";

/// By the start of a tool's type.
const TOOLS: &[(&str, &str)] = &[
    ("computer_20241022", "computer-use-2024-10-22"),
    ("computer_20250124", "computer-use-2025-01-24"),
    ("computer_20251124", "computer-use-2025-11-24"),
    ("code_execution_20250522", "code-execution-2025-05-22"),
    ("code_execution_20250825", "code-execution-2025-08-25"),
    ("web_fetch_20250910", "web-fetch-2025-09-10"),
    ("memory_", CONTEXT),
    ("advisor_20260301", "advisor-tool-2026-03-01"),
    ("tool_search_tool_", ADVANCED_TOOLS),
    ("mcp_toolset", "mcp-client-2025-11-20"),
];

/// Models before adaptive thinking take an effort only with it.
const EFFORT: &str = "effort-2025-11-24";
/// An output configuration of one message.
const MESSAGE_CONFIG: &str = "mid-conversation-output-config-2026-07-01";

/// By what stands in `provider_options`.
type Test = fn(&Object) -> bool;
const OPTIONS: &[(&str, Test)] = &[
    ("mcp-client-2025-04-04", |options| says(options, "mcp_servers")),
    ("skills-2025-10-02", |options| {
        options
            .get("container")
            .is_some_and(|container| container.get("skills").is_some_and(says_something))
    }),
    ("task-budgets-2026-03-13", |options| {
        inner(options, "output_config", "task_budget").is_some()
    }),
    ("server-side-fallback-2026-07-01", |options| {
        says(options, "fallbacks")
    }),
    ("thinking-display-updates-2026-08-18", |options| {
        text(inner(options, "thinking", "display")) == "updates"
    }),
    ("fast-mode-2026-02-01", |options| {
        text(options.get("speed")) == "fast"
    }),
    ("structured-outputs-2025-11-13", |options| {
        says(options, "output_format")
    }),
    (COMPACTION, |options| says(options, "compaction")),
    ("compact-2026-01-12", |options| {
        edits(options).any(|edit| edit == "compact_20260112")
    }),
    (CONTEXT, |options| {
        edits(options).any(|edit| edit != "compact_20260112")
    }),
];

fn says(options: &Object, key: &str) -> bool {
    options.get(key).is_some_and(says_something)
}

fn inner<'a>(options: &'a Object, key: &str, inner: &str) -> Option<&'a Value> {
    options.get(key)?.get(inner)
}

fn edits(options: &Object) -> impl Iterator<Item = &str> {
    let edits = options.get("context_management").and_then(|all| all.get("edits"));
    let edits = edits.and_then(Value::as_array).into_iter().flatten();
    edits.map(|edit| text(edit.get("type")))
}

#[derive(Default)]
struct Betas<'a>(Vec<&'a str>);

impl<'a> Betas<'a> {
    fn add(&mut self, beta: &'a str) {
        if !self.0.contains(&beta) {
            self.0.push(beta);
        }
    }

    fn blocks(&mut self, blocks: &[Block<'_>]) {
        for block in blocks {
            match &block.body {
                Body::Media {
                    source: Source::File(_),
                    ..
                }
                | Body::Upload { .. } => self.add(FILES),
                Body::ToolResult {
                    content: Said::Blocks(inner),
                    ..
                } => self.blocks(inner),
                _ => {}
            }
            let Some(wire) = block.wire() else { continue };
            match text(wire.get("type")) {
                "container_upload" => self.add(FILES),
                "tool_addition" | "tool_removal" => self.add(TOOL_CHANGES),
                "compaction" if !text(wire.get("signature")).is_empty() => self.add(COMPACTION),
                "document" | "image"
                    if wire.get("source").map(|source| text(source.get("type"))) == Some("file") =>
                {
                    self.add(FILES);
                }
                _ => {}
            }
        }
    }

    fn tool(&mut self, wire: &Object) {
        let kind = text(wire.get("type"));
        for (start, beta) in TOOLS {
            if kind.starts_with(start) {
                self.add(beta);
            }
        }
        let callers = wire.get("allowed_callers").is_some_and(says_something);
        if callers || wire.get("input_examples").is_some_and(says_something) {
            self.add(ADVANCED_TOOLS);
        }
    }
}

/// The value of the header, "" if nothing needs it. What the caller's own header names is in it: one header of that
/// name must say all.
pub(super) fn betas(
    request: &Request,
    conversation: &Conversation<'_>,
    tools: &[WireTool<'_>],
    options: Option<&Object>,
    ability: Ability,
) -> String {
    let mut betas = Betas::default();
    betas.blocks(&conversation.system);
    for turn in &conversation.turns {
        betas.blocks(&turn.blocks);
        if turn
            .extras
            .iter()
            .any(|extra| extra.get("output_config").is_some())
        {
            betas.add(MESSAGE_CONFIG);
        }
    }
    for wire in tools.iter().filter_map(WireTool::wire) {
        betas.tool(wire);
    }
    if let Some(options) = options {
        let given = options.get("tools").and_then(Value::as_array);
        for wire in given.into_iter().flatten().filter_map(Value::as_object) {
            betas.tool(wire);
        }
        for (beta, test) in OPTIONS {
            if test(options) {
                betas.add(beta);
            }
        }
    }
    let effort = options.and_then(|options| inner(options, "output_config", "effort"));
    if effort.is_some() && matches!(ability.thinking, Thinking::No | Thinking::Budget) {
        betas.add(EFFORT);
    }
    // The newer form of the same feature.
    if betas.0.contains(&"mcp-client-2025-11-20") {
        betas.0.retain(|beta| *beta != "mcp-client-2025-04-04");
    }
    for (name, value) in request.headers.iter().flatten() {
        if name.eq_ignore_ascii_case("anthropic-beta") {
            let named = text(Some(value)).split(',').map(str::trim);
            named
                .filter(|beta| !beta.is_empty())
                .for_each(|beta| betas.add(beta));
        }
    }
    betas.0.join(",")
}
