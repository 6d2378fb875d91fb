//! Which connections calls use: as few as there can be, and none that is dead.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod support;

use omni_core::Code;
use omni_transport::Transport;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{ENDLESS, OK, Sent, Server, answer, closed, get, listen, post, read_request, text};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Barrier;

const BURST: usize = 50;

/// Counts connections, and answers only once a whole burst has arrived.
async fn burst_server(listener: TcpListener, connections: Arc<AtomicUsize>) {
    let all = Arc::new(Barrier::new(BURST));
    loop {
        let mut socket = listener.accept().await.unwrap().0;
        connections.fetch_add(1, Ordering::SeqCst);
        let all = Arc::clone(&all);
        tokio::spawn(async move {
            while read_request(&mut socket).await.is_some() {
                all.wait().await;
                socket.write_all(OK).await.unwrap();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_50_ten_times_uses_50_connections_in_all() {
    let (listener, url) = listen().await;
    let connections = Arc::new(AtomicUsize::new(0));
    tokio::spawn(burst_server(listener, Arc::clone(&connections)));
    let transport = Transport::new();
    for _ in 0..10 {
        let calls = (0..BURST).map(|_| {
            let (transport, url) = (transport.clone(), url.clone());
            tokio::spawn(async move { text(&transport, post(url)).await.unwrap() })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), "hello");
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), BURST);
}

#[tokio::test]
async fn a_burst_over_http2_uses_one_connection() {
    let server = Server::start("h2", |_| async { http::Response::new(Sent::whole("hello")) }).await;
    let transport = server.client();
    let calls: Vec<_> = (0..BURST)
        .map(|_| {
            let (transport, url) = (transport.clone(), server.url.clone());
            tokio::spawn(async move { text(&transport, post(url)).await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "hello");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn more_streams_than_one_connection_takes_get_another_one() {
    let server = Server::start("h2", |_| async {
        let (sender, body) = Sent::channel();
        tokio::spawn(async move { sender.closed().await });
        http::Response::new(body)
    })
    .await;
    let transport = server.client();
    let mut open = Vec::new();
    for _ in 0..101 {
        let mut exchange = transport.send(post(server.url.clone()));
        exchange.head().await.unwrap();
        open.push(exchange);
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn the_end_of_an_answer_that_came_with_its_data_gives_the_connection_back_unread() {
    let (listener, url) = listen().await;
    let transport = Transport::new();
    let server = tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap().0;
        answer(&mut socket, OK).await;
        answer(&mut socket, OK).await;
    });
    let mut exchange = transport.send(post(url.clone()));
    exchange.head().await.unwrap();
    // A reader who knows that it has all need not ask for the end.
    assert_eq!(exchange.chunk().await.unwrap().unwrap(), "hello");
    drop(exchange);
    assert_eq!(text(&transport, post(url)).await.unwrap(), "hello");
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_does_not_fail_the_next_call() {
    let (listener, url) = listen().await;
    let transport = Transport::new();
    for _ in 0..2 {
        let server = async {
            let mut socket = listener.accept().await.unwrap().0;
            answer(&mut socket, OK).await;
        };
        // The server has closed its end when this is over.
        let (got, ()) = tokio::join!(text(&transport, post(url.clone())), server);
        assert_eq!(got.unwrap(), "hello");
    }
}

#[tokio::test]
async fn an_idle_connection_on_which_the_server_speaks_is_not_used() {
    let (listener, url) = listen().await;
    let transport = Transport::new();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let server = async {
            let mut socket = listener.accept().await.unwrap().0;
            answer(&mut socket, OK).await;
            socket
        };
        let (got, mut socket) = tokio::join!(text(&transport, post(url.clone())), server);
        assert_eq!(got.unwrap(), "hello");
        socket.write_all(b"HTTP/1.1 408 Idle\r\n\r\n").await.unwrap();
        kept.push(socket);
    }
}

#[tokio::test]
async fn only_a_call_that_changes_nothing_is_sent_again_when_its_connection_breaks() {
    let (listener, url) = listen().await;
    let transport = Transport::new();
    for call in [get(url.clone()), post(url.clone())] {
        let again = call.method == omni_transport::Method::GET;
        let calls = async {
            text(&transport, get(url.clone())).await.unwrap();
            text(&transport, call).await
        };
        let server = async {
            let mut socket = listener.accept().await.unwrap().0;
            answer(&mut socket, OK).await;
            // The second request has been read: nobody knows whether it was acted on.
            read_request(&mut socket).await.unwrap();
            drop(socket);
            if again {
                let mut socket = listener.accept().await.unwrap().0;
                answer(&mut socket, OK).await;
                socket.shutdown().await.unwrap();
            }
        };
        let (got, ()) = tokio::join!(calls, server);
        match got {
            Ok(text) => assert!(again && text == "hello"),
            Err(error) => assert!(
                !again && error.code == Code::Connection && error.retryable,
                "{error}"
            ),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_in_time_although_nobody_calls() {
    let (listener, url) = listen().await;
    let transport = Transport::builder().idle(Duration::from_secs(60)).build();
    let server = async {
        let mut socket = listener.accept().await.unwrap().0;
        answer(&mut socket, OK).await;
        socket
    };
    let (got, mut socket) = tokio::join!(text(&transport, get(url)), server);
    got.unwrap();
    closed(&mut socket).await;
    drop(transport);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_is_a_timeout_that_says_connecting() {
    // The queue of this listener is full, so that the kernel drops whoever else wants to connect.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> = (0..8)
        .map(|_| tokio::spawn(async move { TcpSocket::new_v4().unwrap().connect(address).await }))
        .collect();
    support::settled().await;
    let call = post(format!("http://{address}/?key=hunter2"));
    let mut exchange = Transport::new().send_within(call, Duration::from_secs(7));
    let error = exchange.head().await.unwrap_err();
    assert_eq!(error.code, Code::Timeout);
    assert!(
        error.message.contains("connecting") && error.message.contains("7s"),
        "{error}"
    );
    assert!(!error.message.contains("hunter2"), "{error}");
    for call in waiting {
        call.abort();
    }
}

#[tokio::test]
async fn a_large_request_whose_answer_comes_early_hands_out_the_answer() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap().0;
        // Nothing of the request is read.
        socket
            .write_all(b"HTTP/1.1 413 Large\r\ncontent-length: 4\r\n\r\nlong")
            .await
            .unwrap();
        socket.shutdown().await.unwrap();
        closed(&mut socket).await;
    });
    let mut call = post(url);
    call.body = vec![b'x'; 64 * 1024 * 1024].into();
    let mut exchange = Transport::new().send(call);
    assert_eq!(exchange.head().await.unwrap().status, 413);
    assert_eq!(exchange.whole(100).await.unwrap(), b"long");
    server.await.unwrap();
}

#[test]
fn a_connection_is_not_used_on_another_runtime() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (servers, transport) = (
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap(),
        Transport::new(),
    );
    let (listener, url) = servers.block_on(listen());
    servers.spawn(async move {
        loop {
            let mut socket = listener.accept().await.unwrap().0;
            tokio::spawn(async move {
                while read_request(&mut socket).await.is_some() {
                    socket.write_all(OK).await.unwrap();
                }
            });
        }
    });
    // The first runtime stays but is not driven: its connection would never wake anybody.
    let (first, second) = (runtime(), runtime());
    for runtime in [&first, &second, &first] {
        let got = runtime.block_on(text(&transport, post(url.clone())));
        assert_eq!(got.unwrap(), "hello");
    }
}

#[tokio::test]
async fn an_answer_that_is_dropped_in_the_middle_takes_its_connection_along() {
    let (listener, url) = listen().await;
    let transport = Transport::new();
    let mut exchange = transport.send(post(url.clone()));
    let server = async {
        let mut socket = listener.accept().await.unwrap().0;
        answer(&mut socket, ENDLESS).await;
        socket
    };
    let (head, mut socket) = tokio::join!(exchange.head(), server);
    head.unwrap();
    drop(exchange);
    closed(&mut socket).await;
    let server = async {
        let mut socket = listener.accept().await.unwrap().0;
        answer(&mut socket, OK).await;
    };
    let (got, ()) = tokio::join!(text(&transport, post(url)), server);
    assert_eq!(got.unwrap(), "hello");
}
