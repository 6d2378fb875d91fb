//! In which protocol a call is asked, from outside: JSON documents come in, one a line, and an answer goes out for each.
//!
//! `tests/test_catalogue.py` asks `LiteLLM` the same.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "an example: it prints, and a bad line ends it"
)]

use omni_bridge::Request;
use omni_bridge::catalogue::Catalogue;
use serde::Deserialize;
use std::io::BufRead;

/// One question.
#[derive(Deserialize)]
struct Case {
    request: Request,
    base_url: String,
}

fn main() {
    let catalogue = Catalogue::builtin();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input");
        let Case { request, base_url } = serde_json::from_str(&line).expect("a case");
        let answer = catalogue.resolve(&request.model).map(|found| {
            let protocol = found
                .provider
                .protocol_for(&request, &found.model, found.protocol, &base_url);
            protocol.name()
        });
        // Who is left to LiteLLM is asked in none of ours.
        println!("{}", answer.unwrap_or("none"));
    }
}
