//! A side of the comparison: a command a line on stdin, an answer a line on stdout, as the Python sides do it
//! (benches/doors/_side.py). `benches/peers` has this file too.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::wire::Wire;

/// Whatever went wrong: it ends the process, and the comparison.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What every side asks its model.
pub const QUESTION: &str = "What flies, and what do fruit flies like? Answer in one sentence.";
/// The key that the canned provider does not look at.
pub const KEY: &str = "test-key";

/// The model that a call names on `wire`.
pub const fn model(wire: Wire) -> &'static str {
    match wire {
        Wire::Openai | Wire::Responses => "gpt-4o",
        Wire::Anthropic => "claude-sonnet-4-5",
        Wire::Gemini => "gemini-2.5-flash",
    }
}

/// `n` calls by `at_once` tasks.
#[derive(Clone, Deserialize)]
pub struct Many {
    /// The base URL, with its `/v1`.
    pub base: String,
    /// The text that every answer must have.
    pub expect: String,
    /// How many calls.
    pub n: usize,
    /// How many of them at the same time.
    pub at_once: usize,
    /// Whose wire they are made on.
    #[serde(default)]
    pub wire: Wire,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Calls(Many),
    Streams(Many),
}

/// One call's times, in microseconds.
#[derive(Default)]
pub struct Took {
    /// From the request to the end of the answer.
    pub us: f64,
    /// To its first text.
    pub first_us: Option<f64>,
    /// How many texts it came in.
    pub texts: usize,
}

/// One way to make the same call.
pub trait Side: Clone + Send + Sync + 'static {
    /// Not streamed: the text of the answer.
    fn call(&self, wire: Wire, base: &str) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Streamed: each text is given to `take` as it comes.
    fn stream(
        &self,
        wire: Wire,
        base: &str,
        take: impl FnMut(&str) + Send,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Answers commands until their end.
pub async fn serve(side: impl Side) -> Result<(), Failure> {
    say(&json!({"ready": true}))?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line)? {
            Command::Calls(many) => calls(&side, many).await?,
            Command::Streams(many) => streams(&side, many).await?,
        };
        say(&answer)?;
    }
    Ok(())
}

/// Many calls that are not streamed.
pub async fn calls(side: &impl Side, what: Many) -> Result<Value, Failure> {
    let (side, n, at_once, what) = (side.clone(), what.n, what.at_once, Arc::new(what));
    many(n, at_once, move || {
        let (side, what) = (side.clone(), what.clone());
        async move { one_call(&side, &what).await }
    })
    .await
}

/// Many streamed calls.
pub async fn streams(side: &impl Side, what: Many) -> Result<Value, Failure> {
    let (side, n, at_once, what) = (side.clone(), what.n, what.at_once, Arc::new(what));
    many(n, at_once, move || {
        let (side, what) = (side.clone(), what.clone());
        async move { one_stream(&side, &what).await }
    })
    .await
}

/// One call, timed; its answer is compared after that.
pub async fn one_call(side: &impl Side, what: &Many) -> Result<Took, Failure> {
    let begin = Instant::now();
    let text = side.call(what.wire, &what.base).await?;
    let us = micros(begin);
    check(&text, &what.expect)?;
    Ok(Took {
        us,
        ..Took::default()
    })
}

async fn one_stream(side: &impl Side, what: &Many) -> Result<Took, Failure> {
    let mut took = Took::default();
    let mut text = String::with_capacity(what.expect.len());
    let begin = Instant::now();
    let taken = side.stream(what.wire, &what.base, |more| {
        if took.texts == 0 {
            took.first_us = Some(micros(begin));
        }
        took.texts += 1;
        text.push_str(more);
    });
    taken.await?;
    took.us = micros(begin);
    check(&text, &what.expect)?;
    Ok(took)
}

/// `n` rounds of `one` by `at_once` tasks: each begins its next one when its last has ended.
pub async fn many<F>(
    n: usize,
    at_once: usize,
    one: impl Fn() -> F + Clone + Send + 'static,
) -> Result<Value, Failure>
where
    F: Future<Output = Result<Took, Failure>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let workers = (0..at_once).map(|_| {
        let (next, one) = (next.clone(), one.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < n {
                took.push(one().await?);
            }
            Ok::<_, Failure>(took)
        })
    });
    let mut all = Vec::with_capacity(n);
    for done in join_all(workers).await {
        all.extend(done??);
    }
    let wall = micros(begin);
    Ok(json!({
        "us": all.iter().map(|t| t.us).collect::<Vec<_>>(),
        "first_us": all.iter().filter_map(|t| t.first_us).collect::<Vec<_>>(),
        "texts": all.iter().map(|t| t.texts).sum::<usize>(),
        "wall_us": wall,
    }))
}

/// One answer to the harness.
pub fn say(answer: &Value) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

/// An answer that is wrong is not worth its time.
pub fn check(text: &str, expect: &str) -> Result<(), Failure> {
    if text == expect {
        return Ok(());
    }
    Err(format!(
        "wrong answer: {text:.80?} ({}), not {expect:.80?} ({})",
        text.len(),
        expect.len()
    )
    .into())
}

/// Microseconds.
pub fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
