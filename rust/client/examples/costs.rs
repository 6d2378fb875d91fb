//! What calls cost, asked from outside: a JSON document a line comes in, dollars go out, or null.
//!
//! `tests/replay/costs.py` compares them with LiteLLM's.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "an example: it prints, and a bad line ends it"
)]

use omni_bridge::Usage;
use omni_bridge::catalogue::Catalogue;
use serde::Deserialize;
use std::io::BufRead;

/// One question.
#[derive(Deserialize)]
struct Case {
    model: String,
    usage: Usage,
    service_tier: Option<String>,
    /// When, in seconds after 1970.
    at: u64,
}

fn main() {
    let catalogue = Catalogue::builtin();
    for line in std::io::stdin().lock().lines() {
        let case: Case = serde_json::from_str(&line.expect("a line")).expect("a case");
        let dollars = catalogue.cost_at(&case.model, &case.usage, case.service_tier.as_deref(), case.at);
        println!("{}", serde_json::json!(dollars));
    }
}
