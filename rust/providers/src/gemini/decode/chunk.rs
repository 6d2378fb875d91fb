//! The common chunk of a stream, read without a tree: one candidate with one piece of text.

use super::{Decoder, said};
use crate::parts::{Open, Parts};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

// Whatever is not exactly this is read the general way, which gives the same events: a field more, a null, a second
// part. `a_common_chunk_gives_the_events_of_the_general_way` holds the two together.

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow)]
    candidates: [Candidate<'a>; 1],
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    model_version: Option<Word<'a>>,
    #[serde(borrow)]
    response_id: Option<Word<'a>>,
    #[serde(borrow, rename = "createTime")]
    _create_time: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Content<'a>,
    #[serde(borrow)]
    finish_reason: Option<Word<'a>>,
    index: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<'a> {
    #[serde(borrow)]
    parts: [Piece<'a>; 1],
    #[serde(borrow, rename = "role")]
    _role: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    thought: Option<bool>,
}

/// A text that is borrowed where that can be; an optional plain `Cow` is always copied.
#[derive(Deserialize)]
#[serde(transparent)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

impl Decoder {
    /// Takes `data` if it is a common chunk; says whether it was one.
    pub(super) fn common(&mut self, data: &str, parts: &mut Parts) -> bool {
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else {
            return false;
        };
        let [candidate] = chunk.candidates;
        if candidate.index.is_some_and(|index| index != 0) {
            return false;
        }
        self.seen = true;
        set(&mut self.meta.id, chunk.response_id);
        set(&mut self.meta.model, chunk.model_version);
        if let Some(usage) = chunk.usage_metadata
            && usage.get().starts_with('{')
        {
            self.usage.clear();
            self.usage.push_str(usage.get());
        }
        let [piece] = candidate.content.parts;
        let kind = if piece.thought == Some(true) {
            Open::Reasoning
        } else {
            Open::Text
        };
        said(parts, kind, piece.text.into_owned(), None, false);
        if let Some(Word(reason)) = candidate.finish_reason
            && !reason.is_empty()
        {
            self.finish(&reason);
        }
        true
    }
}

fn set(field: &mut Option<String>, word: Option<Word<'_>>) {
    if field.is_none()
        && let Some(Word(word)) = word
        && !word.is_empty()
    {
        *field = Some(word.into_owned());
    }
}
