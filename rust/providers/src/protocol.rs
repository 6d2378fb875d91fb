//! What a protocol is: an encoder of requests and a decoder of answers, both pure.

use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::parts::Parts;
use crate::{anthropic, gemini, openai_chat, openai_responses};
use omni_core::{Finish, Message, Object, Request, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// A family of wires that many providers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `POST …/chat/completions`.
    OpenaiChat,
    /// `POST …/responses`.
    OpenaiResponses,
    /// `POST …/v1/messages`.
    Anthropic,
    /// `POST …/models/{model}:generateContent`.
    Gemini,
}

/// Where a request goes, as far as a protocol must know it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The provider's name in replies, in `provider_options` and in parts of its own, for example "openai".
    pub provider: String,
    /// The model as this provider names it, for example "gpt-5-mini".
    pub model: String,
    /// What this provider does differently.
    pub dialect: Arc<Dialect>,
}

/// A request on the wire, but for the base URL before its path and the key.
#[derive(Clone, Default, PartialEq)]
pub struct Encoded {
    /// After the base URL, with its leading slash and its query, for example "/chat/completions".
    pub path: String,
    /// Headers that the protocol wants, names in lower case; no key.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
    /// What the decoder of the answer must know of the request.
    pub context: Context,
}

impl std::fmt::Debug for Encoded {
    /// Without the body: the prompt is in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoded")
            .field("path", &self.path)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// What a decoder must know of the request that it decodes the answer of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// Whose parts and extras the answer's are: the target's provider.
    pub provider: String,
    /// The format of sound that was asked for, for example "wav".
    pub audio_format: Option<String>,
    /// The name of a tool of ours that stands for `response_format`: its input is the answer's text.
    pub format_tool: Option<String>,
}

/// What the first document of an answer tells of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Meta {
    pub(crate) id: Option<String>,
    pub(crate) model: Option<String>,
}

/// A decoder of one answer: documents in, events out. It is asked for `end` once, after the last document.
pub(crate) trait Decode: Send {
    /// One event of a streamed answer: the SSE fields `event` ("" if absent) and `data` (never empty; `[DONE]` as it
    /// came).
    fn frame(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault>;

    /// A whole answer that was not streamed.
    fn body(&mut self, body: &[u8], parts: &mut Parts) -> Result<(), Fault>;

    /// Closes what is open and says how the answer ended; a fault if it is not whole.
    fn end(&mut self, parts: &mut Parts) -> Result<Finish, Fault>;

    /// What is known of the answer so far.
    fn meta(&self) -> &Meta;

    /// Whether the wire's own last event was seen: nothing that follows matters.
    fn last_seen(&self) -> bool;
}

impl Protocol {
    /// Every protocol.
    pub const ALL: &'static [Protocol] = &[
        Protocol::OpenaiChat,
        Protocol::OpenaiResponses,
        Protocol::Anthropic,
        Protocol::Gemini,
    ];

    /// Its name in configurations and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::OpenaiChat => "openai_chat",
            Protocol::OpenaiResponses => "openai_responses",
            Protocol::Anthropic => "anthropic",
            Protocol::Gemini => "gemini",
        }
    }

    /// Why this protocol cannot carry `request`, as a sentence that names the field; `None` if it can.
    pub fn declines(self, request: &Request, target: &Target) -> Option<String> {
        match self {
            Protocol::OpenaiChat => openai_chat::declines(request, target),
            Protocol::OpenaiResponses => openai_responses::declines(request, target),
            Protocol::Anthropic => anthropic::declines(request, target),
            Protocol::Gemini => gemini::declines(request, target),
        }
    }

    /// `request` on the wire. `stream` says whether the answer is to be streamed.
    ///
    /// # Errors
    /// `unsupported` for what [`declines`](Self::declines) names, `invalid_request` with the path of what this
    /// protocol cannot say.
    pub fn encode(self, request: &Request, target: &Target, stream: bool) -> Result<Encoded> {
        match self {
            Protocol::OpenaiChat => openai_chat::encode(request, target, stream),
            Protocol::OpenaiResponses => openai_responses::encode(request, target, stream),
            Protocol::Anthropic => anthropic::encode(request, target, stream),
            Protocol::Gemini => gemini::encode(request, target, stream),
        }
    }

    /// The names under which parts, extras and options of this protocol stand in a request, beside the provider's.
    pub(crate) const fn families(self) -> &'static [&'static str] {
        match self {
            Protocol::OpenaiChat | Protocol::OpenaiResponses => &["openai"],
            Protocol::Anthropic => &["anthropic"],
            Protocol::Gemini => &["gemini", "vertex_ai", "google"],
        }
    }

    pub(crate) fn decoder(self, context: &Context) -> Box<dyn Decode> {
        match self {
            Protocol::OpenaiChat => Box::new(openai_chat::Decoder::new(context)),
            Protocol::OpenaiResponses => Box::new(openai_responses::Decoder::new(context)),
            Protocol::Anthropic => Box::new(anthropic::Decoder::new(context)),
            Protocol::Gemini => Box::new(gemini::Decoder::new(context)),
        }
    }
}

impl Target {
    /// Whether what stands under `name` in a message is meant for this target when it speaks `protocol`.
    pub(crate) fn owns(&self, protocol: Protocol, name: &str) -> bool {
        name == self.provider || protocol.families().contains(&name)
    }

    /// Whether a message's reasoning is this target's own, so far as a decoder said whose it is (see [`mark`]); `None`
    /// without a mark. Anthropic and Gemini take theirs back wherever they are served; the servers that speak OpenAI's
    /// protocols are of many makers, and each takes its own alone.
    pub(crate) fn wrote(&self, protocol: Protocol, message: &Message) -> Option<bool> {
        let marks = message.extra.as_ref().filter(|extra| !extra.is_empty())?;
        Some(match protocol {
            Protocol::OpenaiChat | Protocol::OpenaiResponses => marks.contains_key(&self.provider),
            Protocol::Anthropic | Protocol::Gemini => marks.keys().any(|name| self.owns(protocol, name)),
        })
    }

    /// The entries of `extra` that are meant for this target, the family's before the provider's own.
    pub(crate) fn extras<'a>(
        &'a self,
        protocol: Protocol,
        extra: Option<&'a Object>,
    ) -> impl Iterator<Item = &'a Value> {
        let of = move |name: &str| extra.and_then(|extra| extra.get(name));
        let family = protocol
            .families()
            .iter()
            .filter(|name| **name != self.provider)
            .filter_map(move |name| of(name));
        family.chain(of(&self.provider))
    }
}

/// What says in a reply's message whose its reasoning is, where that has meaning to its provider alone; `own` goes back
/// with it. Anthropic's is not marked: a part that nobody marked is Anthropic's if it is signed.
pub(crate) fn mark(provider: &str, own: Object) -> Object {
    let marks = Object::from_iter([(provider.to_owned(), Value::Object(own))]);
    Object::from_iter([("extra".to_owned(), Value::Object(marks))])
}
