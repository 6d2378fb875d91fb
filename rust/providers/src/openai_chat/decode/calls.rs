//! Which call a piece belongs to, and what of it has been said.

use crate::parts::Parts;
use omni_core::Object;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// A call, or a piece of one, as it came. Texts that did not come are "".
#[derive(Debug, Default)]
pub(super) struct Piece<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) arguments: Cow<'a, str>,
    pub(super) custom: bool,
    /// Gemini's place for the signature, on this wire.
    pub(super) extra_content: Option<&'a Object>,
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    name: String,
    /// What came before the call could begin.
    held: String,
    custom: bool,
    /// Its part, once it has begun.
    index: Option<u32>,
    /// Whether arguments came.
    argued: bool,
    /// The document that last spoke of it.
    document: u64,
    signature: Option<String>,
    extra_content: Option<Object>,
}

/// The calls of one answer, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Calls {
    list: Vec<Call>,
    /// The newest call of each number.
    by_index: HashMap<u64, usize>,
    by_id: HashMap<String, usize>,
    latest: Option<usize>,
    latest_index: Option<u64>,
    document: u64,
}

impl Calls {
    /// Another document begins.
    pub(super) fn next_document(&mut self) {
        self.document += 1;
    }

    /// Takes a piece; `whole` says that each is a call of its own. Gives whether a call begins now, before which the
    /// caller ends what is open; then comes [`say`](Self::say).
    pub(super) fn take(&mut self, piece: Piece<'_>, whole: bool) -> (usize, bool) {
        let at = self.place(&piece, whole);
        self.latest = Some(at);
        self.latest_index = piece.index;
        let call = &mut self.list[at];
        call.document = self.document;
        if call.id.is_empty() && !piece.id.is_empty() {
            call.id = piece.id.clone().into_owned();
            self.by_id.entry(piece.id.into_owned()).or_insert(at);
        }
        if call.name.is_empty() && !piece.name.is_empty() {
            call.name = piece.name.into_owned();
        }
        if !piece.arguments.is_empty() {
            call.argued = true;
            if call.held.is_empty() {
                call.held = piece.arguments.into_owned();
            } else {
                call.held.push_str(&piece.arguments);
            }
        }
        if let Some(extra) = piece.extra_content {
            let google = extra.get("google").and_then(Value::as_object);
            if let Some(Value::String(signature)) = google.and_then(|google| google.get("thought_signature"))
            {
                call.signature = Some(signature.clone());
            }
            call.extra_content = Some(extra.clone());
        }
        let begins =
            call.index.is_none() && !call.name.is_empty() && !(call.id.is_empty() && call.held.is_empty());
        (at, begins)
    }

    /// Says what has come of a call and can be said. `answer` is the answer's id.
    pub(super) fn say(&mut self, at: usize, begins: bool, answer: Option<&str>, parts: &mut Parts) {
        if begins {
            self.begin(at, answer, parts);
        }
        let call = &mut self.list[at];
        if let Some(index) = call.index
            && !call.held.is_empty()
        {
            parts.call_delta(index, std::mem::take(&mut call.held));
        }
    }

    /// Ends every call; begins those that had no name yet, for nothing that came is dropped.
    pub(super) fn end(&mut self, provider: &str, answer: Option<&str>, parts: &mut Parts) {
        for at in 0..self.list.len() {
            if self.list[at].is_empty() {
                continue;
            }
            let begins = self.list[at].index.is_none();
            self.say(at, begins, answer, parts);
            let call = &mut self.list[at];
            if let Some(index) = call.index {
                let extra = call.extra_content.take().map(|extra| {
                    let ours = Object::from_iter([("extra_content".to_owned(), Value::Object(extra))]);
                    Object::from_iter([(provider.to_owned(), Value::Object(ours))])
                });
                parts.call_end(index, call.signature.take(), extra);
            }
        }
    }

    fn begin(&mut self, at: usize, answer: Option<&str>, parts: &mut Parts) {
        let call = &mut self.list[at];
        if call.id.is_empty() {
            let answer = answer.unwrap_or_default();
            let tail = answer.char_indices().rev().nth(11).map_or(0, |(from, _)| from);
            call.id = format!("call_{}_{}", at + 1, &answer[tail..]);
        }
        call.index = Some(parts.call_start(call.id.clone(), call.name.clone(), call.custom));
    }

    /// The call that a piece belongs to.
    fn place(&mut self, piece: &Piece<'_>, whole: bool) -> usize {
        if whole {
            return self.add(piece);
        }
        if let Some(index) = piece.index {
            let found = match self.latest {
                Some(at) if self.latest_index == Some(index) => Some(at),
                _ => self.by_index.get(&index).copied(),
            };
            let at = match found {
                None => self.add(piece),
                Some(at) if !self.is_another(at, piece) => at,
                // Some servers number every call 0.
                Some(_) => match self.by_id.get(piece.id.as_ref()) {
                    Some(at) => *at,
                    None => self.add(piece),
                },
            };
            if found != Some(at) {
                self.by_index.insert(index, at);
            }
            return at;
        }
        // Without a number a piece with an id or a name begins a call, and one without goes on with the newest.
        match (piece.id.is_empty(), piece.name.is_empty(), self.latest) {
            (true, true, Some(latest)) => latest,
            (false, ..) => match self.by_id.get(piece.id.as_ref()) {
                Some(at) => *at,
                None => self.add(piece),
            },
            _ => self.add(piece),
        }
    }

    /// Whether a piece with the number of a call names another one.
    fn is_another(&self, at: usize, piece: &Piece<'_>) -> bool {
        let call = &self.list[at];
        if piece.name.is_empty() || call.name.is_empty() {
            return false;
        }
        if !piece.id.is_empty() && !call.id.is_empty() {
            return piece.id != call.id;
        }
        // Without ids: two names in one document, or another name after arguments.
        call.document == self.document || (call.argued && piece.name != call.name)
    }

    fn add(&mut self, piece: &Piece<'_>) -> usize {
        self.list.push(Call {
            custom: piece.custom,
            ..Call::default()
        });
        self.list.len() - 1
    }
}

impl Call {
    fn is_empty(&self) -> bool {
        self.index.is_none() && self.name.is_empty() && self.id.is_empty() && self.held.is_empty()
    }
}
