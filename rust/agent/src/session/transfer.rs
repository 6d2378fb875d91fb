//! Sessions out of a store and into one: the whole log as JSON lines, or the messages as OpenAI's chat API has them.

use super::fold::{Fact, SessionState};
use super::{NewEvent, PathQuery, SessionInfo, SessionStore, lease};
use crate::protocol::{AgentEvent, EVENT_VERSION, Payload};
use omni_core::{Code, Content, Error, Message, Object, Part, Result, Role, ToolCall};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// So many events are read at once.
const PAGE: usize = 1000;

/// The whole log of a session, one event a line: nothing is lost, and [`import_log`] takes it.
pub async fn export_log(store: &dyn SessionStore, session_id: &str) -> Result<String> {
    let mut lines = String::new();
    let mut after = 0;
    loop {
        let page = store.events(session_id, after, PAGE).await?;
        let Some(last) = page.last().and_then(|event| event.seq) else {
            return Ok(lines);
        };
        for event in &page {
            let line = serde_json::to_string(event)
                .map_err(|_| Error::internal("an event could not be written as JSON: please report it"))?;
            lines.push_str(&line);
            lines.push('\n');
        }
        after = last;
    }
}

/// Makes a session of a log that [`export_log`] gave. It keeps its id, unless the store has that already: then it gets
/// a new one. Either all of it is stored or, with an error that names the line, nothing.
pub async fn import_log(store: &dyn SessionStore, lines: &str) -> Result<SessionInfo> {
    let (session_id, events) = read_log(lines)?;
    let taken = match store.info(&session_id).await {
        Ok(_) => true,
        Err(error) if error.code == Code::NotFound => false,
        Err(error) => return Err(error),
    };
    make(store, (!taken).then_some(session_id), events).await
}

fn read_log(lines: &str) -> Result<(String, Vec<NewEvent>)> {
    let mut state: Option<SessionState> = None;
    let mut known = HashSet::new();
    let mut open: HashMap<String, Vec<Open>> = HashMap::new();
    let mut events = Vec::new();
    for (line, number) in lines.lines().zip(1_usize..) {
        if line.trim().is_empty() {
            continue;
        }
        let wrong =
            |what: &str| Error::invalid(format!("line {number} of the log: {what}. Nothing was imported"));
        let event: AgentEvent = omni_core::from_slice_lenient(line.as_bytes()).map_err(|error| {
            let error = omni_core::unreadable("the event", &error);
            wrong(&error.message)
        })?;
        if event.v > EVENT_VERSION {
            return Err(wrong(&format!(
                "the event has version {}, and this program knows versions up to {EVENT_VERSION}: update omni_bridge",
                event.v
            )));
        }
        let state = state.get_or_insert_with(|| SessionState::new(&event.session_id));
        if state.info.session_id != event.session_id {
            return Err(wrong("it belongs to another session than the lines before"));
        }
        let fact = Fact {
            seq: event.seq.unwrap_or_default(),
            timestamp_ms: event.timestamp_ms,
            payload: &event.payload,
        };
        state
            .check::<Error>(&fact, |id| Ok(known.contains(id)))
            .map_err(|error| wrong(&error.message))?;
        state.apply(&fact);
        if let Payload::MessageSaved {
            message_id,
            parent_id,
            message,
        } = &event.payload
        {
            let before = parent_id.as_ref().and_then(|parent| open.get(parent));
            let place = format!("message \"{message_id:.100}\"");
            let after =
                follow(before.cloned().unwrap_or_default(), message, &place).map_err(|what| wrong(&what))?;
            // Most messages leave no call open.
            if !after.is_empty() {
                open.insert(message_id.clone(), after);
            }
            known.insert(message_id.clone());
        }
        events.push(NewEvent {
            timestamp_ms: event.timestamp_ms,
            turn_id: event.turn_id,
            call_id: event.call_id,
            parent: event.parent,
            payload: event.payload,
        });
    }
    match state {
        Some(state) => Ok((state.info.session_id, events)),
        None => Err(Error::invalid("the log has no line. Nothing was imported")),
    }
}

async fn make(
    store: &dyn SessionStore,
    session_id: Option<String>,
    events: Vec<NewEvent>,
) -> Result<SessionInfo> {
    let writer = store.create(session_id, events).await?;
    store.info(writer.session_id()).await
}

/// The messages on the path to a leaf (the active one if `None`) as OpenAI's chat API takes them. What it does not
/// know is left out: reasoning with its signatures, marks of other providers. For a copy without loss: [`export_log`].
pub async fn export_messages(
    store: &dyn SessionStore,
    session_id: &str,
    leaf: Option<String>,
) -> Result<Vec<Value>> {
    let path = store.path(session_id, PathQuery { leaf, last: None }).await?;
    Ok(path.iter().map(|stored| openai(&stored.message)).collect())
}

/// Makes a session of OpenAI chat messages: a JSON list, or an object with such a list as `messages`.
pub async fn import_messages(
    store: &dyn SessionStore,
    document: &str,
    title: Option<String>,
) -> Result<SessionInfo> {
    let messages = read_messages(document)?;
    let now = lease::now_ms();
    let event = |payload| NewEvent {
        timestamp_ms: now,
        turn_id: None,
        call_id: None,
        parent: None,
        payload,
    };
    let mut events = vec![event(Payload::SessionCreated {
        title,
        forked_from: None,
    })];
    let mut parent_id = None;
    for (message, number) in messages.into_iter().zip(1_usize..) {
        let message_id = format!("m{number}");
        events.push(event(Payload::MessageSaved {
            message_id: message_id.clone(),
            parent_id: parent_id.replace(message_id),
            message,
        }));
    }
    make(store, None, events).await
}

fn read_messages(document: &str) -> Result<Vec<Message>> {
    let nothing = |what: String| Error::invalid(format!("{what}. Nothing was imported"));
    let document: Value = omni_core::from_slice_lenient(document.as_bytes())
        .map_err(|error| nothing(omni_core::unreadable("the list of messages", &error).message))?;
    let list = match document {
        Value::Array(list) => list,
        Value::Object(mut object) => match object.remove("messages") {
            Some(Value::Array(list)) => list,
            _ => return Err(nothing("the object has no list \"messages\"".to_owned())),
        },
        _ => return Err(nothing("this is no list of messages".to_owned())),
    };
    if list.is_empty() {
        return Err(nothing("the list of messages is empty".to_owned()));
    }
    let mut open = Vec::new();
    let mut messages = Vec::with_capacity(list.len());
    for (at, value) in list.into_iter().enumerate() {
        let place = format!("messages[{at}]");
        let message: Message = serde_json::from_value(value)
            .map_err(|error| nothing(omni_core::unreadable(&place, &error).message))?;
        open = follow(open, &message, &place).map_err(|what| nothing(format!("{place}: {what}")))?;
        messages.push(message);
    }
    Ok(messages)
}

/// A call without a result so far.
#[derive(Clone)]
struct Open {
    id: String,
    /// The message that made it.
    of: String,
}

/// The calls that are open after `message`, which stands at `place`, if `open` are so before it. A provider refuses a
/// conversation in which a call has no result, and the loop itself mends only calls at the end; so says what is wrong.
fn follow(mut open: Vec<Open>, message: &Message, place: &str) -> std::result::Result<Vec<Open>, String> {
    if message.role == Role::Tool {
        let Some(id) = message.tool_call_id.as_deref() else {
            return Err("a tool's result needs the \"tool_call_id\" of the call that it is of".to_owned());
        };
        let Some(at) = open.iter().position(|call| call.id == id) else {
            return Err(format!(
                "the result of \"{id:.100}\" has no call right before it, or is its second one: take it out, or put the \
                 assistant's message with that call before it"
            ));
        };
        open.remove(at);
        return Ok(open);
    }
    if let Some(Open { id, of }) = open.first() {
        return Err(format!(
            "the call \"{id:.100}\" of {of} has no result before it: put a message of role \"tool\" with that \
             \"tool_call_id\" right behind {of}, or take the call out"
        ));
    }
    let calls = message.tool_calls.iter().flatten();
    Ok(calls
        .map(|call| Open {
            id: call.id.clone(),
            of: place.to_owned(),
        })
        .collect())
}

fn openai(message: &Message) -> Value {
    let mut out = Object::new();
    out.insert("role".to_owned(), json!(message.role.name()));
    out.insert("content".to_owned(), content(message));
    let texts = [
        ("name", &message.name),
        ("tool_call_id", &message.tool_call_id),
        ("refusal", &message.refusal),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            out.insert(key.to_owned(), json!(text));
        }
    }
    if let Some(calls) = message.tool_calls.as_ref().filter(|calls| !calls.is_empty()) {
        out.insert("tool_calls".to_owned(), calls.iter().map(call).collect());
    }
    Value::Object(out)
}

fn content(message: &Message) -> Value {
    let parts = match &message.content {
        None => return Value::Null,
        Some(Content::Text(text)) => return json!(text),
        Some(Content::Parts(parts)) => parts,
    };
    let kept: Vec<Value> = parts.iter().filter_map(part).collect();
    if kept.iter().all(|part| part["type"] == "text") {
        let text = message.text();
        // An assistant that only thought and called a tool has said nothing.
        return if text.is_empty() && message.tool_calls.is_some() {
            Value::Null
        } else {
            json!(text)
        };
    }
    Value::Array(kept)
}

fn part(part: &Part) -> Option<Value> {
    match part {
        Part::Text { text, .. } => Some(json!({"type": "text", "text": text})),
        Part::ImageUrl { image_url, .. } => Some(json!({"type": "image_url", "image_url": image_url})),
        Part::InputAudio { input_audio, .. } => {
            Some(json!({"type": "input_audio", "input_audio": input_audio}))
        }
        Part::File { file, .. } => Some(json!({"type": "file", "file": file})),
        Part::Unknown(object) => Some(Value::Object(object.clone())),
        Part::Reasoning { .. } | Part::Provider { .. } | Part::ToolCall { .. } => None,
    }
}

fn call(call: &ToolCall) -> Value {
    match (&call.function, &call.custom) {
        (None, Some(custom)) => json!({"id": call.id, "type": "custom",
            "custom": {"name": custom.name, "input": custom.input}}),
        _ => json!({"id": call.id, "type": "function",
            "function": {"name": call.name(), "arguments": call.text()}}),
    }
}
