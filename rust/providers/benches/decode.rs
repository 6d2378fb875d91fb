//! What decoding costs by itself, each protocol beside serde with small structs on the same bytes: an event, and bytes
//! a second.
//!
//! `cargo bench -p omni-providers`. Each benchmark first asserts that what it times is right.

#![allow(
    missing_docs,
    dead_code,
    reason = "criterion_group! makes a public function without a word on it; not all of the shared files is used"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use omni_core::Event;
use omni_providers::{Answer, Context, Fault, Protocol};
use std::hint::black_box;
use wire::Wire;

// The canned answers and the baseline of the benchmarks of whole calls.
#[allow(
    unreachable_pub,
    reason = "the same file is a public module of the benchmark crate"
)]
#[path = "../../../benches/rust/src/raw.rs"]
mod raw;
#[allow(
    unreachable_pub,
    reason = "the same file is a public module of the benchmark crate"
)]
#[path = "../../../benches/rust/src/wire.rs"]
mod wire;

const CHUNKS: usize = 1_000;
/// What one read from a socket brings.
const PIECE: usize = 16 * 1024;

const fn protocol(wire: Wire) -> Protocol {
    match wire {
        Wire::Openai => Protocol::OpenaiChat,
        Wire::Responses => Protocol::OpenaiResponses,
        Wire::Anthropic => Protocol::Anthropic,
        Wire::Gemini => Protocol::Gemini,
    }
}

fn decode(wire: Wire, bytes: &[u8]) -> Result<String, Fault> {
    let context = Context {
        provider: wire.name().to_owned(),
        ..Context::default()
    };
    let mut answer = Answer::new(protocol(wire), &context, "model", None);
    let mut seen = String::new();
    let mut take = |answer: &mut Answer| {
        while let Some(event) = answer.event() {
            if let Event::TextDelta { text, .. } = black_box(event) {
                seen.push_str(&text);
            }
        }
    };
    for piece in bytes.chunks(PIECE) {
        answer.push(black_box(piece))?;
        take(&mut answer);
    }
    answer.end()?;
    take(&mut answer);
    Ok(seen)
}

fn serde(wire: Wire, bytes: &[u8]) -> Option<String> {
    let mut texts = raw::Texts::new(wire);
    let mut seen = String::new();
    for piece in bytes.chunks(PIECE) {
        texts.push(black_box(piece), |text| seen.push_str(&text)).ok()?;
    }
    Some(seen)
}

fn streams(criterion: &mut Criterion) {
    let want = wire::text(CHUNKS);
    for by in [true, false] {
        let mut group = criterion.benchmark_group(if by { "event" } else { "bytes" });
        for wire in Wire::ALL {
            let bytes = wire.stream(CHUNKS);
            assert_eq!(
                decode(wire, &bytes).as_deref(),
                Ok(want.as_str()),
                "{}",
                wire.name()
            );
            assert_eq!(
                serde(wire, &bytes).as_deref(),
                Some(want.as_str()),
                "{}",
                wire.name()
            );
            group.throughput(if by {
                Throughput::Elements(CHUNKS as u64)
            } else {
                Throughput::Bytes(bytes.len() as u64)
            });
            group.bench_function(BenchmarkId::new("ours", wire.name()), |bencher| {
                bencher.iter(|| decode(wire, &bytes));
            });
            group.bench_function(BenchmarkId::new("serde", wire.name()), |bencher| {
                bencher.iter(|| serde(wire, &bytes));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, streams);
criterion_main!(benches);
