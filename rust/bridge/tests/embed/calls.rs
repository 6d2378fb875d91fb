//! Calls in one process: many at once, cancelled, held back, failing in every way.

use crate::Case;
use crate::support::{documents, engine, failure, next, read, settle, start, state, wait};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Barrier;

pub(crate) const CASES: &[Case] = &[
    (
        "64 threads start the engine at the same moment",
        threads_start_at_once,
    ),
    ("chunks come whole and in order", chunks_come_whole),
    ("1,000 streams at once are all whole", a_thousand_streams),
    ("a slow reader stops the producer, and loses nothing", slow_reader),
    (
        "a cancelled call ends in cancelled, wherever it was",
        cancel_anywhere,
    ),
    ("a dropped call leaves no task and no call behind", drop_cancels),
    ("a third cancelled, many in a row: nothing is left", many_in_a_row),
    (
        "a handler that raises ends its own call alone, and its text stays inside",
        handler_raises,
    ),
    (
        "a panic in our Rust is an internal error, and the next call works",
        panic_is_internal,
    ),
    ("a handler that floods loses nothing", flood),
    ("op documents that are wrong are told so", wrong_documents),
    ("every character comes back as it went", characters),
];

fn threads_start_at_once() {
    let gate = Barrier::new(64);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|n| {
                let gate = &gate;
                scope.spawn(move || {
                    gate.wait();
                    let all = read(start(&engine(), &json!({ "op": "echo", "data": n })));
                    assert_eq!(all, [json!({ "type": "echo", "data": n })]);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    let (tasks, threads) = state(&engine());
    assert_eq!(tasks, 0);
    let loops = threads.iter().filter(|name| *name == "omni-engine").count();
    assert_eq!(loops, 1, "{threads:?}");
}

fn numbers(documents: &[Value]) -> Vec<u64> {
    documents
        .iter()
        .map(|document| document["n"].as_u64().unwrap_or_else(|| panic!("{document}")))
        .collect()
}

fn chunks_come_whole() {
    for every in [0, 1, 7] {
        let all = read(start(
            &engine(),
            &json!({ "op": "echo", "data": "x", "chunks": 5000, "yield_every": every }),
        ));
        assert!(numbers(&all).into_iter().eq(0..5000), "every {every}");
    }
}

fn a_thousand_streams() {
    let engine = engine();
    let op = json!({ "op": "echo", "data": "sixteen letters!", "chunks": 20, "yield_every": 1 });
    let all = wait(join_all((0..1000).map(|_| {
        start(&engine, &op)
            .map(|batch| documents(&batch))
            .collect::<Vec<_>>()
    })));
    for documents in all {
        assert!(numbers(&documents.concat()).into_iter().eq(0..20));
    }
    settle(&engine);
}

fn slow_reader() {
    let engine = engine();
    let chunks = 100_000;
    let mut call = start(
        &engine,
        &json!({ "op": "echo", "data": "sixteen letters!", "chunks": chunks, "yield_every": 50 }),
    );
    let mut seen = next(&mut call);
    // Each of these takes a turn of the loop in which the producer could have gone on.
    for _ in 0..500 {
        assert_eq!(read(start(&engine, &json!({ "op": "echo", "data": 1 }))).len(), 1);
    }
    assert_eq!(
        engine.open_calls(),
        1,
        "the producer came to its end with nobody reading"
    );
    let batch = call.next().now_or_never().flatten().expect("what had come");
    assert!(batch.len() < 128 * 1024, "{} bytes had gathered", batch.len());
    seen.extend(documents(&batch));
    seen.extend(read(call));
    assert!(numbers(&seen).into_iter().eq(0..chunks));
}

fn cancel_anywhere() {
    let engine = engine();
    let endless = json!({ "op": "echo", "data": "x", "chunks": 1_000_000_000u64, "yield_every": 10 });
    let hold = json!({ "op": "debug", "do": "hold" });
    let ends_so = |call, when: &str| {
        let last = read(call)
            .pop()
            .unwrap_or_else(|| panic!("{when}: no last event"));
        assert_eq!(last["type"], "cancelled", "{when}: {last}");
        assert!(last["closed_ms"].is_u64(), "{when}: {last}");
    };

    for op in [&endless, &hold] {
        let call = start(&engine, op);
        call.canceller().cancel();
        ends_so(call, "before its first step");
    }
    let mut call = start(&engine, &endless);
    next(&mut call);
    call.canceller().cancel();
    call.canceller().cancel();
    ends_so(call, "in the middle");

    let mut call = start(&engine, &endless);
    next(&mut call);
    for _ in 0..200 {
        read(start(&engine, &json!({ "op": "echo", "data": 1 })));
    }
    call.canceller().cancel();
    ends_so(call, "held back by a slow reader");

    let mut call = start(&engine, &json!({ "op": "echo", "data": 1 }));
    let late = call.canceller();
    assert_eq!(next(&mut call)[0]["type"], "echo");
    assert!(wait(call.next()).is_none());
    late.cancel();
    drop(call);
    late.cancel();
    settle(&engine);
}

fn drop_cancels() {
    let engine = engine();
    let mut calls: Vec<_> = (0..100)
        .map(|n| match n % 2 {
            0 => start(
                &engine,
                &json!({ "op": "echo", "data": "x", "chunks": 1_000_000_000u64, "yield_every": 10 }),
            ),
            _ => start(&engine, &json!({ "op": "debug", "do": "hold" })),
        })
        .collect();
    for call in calls.iter_mut().step_by(4) {
        next(call);
    }
    assert_eq!(engine.open_calls(), 100);
    drop(calls);
    settle(&engine);
}

fn many_in_a_row() {
    let engine = engine();
    let run = |count: usize| {
        for n in 0..count {
            let mut call = start(
                &engine,
                &json!({ "op": "echo", "data": "x".repeat(100), "chunks": 60, "yield_every": 20 }),
            );
            if n % 3 == 0 {
                next(&mut call);
                call.canceller().cancel();
            }
            read(call);
        }
        settle(&engine);
        resident_kb()
    };
    // The first round fills every pool and cache.
    let before = run(500);
    let after = run(1500);
    assert!(after < before + 8 * 1024, "{before} KB before, {after} KB after");
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or("0");
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn handler_raises() {
    let engine = engine();
    let mut other = start(&engine, &json!({ "op": "debug", "do": "hold" }));
    for (how, kind) in [("raise", "ValueError"), ("exit", "SystemExit")] {
        let (code, message) = failure(start(
            &engine,
            &json!({ "op": "debug", "do": how, "text": "sk-secret" }),
        ));
        assert_eq!(code, "internal");
        assert!(message.contains(kind) && !message.contains("secret"), "{message}");
    }
    let survived = wait(engine.op("debug", json!({ "do": "exit_callback" })));
    assert_eq!(survived.unwrap(), "survived");
    assert!(
        other.next().now_or_never().is_none(),
        "another call ended with it"
    );
    other.canceller().cancel();
    assert_eq!(next(&mut other)[0]["type"], "cancelled");
}

fn panic_is_internal() {
    let engine = engine();
    for _ in 0..3 {
        let (code, message) = failure(start(&engine, &json!({ "op": "debug", "do": "panic" })));
        assert_eq!(code, "internal");
        assert!(message.contains("Panic"), "{message}");
        assert_eq!(read(start(&engine, &json!({ "op": "echo", "data": 1 }))).len(), 1);
    }
}

fn flood() {
    let engine = engine();
    let events = 100_000;
    let all = read(start(
        &engine,
        &json!({ "op": "debug", "do": "flood", "events": events, "data": "x" }),
    ));
    assert!(numbers(&all).into_iter().eq(0..events));
}

fn wrong_documents() {
    let engine = engine();
    for document in [&b"{"[..], b"", b"nonsense", b"[1", b"\xff"] {
        let (code, message) = failure(engine.raw(document));
        assert_eq!(code, "invalid_request", "{message}");
    }
    for document in [&b"[]"[..], b"1", b"null"] {
        assert_eq!(failure(engine.raw(document)).0, "invalid_request");
    }
    assert!(
        matches!(wait(engine.op("echo", json!([]))), Err(error) if error.code == omni_core::Code::Internal)
    );
    settle(&engine);
}

fn characters() {
    let engine = engine();
    let text: String = (0..=char::MAX as u32)
        .step_by(7)
        .filter_map(char::from_u32)
        .collect();
    let data = json!({ "text": text, "nul": "a\0b", "emoji": "👩‍👩‍👧", "quote": "\"\\\u{2028}\u{7f}", "": null,
        "numbers": [0, -1, u64::MAX, i64::MIN, 0.1, 1e300, -0.0], "nested": [[[{}]], []] });
    assert_eq!(wait(engine.op("echo", json!({ "data": data }))).unwrap(), data);
    // A lone surrogate cannot stand in a Rust string: it comes back as U+FFFD.
    let all = read(engine.raw(br#"{"op":"echo","data":"a\ud800b"}"#));
    assert_eq!(all[0]["data"], "a\u{fffd}b");
}
