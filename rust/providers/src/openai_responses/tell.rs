//! Items → parts: what the deltas of an item and the whole item tell, and in which part it goes.
//!
//! Items may be told at the same time. A text or reasoning part whose item is not whole is parked when another begins,
//! and opened again for what comes later: its rest, its annotations, its encrypted form.

use super::decode::Decoder;
use super::items::{self, Item, Piece};
use super::wire::Kind;
use crate::parts::{Ending, Parts};
use crate::value::{says_something, some_text, text};
use omni_core::Object;
use serde_json::Value;
use std::borrow::Cow;

impl Decoder {
    pub(super) fn delta(
        &mut self,
        kind: Kind,
        index: u64,
        number: u64,
        more: Cow<'_, str>,
        parts: &mut Parts,
    ) {
        self.last = index;
        let item = self.items.entry(index).or_default();
        let piece = match kind {
            Kind::Arguments => {
                // Without its beginning the name is unknown: the whole item brings all of it.
                if let Some(call) = item.call {
                    item.sent += more.len();
                    parts.call_delta(call, more);
                }
                return;
            }
            Kind::Refusal => {
                item.pieces.entry(Piece::Content(number)).or_default().sent += more.len();
                return parts.refusal(more);
            }
            Kind::Text => Piece::Content(number),
            Kind::Summary => Piece::Summary(number),
            Kind::Thought => Piece::Thought(number),
        };
        let begun = item.pieces.entry(piece).or_default();
        begun.sent += more.len();
        begun.begun = true;
        if !self.is_open(index, piece, parts) {
            let item = self.items.get(&index);
            let id = item.and_then(|item| item.id.clone().filter(|_| !item.whole));
            self.turn_to(index, piece, id, parts);
        }
        match piece {
            Piece::Content(_) => parts.text(more),
            Piece::Summary(_) | Piece::Thought(_) => parts.reasoning(more),
        }
    }

    fn is_open(&self, index: u64, piece: Piece, parts: &Parts) -> bool {
        self.open == Some((index, piece)) && parts.open().is_some()
    }

    /// Opens the part of a piece, or opens it again; `id` is the reasoning item's.
    fn turn_to(&mut self, index: u64, piece: Piece, id: Option<String>, parts: &mut Parts) {
        if self.is_open(index, piece, parts) {
            return;
        }
        self.waiting = self.waiting.filter(|waiting| *waiting != index);
        match (self.open, piece) {
            // A summary is whole when the next one begins; a text waits for what stands at its end.
            (Some((open, Piece::Summary(_) | Piece::Thought(_))), Piece::Summary(_) | Piece::Thought(_))
                if open == index =>
            {
                parts.close();
            }
            _ => self.park(parts),
        }
        self.open = Some((index, piece));
        match (self.parked.remove(&(index, piece)), piece) {
            (Some(parked), _) => parts.resume(parked),
            (None, Piece::Content(_)) => parts.begin_text(),
            (None, Piece::Summary(_)) => parts.begin_reasoning(id),
            // The item of such a text is kept whole beside it: with its id, it would go back twice.
            (None, Piece::Thought(_)) => parts.begin_reasoning(None),
        }
    }

    /// Puts the open part aside until its item is whole, before another part begins.
    fn park(&mut self, parts: &mut Parts) {
        if let Some(open) = self.open.take() {
            self.park_open(open, parts);
        }
        if let Some(index) = self.waiting.take() {
            // What it tells later stands in this place.
            let item = self.items.get(&index);
            parts.begin_reasoning(item.and_then(|item| item.id.clone().filter(|_| !item.whole)));
            self.park_open((index, Piece::Summary(0)), parts);
        }
    }

    fn park_open(&mut self, open: (u64, Piece), parts: &mut Parts) {
        let item = self.items.get_mut(&open.0);
        if item.as_ref().is_some_and(|item| item.done) {
            return parts.close();
        }
        if let Some(part) = parts.park() {
            self.parked.insert(open, part);
            if let Some(item) = item.filter(|item| item.whole || matches!(open.1, Piece::Thought(_))) {
                item.reserved.get_or_insert_with(|| parts.reserve());
            }
        }
    }

    pub(super) fn added(&mut self, index: u64, given: &Object, parts: &mut Parts) {
        self.last = index;
        let kind = text(given.get("type"));
        if kind != "message" {
            self.park(parts);
        }
        let item = self.items.entry(index).or_default();
        if item.done {
            *item = Item::default(); // some servers give every item the same number
        }
        item.id = some_text(given.get("id"));
        if let Some(id) = &item.id {
            self.ids.insert(id.clone(), index);
        }
        match kind {
            "reasoning" => {
                item.whole = !items::is_plain_reasoning(given);
                self.waiting = Some(index);
            }
            "function_call" | "custom_tool_call" if item.call.is_none() => {
                item.call = Some(items::start_call(given, parts));
            }
            kind if items::is_own(kind) && item.reserved.is_none() => item.reserved = Some(parts.reserve()),
            _ => {}
        }
    }

    /// A whole item; what was streamed of it already is not repeated.
    pub(super) fn item(&mut self, index: u64, given: Object, parts: &mut Parts) {
        self.last = index;
        self.waiting = self.waiting.filter(|waiting| *waiting != index);
        let mut item = self.items.remove(&index).unwrap_or_default();
        if !item.done {
            item.done = true;
            if let Some(id) = some_text(given.get("id")) {
                self.ids.insert(id, index);
            }
            match text(given.get("type")) {
                "message" => self.message(&mut item, index, given, parts),
                "reasoning" => self.reasoning(&mut item, index, given, parts),
                "function_call" | "custom_tool_call" => {
                    if item.call.is_none() {
                        self.park(parts);
                    }
                    items::whole_call(&mut item, &given, &self.provider, parts);
                }
                "" => parts.ignored += 1,
                kind => {
                    let kind = kind.to_owned();
                    if items::ran_on_server(&kind) {
                        *self.server_tools.entry(kind.clone()).or_default() += 1;
                    }
                    if let Some((mime, picture)) = items::picture(&given) {
                        self.park(parts);
                        parts.media(mime, picture.to_owned(), None);
                    }
                    self.keep(&mut item, &kind, given, parts);
                }
            }
        }
        self.items.insert(index, item);
    }

    /// Keeps an item whole, in its place.
    fn keep(&mut self, item: &mut Item, kind: &str, given: Object, parts: &mut Parts) {
        if item.reserved.is_none() {
            self.park(parts);
        }
        let index = item.reserved.take().unwrap_or_else(|| parts.reserve());
        parts.provider_at(index, &self.provider, kind, Value::Object(given));
    }

    fn message(&mut self, item: &mut Item, index: u64, mut given: Object, parts: &mut Parts) {
        if let Some(Value::Array(content)) = given.get_mut("content").map(Value::take) {
            for (number, part) in (0..).zip(content) {
                if let Value::Object(part) = part {
                    self.content(item, index, number, part, parts);
                }
            }
        }
        self.phase = given.remove("phase").filter(says_something).or(self.phase.take());
    }

    /// A whole piece of a message.
    pub(super) fn content(
        &mut self,
        item: &mut Item,
        index: u64,
        number: u64,
        mut part: Object,
        parts: &mut Parts,
    ) {
        let key = Piece::Content(number);
        let piece = item.pieces.entry(key).or_default();
        match text(part.get("type")) {
            "refusal" => {
                let rest = items::rest(text(part.get("refusal")), piece.sent);
                piece.sent += rest.len();
                return parts.refusal(rest);
            }
            "reasoning_text" | "summary_text" => return, // of a reasoning item, which tells it again
            _ => {}
        }
        if let Some(Value::Array(scores)) = part.remove("logprobs")
            && !scores.is_empty()
            && !std::mem::replace(&mut piece.scored, true)
        {
            self.logprobs.extend(scores);
        }
        let annotations = match part.remove("annotations") {
            Some(Value::Array(all)) if !all.is_empty() => all,
            _ => std::mem::take(&mut piece.annotations),
        };
        let news = !annotations.is_empty() && !piece.annotated;
        piece.annotated |= news;
        let rest = items::rest(text(part.get("text")), piece.sent);
        let first = !std::mem::replace(&mut piece.begun, true);
        piece.sent += rest.len();
        let held = self.is_open(index, key, parts) || self.parked.contains_key(&(index, key));
        if !held && !first && !news && rest.is_empty() {
            return; // told whole before
        }
        self.turn_to(index, key, None, parts);
        parts.text(rest);
        parts.close_with(Ending {
            annotations: news.then_some(annotations),
            ..Ending::default()
        });
        self.open = None;
    }

    /// One reasoning part a summary, all with the item's id; the last has the encrypted content.
    fn reasoning(&mut self, item: &mut Item, index: u64, given: Object, parts: &mut Parts) {
        let whole = !items::is_plain_reasoning(&given);
        let id = some_text(given.get("id")).filter(|_| !whole);
        let mut told = item.pieces.values().any(|piece| piece.begun);
        for (key, said) in items::thoughts(&given) {
            let piece = item.pieces.entry(key).or_default();
            let rest = items::rest(said, piece.sent);
            let first = !std::mem::replace(&mut piece.begun, true);
            piece.sent += rest.len();
            let held = self.is_open(index, key, parts) || self.parked.contains_key(&(index, key));
            if !held && !first && rest.is_empty() {
                continue;
            }
            self.turn_to(index, key, id.clone(), parts);
            parts.reasoning(rest);
            told = true;
        }
        let ending = Ending {
            annotations: None,
            signature: some_text(given.get("signature")),
            encrypted: some_text(given.get("encrypted_content")),
        };
        self.reasoned |= id.is_some() || ending.signature.is_some() || ending.encrypted.is_some();
        if !matches!(self.open, Some((open, _)) if open == index) || parts.open().is_none() {
            // Servers leave texts out of the whole item that they streamed.
            let first = (index, Piece::Content(0));
            let parked = self.parked.range(first..).next().map(|(key, _)| *key);
            if let Some((_, key)) = parked.filter(|(of, _)| *of == index) {
                self.turn_to(index, key, None, parts);
            } else if !told || ending.signature.is_some() || ending.encrypted.is_some() {
                self.park(parts);
                parts.begin_reasoning(id);
                self.open = Some((index, Piece::Summary(u64::MAX)));
            }
        }
        if matches!(self.open, Some((open, _)) if open == index) {
            parts.close_with(ending);
            self.open = None;
        }
        if whole {
            self.keep(item, "reasoning", given, parts);
        }
    }
}
