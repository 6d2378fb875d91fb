//! The processes that cases are about: this program again, with `--host NAME`.

use crate::life;
use crate::support::{
    _exit, SIGINT, SIGTERM, engine, failure, fork, next, read, signal, start, wait, waitpid,
};
use omni_bridge_py::embedded::{Embedded, EmbeddedConfig, RawCall, forked};
use serde_json::json;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

pub(crate) fn run(name: &str, arguments: &[String]) -> ExitCode {
    match name {
        "connect" => connect(arguments),
        "blocked" => {
            life::blocked_host();
            ExitCode::SUCCESS
        }
        "fork-after" => fork_after(),
        "fork-before" => fork_before(),
        "present" => present(arguments),
        "litellm-exit-return" | "litellm-exit-call" => exit_with_litellm(name, &arguments[0]),
        _ => exit(name),
    }
}

fn say_now() {
    println!("now");
    std::io::stdout().flush().unwrap();
}

/// Streams in the middle of their lives: some read, some held back, some waiting.
fn streams(engine: &Embedded) -> Vec<RawCall> {
    (0..20)
        .map(|n| {
            let op = match n % 2 {
                0 => json!({ "op": "echo", "data": "x", "chunks": 1_000_000_000u64, "yield_every": 5 }),
                _ => json!({ "op": "debug", "do": "hold" }),
            };
            let mut call = start(engine, &op);
            if n % 4 == 0 {
                next(&mut call);
            }
            call
        })
        .collect()
}

#[allow(clippy::disallowed_methods, reason = "the exit is what is tested")]
fn exit(name: &str) -> ExitCode {
    let engine = engine();
    if name == "exit-starting" {
        let _call = start(&engine, &json!({ "op": "warm_up" }));
        say_now();
        std::process::exit(7);
    }
    let calls = streams(&engine);
    // A thread that goes on reading while the process ends.
    let reader = {
        let engine = engine.clone();
        std::thread::spawn(move || {
            read(start(
                &engine,
                &json!({ "op": "echo", "data": 1, "chunks": 1_000_000_000u64, "yield_every": 3 }),
            ))
        })
    };
    match name {
        "exit-return" => {
            say_now();
            std::mem::forget(calls);
            ExitCode::from(7)
        }
        "exit-call" => {
            say_now();
            std::process::exit(7)
        }
        "exit-thread" => {
            say_now();
            std::thread::spawn(|| std::process::exit(7)).join().unwrap()
        }
        "exit-panic" => {
            say_now();
            panic!("as asked")
        }
        "exit-on-the-loop" => {
            /// Whoever is woken by the engine's thread runs on it for that moment, and may exit there.
            struct Exit;
            impl std::task::Wake for Exit {
                fn wake(self: std::sync::Arc<Self>) {
                    std::process::exit(7);
                }
            }
            say_now();
            let mut call = start(
                &engine,
                &json!({ "op": "echo", "data": 1, "chunks": 1_000_000_000u64, "yield_every": 3 }),
            );
            let waker = std::task::Waker::from(std::sync::Arc::new(Exit));
            let mut batch = Vec::new();
            while call
                .poll_batch(&mut std::task::Context::from_waker(&waker), &mut batch)
                .is_ready()
            {}
            reader.join().unwrap();
            ExitCode::FAILURE
        }
        "exit-after-shutdown" => {
            assert!(engine.shutdown(crate::support::LONG));
            reader.join().unwrap();
            say_now();
            ExitCode::from(7)
        }
        "own-handlers" => {
            extern "C" fn handler(number: i32) {
                // SAFETY: `_exit` is one of the few functions that a handler may call.
                unsafe { _exit(40 + number) }
            }
            for number in [SIGINT, SIGTERM] {
                // SAFETY: the handler does what handlers may do.
                unsafe { signal(number, handler as extern "C" fn(i32) as usize) };
            }
            // Work that goes on after ours was installed must not put others in their place.
            read(start(&engine, &json!({ "op": "echo", "data": 1 })));
            say_now();
            reader.join().unwrap();
            ExitCode::FAILURE
        }
        "exit-never" => {
            // Shells start what runs in the background with SIGINT ignored, and children inherit that.
            // SAFETY: 0 is SIG_DFL.
            unsafe { signal(SIGINT, 0) };
            say_now();
            reader.join().unwrap();
            ExitCode::FAILURE
        }
        other => panic!("no such host: {other}"),
    }
}

/// Leaves while LiteLLM reads ten streams, on sockets and with libraries of its own.
#[allow(clippy::disallowed_methods, reason = "the exit is what is tested")]
fn exit_with_litellm(name: &str, base: &str) -> ExitCode {
    let engine = engine();
    let request = json!({
        "model": "openai/demo", "messages": [{ "role": "user", "content": "Go on." }], "api_base": base, "api_key": "none",
    });
    let config = json!({ "allow_endpoints": true, "allowed_hosts": [], "allow_private_images": false });
    let op = json!({ "op": "chat", "stream": true, "request": request, "config": config });
    let mut calls: Vec<_> = (0..10).map(|_| start(&engine, &op)).collect();
    for call in &mut calls {
        while next(call).last().unwrap()["type"] != "text_delta" {}
    }
    say_now();
    if name == "litellm-exit-call" {
        std::process::exit(7);
    }
    std::mem::forget(calls);
    ExitCode::from(7)
}

/// Forks; the child runs `child` and exits with what it gives. Gives the child's exit code.
fn in_child(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child uses only what this test is about, and leaves by `_exit`.
    let id = unsafe { fork() };
    assert!(id >= 0, "fork failed");
    if id == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(99);
        // SAFETY: ends the child without the parent's exit hooks.
        unsafe { _exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    unsafe { waitpid(id, &raw mut status, 0) };
    std::process::ExitStatus::from_raw(status).code().unwrap_or(-1)
}

fn fork_after() -> ExitCode {
    let engine = engine();
    let mut open = streams(&engine);
    let code = in_child(|| {
        assert!(forked());
        let (code, message) = failure(start(&engine, &json!({ "op": "echo", "data": 1 })));
        assert_eq!(code, "engine_unavailable");
        assert!(
            message.contains("spawn") && message.contains("forkserver"),
            "{message}"
        );
        // A stream that came along: told as well, and dropped without touching the parent's.
        let last = read(open.remove(1)).pop().unwrap();
        assert_eq!(last["error"]["code"], "engine_unavailable");
        assert!(Embedded::connect(&EmbeddedConfig::default()).is_err());
        assert!(engine.shutdown(crate::support::LONG));
        open.clear();
        5
    });
    assert_eq!(code, 5, "the child");
    assert!(!forked());
    assert_eq!(engine.open_calls(), 20, "the child ended calls of the parent");
    next(&mut open[0]);
    assert_eq!(wait(engine.op("echo", json!({ "data": "on" }))).unwrap(), "on");
    ExitCode::SUCCESS
}

fn fork_before() -> ExitCode {
    let echo = || assert_eq!(wait(engine().op("echo", json!({ "data": 1 }))).unwrap(), 1);
    let code = in_child(|| {
        echo();
        5
    });
    assert_eq!(code, 5, "the child");
    echo();
    ExitCode::SUCCESS
}

/// A host that has an interpreter of its own, opened privately, and connects from a thread that is attached or not.
fn present(arguments: &[String]) -> ExitCode {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    let interpreter = omni_bridge_py::embedded::Interpreter::find(None).unwrap();
    // SAFETY: CPython's functions, with the types of its headers, called in the order that its manual asks for.
    unsafe {
        let library = Library::open(Some(interpreter.library().unwrap()), RTLD_NOW | RTLD_LOCAL).unwrap();
        library
            .get::<unsafe extern "C" fn(i32)>(c"Py_InitializeEx")
            .unwrap()(0);
        let run = *library
            .get::<unsafe extern "C" fn(*const std::ffi::c_char) -> i32>(c"PyRun_SimpleString")
            .unwrap();
        assert_eq!(run(c"import sys; sys.host_was_here = True".as_ptr()), 0);
        let save = *library
            .get::<unsafe extern "C" fn() -> *mut u8>(c"PyEval_SaveThread")
            .unwrap();
        let restore = *library
            .get::<unsafe extern "C" fn(*mut u8)>(c"PyEval_RestoreThread")
            .unwrap();
        let attached = arguments.first().is_some_and(|how| how == "attached");
        let mut thread = save();
        if attached {
            restore(thread);
        }
        let engine = Embedded::connect(&EmbeddedConfig::default()).unwrap();
        if attached {
            thread = save();
        }
        assert_eq!(wait(engine.op("echo", json!({ "data": 1 }))).unwrap(), 1);
        assert!(engine.shutdown(crate::support::LONG));
        // Neither started anew nor ended.
        restore(thread);
        assert_eq!(
            run(c"import sys, omni_bridge; assert sys.host_was_here".as_ptr()),
            0
        );
        save();
    }
    ExitCode::SUCCESS
}

/// Connects and echoes; prints one line: `ok`, or the error's code and message. With an op's name, asks that op.
fn connect(arguments: &[String]) -> ExitCode {
    let config = EmbeddedConfig {
        python: arguments.get(1).map(Into::into),
        ..EmbeddedConfig::default()
    };
    let op = arguments.first().map_or("echo", String::as_str);
    let answer = Embedded::connect(&config).and_then(|engine| wait(engine.op(op, json!({ "data": "ok" }))));
    match answer {
        Ok(answer) => println!("{}", answer.as_str().unwrap_or("answered")),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}
