//! The Python engine inside a Rust program. No test harness: Python may care who owns the main thread, exits and
//! signals end whole processes, and a process has one interpreter. So this program runs its cases itself, one after
//! the other, and starts itself again as the process that a case is about.
//!
//! `cargo test -p omni-bridge-py --test embed [NAME]`; `OMNI_BRIDGE_PYTHON` names the interpreter (make does that).
#![allow(unsafe_code, reason = "fork and signals have no safe interface in std")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap here is a failed test"
)]

mod calls;
mod host;
mod interpreters;
mod life;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A case: its name, and what it does; it panics if something is wrong.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--host") {
        return host::run(&arguments[1], &arguments[2..]);
    }
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let list = arguments.iter().any(|argument| argument == "--list");
    let mut failed = Vec::new();
    let mut ran = 0;
    for (name, case) in [calls::CASES, life::CASES, interpreters::CASES].concat() {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        ran += 1;
        let begin = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!(
            "test {name} ... {} ({:.1} s)",
            if passed { "ok" } else { "FAILED" },
            begin.elapsed().as_secs_f64()
        );
        if !passed {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("\ntest result: ok. {ran} passed");
        return ExitCode::SUCCESS;
    }
    println!("\ntest result: FAILED: {}", failed.join(", "));
    ExitCode::FAILURE
}
