//! The engine of `{"bridge": "scripted"}`: it says what the configuration tells it to, without Python and
//! without a network, so that a C program can be tested on its own, and this crate is.

use omni_bridge_rs::testing::{Act, FakeEngine};
use omni_bridge_rs::{
    BoxFuture, ChatEngine, Content, Engine, Error, Event, Message, ModelId, ModelInfo, Part, Request, Result,
    Role, Steps,
};
use omni_core::{Finish, FinishReason};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One line of a script: an event of the contract, or how the call goes on or ends.
pub(crate) enum Line {
    Direction(Direction),
    Event(Event),
}

impl Line {
    pub(crate) fn read(line: Value) -> Result<Self, serde_json::Error> {
        match line["type"].as_str() {
            Some("hold" | "repeat" | "finish" | "error") => Direction::deserialize(line).map(Self::Direction),
            _ => Event::deserialize(line).map(Self::Event),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Direction {
    /// Nothing more comes until the call is cancelled.
    Hold,
    /// The event so many times.
    Repeat { times: usize, event: Event },
    /// The answer is whole.
    Finish(Box<Finish>),
    /// The try fails.
    Error { error: Error },
}

/// Answers each try with the next script; after the last with the last again. Without scripts it repeats the
/// last user message, word by word.
pub(crate) struct Scripted {
    scripts: Vec<Vec<Act>>,
    tries: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new(scripts: Vec<Vec<Line>>) -> Self {
        let scripts = scripts.into_iter().map(acts).collect();
        Self {
            scripts,
            tries: AtomicUsize::new(0),
        }
    }
}

impl ChatEngine for Scripted {
    fn name(&self) -> Engine {
        Engine::Litellm // a name of its own would be one more word in the contract, for tests alone
    }

    fn call(&self, request: &Request, stream: bool) -> Steps {
        let acts = match self.scripts.len() {
            0 => echo(request),
            scripts => self.scripts[self.tries.fetch_add(1, Ordering::Relaxed).min(scripts - 1)].clone(),
        };
        FakeEngine::new([acts]).call(request, stream)
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let provider = ModelId::parse(model).provider.map(str::to_owned);
        let info = ModelInfo {
            id: model.to_owned(),
            provider,
            ..ModelInfo::default()
        };
        Box::pin(std::future::ready(Ok(info)))
    }

    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        Box::pin(std::future::ready(Ok(
            json!([{ "id": "scripted/echo", "provider": "scripted" }]),
        )))
    }

    fn count_tokens(&self, request: Request) -> BoxFuture<'_, Result<u64>> {
        Box::pin(std::future::ready(Ok(words(&request).count() as u64)))
    }
}

/// A script as the fake engine plays it; one that does not say how it ends, ends well.
fn acts(lines: Vec<Line>) -> Vec<Act> {
    let mut acts = Vec::new();
    for line in lines {
        match line {
            Line::Event(event) => acts.push(Act::Event(event)),
            Line::Direction(Direction::Repeat { times, event }) => {
                acts.extend(std::iter::repeat_n(Act::Event(event), times));
            }
            Line::Direction(Direction::Hold) => acts.push(Act::Hang),
            Line::Direction(Direction::Finish(finish)) => acts.push(Act::Finish(*finish)),
            Line::Direction(Direction::Error { error }) => acts.push(Act::Fail(error)),
        }
    }
    acts.push(Act::Finish(Finish {
        finish_reason: Some(FinishReason::Stop),
        ..Finish::default()
    }));
    acts
}

/// The script of an answer that repeats what was asked.
fn echo(request: &Request) -> Vec<Act> {
    let start = Event::Start {
        id: None,
        request_id: None,
        model: request.model.clone(),
        provider: ModelId::parse(&request.model)
            .provider
            .unwrap_or("scripted")
            .to_owned(),
        engine: Engine::Litellm,
    };
    let words = words(request).map(|word| Event::TextDelta {
        index: 0,
        text: word.to_owned(),
    });
    let end = Event::TextEnd {
        index: 0,
        annotations: None,
        signature: None,
    };
    let events = [start, Event::TextStart { index: 0 }]
        .into_iter()
        .chain(words)
        .chain([end]);
    acts(events.map(Line::Event).collect())
}

/// The words of the last user message, each with the space after it.
fn words(request: &Request) -> impl Iterator<Item = &str> {
    let last = request
        .messages
        .iter()
        .rev()
        .find(|message| message.role == Role::User);
    let texts: Vec<&str> = match last.and_then(|message: &Message| message.content.as_ref()) {
        Some(Content::Text(text)) => vec![text],
        Some(Content::Parts(parts)) => parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        None => Vec::new(),
    };
    texts.into_iter().flat_map(|text| text.split_inclusive(' '))
}
