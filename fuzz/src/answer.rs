//! The decoders: arbitrary bytes as an answer of one protocol, whole and in pieces.

use crate::input::Input;
use crate::request::encode;
use omni_core::{Content, Event, Finish, Fold, Message, Reply, Request};
use omni_providers::{Answer, Context, Fault, Protocol};
use std::collections::BTreeMap;

/// The name of the tool that stands for `response_format` in answers of the anthropic protocol.
const FORMAT_TOOL: &str = "json_answer";

/// How the ids begin that the gemini protocol makes up.
const OWN_ID: &str = "omni_call_";

/// How an answer was read.
#[derive(Debug, PartialEq)]
struct Read {
    events: Vec<Event>,
    ended: Result<Finish, Fault>,
    ignored: u32,
}

/// One input. Flags: bit 0 a format of sound was asked for, 1 a tool stands for `response_format`, 2 to 4 the provider.
pub fn run(protocol: Protocol, data: &[u8]) {
    let Some(input) = Input::new(data) else {
        return;
    };
    let context = Context {
        provider: provider(protocol, input.flags >> 2).to_owned(),
        audio_format: input.flag(0).then(|| "wav".to_owned()),
        format_tool: input.flag(1).then(|| FORMAT_TOOL.to_owned()),
    };
    let whole = read(protocol, &context, input.whole());
    let pieces = read(protocol, &context, input.pieces());
    assert_eq!(pieces, whole, "a cut changed the answer");

    let parts = bracketed(&whole.events, whole.ended.is_ok());
    let mut fold = Fold::new();
    for event in &whole.events {
        let text = serde_json::to_vec(event).expect("an event is JSON");
        let again: Event = serde_json::from_slice(&text).expect("what we wrote, we read");
        assert_eq!(&again, event, "an event changed on its way through JSON");
        fold.push(event);
    }
    let reply = match whole.ended {
        Ok(finish) => fold.finish(finish, Vec::new()),
        Err(Fault::Protocol(why)) => {
            assert!(!why.is_empty(), "a fault says what is wrong");
            fold.partial(Vec::new())
        }
        Err(Fault::Said(_)) => fold.partial(Vec::new()),
    };
    nothing_is_lost(&parts, &reply);
    let text = serde_json::to_vec(&reply).expect("a reply is JSON");
    let again: Reply = serde_json::from_slice(&text).expect("what we wrote, we read");
    assert_eq!(again, reply, "a reply changed on its way through JSON");

    // What a model wrote is sent again, to whomever.
    let mut request = Request::new("some/model", vec![Message::user("Hi"), reply.message]);
    for call in &reply.tool_calls {
        request.messages.push(Message::tool(call.id.clone(), "done"));
    }
    request.messages.push(Message::user("Go on"));
    encode(&request, &context.provider, false);
}

fn provider(protocol: Protocol, choice: u8) -> &'static str {
    let all: &[&str] = match protocol {
        Protocol::OpenaiChat => &[
            "openai",
            "openrouter",
            "mistral",
            "groq",
            "deepseek",
            "xai",
            "gemini",
            "nobody",
        ],
        Protocol::OpenaiResponses => &["openai", "azure", "xai", "nobody"],
        Protocol::Anthropic => &["anthropic", "nobody"],
        Protocol::Gemini => &["gemini", "vertex_ai", "nobody"],
    };
    all[usize::from(choice & 7) % all.len()]
}

/// Reads as the driver does: until the wire's own last event, or until the bytes end.
fn read<'a>(protocol: Protocol, context: &Context, pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut answer = Answer::new(protocol, context, "asked", Some("req_1".to_owned()));
    let mut events = Vec::new();
    let mut failed = None;
    for piece in pieces {
        failed = answer.push(piece).err();
        events.extend(std::iter::from_fn(|| answer.event()));
        if failed.is_some() || answer.is_over() {
            break;
        }
    }
    let ended = failed.map_or_else(|| answer.end(), Err);
    events.extend(std::iter::from_fn(|| answer.event()));
    for (at, event) in events.iter_mut().enumerate() {
        // Calls without an id get one that was never there before.
        if let Event::ToolCallStart { id, .. } = event
            && id.starts_with(OWN_ID)
        {
            *id = format!("{OWN_ID}{at}");
        }
    }
    Read {
        events,
        ended,
        ignored: answer.ignored(),
    }
}

/// What the events say of one part.
#[derive(Debug)]
struct Part {
    kind: Kind,
    open: bool,
    said: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Reasoning,
    ToolCall,
    Media,
    Provider,
}

/// Checks that each part begins once, grows while it is open, and is closed in an answer that is whole.
fn bracketed(events: &[Event], whole: bool) -> (BTreeMap<u32, Part>, String) {
    let mut parts: BTreeMap<u32, Part> = BTreeMap::new();
    let mut refusal = String::new();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(
            at == 0,
            matches!(event, Event::Start { .. }),
            "start comes first, once"
        );
        let mut begin = |index: u32, kind, open| {
            let said = String::new();
            let before = parts.insert(index, Part { kind, open, said });
            assert!(before.is_none(), "part {index} begins twice: {before:?}");
        };
        match event {
            Event::TextStart { index } => begin(*index, Kind::Text, true),
            Event::ReasoningStart { index, .. } => begin(*index, Kind::Reasoning, true),
            Event::ToolCallStart { index, .. } => begin(*index, Kind::ToolCall, true),
            Event::MediaStart { index, .. } => begin(*index, Kind::Media, true),
            Event::ProviderPart { index, .. } => begin(*index, Kind::Provider, false),
            Event::TextDelta { index, text } => grow(&mut parts, *index, Kind::Text, text),
            Event::ReasoningDelta { index, text } => grow(&mut parts, *index, Kind::Reasoning, text),
            Event::ToolCallDelta { index, arguments } => grow(&mut parts, *index, Kind::ToolCall, arguments),
            Event::MediaDelta { index, base64 } => grow(&mut parts, *index, Kind::Media, base64),
            Event::TextEnd { index, .. } => end(&mut parts, *index, Kind::Text),
            Event::ReasoningEnd { index, .. } => end(&mut parts, *index, Kind::Reasoning),
            Event::ToolCallEnd { index, .. } => end(&mut parts, *index, Kind::ToolCall),
            Event::MediaEnd { index, .. } => end(&mut parts, *index, Kind::Media),
            Event::RefusalDelta { text } => refusal.push_str(text),
            Event::Start { .. } | Event::Usage { .. } => {}
            Event::Fallback { .. } | Event::Done { .. } | Event::Error { .. } | Event::Cancelled { .. } => {
                panic!("an engine does not send {event:?}")
            }
        }
    }
    assert!(!whole || !events.is_empty(), "a whole answer has a start");
    for (index, part) in &parts {
        assert!(
            !whole || !part.open,
            "part {index} of a whole answer is never closed"
        );
    }
    (parts, refusal)
}

fn open(parts: &mut BTreeMap<u32, Part>, index: u32, kind: Kind) -> &mut Part {
    let part = parts.get_mut(&index).expect("a part that goes on has begun");
    assert!(
        part.open && part.kind == kind,
        "part {index} is no open {kind:?}: {part:?}"
    );
    part
}

fn grow(parts: &mut BTreeMap<u32, Part>, index: u32, kind: Kind, more: &str) {
    open(parts, index, kind).said.push_str(more);
}

fn end(parts: &mut BTreeMap<u32, Part>, index: u32, kind: Kind) {
    open(parts, index, kind).open = false;
}

/// Checks that what the events say stands in the reply, in their order.
fn nothing_is_lost((parts, refusal): &(BTreeMap<u32, Part>, String), reply: &Reply) {
    let of = |kind| {
        parts
            .values()
            .filter(move |part| part.kind == kind)
            .map(|part| part.said.as_str())
    };
    assert_eq!(reply.content, of(Kind::Text).collect::<String>(), "text");
    assert_eq!(reply.refusal.as_deref().unwrap_or_default(), refusal, "refusal");
    let reasoning = reply.reasoning.iter().map(|part| match part {
        omni_core::Part::Reasoning { text, .. } => text.as_str(),
        other => panic!("no reasoning: {other:?}"),
    });
    assert!(reasoning.eq(of(Kind::Reasoning)), "reasoning");
    let arguments = reply
        .tool_calls
        .iter()
        .map(|call| match (&call.function, &call.custom) {
            (Some(function), None) => function.arguments.as_str(),
            (None, Some(custom)) => custom.input.as_str(),
            _ => panic!("a call is one or the other: {call:?}"),
        });
    assert!(arguments.eq(of(Kind::ToolCall)), "arguments");
    let calls = reply.message.tool_calls.as_deref().unwrap_or_default();
    assert_eq!(calls, reply.tool_calls, "the message has the same calls");
    let kept = match &reply.message.content {
        Some(Content::Parts(parts)) => parts.as_slice(),
        _ => &[],
    };
    let others = kept
        .iter()
        .filter(|part| matches!(part, omni_core::Part::Provider { .. }))
        .count();
    assert_eq!(others, of(Kind::Provider).count(), "provider parts");
}
