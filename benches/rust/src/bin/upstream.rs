//! The fixed upstream of every comparison: a small HTTP/1.1 server that answers `POST …/chat/completions` on the
//! `OpenAI` wire from canned bytes, whole or as SSE at a chosen pace, and remembers when each stream's socket was
//! closed. It is not Python, runs on one thread, and parses nothing that it does not need.
//!
//! The path chooses the answer: `/s/{chunks}/{pace in µs}/v1/chat/completions`. `GET /streams` gives what it saw of
//! the streams so far (`{"user", "opened_ns", "closed_ns", "chunks"}`, times since 1970) and forgets it;
//! `GET /expected/{chunks}` gives the text of an answer, so that a side can check what it got.
//!
//! `/n/{chunks}/v1/chat/completions` and `…/messages` (Anthropic's wire) answer from bytes that were made once, so that
//! not the upstream is measured: a stream as a body of known length, in reads as large as the client makes them;
//! `/c/{chunks}/v1/…` the same with each event in an HTTP chunk of its own, as most providers send it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use omni_bench::side::Failure;
use omni_bench::wire::{Wire, openai_head, openai_tail, openai_text, text};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is remembered of one stream whose client may leave early.
struct Seen {
    user: String,
    opened_ns: u64,
    closed_ns: u64,
    chunks: usize,
}

type Log = Arc<Mutex<Vec<Seen>>>;
/// By path, and whether a stream was asked for: whole HTTP answers.
type Made = Arc<Mutex<HashMap<(String, bool), Arc<Vec<u8>>>>>;

/// Bytes gathered before a write when nothing is paced: about what one TCP segment train carries.
const FLUSH: usize = 8 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    // The one line that the harness waits for.
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({"port": listener.local_addr()?.port()}))?;
    out.flush()?;
    let (log, made) = (Log::default(), Made::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        // A client that breaks off is the client's choice, and in the cancel benchmark the point.
        tokio::spawn(serve(socket, log.clone(), made.clone()));
    }
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}

/// One request after another on one connection, until it closes or breaks.
async fn serve(mut socket: TcpStream, log: Log, made: Made) -> Result<(), Failure> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    while let Some(request) = read_request(&mut socket, &mut buffer).await? {
        match ready_made(&request, &made)? {
            Some(bytes) => socket.write_all(&bytes).await?,
            None => answer(&mut socket, &request, &log).await?,
        }
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Request>, Failure> {
    loop {
        if let Some((request, used)) = parse(buffer)? {
            buffer.drain(..used);
            return Ok(Some(request));
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(bytes)? else {
        return Ok(None);
    };
    let mut length = 0;
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value)?.trim().parse::<usize>()?;
        }
    }
    let Some(body) = bytes.get(start..start + length) else {
        return Ok(None);
    };
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: head.path.unwrap_or_default().to_owned(),
        body: body.to_vec(),
    };
    Ok(Some((request, start + length)))
}

/// The answer to a path whose answers are made once; `None` for the others.
fn ready_made(request: &Request, made: &Made) -> Result<Option<Arc<Vec<u8>>>, Failure> {
    let path = request.path.as_str();
    if !path.starts_with("/n/") && !path.starts_with("/c/") {
        return Ok(None);
    }
    // Whoever writes the document, with or without a blank.
    let asks = |text: &str| memmem::find(&request.body, text.as_bytes()).is_some();
    let key = (
        path.to_owned(),
        asks("\"stream\":true") || asks("\"stream\": true"),
    );
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = made.get(&key) {
        return Ok(Some(bytes.clone()));
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (how, chunks, wire) = match parts.as_slice() {
        [how, chunks, "v1", "chat", "completions"] => (*how, chunks.parse()?, Wire::Openai),
        [how, chunks, "v1", "messages"] => (*how, chunks.parse()?, Wire::Anthropic),
        _ => return Ok(None),
    };
    let bytes = Arc::new(http_answer(wire, chunks, key.1, how == "c")?);
    made.insert(key, bytes.clone());
    Ok(Some(bytes))
}

fn http_answer(wire: Wire, chunks: usize, stream: bool, chunked: bool) -> Result<Vec<u8>, Failure> {
    let mut out = b"HTTP/1.1 200 OK\r\ncontent-type: ".to_vec();
    if stream && chunked {
        out.extend_from_slice(b"text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n");
        for event in wire.events(chunks) {
            chunk(&mut out, event.as_bytes())?;
        }
        out.extend_from_slice(b"0\r\n\r\n");
        return Ok(out);
    }
    let (kind, body) = if stream {
        ("text/event-stream; charset=utf-8", wire.stream(chunks))
    } else {
        ("application/json", wire.body(chunks))
    };
    write!(out, "{kind}\r\ncontent-length: {}\r\n\r\n", body.len())?;
    out.extend_from_slice(&body);
    Ok(out)
}

async fn answer(socket: &mut TcpStream, request: &Request, log: &Log) -> Result<(), Failure> {
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["s", chunks, pace, "v1", "chat", "completions"]) => {
            let (chunks, pace) = (chunks.parse()?, Duration::from_micros(pace.parse()?));
            let body: Value = serde_json::from_slice(&request.body)?;
            if body["stream"] == true {
                stream(socket, &body, chunks, pace, log).await
            } else {
                whole(socket, &Wire::Openai.body(chunks)).await
            }
        }
        ("GET", ["streams"]) => {
            let seen = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
            let seen: Vec<Value> = seen
                .iter()
                .map(|s| json!({"user": s.user, "opened_ns": s.opened_ns, "closed_ns": s.closed_ns, "chunks": s.chunks}))
                .collect();
            whole(socket, &serde_json::to_vec(&seen)?).await
        }
        ("GET", ["expected", chunks]) => whole(socket, &serde_json::to_vec(&text(chunks.parse()?))?).await,
        _ => {
            let text = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            Ok(socket.write_all(text.as_bytes()).await?)
        }
    }
}

async fn whole(socket: &mut TcpStream, body: &[u8]) -> Result<(), Failure> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    Ok(socket.write_all(&bytes).await?)
}

async fn stream(
    socket: &mut TcpStream,
    body: &Value,
    chunks: usize,
    pace: Duration,
    log: &Log,
) -> Result<(), Failure> {
    let mut seen = Seen {
        user: body["user"].as_str().unwrap_or_default().to_owned(),
        opened_ns: now_ns(),
        closed_ns: 0,
        chunks: 0,
    };
    let result = write_stream(socket, body, chunks, pace, &mut seen.chunks).await;
    // Only streams that their user named are of interest, and only the cancel benchmark names them.
    if !seen.user.is_empty() {
        seen.closed_ns = now_ns();
        log.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }
    result
}

async fn write_stream(
    socket: &mut TcpStream,
    body: &Value,
    chunks: usize,
    pace: Duration,
    written: &mut usize,
) -> Result<(), Failure> {
    let mut out = Vec::with_capacity(2 * FLUSH);
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    chunk(&mut out, openai_head().as_bytes())?;
    let mut tick = (!pace.is_zero()).then(|| tokio::time::interval(pace));
    for n in 0..chunks {
        chunk(&mut out, openai_text(n).as_bytes())?;
        if let Some(tick) = &mut tick {
            socket.write_all(&out).await?;
            out.clear();
            *written = n + 1;
            wait_or_close(socket, tick).await?;
        } else if out.len() >= FLUSH {
            socket.write_all(&out).await?;
            out.clear();
            *written = n + 1;
        }
    }
    let usage = body["stream_options"]["include_usage"] == true;
    for event in openai_tail(chunks, usage) {
        chunk(&mut out, event.as_bytes())?;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    socket.write_all(&out).await?;
    *written = chunks;
    Ok(())
}

/// The next tick, unless the client closes first: then at once an error, so that the moment is the socket's own.
async fn wait_or_close(socket: &mut TcpStream, tick: &mut tokio::time::Interval) -> Result<(), Failure> {
    let mut byte = [0; 1];
    tokio::select! {
        _ = tick.tick() => Ok(()),
        read = socket.read(&mut byte) => match read {
            Ok(0) => Err("closed by the client".into()),
            Ok(_) => Err("the client wrote while its answer was still coming".into()),
            Err(error) => Err(error.into()),
        },
    }
}

fn chunk(out: &mut Vec<u8>, data: &[u8]) -> Result<(), Failure> {
    write!(out, "{:x}\r\n", data.len())?;
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    Ok(())
}
