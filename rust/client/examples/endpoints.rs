//! Where a key may go, asked from outside: JSON documents come in, one a line, and an answer goes out for each.
//!
//! `tests/test_keys_parity.py` asks the Python engine's rule the same. With `--measure` it prints what the rule costs.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "an example: it prints, and a bad line ends it"
)]

use omni_bridge::Request;
use omni_bridge::credentials::{
    Environment, Environments, FoundKey, Guard, Hosts, Secret, Source, Verdict, check_host, forbidden_in,
    given_in, trusted,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::BufRead;
use std::time::Instant;

/// One question.
#[derive(Deserialize)]
#[serde(default)]
struct Case {
    provider: String,
    own: Vec<String>,
    allowed_hosts: Vec<String>,
    base_url: Option<String>,
    environment: BTreeMap<String, String>,
    request: Value,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            provider: String::new(),
            own: Vec::new(),
            allowed_hosts: Vec::new(),
            base_url: None,
            environment: BTreeMap::new(),
            request: json!({}),
            url: String::new(),
            headers: Vec::new(),
            body: String::new(),
        }
    }
}

fn answer(case: &Case) -> Value {
    let mut document = case.request.clone();
    if let Value::Object(fields) = &mut document {
        for (name, needed) in [("model", json!("a/b")), ("messages", json!([]))] {
            fields.entry(name).or_insert(needed);
        }
    }
    let request: Request = serde_json::from_value(document).expect("a request");
    let hosts = Hosts {
        provider: &case.provider,
        own: &case.own,
        allowed: &case.allowed_hosts,
        base_url: case.base_url.as_deref(),
    };
    let environments = Environments::fixed(&case.environment);
    let guard = Guard::new(hosts, &environments, given_in(&request));
    let headers = case
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let verdict = match guard.verdict(&case.url, headers, case.body.as_bytes()) {
        Verdict::Go => json!({"drop": []}),
        Verdict::Without(names) => json!({"drop": names}),
        Verdict::Refused(error) => json!({"refused": error.message, "code": error.code}),
    };
    let found = FoundKey {
        secret: Secret::from("a-key"),
        source: Source::Environment("A_KEY".into()),
    };
    json!({
        "trusted": trusted(&case.url, &hosts, &Environment::new(&case.environment)),
        "host": check_host(&request, &found.source).err().map(|error| error.message),
        "may_send": guard.may_send(&found, &case.url).err().map(|error| error.message),
        "verdict": verdict,
        "forbidden": forbidden_in(&request),
    })
}

fn main() {
    if std::env::args().any(|word| word == "--measure") {
        measure();
        return;
    }
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input");
        let case: Case = serde_json::from_str(&line).expect("a case");
        println!("{}", answer(&case));
    }
}

fn measure() {
    let environments = Environments::process();
    let own = ["api.openai.com".to_owned()];
    let hosts = Hosts {
        provider: "openai",
        own: &own,
        allowed: &[],
        base_url: None,
    };
    let key = FoundKey {
        secret: Secret::from("a-key"),
        source: Source::Environment("A_KEY".into()),
    };
    let headers = [
        ("authorization", "Bearer a-key-of-the-call"),
        ("content-type", "application/json"),
    ];
    let body = vec![b'x'; 4096];
    let large = vec![b'x'; 1 << 20];
    let check = |url: &str, body: &[u8]| {
        let guard = Guard::new(hosts, &environments, ["a-key-of-the-call"]);
        black_box(guard.may_send(black_box(&key), url).is_ok());
        black_box(guard.verdict(black_box(url), headers, body));
    };
    println!("{} variables in the environment", std::env::vars_os().count());
    time("its state, read anew and compared", || {
        black_box(environments.current());
    });
    time("the provider's own host", || {
        check("https://api.openai.com/v1/chat/completions", &body);
    });
    time("a foreign host, 4 KiB", || {
        check("http://127.0.0.1:9/v1/chat/completions", &body);
    });
    time("a foreign host, 1 MiB", || {
        check("http://127.0.0.1:9/v1/chat/completions", &large);
    });
}

/// Prints the time of one round, as the best of some batches has it.
fn time(what: &str, mut work: impl FnMut()) {
    const ROUNDS: u32 = 200;
    let best = (0..50)
        .map(|_| {
            let start = Instant::now();
            (0..ROUNDS).for_each(|_| work());
            start.elapsed() / ROUNDS
        })
        .min()
        .unwrap_or_default();
    println!("{what}: {best:?}");
}
