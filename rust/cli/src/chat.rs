//! `omni chat`.

use crate::args::{Chat, Common};
use crate::exit::{DONE, Failure, INTERRUPTED};
use crate::host::Composition;
use crate::output::{self, Output, Reader};
use crate::prompt;
use futures_util::FutureExt;
use omni_bridge::{ChatStream, Event, FinishReason, Reply};
use serde_json::json;
use std::pin::pin;

pub(crate) async fn run(chat: Chat, common: &Common, composition: &Composition) -> Result<i32, Failure> {
    // Asked for before anything is read or sent: from here on Ctrl-C never kills half-way.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let request = tokio::select! {
        // In this order: the signal is waited for from the first poll, which comes before the first read.
        biased;
        _ = &mut interrupt => return Err(Failure::Interrupted),
        request = prompt::request(&chat, common.verbose) => request?,
    };
    let client = crate::client(common, composition)?;
    let stream = if chat.streamed() {
        client.stream(request)
    } else {
        client.chat_events(request)
    };
    let form = match (chat.json, chat.stream) {
        (false, _) => Form::Text,
        (true, false) => Form::Reply,
        (true, true) => Form::Events,
    };
    let mut printer = Printer {
        output: Output::stdout(),
        form,
        verbose: common.verbose,
        line_open: false,
    };
    let canceller = stream.canceller();
    let mut printing = pin!(printer.print(stream));
    tokio::select! {
        ended = &mut printing => return ended,
        _ = &mut interrupt => canceller.cancel(),
    }
    // The last event tells that the socket is closed. Who presses Ctrl-C again does not want to know.
    tokio::select! {
        _ = printing => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(INTERRUPTED)
}

/// In which form a call is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The text, as it comes.
    Text,
    /// The whole reply as one JSON document.
    Reply,
    /// Every event as a line of JSON.
    Events,
}

/// Prints a call as it comes.
struct Printer {
    output: Output,
    form: Form,
    verbose: bool,
    /// The text so far does not end with a newline.
    line_open: bool,
}

impl Printer {
    async fn print(&mut self, mut stream: ChatStream) -> Result<i32, Failure> {
        loop {
            // What is there is printed together; what must be waited for is waited for with everything printed.
            let mut event = stream.next().now_or_never();
            if (event.is_none() || self.output.is_full()) && self.output.flush()? == Reader::Gone {
                return Ok(DONE);
            }
            if event.is_none() {
                event = Some(stream.next().await);
            }
            let Some(event) = event.flatten() else {
                return Ok(DONE);
            };
            if let Some(result) = self.event(event) {
                // A reader that is gone does not turn an answer into a failure.
                let _ = self.output.flush()?;
                return result;
            }
        }
    }

    /// Takes one event; gives the end of the command with the last.
    fn event(&mut self, event: Event) -> Option<Result<i32, Failure>> {
        if self.form == Form::Events {
            self.output.json(&event, true);
        }
        match event {
            Event::TextDelta { text, .. } | Event::RefusalDelta { text } if self.form == Form::Text => {
                if !text.is_empty() {
                    self.line_open = !text.ends_with('\n');
                }
                self.output.text(&text);
                None
            }
            Event::Fallback { from, to, error, .. } => {
                output::note(&format!("{from} failed ({}): going on with {to}", error.code));
                None
            }
            Event::Done { reply } => {
                self.done(&reply);
                Some(Ok(DONE))
            }
            Event::Error { error, reply } => {
                self.close_line();
                if self.form == Form::Reply {
                    self.output.json(&json!({"error": error, "reply": reply}), false);
                }
                Some(Err(Failure::Call(error)))
            }
            Event::Cancelled { .. } => {
                self.close_line();
                Some(Err(Failure::Interrupted))
            }
            _ => None,
        }
    }

    fn done(&mut self, reply: &Reply) {
        if self.form == Form::Reply {
            self.output.json(reply, false);
        } else if self.form == Form::Text {
            self.close_line();
            for call in &reply.tool_calls {
                let (name, input) = match (&call.function, &call.custom) {
                    (Some(function), _) => (&function.name, &function.arguments),
                    (None, Some(custom)) => (&custom.name, &custom.input),
                    (None, None) => continue,
                };
                self.output
                    .text(&format!("tool call {}: {name} {input}\n", call.id));
            }
        }
        match reply.finish_reason {
            Some(FinishReason::Length) => output::note("the answer was cut at the limit of its tokens"),
            Some(FinishReason::ContentFilter) => output::note("the provider withheld the rest of the answer"),
            _ => {}
        }
        if self.verbose {
            output::note(&summary(reply));
        }
    }

    fn close_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            self.output.text("\n");
        }
    }
}

/// Who answered, and what it took.
fn summary(reply: &Reply) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
    let mut facts = vec![format!("{} of {}", known(&reply.model), known(&reply.provider))];
    if let Some(engine) = reply.engine {
        facts.push(format!("engine {}", json!(engine).as_str().unwrap_or_default()));
    }
    if let Some(tokens) = reply.usage.input_tokens {
        facts.push(format!("{tokens} tokens in"));
    }
    if let Some(tokens) = reply.usage.output_tokens {
        facts.push(format!("{tokens} tokens out"));
    }
    if let Some(cost) = reply.usage.cost_usd {
        facts.push(format!("${cost:.6}"));
    }
    if let Some(reason) = reply.finish_reason {
        facts.push(format!("finish_reason {}", reason.name()));
    }
    let spent: u64 = reply
        .attempts
        .iter()
        .filter_map(|attempt| attempt.duration_ms)
        .sum();
    let tries = reply.attempts.len();
    facts.push(format!(
        "{spent} ms in {tries} {}",
        if tries == 1 { "try" } else { "tries" }
    ));
    facts.join(", ")
}
