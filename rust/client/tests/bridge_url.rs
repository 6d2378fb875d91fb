//! A client whose bridge is a service: the same calls, against a server that writes its answers by hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use omni_bridge::{Bridge, Client, Code, Error, Event, Message, Request};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What the service was asked: the request line, the head in lower case, the body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

struct Service {
    url: String,
    asked: Asked,
    /// One message for each connection that the client closed.
    closed: mpsc::UnboundedReceiver<()>,
}

/// Serves `answer(path)` as whole HTTP answers; one that ends in "…" is left open until the client leaves.
async fn serve(answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let (tell, closed) = mpsc::unbounded_channel();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(socket, answer.clone(), Arc::clone(&log), tell.clone()));
        }
    });
    Service { url, asked, closed }
}

async fn connection(
    mut socket: TcpStream,
    answer: impl Fn(&str) -> String,
    log: Asked,
    closed: mpsc::UnboundedSender<()>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = socket.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        let line = head.lines().next().unwrap().to_owned();
        let path = line.split(' ').nth(1).unwrap().to_owned();
        log.lock()
            .unwrap()
            .push((line, head, serde_json::from_slice(&body).unwrap_or_default()));
        let answer = answer(&path);
        socket
            .write_all(answer.trim_end_matches('…').as_bytes())
            .await
            .unwrap();
        if answer.ends_with('…') {
            let mut rest = [0; 1];
            while !matches!(socket.read(&mut rest).await, Ok(0) | Err(_)) {}
            let _ = closed.send(());
            return;
        }
    }
}

fn json_answer(status: u16, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn health() -> String {
    json_answer(
        200,
        &json!({"status": "ok", "contract": omni_bridge::CONTRACT, "version": "9.9.9"}),
    )
}

fn sse(events: &[Value]) -> String {
    let frame = |event: &Value| {
        format!(
            ": keep-alive\n\nevent: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    };
    let frames = events.iter().map(frame).collect::<Vec<_>>().concat();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{frames}")
}

fn reply() -> Value {
    json!({"content": "Hello", "model": "m", "provider": "p", "engine": "litellm", "finish_reason": "stop",
           "attempts": [{"model": "x", "engine": "litellm"}], "message": {"role": "assistant", "content": "Hello"}})
}

fn start() -> Value {
    json!({"type": "start", "model": "m", "provider": "p", "engine": "litellm"})
}

fn client(service: &Service) -> Client {
    let bridge = Bridge::Url {
        url: service.url.clone(),
        token: Some("sesame".into()),
    };
    Client::builder().bridge(bridge).build().unwrap()
}

fn request() -> Request {
    Request::new("demo/one", vec![Message::user("Hello")])
}

async fn all(client: &Client) -> Vec<Event> {
    let mut stream = client.stream(request());
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    events
}

#[tokio::test]
async fn chat_asks_for_the_contract_once_and_gives_the_services_reply() {
    let service = serve(|path| {
        if path == "/health" {
            health()
        } else {
            json_answer(200, &reply())
        }
    })
    .await;
    let client = client(&service);
    for _ in 0..2 {
        let reply = client.chat(request()).await.unwrap();
        assert_eq!((reply.content.as_str(), reply.attempts.len()), ("Hello", 1));
        assert_eq!(reply.attempts[0].model, "demo/one");
    }
    let asked = service.asked.lock().unwrap().clone();
    let lines: Vec<&str> = asked.iter().map(|(line, ..)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "get /health http/1.1",
            "post /chat http/1.1",
            "post /chat http/1.1"
        ]
    );
    assert!(
        asked
            .iter()
            .all(|(_, head, _)| head.contains("authorization: bearer sesame"))
    );
    // Retries stay on this side.
    assert_eq!(
        (&asked[1].2["retry"], &asked[1].2["model"]),
        (&json!(0), &json!("demo/one"))
    );
}

#[tokio::test]
async fn an_unstreamed_call_has_the_events_of_a_streamed_one() {
    let service = serve(|path| {
        if path == "/health" {
            health()
        } else {
            json_answer(200, &reply())
        }
    })
    .await;
    let mut stream = client(&service).chat_events(request());
    let mut kinds = Vec::new();
    while let Some(event) = stream.next().await {
        kinds.push(event.kind());
    }
    assert_eq!(
        kinds,
        ["start", "text_start", "text_delta", "text_end", "usage", "done"]
    );
}

#[tokio::test]
async fn stream_hands_out_the_services_events() {
    let events = [
        start(),
        json!({"type": "text_start", "index": 0}),
        json!({"type": "text_delta", "index": 0, "text": "Hel"}),
        json!({"type": "text_delta", "index": 0, "text": "lo"}),
        json!({"type": "done", "reply": reply()}),
    ];
    let service = serve(move |path| if path == "/health" { health() } else { sse(&events) }).await;
    let events = all(&client(&service)).await;
    let kinds: Vec<&str> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds, ["start", "text_start", "text_delta", "text_delta", "done"]);
    let Some(Event::Done { reply }) = events.last() else {
        panic!()
    };
    assert_eq!(
        (reply.content.as_str(), reply.attempts[0].model.as_str()),
        ("Hello", "demo/one")
    );
}

#[tokio::test]
async fn the_services_error_is_the_clients_error_streamed_or_not() {
    let error = json!({"code": "authentication", "message": "no key", "provider": "demo", "model": "demo/one", "status": 401,
                       "retryable": false, "retry_after": null, "request_id": "r1"});
    let service = serve(move |path| match path {
        "/health" => health(),
        "/chat" => json_answer(401, &json!({"error": error})),
        _ => sse(&[
            start(),
            json!({"type": "error", "error": error, "reply": reply()}),
        ]),
    })
    .await;
    let client = client(&service);
    let error = client.chat(request()).await.unwrap_err();
    assert_eq!(
        (error.code, error.status, error.request_id.as_deref()),
        (Code::Authentication, Some(401), Some("r1"))
    );
    let Some(Event::Error { error: streamed, .. }) = all(&client).await.pop() else {
        panic!()
    };
    assert_eq!(streamed, error);
}

#[tokio::test]
async fn another_contract_is_refused_naming_both() {
    let service = serve(|_| json_answer(200, &json!({"contract": 7, "version": "0.7.0"}))).await;
    let error = client(&service).chat(request()).await.unwrap_err();
    assert_eq!(error.code, Code::EngineUnavailable);
    assert!(
        error.message.contains("contract 7") && error.message.contains("contract 1"),
        "{error}"
    );
    assert_eq!(service.asked.lock().unwrap().len(), 1, "the call was not sent");
    assert_eq!(
        client(&service).connect().await.unwrap_err(),
        Error { model: None, ..error }
    );
}

#[tokio::test]
async fn a_service_that_comes_back_with_another_contract_is_noticed() {
    let restarted = Arc::new(AtomicBool::new(false));
    let service = {
        let restarted = Arc::clone(&restarted);
        serve(move |path| match path {
            "/health" if restarted.load(Ordering::SeqCst) => {
                json_answer(200, &json!({"contract": 7, "version": "0.7.0"}))
            }
            "/health" => health(),
            // It is stopped in the middle of the answer.
            "/chat/stream" => {
                restarted.store(true, Ordering::SeqCst);
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into()
            }
            _ => json_answer(200, &reply()),
        })
        .await
    };
    let client = client(&service);
    client.chat(request()).await.unwrap();
    let Some(Event::Error { error, .. }) = all(&client).await.pop() else {
        panic!()
    };
    // Already the next try asks again.
    assert_eq!(error.code, Code::EngineUnavailable);
    assert!(error.message.contains("contract 7"), "{error}");
}

#[tokio::test]
async fn what_is_no_service_is_told_with_its_address() {
    let service = serve(|_| "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".into()).await;
    let error = client(&service).chat(request()).await.unwrap_err();
    assert_eq!(error.code, Code::EngineUnavailable);
    assert!(
        error.message.contains(&service.url) && error.message.contains("omni serve"),
        "{error}"
    );

    let service = serve(|_| "HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n".into()).await;
    assert_eq!(
        client(&service).models().await.unwrap_err().code,
        Code::EngineUnavailable
    );

    let gone = {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let bridge = Bridge::Url {
        url: format!("http://{gone}/"),
        token: None,
    };
    let error = Client::builder()
        .bridge(bridge)
        .build()
        .unwrap()
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::Connection);
    assert!(
        error.message.contains(&gone.to_string()) && error.message.contains("omni serve"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_that_ends_without_its_last_event_is_a_protocol_error() {
    let cut = format!("{}…", sse(&[start()])).replace('…', "");
    let cut = cut.replace(
        "\r\n\r\n",
        &format!(
            "\r\ncontent-length: {}\r\n\r\n",
            cut.split("\r\n\r\n").nth(1).unwrap().len()
        ),
    );
    let service = serve(move |path| if path == "/health" { health() } else { cut.clone() }).await;
    let Some(Event::Error { error, .. }) = all(&client(&service)).await.pop() else {
        panic!()
    };
    assert_eq!(error.code, Code::Protocol);
}

#[tokio::test]
async fn dropping_and_cancelling_close_the_services_socket() {
    let open = format!("{}…", sse(&[start()]));
    let mut service = serve(move |path| if path == "/health" { health() } else { open.clone() }).await;
    let client = client(&service);
    let mut stream = client.stream(request());
    assert_eq!(stream.next().await.unwrap().kind(), "start");
    drop(stream);
    service.closed.recv().await.unwrap();

    let mut stream = client.stream(request());
    assert_eq!(stream.next().await.unwrap().kind(), "start");
    // Nobody reads the stream when the socket closes.
    stream.cancel();
    service.closed.recv().await.unwrap();
    assert_eq!(stream.next().await.unwrap().kind(), "cancelled");
}

#[tokio::test]
async fn models_are_a_list_and_model_info_is_found_in_it() {
    let service = serve(|path| match path {
        "/health" => health(),
        _ => json_answer(200, &json!({"models": [{"id": "a/b", "max_input_tokens": 7}]})),
    })
    .await;
    let client = client(&service);
    assert_eq!(
        client.models().await.unwrap(),
        json!([{"id": "a/b", "max_input_tokens": 7}])
    );
    assert_eq!(client.model_info("a/b").await.unwrap().max_input_tokens, Some(7));
    assert_eq!(client.model_info("a/c").await.unwrap_err().code, Code::NotFound);
    assert_eq!(
        client.count_tokens(request()).await.unwrap_err().code,
        Code::Unsupported
    );
}
