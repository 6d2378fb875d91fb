//! The pooled client against a server that writes its bytes by hand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod support;

use omni_core::Code;
use omni_transport::Transport;
use std::time::Duration;
use support::{ENDLESS, OK, closed, get, listen, post, read_request as read_head, text};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            read_head(&mut socket).await.unwrap();
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
        read_head(&mut socket).await.unwrap();
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
        read_head(&mut socket).await.unwrap();
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
        read_head(&mut socket).await.unwrap();
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
        read_head(&mut socket).await.unwrap();
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
        assert!(read_head(&mut socket).await.unwrap().starts_with("GET /a "));
        socket
            .write_all(b"HTTP/1.1 307 x\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        assert!(read_head(&mut socket).await.unwrap().starts_with("GET /b "));
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
        read_head(&mut socket).await.unwrap();
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

#[tokio::test]
async fn a_redirect_is_followed_as_the_same_call_and_not_for_ever() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap().0;
        for n in 0..4 {
            let request = read_head(&mut socket).await.unwrap();
            assert!(
                request.starts_with("POST ") && request.ends_with("\r\n\r\na prompt"),
                "{request}"
            );
            assert!(request.contains("\r\nx-api-key: hunter2\r\n"), "{request}");
            let there = format!("HTTP/1.1 308 x\r\nlocation: {n}\r\ncontent-length: 5\r\n\r\nmoved");
            socket.write_all(there.as_bytes()).await.unwrap();
        }
    });
    let mut exchange = Transport::new().send(post(url));
    assert_eq!(exchange.head().await.unwrap().status, 308);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_the_sender() {
    const PIECE: usize = 64 * 1024;
    let (listener, url) = listen().await;
    let mut exchange = Transport::new().send(get(url));
    let server = async {
        let mut socket = listener.accept().await.unwrap().0;
        read_head(&mut socket).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        socket
    };
    let (head, mut socket) = tokio::join!(exchange.head(), server);
    head.unwrap();
    // The clock is paused: the second is over once nobody on this runtime can do anything.
    let (piece, mut written) = (vec![b'x'; PIECE], 0);
    while let Ok(taken) = tokio::time::timeout(Duration::from_secs(1), socket.write(&piece)).await {
        written += taken.unwrap();
        assert!(written < 64 * 1024 * 1024, "all that the sender has");
    }
    // It goes on when the reader does.
    let more = tokio::spawn(async move { socket.write_all(&vec![b'y'; PIECE]).await });
    let mut read = 0;
    while read < written + PIECE {
        read += exchange.chunk().await.unwrap().unwrap().len();
    }
    more.await.unwrap().unwrap();
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder};
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut gzip, text).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_answer_is_asked_for_and_inflated() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap().0;
        let request = read_head(&mut socket).await.unwrap();
        assert!(
            request.contains("\r\naccept-encoding: gzip, deflate\r\n"),
            "{request}"
        );
        let body = gzip(b"hello");
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&body).await.unwrap();
    });
    let mut exchange = Transport::new().send(post(url));
    assert_eq!(exchange.head().await.unwrap().header("content-encoding"), None);
    assert_eq!(exchange.whole(5).await.unwrap(), b"hello");
    server.await.unwrap();
}

#[tokio::test]
async fn what_a_small_body_inflates_to_is_bounded_too() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap().0;
        read_head(&mut socket).await.unwrap();
        let body = gzip(&vec![0; 8 * 1024 * 1024]);
        socket
            .write_all(b"HTTP/1.1 500 x\r\ncontent-encoding: gzip\r\n\r\n")
            .await
            .unwrap();
        socket.write_all(&body).await.unwrap();
    });
    let error = text(&Transport::new(), get(url)).await.unwrap_err();
    assert_eq!(error.code, Code::Protocol);
    assert!(error.message.contains("longer than 1048576 bytes"), "{error}");
    server.await.unwrap();
}

#[test]
fn outside_a_runtime_a_call_fails_and_does_not_panic() {
    let mut exchange = Transport::new().send(get("http://127.0.0.1:1"));
    let head = exchange.poll_head(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    let std::task::Poll::Ready(Err(error)) = head else {
        panic!("{head:?}")
    };
    assert_eq!(error.code, Code::Internal);
}
