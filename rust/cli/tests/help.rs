//! The help, as people read it. `OMNI_UPDATE=1 cargo test -p omni-cli --test help` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use std::path::Path;
use std::process::Command;

/// Runs `omni` with `words`, without the variables that it reads.
fn omni(words: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_omni"))
        .args(words)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap(),
    )
}

fn same(name: &str, words: &[&str]) {
    let (help, _, code) = omni(words);
    assert_eq!(code, 0);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/help")
        .join(name);
    if std::env::var_os("OMNI_UPDATE").is_some() {
        std::fs::write(&path, &help).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        help == want,
        "the help of {words:?} is not {}; if it is right, write it: OMNI_UPDATE=1 cargo test -p omni-cli --test help\n\n{help}",
        path.display()
    );
}

#[test]
fn help_is_as_it_was_read_and_found_good() {
    same("omni.txt", &["--help"]);
    same("chat.txt", &["chat", "--help"]);
    same("models.txt", &["models", "--help"]);
    same("doctor.txt", &["doctor", "--help"]);
    same("catalogue.txt", &["catalogue", "--help"]);
    same("run.txt", &["run", "--help"]);
    same("sessions.txt", &["sessions", "--help"]);
    same("sessions-resume.txt", &["sessions", "resume", "--help"]);
    same("mcp.txt", &["mcp", "--help"]);
    same("replay.txt", &["replay", "--help"]);
    same("test-run.txt", &["test-run", "--help"]);
    same("auth.txt", &["auth", "--help"]);
    same("auth-set.txt", &["auth", "set", "--help"]);
}

#[test]
fn the_exit_codes_in_the_help_are_those_of_the_errors() {
    let (help, ..) = omni(&["--help"]);
    let words: Vec<&str> = help.split_whitespace().collect();
    for code in omni_core::Code::ALL {
        // Ctrl-C has a code of its own, which shells know.
        if *code != omni_core::Code::Cancelled {
            let number = omni_cli::exit_code(*code).to_string();
            assert!(
                words
                    .windows(2)
                    .any(|pair| pair == [number.as_str(), code.name()]),
                "{number} {code} is not in the help"
            );
        }
    }
}

#[test]
fn version_names_the_contract() {
    let (version, _, code) = omni(&["--version"]);
    assert_eq!(
        (version.trim(), code),
        (
            format!(
                "omni {} (contract {})",
                env!("CARGO_PKG_VERSION"),
                omni_core::CONTRACT
            )
            .as_str(),
            0
        )
    );
}

#[test]
fn a_slip_is_answered_with_what_was_meant_and_code_2() {
    let (out, error, code) = omni(&["chta"]);
    assert_eq!((out.as_str(), code), ("", 2));
    assert!(error.contains("'chat'"), "{error}");
    let (_, error, code) = omni(&["chat", "--modle", "x"]);
    assert!(error.contains("'--model'") && code == 2, "{error}");
    let (out, error, code) = omni(&[]);
    assert!(
        out.is_empty() && error.contains("Usage: omni") && code == 2,
        "{error}"
    );
}
