//! What one call costs through this transport and through plain reqwest: processor time of the calling thread.
//!
//! `cargo run --release -p omni-transport --example cost` (Linux). The server is a process of its own, so that its time
//! is not counted; both clients are asked for the same bytes, which are checked.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark that fails tells so, and its numbers are small"
)]

use omni_transport::{Bytes, Call, HeaderMap, HeaderValue, Method, Transport};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"Say hello."}],"stream":true}"#;
const EVENTS: usize = 200;
const EVENT: usize = 250;
const ROUNDS: usize = 5;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(compare(url.trim()));
    server.kill().unwrap();
    server.wait().unwrap();
}

async fn compare(url: &str) {
    let (ours, plain) = (
        Transport::new(),
        reqwest::Client::builder().no_proxy().build().unwrap(),
    );
    for (what, path, length, calls) in [
        ("a whole reply of 600 bytes", "/whole", 600, 4000),
        ("a stream of 200 events", "/stream", EVENTS * EVENT, 1000),
    ] {
        let url = format!("{url}{path}");
        let (mut through_us, mut through_reqwest) = (f64::MAX, f64::MAX);
        // In turns, and the best of each: what else the machine does only adds.
        for _ in 0..ROUNDS {
            let before = cpu_ns();
            for _ in 0..calls {
                assert_eq!(with_us(&ours, &url).await, length);
            }
            let between = cpu_ns();
            for _ in 0..calls {
                assert_eq!(with_reqwest(&plain, &url).await, length);
            }
            let after = cpu_ns();
            through_us = through_us.min((between - before) as f64 / 1e3 / f64::from(calls));
            through_reqwest = through_reqwest.min((after - between) as f64 / 1e3 / f64::from(calls));
        }
        let share = through_us / through_reqwest;
        println!("{what}: {through_us:.1} µs, reqwest {through_reqwest:.1} µs: {share:.2} of it");
    }
}

async fn with_us(transport: &Transport, url: &str) -> usize {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer sk-0123456789"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let mut exchange = transport.send(Call {
        method: Method::POST,
        url: url.to_owned(),
        headers,
        body: Bytes::from_static(BODY.as_bytes()),
    });
    assert_eq!(exchange.head().await.unwrap().status, 200);
    let mut length = 0;
    while let Some(chunk) = exchange.chunk().await.unwrap() {
        length += chunk.len();
    }
    length
}

async fn with_reqwest(client: &reqwest::Client, url: &str) -> usize {
    let request = client
        .post(url)
        .header("authorization", "Bearer sk-0123456789")
        .header("content-type", "application/json")
        .body(BODY);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        length += chunk.len();
    }
    length
}

/// Nanoseconds that this thread has run; the runtime has no other.
fn cpu_ns() -> u64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    times.split(' ').next().unwrap().parse().unwrap()
}

/// Canned answers, one thread for each connection.
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    for socket in listener.incoming() {
        let socket = socket.unwrap();
        std::thread::spawn(move || answer(socket));
    }
}

fn answer(mut socket: TcpStream) {
    socket.set_nodelay(true).unwrap();
    let head = "HTTP/1.1 200 OK\r\ndate: Fri, 27 Nov 2026 00:00:00 GMT\r\nx-request-id: r\r\n";
    let whole = format!("{head}content-length: 600\r\n\r\n{}", "x".repeat(600));
    let event = format!("{EVENT:x}\r\n{}\r\n", "y".repeat(EVENT));
    let stream = format!(
        "{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        event.repeat(EVENTS)
    );
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = socket.read(&mut piece) {
        seen.extend_from_slice(&piece[..read]);
        if !seen.ends_with(BODY.as_bytes()) {
            continue;
        }
        let answer = if seen.starts_with(b"POST /whole") {
            &whole
        } else {
            &stream
        };
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
        seen.clear();
    }
}
