//! The slow path of a bad request: what is wrong, where, and what to write instead; never what the user wrote.
//!
//! Serde says that a request is bad; it cannot say where inside a flattened or untagged value, and it quotes the
//! value. So only then the document is walked by hand along the shapes below. A test keeps them equal to the types:
//! whatever serde refuses, the walk finds.

use crate::message::{Part, Role};
use crate::request::Request;
use serde_json::{Map, Value};

/// What a value has to be.
#[derive(Clone, Copy)]
enum Shape {
    Any,
    Text,
    Flag,
    Number,
    /// A whole number from the first to the second.
    Whole(i64, u64),
    Object,
    List(&'static Shape),
    OneOf(&'static [&'static str]),
    Role,
    Record(&'static Record),
    /// The first whose kind of value fits.
    Either(&'static [Shape]),
    Part,
    Tool,
}

/// An object with known fields.
struct Record {
    fields: &'static [(&'static str, Shape)],
    required: &'static [&'static str],
    /// Other fields are an error.
    closed: bool,
}

const U32: Shape = Shape::Whole(0, u32::MAX as u64);
const U64: Shape = Shape::Whole(0, u64::MAX);

const fn open(fields: &'static [(&'static str, Shape)], required: &'static [&'static str]) -> Record {
    Record {
        fields,
        required,
        closed: false,
    }
}

static REQUEST: Record = Record {
    fields: &[
        ("model", Shape::Text),
        ("messages", Shape::List(&Shape::Record(&MESSAGE))),
        ("tools", Shape::List(&Shape::Tool)),
        ("tool_choice", Shape::Either(&[Shape::Text, Shape::Object])),
        ("parallel_tool_calls", Shape::Flag),
        ("temperature", Shape::Number),
        ("top_p", Shape::Number),
        ("top_k", U64),
        ("max_tokens", U64),
        ("stop", Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)])),
        ("seed", Shape::Whole(i64::MIN, i64::MAX as u64)),
        ("n", U32),
        ("logprobs", Shape::Flag),
        ("top_logprobs", U32),
        ("frequency_penalty", Shape::Number),
        ("presence_penalty", Shape::Number),
        ("response_format", Shape::Object),
        ("modalities", Shape::List(&Shape::Text)),
        ("service_tier", Shape::Text),
        ("user", Shape::Text),
        ("reasoning_effort", Shape::Text),
        ("reasoning_budget_tokens", U64),
        (
            "timeout",
            Shape::Either(&[Shape::Number, Shape::Record(&TIMEOUTS)]),
        ),
        ("fallbacks", Shape::List(&Shape::Any)),
        ("fallback_mid_stream", Shape::Flag),
        ("retry", Shape::Either(&[U32, Shape::Record(&RETRY)])),
        ("budget", Shape::Record(&BUDGET)),
        ("api_base", Shape::Text),
        ("api_key", Shape::Text),
        ("headers", Shape::Object),
        ("provider_options", Shape::Object),
        ("metadata", Shape::Object),
        ("labels", Shape::Object),
        ("engine", Shape::OneOf(&["auto", "native", "litellm"])),
    ],
    required: &["model", "messages"],
    closed: true,
};

static TIMEOUTS: Record = Record {
    fields: &[
        ("connect", Shape::Number),
        ("first_event", Shape::Number),
        ("idle", Shape::Number),
        ("total", Shape::Number),
    ],
    required: &[],
    closed: true,
};

static RETRY: Record = Record {
    fields: &[("max_retries", U32), ("max_wait", Shape::Number)],
    required: &[],
    closed: true,
};

static BUDGET: Record = Record {
    fields: &[("tokens", U64), ("usd", Shape::Number)],
    required: &[],
    closed: true,
};

static MESSAGE: Record = open(
    &[
        ("role", Shape::Role),
        (
            "content",
            Shape::Either(&[Shape::Text, Shape::List(&Shape::Part)]),
        ),
        ("name", Shape::Text),
        ("tool_calls", Shape::List(&Shape::Record(&TOOL_CALL))),
        ("tool_call_id", Shape::Text),
        ("is_error", Shape::Flag),
        ("refusal", Shape::Text),
        ("prefix", Shape::Flag),
        ("extra", Shape::Object),
    ],
    &["role"],
);

static TOOL_CALL: Record = open(
    &[
        ("id", Shape::Text),
        ("type", Shape::Text),
        ("function", Shape::Record(&FUNCTION)),
        ("custom", Shape::Record(&CUSTOM)),
        ("signature", Shape::Text),
        ("extra", Shape::Object),
    ],
    &["id"],
);
static FUNCTION: Record = open(&[("name", Shape::Text), ("arguments", Shape::Text)], &["name"]);
static CUSTOM: Record = open(&[("name", Shape::Text), ("input", Shape::Text)], &["name"]);

static TOOL_FUNCTION: Record = open(&[("function", Shape::Object)], &["function"]);
static TOOL_CUSTOM: Record = open(&[("custom", Shape::Object)], &["custom"]);
static TOOL_PROVIDER: Record = open(&[("provider", Shape::Text)], &["provider", "data"]);

static TEXT: Record = open(
    &[
        ("text", Shape::Text),
        ("annotations", Shape::List(&Shape::Any)),
        ("signature", Shape::Text),
    ],
    &["text"],
);
static IMAGE_URL: Record = open(&[], &["image_url"]);
static INPUT_AUDIO: Record = open(&[], &["input_audio"]);
static FILE: Record = open(&[], &["file"]);
static REASONING: Record = open(
    &[
        ("text", Shape::Text),
        ("encrypted", Shape::Text),
        ("id", Shape::Text),
        ("signature", Shape::Text),
    ],
    &[],
);
static PROVIDER: Record = open(
    &[
        ("provider", Shape::Text),
        ("kind", Shape::Text),
        ("signature", Shape::Text),
    ],
    &["provider", "kind", "data"],
);
static MARK: Record = open(&[("id", Shape::Text)], &["id"]);

/// What users of other clients write, and what it is called here.
static ELSEWHERE: &[(&str, &str)] = &[
    ("stream", "ask for a stream by calling stream() instead of chat()"),
    (
        "stream_options",
        "a stream always ends with its usage: leave it out",
    ),
    ("max_completion_tokens", "write \"max_tokens\""),
    ("max_output_tokens", "write \"max_tokens\""),
    ("stop_sequences", "write \"stop\""),
    ("base_url", "write \"api_base\""),
    ("system", "write a message of role \"system\""),
    ("functions", "write \"tools\""),
    ("function_call", "write \"tool_choice\""),
    (
        "thinking",
        "write \"reasoning_effort\" or \"reasoning_budget_tokens\"",
    ),
    (
        "reasoning",
        "write \"reasoning_effort\" or \"reasoning_budget_tokens\"",
    ),
    ("extra_headers", "write \"headers\""),
    ("extra_body", "write \"provider_options\""),
    ("num_retries", "write \"retry\""),
    ("max_retries", "write \"retry\""),
    ("input", "write \"messages\""),
];

/// What is wrong with `document` as a request, or `None` if the walk finds nothing.
pub(crate) fn request(document: &Value) -> Option<String> {
    // The empty path stands for the request as a whole.
    Walk::default().value(document, Shape::Record(&REQUEST)).err()
}

/// What is wrong with the request field `name`, if there is none of that name.
pub(crate) fn unknown_field(name: &str) -> Option<String> {
    (!Request::FIELDS.contains(&name)).then(|| unknown(&[], name, Request::FIELDS))
}

/// The candidate that `word` was probably meant to be.
///
/// ```
/// assert_eq!(omni_core::near_match("temprature", ["temperature", "top_p"]), Some("temperature"));
/// assert_eq!(omni_core::near_match("zzz", ["temperature", "top_p"]), None);
/// ```
pub fn near_match<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = shown(word).to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, &word), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4 && *distance < candidate.len())
        .map(|(_, candidate)| candidate)
}

/// A key as it may be shown: a name of a field, never a text that was put in its place.
fn shown(key: &str) -> String {
    key.chars().filter(|char| !char.is_control()).take(48).collect()
}

fn unknown(path: &[Step], key: &str, fields: &[&'static str]) -> String {
    let at = join(path, Some(&shown(key)));
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| path.is_empty() && *name == key);
    if let Some((_, hint)) = elsewhere {
        return format!("{at}: no such field; {hint}");
    }
    match near_match(key, fields.iter().copied()) {
        Some(near) => format!("{at}: no such field; did you mean \"{near}\"?"),
        None if path.is_empty() => {
            format!("{at}: no such field; what is meant for one provider goes into \"provider_options\"")
        }
        None => format!("{at}: no such field; the fields are {}", fields.join(", ")),
    }
}

enum Step {
    Key(&'static str),
    Index(usize),
}

fn join(path: &[Step], last: Option<&str>) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(index) => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
        }
    }
    if let Some(last) = last {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(last);
    }
    if out.is_empty() {
        "the request".to_owned()
    } else {
        out
    }
}

#[derive(Default)]
struct Walk {
    path: Vec<Step>,
}

type Found = Result<(), String>;

impl Walk {
    fn value(&mut self, value: &Value, shape: Shape) -> Found {
        match (shape, value) {
            (Shape::Any, _)
            | (Shape::Text, Value::String(_))
            | (Shape::Flag, Value::Bool(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::Object, Value::Object(_)) => Ok(()),
            (Shape::Whole(least, most), Value::Number(number)) => {
                let fits = number
                    .as_i64()
                    .is_some_and(|have| have >= least && (have < 0 || have.cast_unsigned() <= most))
                    || number.as_u64().is_some_and(|have| have <= most);
                if fits {
                    Ok(())
                } else {
                    self.wrong(
                        &format!("a whole number from {least} to {most}"),
                        "another number",
                    )
                }
            }
            (Shape::List(of), Value::Array(items)) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.inside(Step::Index(index), item, *of)),
            (Shape::OneOf(names), Value::String(have)) => {
                if names.contains(&have.as_str()) {
                    return Ok(());
                }
                let near = near_match(have, names.iter().copied());
                let hint = near
                    .map(|near| format!("; did you mean \"{near}\"?"))
                    .unwrap_or_default();
                self.wrong(
                    &format!("one of \"{}\"", names.join("\", \"")),
                    &format!("another word{hint}"),
                )
            }
            (Shape::Role, Value::String(have)) => {
                if Role::ALL.iter().any(|role| role.name() == have) {
                    return Ok(());
                }
                let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
                self.wrong(&format!("one of \"{}\"", names.join("\", \"")), "another word")
            }
            (Shape::Record(record), Value::Object(object)) => self.record(object, record),
            (Shape::Either(shapes), _) => match shapes.iter().find(|shape| shape.takes(value)) {
                Some(shape) => self.value(value, *shape),
                None => self.wrong(&shape.name(), kind(value)),
            },
            (Shape::Part, Value::Object(object)) => {
                let record = match self.type_of(object, "a part", Part::TYPES)? {
                    "text" => &TEXT,
                    "image_url" => &IMAGE_URL,
                    "input_audio" => &INPUT_AUDIO,
                    "file" => &FILE,
                    "reasoning" => &REASONING,
                    "provider" => &PROVIDER,
                    "tool_call" => &MARK,
                    _ => return Ok(()),
                };
                self.record(object, record)
            }
            (Shape::Tool, Value::Object(object)) => {
                let record = match self.type_of(object, "a tool", &["function", "custom", "provider"])? {
                    "function" => &TOOL_FUNCTION,
                    "custom" => &TOOL_CUSTOM,
                    "provider" => &TOOL_PROVIDER,
                    _ => {
                        self.path.push(Step::Key("type"));
                        return self.wrong(
                            "\"function\", \"custom\" or \"provider\"",
                            "another word; a tool that the provider runs itself is \
                             {\"type\": \"provider\", \"provider\": \"…\", \"data\": {its wire object}}",
                        );
                    }
                };
                self.record(object, record)
            }
            _ => self.wrong(&shape.name(), kind(value)),
        }
    }

    fn inside(&mut self, step: Step, value: &Value, shape: Shape) -> Found {
        self.path.push(step);
        self.value(value, shape)?;
        self.path.pop();
        Ok(())
    }

    fn record(&mut self, object: &Map<String, Value>, record: &'static Record) -> Found {
        if record.closed {
            let names: Vec<&'static str> = record.fields.iter().map(|(name, _)| *name).collect();
            if let Some(key) = object.keys().find(|key| !names.contains(&key.as_str())) {
                return Err(unknown(&self.path, key, &names));
            }
        }
        for required in record.required {
            // `data` of a provider part may well be null: there it is a value.
            if !object.contains_key(*required) || object[*required].is_null() && *required != "data" {
                return Err(format!("{}: missing", join(&self.path, Some(required))));
            }
        }
        for (name, shape) in record.fields {
            match object.get(*name) {
                None | Some(Value::Null) => {}
                Some(value) => self.inside(Step::Key(name), value, *shape)?,
            }
        }
        Ok(())
    }

    fn type_of<'a>(
        &self,
        object: &'a Map<String, Value>,
        what: &str,
        types: &[&str],
    ) -> Result<&'a str, String> {
        match object.get("type") {
            Some(Value::String(name)) => Ok(name),
            _ => Err(format!(
                "{}: {what} needs a \"type\", one of \"{}\"",
                join(&self.path, Some("type")),
                types.join("\", \"")
            )),
        }
    }

    fn wrong(&self, wanted: &str, got: &str) -> Found {
        Err(format!(
            "{}: expected {wanted}, got {got}",
            join(&self.path, None)
        ))
    }
}

impl Shape {
    /// Whether this is the shape that a value of that kind was meant to have.
    fn takes(&self, value: &Value) -> bool {
        match self {
            Shape::Any => true,
            Shape::Text | Shape::OneOf(_) | Shape::Role => value.is_string(),
            Shape::Flag => value.is_boolean(),
            Shape::Number | Shape::Whole(..) => value.is_number(),
            Shape::List(_) => value.is_array(),
            Shape::Object | Shape::Record(_) | Shape::Part | Shape::Tool => value.is_object(),
            Shape::Either(shapes) => shapes.iter().any(|shape| shape.takes(value)),
        }
    }

    fn name(&self) -> String {
        match self {
            Shape::Any => "a value".to_owned(),
            Shape::Text | Shape::OneOf(_) | Shape::Role => "a string".to_owned(),
            Shape::Flag => "true or false".to_owned(),
            Shape::Number => "a number".to_owned(),
            Shape::Whole(..) => "a whole number".to_owned(),
            Shape::Object => "an object".to_owned(),
            Shape::List(Shape::Part) => "a list of parts".to_owned(),
            Shape::List(_) => "a list".to_owned(),
            Shape::Record(record) => {
                let names: Vec<_> = record.fields.iter().take(5).map(|(name, _)| *name).collect();
                let more = if record.fields.len() > 5 { ", …" } else { "" };
                format!("an object {{{}{more}}}", names.join(", "))
            }
            Shape::Either(shapes) => shapes.iter().map(Shape::name).collect::<Vec<_>>().join(" or "),
            Shape::Part => "a part: an object with a \"type\"".to_owned(),
            Shape::Tool => "a tool: an object with a \"type\"".to_owned(),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
