//! The pieces of a request on the wire, borrowed from the request: no text is copied.

use crate::merge;
use crate::protocol::{Protocol, Target};
use omni_core::{Object, Part};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// Writes `plain` with what `extra` means for this target laid over it.
pub(crate) fn merged<S: Serializer>(
    serializer: S,
    target: &Target,
    extra: Option<&Object>,
    plain: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let mut more = target
        .extras(Protocol::OpenaiResponses, extra)
        .filter(|more| more.is_object())
        .peekable();
    if more.peek().is_none() {
        return plain.serialize(serializer);
    }
    let mut whole = serde_json::to_value(plain).map_err(S::Error::custom)?;
    more.for_each(|more| merge::deep(&mut whole, more));
    whole.serialize(serializer)
}

/// `extra` of a part or a tool, which keep it among what they do not name.
pub(crate) fn extra_of(other: &Object) -> Option<&Object> {
    other.get("extra").and_then(Value::as_object)
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    InputText {
        text: &'a str,
    },
    InputImage {
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
    },
    InputAudio {
        input_audio: &'a Value,
    },
    OutputText {
        text: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        annotations: Vec<&'a Value>,
    },
}

/// Parts of a message that is not the assistant's, or of a tool's result.
pub(crate) struct Inputs<'a> {
    pub(crate) target: &'a Target,
    pub(crate) parts: Cow<'a, [&'a Part]>,
}

impl Serialize for Inputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.parts.len()))?;
        for part in &*self.parts {
            list.serialize_element(&Input {
                target: self.target,
                part,
            })?;
        }
        list.end()
    }
}

/// Whether a part can stand in a message that is not the assistant's, or in a tool's result.
pub(crate) fn is_input(part: &Part, target: &Target) -> bool {
    match part {
        Part::Text { .. } | Part::ImageUrl { .. } | Part::InputAudio { .. } | Part::File { .. } => true,
        Part::Provider { provider, data, .. } => {
            target.owns(Protocol::OpenaiResponses, provider) && !is_item(data)
        }
        Part::Reasoning { .. } | Part::ToolCall { .. } | Part::Unknown(_) => false,
    }
}

/// Whether a wire object is an item of its own, not a piece of one.
pub(crate) fn is_item(data: &Value) -> bool {
    let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
    !kind.starts_with("input_") && !kind.starts_with("output_")
}

struct Input<'a> {
    target: &'a Target,
    part: &'a Part,
}

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (content, other) = match self.part {
            Part::Text { text, other, .. } => (Content::InputText { text }, other),
            Part::ImageUrl { image_url, other } => (image(image_url), other),
            Part::InputAudio { input_audio, other } => (Content::InputAudio { input_audio }, other),
            Part::File { file: given, other } => (file(given), other),
            Part::Provider { data, .. } => return data.serialize(serializer),
            Part::Reasoning { .. } | Part::ToolCall { .. } | Part::Unknown(_) => {
                return serializer.serialize_none(); // `is_input` lets none through
            }
        };
        merged(serializer, self.target, extra_of(other), &content)
    }
}

fn said<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    of.get(key)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn image(given: &Value) -> Content<'_> {
    Content::InputImage {
        image_url: given.as_str().or_else(|| said(given, "url")),
        file_id: said(given, "file_id"),
        detail: said(given, "detail"),
    }
}

fn file(given: &Value) -> Content<'_> {
    let is_web = |text: &&str| text.starts_with("https://") || text.starts_with("http://");
    let (id, data) = (said(given, "file_id"), said(given, "file_data"));
    // Users name a file on the web in any of the three.
    let url = said(given, "file_url")
        .or(id.filter(is_web))
        .or(data.filter(is_web));
    let data = data.filter(|data| !is_web(data)).map(|data| {
        if data.starts_with("data:") {
            return Cow::Borrowed(data);
        }
        let mime = said(given, "format").unwrap_or("application/octet-stream");
        Cow::Owned(format!("data:{mime};base64,{data}"))
    });
    Content::InputFile {
        file_id: id.filter(|id| !is_web(id)),
        file_url: url,
        file_data: data,
        filename: said(given, "filename"),
    }
}

/// The texts of an assistant message that come one after the other.
pub(crate) struct Outputs<'a> {
    pub(crate) target: &'a Target,
    pub(crate) texts: &'a [&'a Part],
}

impl Serialize for Outputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.texts.len()))?;
        for part in self.texts {
            list.serialize_element(&Output {
                target: self.target,
                part,
            })?;
        }
        list.end()
    }
}

struct Output<'a> {
    target: &'a Target,
    part: &'a Part,
}

impl Serialize for Output<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Part::Text {
            text,
            annotations,
            other,
            ..
        } = self.part
        else {
            return serializer.serialize_none(); // only texts are put here
        };
        let annotations = annotations.iter().flatten().filter(|one| is_own(one)).collect();
        let content = Content::OutputText { text, annotations };
        merged(serializer, self.target, extra_of(other), &content)
    }
}

/// Whether an annotation is of this wire: other providers' citations, and the chat wire's, look otherwise.
fn is_own(annotation: &Value) -> bool {
    let kind = said(annotation, "type").unwrap_or_default();
    matches!(
        kind,
        "url_citation" | "file_citation" | "container_file_citation" | "file_path"
    ) && annotation.get(kind).is_none()
}
