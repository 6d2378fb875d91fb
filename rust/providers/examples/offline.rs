//! Encodes and decodes without a network: one JSON document a line in, one a line out. `tests/replay` drives it over
//! recordings.
//!
//! ```text
//! {"op": "decode", "protocol": "anthropic", "provider": "anthropic", "model": "m", "body": "…", "cut": 7, "dialect": {}}
//! {"op": "encode", "protocol": "anthropic", "provider": "anthropic", "model": "m", "stream": true, "request": {…}}
//! ```
//! `cut` is the size of the pieces in bytes, 0 for one piece; negative for random sizes, the number as seed.

use omni_core::{Event, Fold, Request};
use omni_providers::{Answer, Context, Dialect, Fault, Protocol, Target, dialect_of};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::sync::Arc;

#[derive(Deserialize)]
struct Job {
    op: String,
    protocol: Protocol,
    provider: String,
    model: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    cut: i64,
    #[serde(default)]
    stream: bool,
    request: Option<Value>,
    /// What is known of the provider if absent.
    dialect: Option<Dialect>,
    #[serde(default)]
    events: bool,
    audio_format: Option<String>,
    format_tool: Option<String>,
}

fn pieces(body: &[u8], cut: i64) -> Vec<&[u8]> {
    let mut rest = body;
    let mut out = Vec::new();
    let mut state = cut.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while !rest.is_empty() {
        let size = match cut {
            0 => rest.len(),
            1.. => usize::try_from(cut).unwrap_or(1),
            _ => {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                [1, 2, 3, 7, 40, 200, 1000, 5000][usize::try_from(state % 8).unwrap_or(0)]
            }
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        out.push(piece);
        rest = after;
    }
    out
}

fn decode(job: &Job) -> Value {
    let context = Context {
        provider: job.provider.clone(),
        audio_format: job.audio_format.clone(),
        format_tool: job.format_tool.clone(),
    };
    let mut answer = Answer::new(job.protocol, &context, &job.model, None);
    let mut fold = Fold::new();
    let mut events: Vec<Event> = Vec::new();
    let mut take = |answer: &mut Answer, fold: &mut Fold| {
        while let Some(event) = answer.event() {
            fold.push(&event);
            if job.events {
                events.push(event);
            }
        }
    };
    let mut read = Ok(());
    for piece in pieces(job.body.as_bytes(), job.cut) {
        read = answer.push(piece);
        take(&mut answer, &mut fold);
        if read.is_err() {
            break;
        }
    }
    let ended = read.and_then(|()| answer.end());
    take(&mut answer, &mut fold);
    let ignored = answer.ignored();
    match ended {
        Ok(finish) => {
            json!({"reply": fold.finish(finish, Vec::new()), "ignored": ignored, "events": events})
        }
        Err(Fault::Said(body)) => {
            json!({"said": body, "partial": fold.partial(Vec::new()), "events": events})
        }
        Err(Fault::Protocol(message)) => {
            json!({"protocol": message, "partial": fold.partial(Vec::new()), "events": events})
        }
    }
}

fn encode(job: &Job) -> Result<Value, String> {
    let request = job.request.as_ref().ok_or("no request")?;
    let request = Request::from_value(request).map_err(|error| error.to_string())?;
    let target = Target {
        provider: job.provider.clone(),
        model: job.model.clone(),
        dialect: match &job.dialect {
            Some(dialect) => Arc::new(dialect.clone()),
            None => dialect_of(&job.provider),
        },
    };
    if let Some(why) = job.protocol.declines(&request, &target) {
        return Ok(json!({"declined": why}));
    }
    let encoded = job
        .protocol
        .encode(&request, &target, job.stream)
        .map_err(|error| error.to_string())?;
    let body: Value = serde_json::from_slice(&encoded.body).map_err(|error| error.to_string())?;
    let headers: serde_json::Map<String, Value> = encoded
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::String(value.clone())))
        .collect();
    Ok(json!({"path": encoded.path, "headers": headers, "body": body}))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let result = match job.op.as_str() {
            "decode" => decode(&job),
            _ => encode(&job).unwrap_or_else(|error| json!({"error": error})),
        };
        serde_json::to_writer(&mut out, &result)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}
