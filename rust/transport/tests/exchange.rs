//! The pooled client against a server that writes its bytes by hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use omni_core::Code;
use omni_transport::{Bytes, Call, HeaderMap, Method, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn get(url: String) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", "secret".parse().unwrap());
    Call {
        method: Method::GET,
        url,
        headers,
        body: Bytes::new(),
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Reads one request's head.
async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Ready once the peer has closed the connection.
async fn closed(socket: &mut TcpStream) {
    let mut rest = [0; 16];
    while !matches!(socket.read(&mut rest).await, Ok(0) | Err(_)) {}
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            read_head(&mut socket).await;
            socket.write_all(OK).await.unwrap();
        }
    });
    let transport = Transport::new();
    for _ in 0..3 {
        let mut exchange = transport.send(get(url.clone()));
        assert_eq!(exchange.head().await.unwrap().status, 200);
        assert_eq!(exchange.whole(5).await.unwrap(), b"hello");
    }
    server.await.unwrap();
}

#[tokio::test]
async fn a_body_longer_than_its_limit_is_not_read() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_head(&mut socket).await;
        socket.write_all(ENDLESS).await.unwrap();
        closed(&mut socket).await;
    });
    let mut exchange = Transport::new().send(get(url));
    exchange.head().await.unwrap();
    assert_eq!(exchange.whole(4).await.unwrap_err().code, Code::Protocol);
    server.await.unwrap();
}

#[tokio::test]
async fn dropping_an_exchange_closes_its_socket() {
    let (listener, url) = listen().await;
    let mut exchange = Transport::new().send(get(url));
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_head(&mut socket).await;
        socket.write_all(ENDLESS).await.unwrap();
        socket
    };
    let (head, mut socket) = tokio::join!(exchange.head(), server);
    head.unwrap();
    assert_eq!(
        exchange.chunk().await.unwrap().as_deref(),
        Some(b"hello".as_slice())
    );
    drop(exchange);
    closed(&mut socket).await;
}

#[tokio::test]
async fn cancelling_closes_the_socket_while_nobody_reads() {
    let (listener, url) = listen().await;
    // Before the head …
    let mut exchange = Transport::new().send(get(url.clone()));
    let canceller = exchange.canceller();
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_head(&mut socket).await;
        canceller.cancel();
        closed(&mut socket).await;
    };
    let (head, ()) = tokio::join!(exchange.head(), server);
    assert_eq!(head.unwrap_err().code, Code::Cancelled);
    // … and in the body, from another thread, without a poll after it.
    let mut exchange = Transport::new().send(get(url));
    let canceller = exchange.canceller();
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_head(&mut socket).await;
        socket.write_all(ENDLESS).await.unwrap();
        socket
    };
    let (head, mut socket) = tokio::join!(exchange.head(), server);
    head.unwrap();
    std::thread::spawn(move || canceller.cancel()).join().unwrap();
    closed(&mut socket).await;
    assert_eq!(exchange.chunk().await.unwrap_err().code, Code::Cancelled);
}

#[tokio::test]
async fn a_redirect_stays_within_its_origin() {
    let (foreign, foreign_url) = listen().await;
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(read_head(&mut socket).await.starts_with("GET /a "));
        socket
            .write_all(b"HTTP/1.1 307 x\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        assert!(read_head(&mut socket).await.starts_with("GET /b "));
        let there = format!("HTTP/1.1 307 x\r\nlocation: {foreign_url}/c\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(there.as_bytes()).await.unwrap();
    });
    let mut exchange = Transport::new().send(get(format!("{url}/a")));
    let head = exchange.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("location").unwrap().ends_with("/c")),
        (307, true)
    );
    server.await.unwrap();
    // Nobody has connected there: the next connection is our own.
    let (ours, accepted) = tokio::join!(
        TcpStream::connect(foreign.local_addr().unwrap()),
        foreign.accept()
    );
    assert_eq!(accepted.unwrap().1, ours.unwrap().local_addr().unwrap());
}

#[tokio::test]
async fn failures_say_what_happened_and_show_no_key() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_head(&mut socket).await;
        socket.write_all(ENDLESS).await.unwrap();
        drop(socket);
    });
    let mut exchange = Transport::new().send(get(format!("{url}/?key=hunter2")));
    exchange.head().await.unwrap();
    let error = exchange.whole(1000).await.unwrap_err();
    assert_eq!(error.code, Code::Protocol);
    assert!(
        error.message.starts_with("the answer was cut off: ") && !error.message.contains("hunter2"),
        "{error}"
    );
    server.await.unwrap();
    // The listener is gone: nobody answers there now.
    let error = Transport::new()
        .send(get(format!("{url}/?key=hunter2")))
        .head()
        .await
        .unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Connection, true));
    assert!(
        error.message.starts_with("no connection to 127.0.0.1:") && !error.message.contains("hunter2"),
        "{error}"
    );
}
