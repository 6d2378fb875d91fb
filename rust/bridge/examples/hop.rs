//! What the crossing costs: echo calls from this process to the Python loop and back, without any provider.
//!
//! `cargo run --release -p omni-bridge-py --example hop`; `OMNI_BRIDGE_PYTHON` names the interpreter.

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use omni_bridge_py::embedded::{Embedded, EmbeddedConfig};
use std::io::BufRead;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Runs a future on this thread. An executor would add its own costs to what is measured.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

async fn echo(engine: &Embedded) {
    let mut call = engine.raw(br#"{"op":"echo","data":"hello"}"#);
    let batch = call.next().await;
    assert_eq!(
        batch.as_deref(),
        Some(br#"{"type":"echo","data":"hello"}"#.as_slice())
            .map(|line| [line, b"\n"].concat())
            .as_deref()
    );
    assert!(call.next().await.is_none());
}

fn main() -> Result<(), omni_core::Error> {
    let begin = Instant::now();
    let engine = Embedded::connect(&EmbeddedConfig::default())?;
    println!(
        "connect            {:>9.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    let begin = Instant::now();
    block_on(echo(&engine));
    println!(
        "first echo         {:>9.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );

    for _ in 0..2000 {
        block_on(echo(&engine));
    }
    let mut times: Vec<Duration> = (0..20_000)
        .map(|_| {
            let begin = Instant::now();
            block_on(echo(&engine));
            begin.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "one echo, p50      {:>9.1} us",
        times[times.len() / 2].as_secs_f64() * 1e6
    );
    println!(
        "one echo, p99      {:>9.1} us",
        times[times.len() * 99 / 100].as_secs_f64() * 1e6
    );

    for at_once in [8, 50] {
        let calls = 100_000;
        let begin = Instant::now();
        block_on(
            stream::iter(0..calls)
                .map(|_| echo(&engine))
                .buffer_unordered(at_once)
                .for_each(|()| std::future::ready(())),
        );
        println!(
            "echoes, {at_once:>2} at once {:>9.0} /s",
            f64::from(calls) / begin.elapsed().as_secs_f64()
        );
    }

    let text = "sixteen letters!";
    for (name, every) in [("one a turn", 1), ("16 a turn", 16), ("all at once", 0)] {
        let chunks: u32 = 200_000;
        let op = format!(r#"{{"op":"echo","data":"{text}","chunks":{chunks},"yield_every":{every}}}"#);
        let begin = Instant::now();
        let bytes: usize = block_on(
            engine
                .raw(op.as_bytes())
                .map(|batch| batch.len())
                .collect::<Vec<_>>(),
        )
        .iter()
        .sum();
        let each = begin.elapsed().as_secs_f64() * 1e9 / f64::from(chunks);
        assert!(bytes > chunks as usize * text.len(), "the chunks are not whole");
        println!("chunk, {name:<12}{each:>9.0} ns");
    }

    let begin = Instant::now();
    let all = block_on(join_all((0..1000).map(|_| async {
        let op = br#"{"op":"echo","data":"sixteen letters!","chunks":20,"yield_every":1}"#;
        engine.raw(op).collect::<Vec<_>>().await.concat().lines().count()
    })));
    assert!(all.iter().all(|chunks| *chunks == 20), "a stream is not whole");
    println!(
        "1,000 streams of 20 {:>8.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    assert!(engine.shutdown(Duration::from_secs(5)), "the loop did not stop");
    Ok(())
}
