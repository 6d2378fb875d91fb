//! What the contract costs by itself: reading a request, an event, a frame; folding a stream.
//!
//! `cargo bench -p omni-core`. Each benchmark first asserts that what it times is right.

#![allow(
    missing_docs,
    reason = "criterion_group! makes a public function without a word on it"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use omni_core::{Event, Finish, Fold, Request, SseReader};
use std::hint::black_box;

const DELTA: &str = r#"{"type":"text_delta","index":0,"text":"Seventeen letters"}"#;

/// A stream of `deltas` deltas on the wire of our own HTTP door.
fn wire(deltas: usize) -> Vec<u8> {
    format!("event: text_delta\ndata: {DELTA}\n\n")
        .repeat(deltas)
        .into_bytes()
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse");
    for (deltas, cut) in [(1000, 16 * 1024), (1000, 100)] {
        let wire = wire(deltas);
        let read = || {
            let (mut reader, mut seen) = (SseReader::new(), 0);
            for chunk in wire.chunks(cut) {
                reader.push(chunk);
                while let Ok(Some(frame)) = reader.next_frame() {
                    seen += usize::from(black_box(frame).data == DELTA);
                }
            }
            seen
        };
        assert_eq!(read(), deltas);
        group.throughput(Throughput::Elements(deltas as u64));
        group.bench_function(BenchmarkId::new("frames_cut_at", cut), |bencher| {
            bencher.iter(read);
        });
    }
    group.finish();
}

fn events(criterion: &mut Criterion) {
    let read = || serde_json::from_str::<Event>(black_box(DELTA));
    assert!(matches!(read(), Ok(Event::TextDelta { index: 0, text }) if text == "Seventeen letters"));
    criterion.bench_function("event/read", |bencher| {
        bencher.iter(read);
    });
    let mut group = criterion.benchmark_group("fold");
    for deltas in [100_u32, 10_000] {
        let event = Event::TextDelta {
            index: 0,
            text: "Seventeen letters".to_owned(),
        };
        let fold = || {
            let mut fold = Fold::new();
            for _ in 0..deltas {
                fold.push(black_box(&event));
            }
            fold.finish(Finish::default(), Vec::new())
        };
        assert_eq!(fold().content.len(), deltas as usize * 17);
        group.throughput(Throughput::Elements(u64::from(deltas)));
        group.bench_function(BenchmarkId::new("text_deltas", deltas), |bencher| {
            bencher.iter(fold);
        });
    }
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for messages in [1, 100] {
        let message = r#"{"role":"user","content":[{"type":"text","text":"What is it about?"}]}"#;
        let text = format!(
            r#"{{"model":"a/b","messages":[{}]}}"#,
            vec![message; messages].join(",")
        );
        let read = || Request::from_json(black_box(text.as_bytes()));
        assert_eq!(read().map(|request| request.messages.len()), Ok(messages));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("read_messages", messages), |bencher| {
            bencher.iter(read);
        });
    }
    group.finish();
}

criterion_group!(contract, frames, events, requests);
criterion_main!(contract);
