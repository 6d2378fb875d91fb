//! A model that answers as the log says, in its order, whatever it is asked.

use super::recording::{Answer, How, Recording};
use crate::compaction;
use crate::protocol::{CompactionReason, StreamEnd};
use futures_util::{StreamExt as _, stream};
use omni_core::{
    BoxFuture, Canceller, ChatModel, ChatStream, Code, Content, Engine, Error, Event, Fold, Message,
    ModelInfo, Part, Reply, Request, Result,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Answers with the messages, errors, summaries and the title of a log.
///
/// It knows no window, unless the log was compacted for a full one; set `compaction.window` to what it was.
#[derive(Clone)]
pub struct RecordedModel(Arc<Inner>);

struct Inner {
    recording: Arc<Recording>,
    place: Mutex<Place>,
    /// Calls that have come to where the turn was cancelled.
    halted: watch::Sender<usize>,
}

#[derive(Default)]
struct Place {
    answers: usize,
    compactions: usize,
    /// A summary was given: the next count is of what is left.
    recount: Option<u64>,
}

impl RecordedModel {
    /// The model of a log.
    pub fn new(recording: Arc<Recording>) -> Self {
        Self(Arc::new(Inner {
            recording,
            place: Mutex::default(),
            halted: watch::Sender::new(0),
        }))
    }

    pub(super) fn halted(&self) -> watch::Receiver<usize> {
        self.0.halted.subscribe()
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for ever, and says so.
    async fn halt<T>(inner: Arc<Inner>) -> T {
        inner.halted.send_modify(|halted| *halted += 1);
        std::future::pending().await
    }

    fn title(&self) -> Result<Reply> {
        let title = self.0.recording.title.as_deref();
        title.map(said).ok_or_else(nothing_more)
    }
}

fn nothing_more() -> Error {
    Error::new(
        Code::NotFound,
        "the log has no answer for this call: the loop asks more, or something else, than it did",
    )
}

fn said(text: &str) -> Reply {
    let mut reply = Fold::new().partial(Vec::new());
    text.clone_into(&mut reply.content);
    reply.message = Message::assistant(text);
    reply
}

/// What a call ended with, as its reply.
fn reply(end: &StreamEnd, message: Option<&Message>) -> Box<Reply> {
    let mut reply = Fold::new().partial(Vec::new());
    reply.finish_reason = end.finish_reason;
    reply.model.clone_from(&end.model);
    reply.provider.clone_from(&end.provider);
    reply.engine = engine(end);
    reply.usage = end.usage.clone();
    if let Some(message) = message {
        reply.content = message.text().into_owned();
        reply.tool_calls = message.tool_calls.clone().unwrap_or_default();
        reply.refusal.clone_from(&message.refusal);
        reply.message = message.clone();
    }
    Box::new(reply)
}

fn engine(end: &StreamEnd) -> Option<Engine> {
    let name = end.engine.as_deref()?;
    Engine::ALL.iter().copied().find(|engine| engine.name() == name)
}

/// The events of an answer up to its last one.
fn events(answer: &Answer) -> Vec<Event> {
    let mut events = Vec::new();
    if let How::Whole(end) | How::Cut(end, true) = &answer.how
        && let (Some(model), Some(provider), Some(engine)) = (&end.model, &end.provider, engine(end))
    {
        events.push(Event::Start {
            id: None,
            request_id: None,
            model: model.clone(),
            provider: provider.clone(),
            engine,
        });
    }
    let mut thinking = answer.thinking.iter().copied();
    let mut next = 0;
    let message = answer.message.as_ref();
    let parts = match message.and_then(|message| message.content.as_ref()) {
        Some(Content::Text(text)) => vec![Part::text(text.clone())],
        Some(Content::Parts(parts)) => parts.clone(),
        None => Vec::new(),
    };
    for part in &parts {
        match part {
            Part::Text { text, .. } => {
                let (index, text) = (next, text.clone());
                events.push(Event::TextStart { index });
                events.push(Event::TextDelta { index, text });
                next += 1;
            }
            Part::Reasoning { text, .. } => {
                if let Some((index, _)) = thinking.next() {
                    thought(&mut events, index, text.clone());
                    next = next.max(index + 1);
                }
            }
            _ => next += 1,
        }
    }
    // What was thought and not kept; its text is not known.
    for (index, length) in thinking {
        thought(
            &mut events,
            index,
            ".".repeat(usize::try_from(length).unwrap_or_default()),
        );
        next = next.max(index + 1);
    }
    for call in message
        .and_then(|message| message.tool_calls.as_ref())
        .into_iter()
        .flatten()
    {
        let (index, kind) = (next, (call.kind == "custom").then(|| call.kind.clone()));
        let (id, name) = (call.id.clone(), call.name().to_owned());
        events.push(Event::ToolCallStart {
            index,
            id,
            name,
            kind,
        });
        let arguments = call.text().to_owned();
        events.push(Event::ToolCallDelta { index, arguments });
        next += 1;
    }
    if let Some(text) = message.and_then(|message| message.refusal.clone()) {
        events.push(Event::RefusalDelta { text });
    }
    events
}

fn thought(events: &mut Vec<Event>, index: u32, text: String) {
    let (id, signature, encrypted) = (None, None, None);
    events.push(Event::ReasoningStart { index, id });
    events.push(Event::ReasoningDelta { index, text });
    events.push(Event::ReasoningEnd {
        index,
        signature,
        encrypted,
    });
}

impl ChatModel for RecordedModel {
    fn chat(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        let asks_title = compaction::title_messages("", "").first() == request.messages.first();
        if asks_title {
            let title = self.title();
            return Box::pin(async { title });
        }
        let mut place = self.place();
        let Some(compacted) = self.0.recording.compactions.get(place.compactions) else {
            return Box::pin(async { Err(nothing_more()) });
        };
        place.compactions += 1;
        place.recount = compacted.tokens_after;
        if compacted.cut {
            return Box::pin(Self::halt(Arc::clone(&self.0)));
        }
        let mut reply = compacted.summary.as_deref().map(said).ok_or_else(nothing_more);
        if let Ok(reply) = &mut reply {
            reply.usage = compacted.usage.clone();
        }
        Box::pin(async { reply })
    }

    fn stream(&self, _: Request) -> ChatStream {
        let at = {
            let mut place = self.place();
            place.answers += 1;
            place.answers - 1
        };
        let canceller = Canceller::new(|| {});
        let Some(answer) = self.0.recording.answers.get(at) else {
            let (error, reply) = (nothing_more(), Box::new(Fold::new().partial(Vec::new())));
            return ChatStream::new(stream::iter([Event::Error { error, reply }]), canceller);
        };
        let mut events = events(answer);
        match &answer.how {
            How::Whole(end) => {
                let reply = reply(end, answer.message.as_ref());
                events.push(Event::Done { reply });
            }
            How::Failed(error, usage) => {
                let mut reply = Box::new(Fold::new().partial(Vec::new()));
                reply.usage = usage.clone();
                let error = error.clone();
                events.push(Event::Error { error, reply });
            }
            How::Cut(end, said) => {
                if *said && events.is_empty() {
                    events.push(Event::TextStart { index: 0 });
                }
                if end.usage != omni_core::Usage::default() {
                    let usage = end.usage.clone();
                    events.push(Event::Usage { usage });
                }
                let halt = stream::once(Self::halt(Arc::clone(&self.0)));
                return ChatStream::new(stream::iter(events).chain(halt), canceller);
            }
        }
        ChatStream::new(stream::iter(events), canceller)
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let full = self.0.recording.compactions.iter();
        let full = full.filter(|compacted| compacted.reason == CompactionReason::WindowNearlyFull);
        let info = ModelInfo {
            id: model.to_owned(),
            // Just so large that it was nearly full then, at the default share.
            max_input_tokens: full
                .map(|compacted| compacted.tokens)
                .min()
                .map(|tokens| tokens * 5 / 4),
            ..ModelInfo::default()
        };
        Box::pin(async { Ok(info) })
    }

    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64>> {
        let mut place = self.place();
        let next = self.0.recording.compactions.get(place.compactions);
        let now = next
            .filter(|next| next.reason == CompactionReason::WindowNearlyFull && next.after == place.answers);
        let tokens = match (place.recount.take(), now) {
            (Some(tokens), _) => tokens,
            (None, Some(now)) => now.tokens,
            // Whatever it was, it was not too much.
            (None, None) => 0,
        };
        Box::pin(async move { Ok(tokens) })
    }
}

impl std::fmt::Debug for RecordedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedModel")
            .field("answers", &self.0.recording.answers.len())
            .finish_non_exhaustive()
    }
}
