//! One decode, or one plain call without its socket, for `valgrind --tool=callgrind`: how many instructions, whatever
//! the machine does beside it. What is counted is what happens inside the `counted_…` functions
//! (`--toggle-collect='*counted_*'`); the documents are made, and everything that is made once, before.
//!
//! `bench-decode chunks WIRE N`: a stream of N chunks, decoded; `bench-decode serde WIRE N`: the same with serde and
//! small structs; `bench-decode call WIRE`: a request encoded, its answer decoded and folded.

use std::hint::black_box;

use omni_bench::raw::Texts;
use omni_bench::side::{Failure, QUESTION, check, model};
use omni_bench::wire::{Wire, text};
use omni_core::{Event, Fold, Message, Request};
use omni_providers::{Answer, Context, Fault, Protocol, Target, dialect_of};

/// What one read from a socket brings.
const PIECE: usize = 16 * 1024;
/// The length of the answer to a plain call, in words.
const WORDS: usize = 20;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["chunks", wire, chunks] => {
            let (wire, chunks) = (wire_named(wire)?, chunks.parse()?);
            // Once before, so that tables which are made once are there.
            check(&warm_chunks(wire)?, &text(WORDS))?;
            let mut seen = String::with_capacity(text(chunks).len());
            counted_chunks(answer(wire), &wire.stream(chunks), &mut seen).map_err(describe)?;
            check(&seen, &text(chunks))
        }
        ["serde", wire, chunks] => {
            let (wire, chunks) = (wire_named(wire)?, chunks.parse()?);
            let mut seen = String::with_capacity(text(chunks).len());
            counted_serde(Texts::new(wire), &wire.stream(chunks), &mut seen)?;
            check(&seen, &text(chunks))
        }
        ["call", wire] => {
            let wire = wire_named(wire)?;
            let request = Request::new(model(wire), vec![Message::user(QUESTION)]);
            let target = Target {
                provider: provider(wire).to_owned(),
                model: model(wire).to_owned(),
                dialect: dialect_of(provider(wire)),
            };
            let body = wire.body(WORDS);
            check(&warm_call(wire, &request, &target, &body)?, &text(WORDS))?;
            check(&counted_call(wire, &request, &target, &body)?, &text(WORDS))
        }
        _ => Err("usage: bench-decode chunks WIRE N | serde WIRE N | call WIRE".into()),
    }
}

fn wire_named(name: &str) -> Result<Wire, Failure> {
    Wire::named(name).ok_or_else(|| format!("no such wire: {name}").into())
}

const fn protocol(wire: Wire) -> Protocol {
    match wire {
        Wire::Openai => Protocol::OpenaiChat,
        Wire::Responses => Protocol::OpenaiResponses,
        Wire::Anthropic => Protocol::Anthropic,
        Wire::Gemini => Protocol::Gemini,
    }
}

const fn provider(wire: Wire) -> &'static str {
    match wire {
        Wire::Openai | Wire::Responses => "openai",
        Wire::Anthropic => "anthropic",
        Wire::Gemini => "gemini",
    }
}

fn answer(wire: Wire) -> Answer {
    let context = Context {
        provider: provider(wire).to_owned(),
        ..Context::default()
    };
    Answer::new(protocol(wire), &context, model(wire), None)
}

#[allow(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn describe(fault: Fault) -> Failure {
    format!("the canned answer is not understood: {fault:?}").into()
}

/// The same work under a name that is not counted.
#[inline(never)]
fn warm_chunks(wire: Wire) -> Result<String, Failure> {
    let mut seen = String::new();
    decode(answer(wire), &wire.stream(WORDS), &mut seen).map_err(describe)?;
    Ok(seen)
}

#[inline(never)]
fn counted_chunks(answer: Answer, bytes: &[u8], seen: &mut String) -> Result<(), Fault> {
    decode(answer, bytes, seen)
}

#[expect(
    clippy::inline_always,
    reason = "the counted function must hold it, and the warm one too"
)]
#[inline(always)]
fn decode(mut answer: Answer, bytes: &[u8], seen: &mut String) -> Result<(), Fault> {
    for piece in bytes.chunks(PIECE) {
        answer.push(black_box(piece))?;
        take(&mut answer, seen);
    }
    black_box(answer.end()?);
    take(&mut answer, seen);
    Ok(())
}

fn take(answer: &mut Answer, seen: &mut String) {
    while let Some(event) = answer.event() {
        if let Event::TextDelta { text, .. } = black_box(event) {
            seen.push_str(&text);
        }
    }
}

#[inline(never)]
fn counted_serde(texts: Texts, bytes: &[u8], seen: &mut String) -> Result<(), Failure> {
    read(texts, bytes, seen)
}

/// Apart: a closure inside the counted function would have a name that is counted too, and switch the counting off.
fn read(mut texts: Texts, bytes: &[u8], seen: &mut String) -> Result<(), Failure> {
    for piece in bytes.chunks(PIECE) {
        texts.push(black_box(piece), |text| seen.push_str(&text))?;
    }
    Ok(())
}

#[inline(never)]
fn warm_call(wire: Wire, request: &Request, target: &Target, body: &[u8]) -> Result<String, Failure> {
    // Two functions that are the same are made one, which would be counted both times.
    black_box("not counted");
    plain_call(wire, request, target, body)
}

#[inline(never)]
fn counted_call(wire: Wire, request: &Request, target: &Target, body: &[u8]) -> Result<String, Failure> {
    plain_call(wire, request, target, body)
}

#[expect(
    clippy::inline_always,
    reason = "the counted function must hold it, and the warm one too"
)]
#[inline(always)]
fn plain_call(wire: Wire, request: &Request, target: &Target, body: &[u8]) -> Result<String, Failure> {
    let protocol = protocol(wire);
    if let Some(why) = protocol.declines(black_box(request), target) {
        return Err(why.into());
    }
    let encoded = black_box(protocol.encode(request, target, false)?);
    let mut answer = Answer::new(protocol, &encoded.context, &target.model, None);
    answer.push(black_box(body)).map_err(describe)?;
    let finish = answer.end().map_err(describe)?;
    let mut fold = Fold::new();
    while let Some(event) = answer.event() {
        fold.push(&event);
    }
    Ok(black_box(fold.finish(finish, Vec::new())).content)
}
