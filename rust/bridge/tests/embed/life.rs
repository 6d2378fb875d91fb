//! The life of the process: shut down and start again, blocked loops, exits, signals, forks.

use crate::Case;
use crate::support::{
    LONG, SIGINT, SIGTERM, engine, failure, finish, host, kill, next, read, settle, start, state, told, wait,
};
use omni_bridge_py::embedded::Interpreter;
use omni_core::Code;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    ("shut down, and the next call starts again", shutdown_and_again),
    (
        "a call that comes during a shutdown is refused",
        calls_during_shutdown,
    ),
    ("a handler that ignores its cancel is given up", ignored_cancel),
    (
        "a blocked loop wedges neither cancel nor shutdown nor exit",
        blocked_loop,
    ),
    ("the process exits in the middle of streams, as asked", exits),
    (
        "the process exits in the middle of LiteLLM's streams",
        exits_with_litellm,
    ),
    ("SIGINT and SIGTERM reach the host's own handlers", own_handlers),
    ("without a handler SIGTERM ends the process", default_handler),
    (
        "a child forked after first use is refused, the parent goes on",
        fork_after_use,
    ),
    ("a child forked before first use is free", fork_before_use),
];

/// A process may take so long from the word to its end.
const EXIT: Duration = Duration::from_secs(5);

fn shutdown_and_again() {
    let engine = engine();
    for _ in 0..3 {
        let mut held = start(&engine, &json!({ "op": "debug", "do": "hold" }));
        let mut busy = start(
            &engine,
            &json!({ "op": "echo", "data": 1, "chunks": 1_000_000_000u64, "yield_every": 10 }),
        );
        next(&mut busy);
        assert!(engine.shutdown(LONG));
        assert_eq!(engine.open_calls(), 0);
        assert_eq!(next(&mut held)[0]["type"], "cancelled");
        assert_eq!(read(busy).last().unwrap()["type"], "cancelled");
        assert!(engine.shutdown(LONG), "a second time");
        assert_eq!(
            wait(engine.op("echo", json!({ "data": "again" }))).unwrap(),
            "again"
        );
        let (tasks, threads) = state(&engine);
        assert_eq!(
            (
                tasks,
                threads.iter().filter(|name| *name == "omni-engine").count()
            ),
            (0, 1),
            "{threads:?}"
        );
    }
}

fn calls_during_shutdown() {
    let engine = engine();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let engine = engine.clone();
                scope.spawn(move || {
                    for _ in 0..300 {
                        match wait(engine.op("echo", json!({ "data": 1 }))) {
                            Ok(answer) => assert_eq!(answer, 1),
                            Err(error) => assert!(
                                matches!(error.code, Code::EngineUnavailable | Code::Cancelled),
                                "{error}"
                            ),
                        }
                    }
                })
            })
            .collect();
        for _ in 0..10 {
            assert!(engine.shutdown(LONG));
        }
        for caller in callers {
            caller.join().unwrap();
        }
    });
    assert_eq!(wait(engine.op("echo", json!({ "data": 2 }))).unwrap(), 2);
    settle(&engine);
}

fn ignored_cancel() {
    let engine = engine();
    let call = start(&engine, &json!({ "op": "debug", "do": "ignore_cancel" }));
    // A turn of the loop, so that the handler has begun.
    state(&engine);
    call.canceller().cancel();
    let begin = Instant::now();
    let last = read(call).pop().unwrap();
    assert_eq!(
        (&last["type"], &last["closed_ms"]),
        (&json!("cancelled"), &json!(null))
    );
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(engine.open_calls(), 0);
    assert!(engine.shutdown(LONG), "the orphan holds up the shutdown");
}

fn blocked_loop() {
    let child = host("blocked").spawn().unwrap();
    let (output, _) = finish(child, LONG);
    assert!(output.status.success(), "{}", told(&output));
}

/// Starts a host and waits for its word that it is in the middle of its streams.
fn in_the_middle(name: &str, arguments: &[&str]) -> Child {
    let mut child = host(name).args(arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    if line == "now\n" {
        return child;
    }
    panic!("{name}: {line:?}, {}", told(&child.wait_with_output().unwrap()))
}

fn exits() {
    for (name, code) in [
        ("exit-return", 7),
        ("exit-call", 7),
        ("exit-thread", 7),
        ("exit-panic", 101),
        ("exit-after-shutdown", 7),
        ("exit-starting", 7),
        ("exit-on-the-loop", 7),
    ] {
        for _ in 0..3 {
            let (output, took) = finish(in_the_middle(name, &[]), LONG);
            assert_eq!(output.status.code(), Some(code), "{name}: {}", told(&output));
            assert!(took < EXIT, "{name} took {took:?}");
        }
    }
}

fn exits_with_litellm() {
    let program = "import sys; from omni_bridge.testing import DemoServer\n\
        with DemoServer(chunks=100000, pace=50) as server: print(server.api_base, flush=True); sys.stdin.read()";
    let mut server = Command::new(Interpreter::find(None).unwrap().program)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut base = String::new();
    BufReader::new(server.stdout.as_mut().unwrap())
        .read_line(&mut base)
        .unwrap();
    for (name, code) in [("litellm-exit-return", 7), ("litellm-exit-call", 7)] {
        let (output, took) = finish(in_the_middle(name, &[base.trim()]), LONG);
        assert_eq!(output.status.code(), Some(code), "{name}: {}", told(&output));
        assert!(took < EXIT, "{name} took {took:?}");
    }
    // Its input ends, and so does it.
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

fn own_handlers() {
    for signal in [SIGINT, SIGTERM] {
        let child = in_the_middle("own-handlers", &[]);
        // SAFETY: the process is a child of ours that has not been waited for.
        unsafe { kill(i32::try_from(child.id()).unwrap(), signal) };
        let (output, took) = finish(child, LONG);
        assert_eq!(output.status.code(), Some(40 + signal), "{}", told(&output));
        assert!(took < EXIT, "signal {signal} took {took:?}");
    }
}

fn default_handler() {
    for signal in [SIGINT, SIGTERM] {
        let child = in_the_middle("exit-never", &[]);
        // SAFETY: as above.
        unsafe { kill(i32::try_from(child.id()).unwrap(), signal) };
        let (output, _) = finish(child, LONG);
        assert_eq!(output.status.signal(), Some(signal), "{}", told(&output));
    }
}

fn fork_after_use() {
    let (output, _) = finish(host("fork-after").spawn().unwrap(), LONG);
    assert!(output.status.success(), "{}", told(&output));
}

fn fork_before_use() {
    let (output, _) = finish(host("fork-before").spawn().unwrap(), LONG);
    assert!(output.status.success(), "{}", told(&output));
}

/// In the host of `blocked_loop`.
pub(crate) fn blocked_host() {
    let engine = engine();
    let hold = json!({ "op": "debug", "do": "hold" });
    let (cancelled, open) = (start(&engine, &hold), start(&engine, &hold));
    wait(engine.op("debug", json!({ "do": "block", "seconds": null }))).unwrap();
    let queued = start(&engine, &json!({ "op": "echo", "data": 1 }));
    cancelled.canceller().cancel();
    queued.canceller().cancel();
    for call in [cancelled, queued] {
        let (code, message) = failure(call);
        assert_eq!(code, "engine_unavailable");
        assert!(message.contains("blocks"), "{message}");
    }
    assert!(
        !engine.shutdown(Duration::from_millis(50)),
        "a blocked loop cannot have stopped"
    );
    assert_eq!(failure(open).0, "engine_unavailable");
    let (code, message) = failure(start(&engine, &json!({ "op": "echo", "data": 1 })));
    assert_eq!(code, "engine_unavailable");
    assert!(message.contains("shutting down"), "{message}");
    assert_eq!(engine.open_calls(), 0);
}
