//! A run as people read it: the answer on standard output, what the tools do and what it cost on standard error.

use crate::output::{self, Output};
use omni_agent::{AgentEvent, ChunkKind, LogLevel, Payload, StoppedBy, ToolFailure, TurnUsage};
use omni_core::{Message, Role};
use std::collections::HashMap;

/// Characters of a tool's arguments or result that are shown.
const EXCERPT: usize = 160;

/// In which form a run is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The text as it comes, the tools beside it.
    Text,
    /// Every event as a line of JSON.
    Events,
}

/// Prints events as they come.
pub(crate) struct Printer {
    pub(crate) output: Output,
    form: Form,
    /// The text so far does not end with a newline.
    line_open: bool,
    /// The names of the tools that run, by `call_id`.
    running: HashMap<String, String>,
    /// A replay has only whole messages: their text was no chunk before.
    from_log: bool,
}

impl Printer {
    pub(crate) fn new(json: bool, from_log: bool) -> Self {
        Self {
            output: Output::stdout(),
            form: if json { Form::Events } else { Form::Text },
            line_open: false,
            running: HashMap::new(),
            from_log,
        }
    }

    /// Adds one event; `flush` of the output writes it.
    pub(crate) fn event(&mut self, event: &AgentEvent) {
        if self.form == Form::Events {
            self.output.json(event, true);
            return;
        }
        let call_id = event.call_id.as_deref().unwrap_or_default();
        match &event.payload {
            Payload::StreamChunk { kind, text, .. } if *kind != ChunkKind::ToolCall => self.text(text),
            Payload::StreamFallback { from, to, .. } => {
                self.note(&format!("{from} failed: going on with {to}"));
            }
            Payload::StreamCompleted(_) => self.close_line(),
            Payload::StreamFailed { error, retried: true } => {
                self.note(&format!(
                    "{}: shortening what the model sees, and once more",
                    error.code
                ));
            }
            Payload::ToolProposed { call, .. } => {
                self.running.insert(call_id.to_owned(), call.name().to_owned());
                self.note(&format!("→ {} {}", call.name(), excerpt(call.text())));
            }
            Payload::ToolDenied { reason, .. } => {
                let name = self.running.remove(call_id).unwrap_or_default();
                self.note(&format!("✗ {name} was not run: {reason}"));
            }
            Payload::ToolProgress {
                message: Some(message),
                ..
            } => {
                self.note(&format!("… {}", excerpt(message)));
            }
            Payload::ToolCompleted {
                is_error,
                duration_ms,
                truncated,
                ..
            } => {
                let name = self.running.remove(call_id).unwrap_or_default();
                let mark = if *is_error { "✗" } else { "✓" };
                let cut = if *truncated { ", result cut" } else { "" };
                self.note(&format!("{mark} {name} in {}{cut}", milliseconds(*duration_ms)));
            }
            Payload::ToolFailed {
                kind,
                message,
                duration_ms,
            } => {
                let name = self.running.remove(call_id).unwrap_or_default();
                if *kind != ToolFailure::Cancelled {
                    let time = milliseconds(*duration_ms);
                    self.note(&format!("✗ {name} failed in {time}: {}", excerpt(message)));
                }
            }
            Payload::MessageSaved { message, .. } => self.saved(message),
            Payload::CompactionCompleted {
                tokens_before,
                tokens_after,
                ..
            } => self.note(&format!(
                "what the model sees was shortened from {tokens_before} to {tokens_after} tokens"
            )),
            Payload::ServerFailed {
                server,
                error,
                will_retry,
            } => {
                let then = if *will_retry {
                    "; it will be started again"
                } else {
                    ""
                };
                self.note(&format!("server {server}: {}{then}", error.message));
            }
            Payload::Log {
                level: LogLevel::Warning | LogLevel::Error,
                message,
                server,
            } => {
                let who = server.as_deref().map(|server| format!("server {server}: "));
                self.note(&format!("{}{message}", who.unwrap_or_default()));
            }
            Payload::TurnCompleted {
                stopped_by,
                usage,
                rounds,
                duration_ms,
                ..
            } => {
                self.close_line();
                match stopped_by {
                    Some(StoppedBy::MaxToolRounds) => self.note("stopped: max_tool_rounds is reached"),
                    Some(StoppedBy::RepeatedCall) => {
                        self.note("stopped: the model makes the same call again and again");
                    }
                    Some(StoppedBy::Budget) => self.note("stopped: the budget is spent"),
                    None => {}
                }
                self.end(event, Some(*rounds), usage, *duration_ms);
            }
            Payload::TurnFailed {
                usage, duration_ms, ..
            }
            | Payload::TurnCancelled {
                usage, duration_ms, ..
            } => {
                self.close_line();
                self.end(event, None, usage, *duration_ms);
            }
            _ => {}
        }
    }

    fn saved(&mut self, message: &Message) {
        match message.role {
            Role::Tool => self.note(&format!("  {}", excerpt(&message.text()))),
            Role::User if self.from_log => self.note(&format!("> {}", message.text())),
            Role::Assistant if self.from_log => {
                self.text(&message.text());
                self.close_line();
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.line_open = !text.ends_with('\n');
            self.output.text(text);
        }
    }

    /// A line on standard error, in its place among what standard output says.
    fn note(&mut self, line: &str) {
        self.close_line();
        // A reader that has gone is noticed by whoever flushes next.
        let _ = self.output.flush();
        output::note(line);
    }

    fn close_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            self.output.text("\n");
        }
    }

    fn end(&mut self, event: &AgentEvent, rounds: Option<u32>, usage: &TurnUsage, duration_ms: u64) {
        let mut facts = vec![
            format!("{} tokens in", usage.input_tokens),
            format!("{} out", usage.output_tokens),
        ];
        if let Some(cost) = usage.cost_usd {
            facts.push(format!("${cost:.6}"));
        }
        if let Some(rounds) = rounds {
            facts.push(format!(
                "{rounds} {}",
                if rounds == 1 { "round" } else { "rounds" }
            ));
        }
        facts.push(milliseconds(duration_ms));
        facts.push(format!("session {}", event.session_id));
        self.note(&facts.join(", "));
    }
}

/// One line with the beginning of a text.
pub(crate) fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// A time that people can compare.
fn milliseconds(time: u64) -> String {
    if time < 1000 {
        format!("{time} ms")
    } else {
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody reads the microseconds of a year"
        )]
        let seconds = time as f64 / 1000.0;
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("a\n  b\tc"), "a b c");
        let long = excerpt(&"é".repeat(500));
        assert_eq!(long.chars().count(), EXCERPT + 1);
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        assert_eq!(milliseconds(999), "999 ms");
        assert_eq!(milliseconds(61_240), "61.2 s");
    }
}
