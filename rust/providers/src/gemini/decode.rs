//! Answers → events. Parts stay apart where the provider kept them apart and a signature is involved: a signature
//! belongs to its own part.

use super::{FAMILY, OWN_ID};
use crate::fault::Fault;
use crate::parts::{Ending, Open, Parts};
use crate::protocol::{Context, Decode, Meta, mark};
use crate::value::{objects, parse, says_something, some_text, text};
use omni_core::{Finish, FinishReason, Object};
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem;

mod arguments;
mod chunk;
mod usage;

/// What of a candidate is the answer's and not the message's.
const CANDIDATE_DATA: &[&str] = &[
    "groundingMetadata",
    "citationMetadata",
    "urlContextMetadata",
    "safetyRatings",
    "avgLogprobs",
    "finishMessage",
    "groundingAttributions",
];

/// Decodes one answer, streamed or whole.
#[derive(Default)]
pub(crate) struct Decoder {
    meta: Meta,
    /// The text of the last `usageMetadata`, which counts all that came before it: only the last one is read.
    usage: String,
    data: Object,
    logprobs: Option<Vec<Value>>,
    /// Whether there was a candidate, or a word why there is none.
    seen: bool,
    reason: Option<(FinishReason, Option<String>)>,
    /// The call whose arguments come in pieces.
    unfinished: Option<arguments::Unfinished>,
    /// Whether a thought was signed.
    signed: bool,
}

impl Decoder {
    pub(crate) fn new(_context: &Context) -> Self {
        Self::default()
    }

    fn documents(&mut self, doc: Value, whole: bool, parts: &mut Parts) -> Result<(), Fault> {
        match doc {
            // A stream that was asked for without SSE.
            Value::Array(all) => all
                .into_iter()
                .try_for_each(|one| self.documents(one, false, parts)),
            Value::Object(object) => self.document(object, whole, parts),
            _ => {
                parts.ignored += 1;
                Ok(())
            }
        }
    }

    fn document(&mut self, mut doc: Object, whole: bool, parts: &mut Parts) -> Result<(), Fault> {
        if let Some(error) = doc.get_mut("error")
            && says_something(error)
        {
            return Err(Fault::Said(error.take()));
        }
        if !doc.contains_key("candidates")
            && let Some(Value::Object(inner)) = doc.get_mut("response")
        {
            doc = mem::take(inner); // some gateways of Google's wrap each document
        }
        if self.meta.id.is_none() {
            self.meta.id = some_text(doc.get("responseId"));
        }
        if self.meta.model.is_none() {
            self.meta.model = some_text(doc.get("modelVersion"));
        }
        let mut known = false;
        if let Some(usage @ Value::Object(_)) = doc.get("usageMetadata") {
            known = true;
            self.usage = usage.to_string();
        }
        if let Some(feedback @ Value::Object(_)) = doc.get_mut("promptFeedback") {
            known = true;
            let feedback = feedback.take();
            if let Some(reason) = feedback.get("blockReason").filter(|it| says_something(it)) {
                self.seen = true;
                self.reason = Some((FinishReason::ContentFilter, Some(word(reason))));
            }
            self.data.insert("promptFeedback".to_owned(), feedback);
        }
        if let Some(Value::Array(candidates)) = doc.get_mut("candidates") {
            // Only one answer can be asked for; of several the first counts, which in a stream its index tells.
            known |= !candidates.is_empty();
            if let Some(candidate) = candidates
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .find(|one| one.get("index").and_then(Value::as_u64).unwrap_or(0) == 0)
            {
                self.candidate(candidate, whole, parts);
            }
        }
        parts.ignored += u32::from(!known);
        Ok(())
    }

    fn candidate(&mut self, candidate: &mut Object, whole: bool, parts: &mut Parts) {
        self.seen = true;
        let content = candidate.get_mut("content").and_then(Value::as_object_mut);
        if let Some(Value::Array(list)) = content.and_then(|content| content.get_mut("parts")) {
            for part in list.iter_mut().filter_map(Value::as_object_mut) {
                self.part(mem::take(part), whole, parts);
            }
        }
        match candidate.get("finishReason").filter(|it| says_something(it)) {
            Some(reason) => self.finish(&word(reason)),
            None if whole && self.reason.is_none() => self.reason = Some((FinishReason::Other, None)),
            None => {}
        }
        for key in CANDIDATE_DATA {
            if let Some(value) = candidate.get_mut(*key)
                && says_something(value)
                && value.as_f64() != Some(0.0)
            {
                self.data.insert((*key).to_owned(), value.take());
            }
        }
        if let Some(Value::Object(result)) = candidate.get("logprobsResult")
            && !result.is_empty()
        {
            self.logprobs.get_or_insert_default().extend(logprobs(result));
        }
    }

    fn finish(&mut self, raw: &str) {
        let reason = match raw {
            "STOP" => FinishReason::Stop,
            "MAX_TOKENS" => FinishReason::Length,
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR" => FinishReason::ContentFilter,
            _ => FinishReason::Other,
        };
        self.reason = Some((reason, Some(raw.to_owned())));
    }

    fn part(&mut self, mut part: Object, whole: bool, parts: &mut Parts) {
        let signature = some_text(part.get("thoughtSignature"));
        let thought = part.get("thought").is_some_and(truthy);
        if let Some(Value::Object(call)) = part.get_mut("functionCall") {
            let call = mem::take(call);
            self.call(call, signature, parts);
        } else if let Some(Value::Object(data)) = part.get_mut("inlineData")
            && !thought
        {
            let mime = some_text(data.get("mimeType"));
            let base64 = data.get_mut("data").map(Value::take);
            parts.media(
                mime.unwrap_or_else(|| "application/octet-stream".to_owned()),
                base64.map(into_text).unwrap_or_default(),
                signature,
            );
        } else if let Some(text @ Value::String(_)) = part.get_mut("text") {
            let kind = if thought { Open::Reasoning } else { Open::Text };
            self.signed |= thought && signature.is_some();
            said(parts, kind, into_text(text.take()), signature, whole);
        } else {
            let mut kinds = part
                .keys()
                .filter(|key| !matches!(key.as_str(), "thoughtSignature" | "thought"));
            let kind = match kinds.next() {
                Some(kind) => kind.clone(),
                None if signature.is_some() => "thoughtSignature".to_owned(),
                None => return,
            };
            // Whole, its signature inside: so it goes back. A picture that is a thought is no part of the answer.
            parts.provider(FAMILY, &kind, Value::Object(part), None);
        }
    }

    fn call(&mut self, mut call: Object, signature: Option<String>, parts: &mut Parts) {
        if self.unfinished.is_some()
            || call.contains_key("partialArgs")
            || call.get("willContinue").is_some_and(truthy)
        {
            let unfinished = self.unfinished.get_or_insert_with(|| {
                arguments::Unfinished::new(parts.call_start(call_id(&call), name(&call), false))
            });
            if unfinished.take(&call, signature)
                && let Some(whole) = self.unfinished.take()
            {
                whole.end(parts);
            }
            return;
        }
        let index = parts.call_start(call_id(&call), name(&call), false);
        let arguments = match call.get_mut("args") {
            Some(args) if says_something(args) => args.take().to_string(),
            _ => "{}".to_owned(),
        };
        parts.call_delta(index, arguments);
        parts.call_end(index, signature, None);
    }
}

impl Decode for Decoder {
    fn frame(&mut self, _event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault> {
        if self.common(data, parts) || data.trim_ascii() == "[DONE]" {
            return Ok(());
        }
        self.documents(parse(data.as_bytes())?, false, parts)
    }

    fn body(&mut self, body: &[u8], parts: &mut Parts) -> Result<(), Fault> {
        self.documents(parse(body)?, true, parts)
    }

    fn end(&mut self, parts: &mut Parts) -> Result<Finish, Fault> {
        if !self.seen {
            return Err(Fault::protocol("the provider's answer has no candidates"));
        }
        let Some((finish_reason, finish_reason_raw)) = self.reason.take() else {
            return Err(Fault::protocol(
                "the provider's stream ended before its last event",
            ));
        };
        if let Some(unfinished) = self.unfinished.take() {
            unfinished.end(parts);
        }
        parts.close();
        let mut finish = Finish {
            finish_reason: Some(finish_reason),
            finish_reason_raw,
            id: self.meta.id.clone(),
            model: self.meta.model.clone(),
            ..Finish::default()
        };
        if let Some(usage) = usage::document(&self.usage) {
            finish.service_tier = some_text(usage.get("serviceTier"));
            parts.usage(usage::read(usage));
        }
        finish.logprobs = self
            .logprobs
            .take()
            .map(|content| serde_json::json!({ "content": content }));
        finish.provider_data = Some(mem::take(&mut self.data)).filter(|data| !data.is_empty());
        finish.message_extra = self.signed.then(|| mark(FAMILY, Object::new()));
        Ok(finish)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Nothing on this wire says that it was the last event: only the end of the stream does.
    fn last_seen(&self) -> bool {
        false
    }
}

/// Text or reasoning, with what must stay apart kept apart.
fn said(parts: &mut Parts, kind: Open, text: String, signature: Option<String>, whole: bool) {
    let open = parts.open() == Some(kind);
    if text.is_empty() {
        // Nothing was said. But the last piece of a streamed part may be empty and carry the signature of it all.
        if signature.is_none() {
            return;
        }
        if !open || whole {
            begin(parts, kind);
        }
    } else {
        if !open || whole || signature.is_some() {
            begin(parts, kind);
        }
        match kind {
            Open::Text => parts.text(text),
            Open::Reasoning => parts.reasoning(text),
        }
    }
    if signature.is_some() {
        parts.close_with(Ending {
            signature,
            ..Ending::default()
        });
    }
}

fn begin(parts: &mut Parts, kind: Open) {
    match kind {
        Open::Text => parts.begin_text(),
        Open::Reasoning => parts.begin_reasoning(None),
    }
}

/// The id that Gemini gave the call, or one of ours.
fn call_id(call: &Object) -> String {
    some_text(call.get("id")).unwrap_or_else(|| {
        // Seeded by the operating system, so that no two calls of a conversation share an id.
        let random = || RandomState::new().build_hasher().finish();
        format!("{OWN_ID}{:016x}{:016x}", random(), random())
    })
}

fn name(call: &Object) -> String {
    text(call.get("name")).to_owned()
}

/// A word of an enum, as text whatever it came as.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn into_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        _ => String::new(),
    }
}

/// Whether a flag is set, however it is written.
fn truthy(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| says_something(value))
}

/// A `logprobsResult` in the OpenAI shape.
fn logprobs(result: &Object) -> Vec<Value> {
    let top = result.get("topCandidates").and_then(Value::as_array);
    let one = |of: &Object| (of.get("token").cloned(), of.get("logProbability").cloned());
    objects(result.get("chosenCandidates"))
        .enumerate()
        .map(|(at, chosen)| {
            let rivals = top
                .and_then(|top| top.get(at))
                .and_then(|rivals| rivals.get("candidates"));
            let rivals: Vec<Value> = objects(rivals)
                .map(|rival| {
                    let (token, logprob) = one(rival);
                    serde_json::json!({ "token": token, "logprob": logprob })
                })
                .collect();
            let (token, logprob) = one(chosen);
            serde_json::json!({ "token": token, "logprob": logprob, "top_logprobs": rivals })
        })
        .collect()
}

#[cfg(test)]
mod tests;
