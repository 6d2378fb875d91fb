//! The common document read straight into borrowed fields. What is anything else is an error here and is read again
//! as a value: this file decides nothing about meaning.

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Where an unknown key stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Document,
    Choice,
    Message,
}

/// A text that is borrowed where that can be; serde always copies a plain `Cow`.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Word<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Unknown keys of a common document.
const MOST: usize = 8;

/// Keys that mean nothing to us, with their values as they stand in the text; `null` is left out.
#[derive(Debug, Default)]
pub(super) struct Others<'a> {
    list: [Option<(Place, Cow<'a, str>, &'a str)>; MOST],
    length: usize,
}

/// A document with at most one choice.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    pub(super) id: Option<Word<'a>>,
    pub(super) model: Option<Word<'a>>,
    pub(super) created: Option<f64>,
    pub(super) service_tier: Option<Word<'a>>,
    pub(super) usage: Option<Value>,
    /// Whether there was a list of choices, if an empty one.
    pub(super) choices: bool,
    pub(super) choice: Option<Choice<'a>>,
    pub(super) others: Others<'a>,
}

/// The first choice.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) message: Message<'a>,
    pub(super) finish_reason: Option<Word<'a>>,
}

/// Its `delta` or `message`.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) content: Option<Word<'a>>,
    pub(super) reasoning_content: Option<Word<'a>>,
    pub(super) reasoning: Option<Word<'a>>,
    pub(super) refusal: Option<Word<'a>>,
    pub(super) call: Option<Call<'a>>,
    pub(super) more_calls: Vec<Call<'a>>,
}

/// A function call or a piece of one.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<Word<'a>>,
    pub(super) name: Option<Word<'a>>,
    pub(super) arguments: Option<Word<'a>>,
}

impl<'a> Others<'a> {
    fn push<E: de::Error>(&mut self, place: Place, key: Cow<'a, str>, value: &'a RawValue) -> Result<(), E> {
        if value.get() == "null" {
            return Ok(());
        }
        let free = self.list.get_mut(self.length).ok_or_else(uncommon)?;
        *free = Some((place, key, value.get()));
        self.length += 1;
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, &str, &'a str)> {
        self.list
            .iter()
            .flatten()
            .map(|(place, key, value)| (*place, key.as_ref(), *value))
    }
}

impl<'a> Document<'a> {
    /// `text` if it is a common document.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

fn uncommon<E: de::Error>() -> E {
    E::custom("not common")
}

/// Reads a value into a field that has none yet; a key that comes twice is not common.
fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    field: &mut Option<T>,
) -> Result<(), A::Error> {
    let before = field.is_some();
    *field = map.next_value()?;
    if before { Err(uncommon()) } else { Ok(()) }
}

/// Passes over a value that must be null.
fn null<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    match map.next_value::<Option<IgnoredAny>>()? {
        None => Ok(()),
        Some(_) => Err(uncommon()),
    }
}

/// Implements `Deserialize` for a struct by a function that reads it from its keys.
macro_rules! from_map {
    ($kind:ident, $read:expr) => {
        impl<'de> Deserialize<'de> for $kind<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl<'de> Visitor<'de> for Read {
                    type Value = $kind<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                        $read(map)
                    }
                }
                deserializer.deserialize_map(Read)
            }
        }
    };
}

from_map!(Document, read_document);
from_map!(Call, read_call);

fn read_document<'de, A: MapAccess<'de>>(mut map: A) -> Result<Document<'de>, A::Error> {
    let mut document = Document::default();
    while let Some(Word(key)) = map.next_key()? {
        match key.as_ref() {
            "choices" => {
                if document.choices {
                    return Err(uncommon());
                }
                map.next_value_seed(Choices(&mut document))?;
            }
            "id" => once(&mut map, &mut document.id)?,
            "created" => once(&mut map, &mut document.created)?,
            "model" => once(&mut map, &mut document.model)?,
            "service_tier" => once(&mut map, &mut document.service_tier)?,
            "usage" => once(&mut map, &mut document.usage)?,
            // An error may stand under its own key or be all that the document is.
            "object" => {
                if map.next_value::<Word<'_>>()?.0 == "error" {
                    return Err(uncommon());
                }
            }
            "obfuscation" | "p" => drop(map.next_value::<IgnoredAny>()?),
            "error" | "x_groq" => null(&mut map)?,
            _ => {
                let value = map.next_value()?;
                document.others.push(Place::Document, key, value)?;
            }
        }
    }
    Ok(document)
}

/// Reads the list of choices into a document.
struct Choices<'d, 'a>(&'d mut Document<'a>);

impl<'de> de::DeserializeSeed<'de> for Choices<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Choices<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.choices = true;
        self.0.choice = seq.next_element_seed(OneChoice(&mut self.0.others))?;
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(uncommon()),
        }
    }
}

/// Reads a choice, its unknown keys into a list.
struct OneChoice<'d, 'a>(&'d mut Others<'a>);

impl<'de> de::DeserializeSeed<'de> for OneChoice<'_, 'de> {
    type Value = Choice<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Choice<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneChoice<'_, 'de> {
    type Value = Choice<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Choice<'de>, A::Error> {
        let mut choice = Choice::default();
        let mut read = false;
        while let Some(Word(key)) = map.next_key()? {
            match key.as_ref() {
                "delta" | "message" => {
                    if read {
                        return Err(uncommon());
                    }
                    read = true;
                    choice.message = map.next_value_seed(OneMessage(self.0))?;
                }
                "index" => {
                    if map.next_value::<Option<u64>>()?.unwrap_or_default() != 0 {
                        return Err(uncommon());
                    }
                }
                "finish_reason" => once(&mut map, &mut choice.finish_reason)?,
                "logprobs" | "text" | "error" => null(&mut map)?,
                _ => {
                    let value = map.next_value()?;
                    self.0.push(Place::Choice, key, value)?;
                }
            }
        }
        Ok(choice)
    }
}

/// Reads a delta or a message, its unknown keys into a list.
struct OneMessage<'d, 'a>(&'d mut Others<'a>);

impl<'de> de::DeserializeSeed<'de> for OneMessage<'_, 'de> {
    type Value = Message<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Message<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneMessage<'_, 'de> {
    type Value = Message<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
        let mut message = Message::default();
        while let Some(Word(key)) = map.next_key()? {
            match key.as_ref() {
                "content" => once(&mut map, &mut message.content)?,
                "role" | "padding" | "token_id" => drop(map.next_value::<IgnoredAny>()?),
                "reasoning_content" => once(&mut map, &mut message.reasoning_content)?,
                "reasoning" => once(&mut map, &mut message.reasoning)?,
                "refusal" => once(&mut map, &mut message.refusal)?,
                "tool_calls" => {
                    if message.call.is_some() {
                        return Err(uncommon());
                    }
                    map.next_value_seed(CallList(&mut message))?;
                }
                "annotations" | "images" => {
                    // Whole answers carry empty lists of them.
                    let value: &RawValue = map.next_value()?;
                    if !matches!(value.get(), "null" | "[]") {
                        return Err(uncommon());
                    }
                }
                "reasoning_details" | "function_call" | "audio" => null(&mut map)?,
                _ => {
                    let value = map.next_value()?;
                    self.0.push(Place::Message, key, value)?;
                }
            }
        }
        Ok(message)
    }
}

/// Reads the calls of a message; null is no call.
struct CallList<'d, 'a>(&'d mut Message<'a>);

impl<'de> de::DeserializeSeed<'de> for CallList<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CallList<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.call = seq.next_element()?;
        while let Some(call) = seq.next_element()? {
            self.0.more_calls.push(call);
        }
        Ok(())
    }
}

fn read_call<'de, A: MapAccess<'de>>(mut map: A) -> Result<Call<'de>, A::Error> {
    let mut call = Call::default();
    let mut read = false;
    while let Some(Word(key)) = map.next_key()? {
        match key.as_ref() {
            "index" => once(&mut map, &mut call.index)?,
            "id" => once(&mut map, &mut call.id)?,
            "function" => {
                if read {
                    return Err(uncommon());
                }
                read = true;
                map.next_value_seed(OneFunction(&mut call))?;
            }
            "type" => match map.next_value::<Option<Word<'_>>>()? {
                None => {}
                Some(Word(kind)) if kind == "function" || kind.is_empty() => {}
                Some(_) => return Err(uncommon()),
            },
            // Pieces of custom tools and signatures are not common; unknown keys of calls are not kept.
            "custom" | "extra_content" => null(&mut map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
    }
    Ok(call)
}

/// Reads the function of a call into it.
struct OneFunction<'d, 'a>(&'d mut Call<'a>);

impl<'de> de::DeserializeSeed<'de> for OneFunction<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneFunction<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Word(key)) = map.next_key()? {
            match key.as_ref() {
                "name" => once(&mut map, &mut self.0.name)?,
                "arguments" => once(&mut map, &mut self.0.arguments)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
