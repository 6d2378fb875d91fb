//! The decoders take no more instructions than when they were last recorded (benches/results/native.json). Counted by
//! callgrind, so a slowdown shows whatever the machine does; without valgrind, or in a debug build, nothing is said.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use serde::Deserialize;
use std::path::Path;
use std::process::Command;

#[derive(Deserialize)]
struct Record {
    name: String,
    value: f64,
}

/// What another compiler may choose differently without anybody noticing.
const ROOM: f64 = 1.05;

fn counted(arguments: &[&str]) -> f64 {
    let done = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--toggle-collect=*counted_*",
        ])
        .arg("--callgrind-out-file=/dev/null")
        .arg(env!("CARGO_BIN_EXE_bench-decode"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let (_, after) = said.split_once("Collected : ").unwrap();
    after.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_decoder_takes_no_more_instructions_than_recorded() {
    let valgrind = Command::new("valgrind").arg("--version").output();
    if cfg!(debug_assertions) || valgrind.is_err() {
        eprintln!("not counted: this needs valgrind and a release build");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/native.json");
    let records: Vec<Record> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut more = Vec::new();
    let mut seen = 0;
    for Record { name, value } in &records {
        let Some(what) = name.strip_prefix("native.instructions.") else {
            continue;
        };
        let now = match what.split_once('.').unwrap() {
            (wire, "chunk") => {
                (counted(&["chunks", wire, "2200"]) - counted(&["chunks", wire, "200"])) / 2000.0
            }
            (wire, _) => counted(&["call", wire]),
        };
        seen += 1;
        eprintln!("{name}: {now:.0}, recorded {value:.0}");
        if now > value * ROOM {
            more.push(format!("{name}: {now:.0} instead of {value:.0}"));
        }
    }
    assert_eq!(seen, 8, "a chunk and a call of four wires");
    assert!(
        more.is_empty(),
        "slower than recorded:\n{}\nif that is meant: python benches/doors/native.py --only instructions --record",
        more.join("\n")
    );
}
