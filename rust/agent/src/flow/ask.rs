//! One model call: what is asked, and what is made of the answer's events.

use super::turn::InWindow;
use super::types::{Command, Timer};
use super::{Flow, Phase, Seen};
use crate::protocol::{ChunkKind, CompactionReason, Payload, StreamEnd};
use crate::tool::ToolSpec;
use omni_core::{
    Code, Error, Event, FinishReason, Fold, Message, Part, Reply, Request, Result, Timeout, Timeouts, Tool,
};
use std::collections::{HashMap, HashSet};

/// Share of the compaction's threshold from which on the tokens are counted: below it the estimate, which is from
/// above, is enough.
const COUNT_FROM: f64 = 0.8;

/// A model call that runs.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) call_id: String,
    started_ms: u64,
    /// The answer so far, for a call that does not come to its end.
    fold: Fold,
    /// Whether the model has said something.
    pub(super) heard: bool,
    /// Bytes said of each part.
    said: HashMap<(u32, ChunkKind), u64>,
    /// Bytes of reasoning of each part that has begun.
    thought: HashMap<u32, u64>,
    /// Messages of the history when it was asked.
    messages: usize,
}

impl Flow {
    /// The `call_id` of the model call that is next or runs.
    pub(super) fn model_call(&self) -> String {
        self.turn
            .as_ref()
            .map(|turn| format!("{}.{}", turn.id, turn.rounds))
            .unwrap_or_default()
    }

    /// Notes that the next model call begins.
    pub(super) fn stream_started(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        turn.rounds += 1;
        let round = turn.rounds;
        let payload = Payload::StreamStarted {
            model: self.config.model.clone(),
            round,
        };
        self.push(Some(self.model_call()), None, payload);
    }

    /// Tokens that the model would see, from above: what the provider counted last, and an estimate of the rest.
    pub(super) fn estimate(&self) -> u64 {
        let weigh = |seen: &[Seen]| seen.iter().map(|seen| seen.tokens).sum::<u64>();
        let counted = self.turn.as_ref().and_then(|turn| turn.in_window);
        if let Some(InWindow { tokens, messages }) = counted {
            return tokens.saturating_add(weigh(self.history.get(messages..).unwrap_or_default()));
        }
        let texts = [&self.config.system, &self.summary];
        let texts = texts.into_iter().flatten().map(|text| text.len() as u64 / 3);
        weigh(&self.history).saturating_add(texts.sum())
    }

    /// The tokens at which the history is shortened, if it is at all.
    pub(super) fn threshold(&self) -> Option<u64> {
        let window = self.window.filter(|_| self.config.compaction.enabled)?;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a window of tokens: far below what a float holds exactly"
        )]
        let tokens = (window as f64 * self.config.compaction.at) as u64;
        Some(tokens)
    }

    /// Whether the request is so near to the threshold that its tokens must be counted.
    pub(super) fn needs_count(&self) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "as in `threshold`")]
        let near = |threshold: u64| self.estimate() as f64 >= threshold as f64 * COUNT_FROM;
        let Some(turn) = &self.turn else { return false };
        // Once in a round: what could not be shortened enough is sent as it is.
        turn.compacted != Some(turn.tool_rounds) && self.threshold().is_some_and(near)
    }

    pub(super) fn tools_listed(&mut self, tools: Vec<ToolSpec>, failed: Vec<(String, Error)>) {
        let Some(turn) = &mut self.turn else { return };
        let Phase::Listing { count } = turn.phase else {
            return;
        };
        turn.tools = tools;
        self.complain(failed);
        if count {
            self.count();
        } else {
            self.ask();
        }
    }

    /// Has the tokens of the next request counted.
    pub(super) fn count(&mut self) {
        match self.request() {
            Ok(request) => {
                let estimate = self.estimate();
                self.phase(Phase::Counting { estimate });
                self.set_timer(Timer::Preparing, super::compacting::LIMIT);
                self.out.push(Command::Count {
                    request: Box::new(request),
                });
            }
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn counted(&mut self, tokens: Option<u64>) {
        let Some(turn) = &mut self.turn else { return };
        match std::mem::replace(&mut turn.phase, Phase::Listing { count: false }) {
            Phase::Counting { estimate } => {
                self.out.push(Command::ClearTimer {
                    timer: Timer::Preparing,
                });
                let tokens = tokens.unwrap_or(estimate);
                let full = self.threshold().is_some_and(|threshold| tokens >= threshold);
                if !(full && self.compact(CompactionReason::WindowNearlyFull, tokens)) {
                    self.stream_started();
                    self.ask();
                }
            }
            Phase::Compacting(compacting) => self.compacted(compacting, tokens),
            other => self.phase(other),
        }
    }

    /// Asks the model.
    pub(super) fn ask(&mut self) {
        let request = match self.request() {
            Ok(request) => request,
            Err(error) => return self.not_asked(error),
        };
        let call_id = self.model_call();
        self.phase(Phase::Asking(Box::new(Asking {
            call_id: call_id.clone(),
            started_ms: self.now,
            fold: Fold::new(),
            heard: false,
            said: HashMap::new(),
            thought: HashMap::new(),
            messages: self.history.len(),
        })));
        self.flush();
        if let Some(limit) = self.config.timeouts.first_event {
            // Each fallback has its own time for its first event.
            #[allow(clippy::cast_precision_loss, reason = "nobody has 2^52 fallbacks")]
            let tries = (self.config.fallbacks.len() + 1) as f64;
            self.set_timer(Timer::FirstEvent, limit * tries);
        }
        self.out.push(Command::Ask {
            call_id,
            request: Box::new(request),
        });
    }

    /// The next request.
    pub(super) fn request(&self) -> Result<Request> {
        let mut request = self.template.clone()?;
        request.messages = self.messages();
        let tools: Vec<Tool> = self
            .turn
            .iter()
            .flat_map(|turn| turn.tools.iter().map(|spec| spec.tool.clone()))
            .collect();
        if tools.is_empty() {
            // Some providers refuse a word about tools where there are none.
            request.tool_choice = None;
            request.parallel_tool_calls = None;
        } else {
            request.tools = Some(tools);
        }
        request.budget = match (self.budget_left(), request.budget) {
            (Some(left), Some(own)) => Some(omni_core::Budget {
                tokens: left.tokens.into_iter().chain(own.tokens).min(),
                usd: left.usd.into_iter().chain(own.usd).reduce(f64::min),
            }),
            (left, own) => left.or(own),
        };
        if let (Some(limit), None) = (self.config.timeouts.first_event, request.timeout) {
            request.timeout = Some(Timeout::Each(Timeouts {
                first_event: Some(limit),
                ..Timeouts::default()
            }));
        }
        Ok(request)
    }

    /// A request that cannot be made fails like a call, so that its `started` has its end.
    fn not_asked(&mut self, error: Error) {
        let payload = Payload::StreamFailed {
            error: error.clone(),
            retried: false,
        };
        self.push(Some(self.model_call()), None, payload);
        self.fail(error);
    }

    pub(super) fn heard(&mut self, event: Event) {
        let Some(turn) = &mut self.turn else { return };
        let Phase::Asking(asking) = &mut turn.phase else {
            return;
        };
        if !asking.heard {
            asking.heard = true;
            if self.config.timeouts.first_event.is_some() {
                self.out.push(Command::ClearTimer {
                    timer: Timer::FirstEvent,
                });
            }
        }
        asking.fold.push(&event);
        match event {
            Event::TextDelta { index, text } => self.chunk(index, ChunkKind::Text, text, None),
            Event::RefusalDelta { text } => self.chunk(0, ChunkKind::Refusal, text, None),
            Event::ToolCallStart { index, name, .. } => {
                self.chunk(index, ChunkKind::ToolCall, String::new(), Some(name));
            }
            Event::ToolCallDelta { index, arguments } => {
                self.chunk(index, ChunkKind::ToolCall, arguments, None);
            }
            Event::ReasoningStart { index, .. } => drop(self.thinking(index, 0)),
            Event::ReasoningDelta { index, text } => {
                if let Some(offset) = self.thinking(index, text.len() as u64) {
                    let call_id = self.model_call();
                    self.publish(call_id, None, Payload::ThinkingDelta { index, offset, text });
                }
            }
            Event::ReasoningEnd { index, .. } => {
                if let Some(length) = self.thinking(index, 0) {
                    // Told with the answer's end: one commit for both.
                    self.push(
                        Some(self.model_call()),
                        None,
                        Payload::ThinkingCompleted { index, length },
                    );
                }
            }
            Event::Fallback {
                from, to, discarded, ..
            } => self.fell_back(from, to, discarded),
            Event::Done { reply } => self.answered(*reply),
            Event::Error { error, reply } => self.failed(error, &reply),
            // Somebody else stopped the call: for the turn it is the same.
            Event::Cancelled { .. } => self.cancel(),
            Event::Start { .. }
            | Event::TextStart { .. }
            | Event::TextEnd { .. }
            | Event::ToolCallEnd { .. }
            | Event::MediaStart { .. }
            | Event::MediaDelta { .. }
            | Event::MediaEnd { .. }
            | Event::ProviderPart { .. }
            | Event::Usage { .. } => {}
        }
    }

    fn asking(&mut self) -> Option<&mut Asking> {
        match &mut self.turn.as_mut()?.phase {
            Phase::Asking(asking) => Some(asking),
            _ => None,
        }
    }

    fn chunk(&mut self, index: u32, kind: ChunkKind, text: String, tool: Option<String>) {
        let Some(asking) = self.asking() else { return };
        let said = asking.said.entry((index, kind)).or_insert(0);
        let offset = *said;
        *said += text.len() as u64;
        let call_id = asking.call_id.clone();
        let payload = Payload::StreamChunk {
            index,
            kind,
            offset,
            text,
            tool,
        };
        self.publish(call_id, None, payload);
    }

    /// Adds to the reasoning of a part, which begins with it if it has not begun; gives the bytes before.
    fn thinking(&mut self, index: u32, bytes: u64) -> Option<u64> {
        let asking = self.asking()?;
        let new = !asking.thought.contains_key(&index);
        let thought = asking.thought.entry(index).or_insert(0);
        let before = *thought;
        *thought += bytes;
        if new {
            let call_id = asking.call_id.clone();
            self.publish(call_id, None, Payload::ThinkingStarted { index });
        }
        Some(before)
    }

    fn fell_back(&mut self, from: String, to: String, discarded: Vec<u32>) {
        let Some(asking) = self.asking() else { return };
        asking.said.retain(|(index, _), _| !discarded.contains(index));
        asking.thought.retain(|index, _| !discarded.contains(index));
        let call_id = asking.call_id.clone();
        self.pending.retain(|event| {
            !matches!(&event.payload, Payload::ThinkingCompleted { index, .. } if discarded.contains(index))
        });
        self.publish(call_id, None, Payload::StreamFallback { from, to, discarded });
    }

    /// The answer is whole: it is saved, and what it asks for is done.
    fn answered(&mut self, mut reply: Reply) {
        let Some(asking) = self.asking() else { return };
        let (started, asked) = (asking.started_ms, asking.messages);
        let call_id = asking.call_id.clone();
        name_calls(&mut reply.message, &call_id);
        let finish = reply.finish_reason;
        // The id that the message will have.
        let message_id = format!("m{}", self.messages + 1);
        let end = self.end_of(&reply, started, Some(message_id.clone()));
        self.push(Some(call_id.clone()), None, Payload::StreamCompleted(end));
        self.save(Some(call_id.clone()), None, reply.message.clone());
        let counted = reply.usage.input_tokens.zip(reply.usage.output_tokens);
        self.spent(Some(call_id), None, reply.usage);
        let Some(turn) = &mut self.turn else { return };
        turn.answered(&message_id, &reply.message, finish);
        turn.in_window = counted.map(|(input, output)| InWindow {
            tokens: input.saturating_add(output),
            messages: asked + 1,
        });
        let calls = reply.message.tool_calls.unwrap_or_default();
        if !calls.is_empty() {
            self.begin_calls(calls, finish);
        } else if finish == Some(FinishReason::Pause) {
            // The provider stopped in the middle of its own work: it goes on when it gets its message back.
            self.paused();
        } else {
            self.complete();
        }
    }

    /// A pause takes a round, or a provider that only pauses would be asked for ever.
    fn paused(&mut self) {
        let most = self.config.max_tool_rounds;
        let Some(turn) = &mut self.turn else { return };
        turn.tool_rounds += 1;
        if turn.tool_rounds > most {
            turn.stopping = Some(crate::protocol::StoppedBy::MaxToolRounds);
        }
        self.next_round();
    }

    fn end_of(&self, reply: &Reply, started: u64, message_id: Option<String>) -> StreamEnd {
        StreamEnd {
            message_id,
            finish_reason: reply.finish_reason,
            model: reply.model.clone(),
            provider: reply.provider.clone(),
            engine: reply.engine.map(|engine| engine.name().to_owned()),
            usage: reply.usage.clone(),
            duration_ms: self.now.saturating_sub(started),
        }
    }

    /// The call failed. A full window is shortened once, and asked once more.
    fn failed(&mut self, error: Error, reply: &Reply) {
        let call_id = self.model_call();
        let overflow = error.code == Code::ContextLength && self.config.compaction.enabled;
        let Some(turn) = &mut self.turn else { return };
        let retried = overflow && !turn.overflowed && self.can_compact(CompactionReason::ContextLength);
        let payload = Payload::StreamFailed {
            error: error.clone(),
            retried,
        };
        self.push(Some(call_id.clone()), None, payload);
        if reply.usage != omni_core::Usage::default() {
            self.spent(Some(call_id), None, reply.usage.clone());
        }
        if retried {
            if let Some(turn) = &mut self.turn {
                turn.overflowed = true;
            }
            let tokens = self.estimate();
            self.compact(CompactionReason::ContextLength, tokens);
        } else if error.code == Code::Budget {
            self.out_of_budget(error);
        } else {
            self.fail(error);
        }
    }

    /// The model said nothing in its time.
    pub(super) fn silent(&mut self, error: Error) {
        if self.asking().is_none_or(|asking| asking.heard) {
            return;
        }
        self.out.push(Command::StopAsking);
        self.not_asked(error);
    }

    /// Ends a call that does not come to its own end. Text that was said is kept: it can go back to every provider.
    /// What is not whole cannot (half a call, reasoning without its proof), and neither can what only belongs to it.
    pub(super) fn stop_asking(&mut self, asking: Asking, error: Option<&Error>) {
        self.out.push(Command::StopAsking);
        if !asking.heard && self.config.timeouts.first_event.is_some() {
            self.out.push(Command::ClearTimer {
                timer: Timer::FirstEvent,
            });
        }
        let call_id = asking.call_id;
        let partial = asking.fold.partial(Vec::new());
        if let Some(error) = error {
            let payload = Payload::StreamFailed {
                error: error.clone(),
                retried: false,
            };
            self.push(Some(call_id.clone()), None, payload);
        } else {
            let kept = !partial.content.trim().is_empty();
            let message_id = kept.then(|| format!("m{}", self.messages + 1));
            let end = self.end_of(&partial, asking.started_ms, message_id.clone());
            self.push(Some(call_id.clone()), None, Payload::StreamCancelled(end));
            if let Some(message_id) = message_id {
                let message = Message::assistant(partial.content);
                self.save(Some(call_id.clone()), None, message.clone());
                if let Some(turn) = &mut self.turn {
                    turn.answered(&message_id, &message, None);
                }
            }
        }
        if partial.usage != omni_core::Usage::default() {
            self.spent(Some(call_id), None, partial.usage);
        }
    }
}

/// Every call needs an id of its own, or its result finds it not: an answer whose calls have none, or one twice,
/// gets ours.
fn name_calls(message: &mut Message, model_call: &str) {
    let mut taken = HashSet::new();
    let calls = message.tool_calls.iter_mut().flatten();
    for (at, call) in calls.enumerate() {
        if call.id.is_empty() || !taken.insert(call.id.clone()) {
            call.id = format!("call_{model_call}.{}", at + 1).replace('.', "_");
            taken.insert(call.id.clone());
        }
    }
    // Marks for calls that have another id now would point at nothing: without marks, calls come last.
    if let Some(omni_core::Content::Parts(parts)) = &mut message.content {
        parts.retain(|part| !matches!(part, Part::ToolCall { id, .. } if !taken.contains(id)));
    }
}
