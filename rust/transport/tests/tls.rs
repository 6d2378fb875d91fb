//! TLS and HTTP/2: whom we trust, what a cancelled call leaves behind, and who holds back whom.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod support;

use omni_core::Code;
use omni_transport::{Bytes, Transport};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Certificates, Sent, Server, listen, post, settled, text};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::mpsc;

async fn hello(protocol: &'static str) -> Server {
    Server::start(protocol, |_| async { http::Response::new(Sent::whole("hello")) }).await
}

#[tokio::test]
async fn an_authority_that_was_given_is_trusted_over_both_versions() {
    for protocol in ["h2", "http/1.1"] {
        let server = hello(protocol).await;
        let transport = server.client();
        for _ in 0..3 {
            let got = text(&transport, post(server.url.clone())).await;
            assert_eq!(got.unwrap(), "hello", "{protocol}");
        }
        assert_eq!(server.connections(), 1, "{protocol}");
    }
}

#[tokio::test]
async fn without_http2_a_server_that_knows_nothing_else_is_not_spoken_to() {
    let server = hello("h2").await;
    let builder = Transport::builder().root_certificates(server.ca.as_bytes());
    let transport = builder.unwrap().without_http2().build();
    let error = text(&transport, post(server.url.clone())).await.unwrap_err();
    assert_eq!(error.code, Code::Connection);
}

#[tokio::test]
async fn an_authority_that_nobody_knows_is_refused_with_what_to_do() {
    let server = hello("h2").await;
    let other = hello("h2").await;
    let error = text(&other.client(), post(server.url.clone() + "/?key=hunter2"))
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::Connection);
    assert!(
        error.message.contains("certificate") && error.message.contains("SSL_CERT_FILE"),
        "{error}"
    );
    assert!(!error.message.contains("hunter2"), "{error}");
}

/// Run by the next test in a process of its own: the variable is read there.
#[tokio::test]
#[ignore = "a part of the test below"]
async fn child_trusts_the_file_in_its_environment() {
    let url = std::env::var("OMNI_TEST_URL").unwrap();
    assert_eq!(text(&Transport::new(), post(url)).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_file_in_ssl_cert_file_is_trusted() {
    let server = hello("http/1.1").await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("transport-ca.pem");
    std::fs::write(&file, &server.ca).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_trusts_the_file_in_its_environment", "--ignored"])
        .env("OMNI_TEST_URL", &server.url)
        .env("SSL_CERT_FILE", &file)
        .stdout(Stdio::piped())
        .output()
        .await
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    assert_eq!(server.connections(), 1);
}

/// Says on its channel when it is dropped.
struct Gone(mpsc::UnboundedSender<&'static str>, &'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

/// A server that never ends: `/silent` without a head, all else without an end of the body.
async fn endless(protocol: &'static str) -> (Server, mpsc::UnboundedReceiver<&'static str>) {
    let (told, gone) = mpsc::unbounded_channel();
    let server = Server::start(protocol, move |request: http::Request<hyper::body::Incoming>| {
        let told = told.clone();
        async move {
            if request.uri().path() == "/silent" {
                let _gone = Gone(told.clone(), "head");
                told.send("asked").unwrap();
                std::future::pending::<()>().await;
            }
            if request.uri().path() == "/hello" {
                return http::Response::new(Sent::whole("hello"));
            }
            let (sender, body) = Sent::channel();
            tokio::spawn(async move {
                let _gone = Gone(told, "body");
                sender.send(Bytes::from_static(b"hello")).await.unwrap();
                sender.closed().await;
            });
            http::Response::new(body)
        }
    })
    .await;
    (server, gone)
}

#[tokio::test]
async fn a_cancelled_or_dropped_stream_is_reset_and_its_connection_lives_on() {
    let (server, mut gone) = endless("h2").await;
    let transport = server.client();
    for cancel in [true, false] {
        // In the body …
        let mut exchange = transport.send(post(server.url.clone()));
        exchange.head().await.unwrap();
        assert_eq!(exchange.chunk().await.unwrap().unwrap(), "hello");
        if cancel {
            exchange.canceller().cancel();
            assert_eq!(exchange.chunk().await.unwrap_err().code, Code::Cancelled);
        } else {
            drop(exchange);
        }
        assert_eq!(gone.recv().await, Some("body"));
        // … and before the head.
        let mut exchange = transport.send(post(server.url.clone() + "/silent"));
        let canceller = exchange.canceller();
        tokio::select! {
            head = exchange.head() => panic!("{head:?}"),
            asked = gone.recv() => assert_eq!(asked, Some("asked")),
        }
        if cancel {
            canceller.cancel();
        } else {
            drop(exchange);
        }
        assert_eq!(gone.recv().await, Some("head"));
        let got = text(&transport, post(server.url.clone() + "/hello")).await;
        assert_eq!(got.unwrap(), "hello");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_cancelled_call_over_tls_closes_its_socket() {
    let (server, mut gone) = endless("http/1.1").await;
    let mut exchange = server.client().send(post(server.url.clone()));
    exchange.head().await.unwrap();
    exchange.canceller().cancel();
    assert_eq!(gone.recv().await, Some("body"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_has_stopped_holds_back_its_stream_and_no_other() {
    const PIECE: usize = 16 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let server = Server::start("h2", move |request: http::Request<hyper::body::Incoming>| {
        let count = Arc::clone(&count);
        async move {
            if request.uri().path() == "/hello" {
                return http::Response::new(Sent::whole("hello"));
            }
            let (sender, body) = Sent::channel();
            tokio::spawn(async move {
                while sender.send(Bytes::from_static(&[b'x'; PIECE])).await.is_ok() {
                    count.fetch_add(PIECE, Ordering::SeqCst);
                }
            });
            http::Response::new(body)
        }
    })
    .await;
    let transport = server.client();
    let mut exchange = transport.send(post(server.url.clone()));
    exchange.head().await.unwrap();
    settled().await;
    let held = written.load(Ordering::SeqCst);
    // The stream's window, and what the server's own library buffers.
    assert!((256 * 1024..1024 * 1024).contains(&held), "{held}");
    settled().await;
    assert_eq!(written.load(Ordering::SeqCst), held);
    let got = text(&transport, post(server.url.clone() + "/hello")).await;
    assert_eq!((got.unwrap().as_str(), server.connections()), ("hello", 1));
    // It goes on when the reader does.
    let mut read = 0;
    while read < 2 * held {
        read += exchange.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_stream_that_the_server_refused_to_take_up_is_sent_again() {
    let certificates = Certificates::new();
    let acceptor = certificates.acceptor("h2");
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let socket = listener.accept().await.unwrap().0;
        let socket = acceptor.accept(socket).await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let mut streams = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            streams += 1;
            if streams == 1 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"hello"), true).unwrap();
            }
        }
        streams
    });
    let builder = Transport::builder().root_certificates(certificates.ca.as_bytes());
    let transport = builder.unwrap().build();
    let got = text(&transport, post(url.replace("http:", "https:"))).await;
    assert_eq!(got.unwrap(), "hello");
    drop(transport);
    assert_eq!(server.await.unwrap(), 2);
}

#[tokio::test]
async fn a_stream_that_broke_while_the_server_worked_is_not_sent_again() {
    let certificates = Certificates::new();
    let acceptor = certificates.acceptor("h2");
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let socket = listener.accept().await.unwrap().0;
        let socket = acceptor.accept(socket).await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let mut streams = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            streams += 1;
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        streams
    });
    let builder = Transport::builder().root_certificates(certificates.ca.as_bytes());
    let transport = builder.unwrap().build();
    let error = text(&transport, post(url.replace("http:", "https:")))
        .await
        .unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Connection, true));
    drop(transport);
    assert_eq!(server.await.unwrap(), 1);
}

/// The answer fills what is read at a time to its last byte, so that what follows waits inside TLS, where the kernel
/// knows nothing of it.
#[tokio::test]
async fn what_follows_an_answer_inside_tls_never_answers_the_next_call() {
    let certificates = Certificates::new();
    let acceptor = certificates.acceptor("http/1.1");
    let (listener, url) = listen().await;
    tokio::spawn(async move {
        loop {
            let Ok(mut socket) = acceptor.accept(listener.accept().await.unwrap().0).await else {
                continue;
            };
            tokio::spawn(async move {
                while let Some(request) = support::read_request(&mut socket).await {
                    if !request.starts_with("POST /long") {
                        socket.write_all(support::OK).await.unwrap();
                        socket.flush().await.unwrap();
                        continue;
                    }
                    let head = "HTTP/1.1 200 OK\r\ncontent-length: 16300\r\nx-fill: ";
                    let fill = "x".repeat(16 * 1024 - 16300 - head.len() - 4);
                    let mut answer = format!("{head}{fill}\r\n\r\n{}", "y".repeat(16300)).into_bytes();
                    answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged");
                    socket.write_all(&answer).await.unwrap();
                    socket.flush().await.unwrap();
                }
            });
        }
    });
    let url = url.replace("http:", "https:");
    let builder = Transport::builder().root_certificates(certificates.ca.as_bytes());
    let transport = builder.unwrap().build();
    for _ in 0..3 {
        let long = text(&transport, post(format!("{url}/long"))).await.unwrap();
        assert_eq!(long.len(), 16300);
        assert_eq!(text(&transport, post(url.clone())).await.unwrap(), "hello");
    }
}
