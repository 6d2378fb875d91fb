//! The common document read straight into borrowed fields. What is anything else is an error here and is read again
//! as a value: this file decides nothing about meaning.

use super::remembered::Remembered;
use super::usage::Raw;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
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

/// A document with at most one choice, with what stands in the choice and in its `delta` or `message`.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    pub(super) id: Option<Word<'a>>,
    pub(super) model: Option<Word<'a>>,
    pub(super) created: Option<f64>,
    pub(super) service_tier: Option<Word<'a>>,
    pub(super) usage: Option<Raw>,
    /// Whether there was a list of choices, if an empty one.
    pub(super) choices: bool,
    pub(super) finish_reason: Option<Word<'a>>,
    message: bool,
    pub(super) content: Option<Word<'a>>,
    pub(super) reasoning_content: Option<Word<'a>>,
    pub(super) reasoning: Option<Word<'a>>,
    pub(super) refusal: Option<Word<'a>>,
    pub(super) call: Option<Call<'a>>,
    pub(super) more_calls: Vec<Call<'a>>,
    /// Unknown keys with their values as they stand in the text, but for what was there before.
    pub(super) others: Vec<(Place, Cow<'a, str>, &'a str)>,
}

/// A function call or a piece of one.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<Word<'a>>,
    pub(super) name: Option<Word<'a>>,
    pub(super) arguments: Option<Word<'a>>,
}

impl<'a> Document<'a> {
    /// `text` if it is a common document.
    pub(super) fn read(text: &'a str, remembered: &Remembered) -> Option<Self> {
        let mut document = Self::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = In {
            level: Level::Document,
            document: &mut document,
            remembered,
        };
        read.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(document)
    }
}

impl Document<'_> {
    /// Whether it is a choice that says nothing but texts, and nothing new of the answer.
    pub(super) fn is_plain(&self) -> bool {
        let silent = |word: &Option<Word<'_>>| word.as_ref().is_none_or(|Word(text)| text.is_empty());
        self.choices
            && self.usage.is_none()
            && silent(&self.finish_reason)
            && silent(&self.refusal)
            && self.call.is_none()
            && self.others.is_empty()
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

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// How deep a reader stands.
#[derive(Clone, Copy)]
enum Level {
    Document,
    Choices,
    Choice,
    Message,
    Calls,
}

/// Reads one level of a document into it.
struct In<'r, 'a> {
    level: Level,
    document: &'r mut Document<'a>,
    remembered: &'r Remembered,
}

impl<'de> DeserializeSeed<'de> for In<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.level {
            Level::Document | Level::Choice | Level::Message => deserializer.deserialize_map(self),
            Level::Choices => deserializer.deserialize_seq(self),
            Level::Calls => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for In<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a common document")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(()) // no calls
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if matches!(self.level, Level::Choices) {
            self.document.choices = true;
            seq.next_element_seed(self.deeper(Level::Choice))?;
            return match seq.next_element::<IgnoredAny>()? {
                None => Ok(()),
                Some(_) => Err(uncommon()),
            };
        }
        self.document.call = seq.next_element()?;
        while let Some(call) = seq.next_element()? {
            self.document.more_calls.push(call);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Word(key)) = map.next_key()? {
            match self.level {
                Level::Document => self.in_document(key, &mut map)?,
                Level::Choice => self.in_choice(key, &mut map)?,
                Level::Message => self.in_message(key, &mut map)?,
                Level::Choices | Level::Calls => return Err(uncommon()),
            }
        }
        Ok(())
    }
}

impl<'de> In<'_, 'de> {
    fn deeper(&mut self, level: Level) -> In<'_, 'de> {
        In {
            level,
            document: self.document,
            remembered: self.remembered,
        }
    }

    fn in_document<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match key.as_ref() {
            "choices" if self.document.choices => Err(uncommon()),
            "choices" => map.next_value_seed(self.deeper(Level::Choices)),
            "id" => once(map, &mut self.document.id),
            "created" => once(map, &mut self.document.created),
            "model" => once(map, &mut self.document.model),
            "service_tier" => once(map, &mut self.document.service_tier),
            "usage" => once(map, &mut self.document.usage),
            // An error may stand under its own key or be all that the document is.
            "object" => match map.next_value::<Word<'_>>()?.0.as_ref() {
                "error" => Err(uncommon()),
                _ => Ok(()),
            },
            "obfuscation" | "p" => skip(map),
            "error" | "x_groq" => null(map),
            _ => self.unknown(Place::Document, key, map),
        }
    }

    fn in_choice<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match key.as_ref() {
            "delta" | "message" if self.document.message => Err(uncommon()),
            "delta" | "message" => {
                self.document.message = true;
                map.next_value_seed(self.deeper(Level::Message))
            }
            "index" => match map.next_value::<Option<u64>>()? {
                None | Some(0) => Ok(()),
                Some(_) => Err(uncommon()),
            },
            "finish_reason" => once(map, &mut self.document.finish_reason),
            "logprobs" | "text" | "error" => null(map),
            "native_finish_reason" => skip(map),
            _ => self.unknown(Place::Choice, key, map),
        }
    }

    fn in_message<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match key.as_ref() {
            "content" => once(map, &mut self.document.content),
            "role" | "padding" | "token_id" => skip(map),
            "reasoning_content" => once(map, &mut self.document.reasoning_content),
            "reasoning" => once(map, &mut self.document.reasoning),
            "refusal" => once(map, &mut self.document.refusal),
            "tool_calls" if self.document.call.is_some() => Err(uncommon()),
            "tool_calls" => map.next_value_seed(self.deeper(Level::Calls)),
            // Whole answers carry empty lists of them.
            "annotations" | "images" => match map.next_value::<&RawValue>()?.get() {
                "null" | "[]" => Ok(()),
                _ => Err(uncommon()),
            },
            "reasoning_details" | "function_call" | "audio" => null(map),
            _ => self.unknown(Place::Message, key, map),
        }
    }

    fn unknown<A: MapAccess<'de>>(
        &mut self,
        place: Place,
        key: Cow<'de, str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let value = map.next_value::<&RawValue>()?.get();
        // Once something new came, all that follows counts: a key may come twice, and the last one is right.
        let old = self.document.others.is_empty() && self.remembered.has(place, &key, value);
        if value != "null" && !old {
            self.document.others.push((place, key, value));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Call<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut call = Self::default();
        deserializer.deserialize_map(OneCall(&mut call))?;
        Ok(call)
    }
}

struct OneCall<'r, 'a>(&'r mut Call<'a>);

impl<'de> Visitor<'de> for OneCall<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a call")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut read = false;
        while let Some(Word(key)) = map.next_key()? {
            match key.as_ref() {
                "index" => once(&mut map, &mut self.0.index)?,
                "id" => once(&mut map, &mut self.0.id)?,
                "function" => {
                    if std::mem::replace(&mut read, true) {
                        return Err(uncommon());
                    }
                    map.next_value_seed(OneFunction(self.0))?;
                }
                "type" => match map.next_value::<Option<Word<'_>>>()? {
                    Some(Word(kind)) if !matches!(kind.as_ref(), "function" | "") => return Err(uncommon()),
                    _ => {}
                },
                // Pieces of custom tools and signatures are not common; unknown keys of calls are not kept.
                "custom" | "extra_content" => null(&mut map)?,
                _ => skip(&mut map)?,
            }
        }
        Ok(())
    }
}

/// Reads the function of a call into it.
struct OneFunction<'r, 'a>(&'r mut Call<'a>);

impl<'de> DeserializeSeed<'de> for OneFunction<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneFunction<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Word(key)) = map.next_key()? {
            match key.as_ref() {
                "name" => once(&mut map, &mut self.0.name)?,
                "arguments" => once(&mut map, &mut self.0.arguments)?,
                _ => skip(&mut map)?,
            }
        }
        Ok(())
    }
}
