//! One exchange against bytes by hand, cut anywhere.

use super::*;
use omni_core::Code;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// What an exchange made of `wire`: its status, its body, and whether the connection can be used again.
async fn exchange(method: Method, wire: &[u8], size: usize) -> Result<(u16, Vec<u8>, bool), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let mut theirs = theirs.unwrap().0;
    theirs.set_nodelay(true).unwrap();
    let mut talk = Talk::new(
        Line::new(Socket::Tcp(ours.unwrap())),
        Request {
            method: &method,
            target: "/",
            host: "host",
            headers: &HeaderMap::new(),
            extra: &[],
            body: Bytes::new(),
        },
    );
    let reader = async {
        let head = std::future::poll_fn(|context| talk.poll_head(context)).await;
        let (status, _) = head.map_err(|broken| broken.error)?;
        let mut body = Vec::new();
        while let Some(data) = std::future::poll_fn(|context| talk.poll_data(context)).await? {
            body.extend_from_slice(&data);
        }
        Ok((status, body, talk.into_line().is_some()))
    };
    let writer = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(theirs.read_u8().await.unwrap());
        }
        for piece in wire.chunks(size) {
            // Each piece is read before the next is sent, unless the reader has gone.
            if theirs.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(theirs);
    };
    tokio::join!(reader, writer).0
}

async fn fails(wire: &str) -> Error {
    exchange(Method::GET, wire.as_bytes(), 1000).await.unwrap_err()
}

#[tokio::test]
async fn each_framing_ends_where_it_says() {
    let cases: [(&str, u16, &str, bool); 11] = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            200,
            "hello",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
            200,
            "hello",
            true,
        ),
        ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", 200, "", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
            "hello",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            200,
            "hello",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 5\r\n\r\nhello",
            200,
            "hello",
            false,
        ),
        ("HTTP/1.1 204 None\r\n\r\n", 204, "", true),
        ("HTTP/1.1 304 None\r\ncontent-length: 5\r\n\r\n", 304, "", true),
        (
            "HTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            200,
            "hi",
            true,
        ),
        // Two framings at once: one of two readers would be wrong, so nobody reads on.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
            false,
        ),
    ];
    for (wire, status, body, reusable) in cases {
        for size in [1, 7, 1000] {
            let got = exchange(Method::GET, wire.as_bytes(), size).await.unwrap();
            assert_eq!(
                got,
                (status, body.as_bytes().to_vec(), reusable),
                "{wire:?} by {size}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let got = exchange(Method::HEAD, wire, 1000).await.unwrap();
    assert_eq!(got, (200, Vec::new(), true));
}

#[tokio::test]
async fn bytes_after_the_answer_are_nobodys_answer() {
    let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n";
    let got = exchange(Method::GET, wire, 1000).await.unwrap();
    assert_eq!(got, (200, b"hi".to_vec(), false));
}

#[tokio::test]
async fn an_answer_that_cannot_be_framed_is_refused() {
    for wrong in [
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
    ] {
        assert_eq!(fails(wrong).await.code, Code::Protocol, "{wrong:?}");
    }
}

#[tokio::test]
async fn an_answer_that_stops_short_is_an_error() {
    for (wire, code) in [
        ("", Code::Connection),
        ("HTTP/1.1 200 OK\r\nconte", Code::Connection),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell", Code::Protocol),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Code::Protocol,
        ),
    ] {
        assert_eq!(fails(wire).await.code, code, "{wire:?}");
    }
}

#[tokio::test]
async fn a_head_without_an_end_is_not_gathered() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(4 * MAX_HEAD));
    assert_eq!(fails(&long).await.code, Code::Protocol);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_FIELDS + 1));
    assert_eq!(fails(&many).await.code, Code::Protocol);
}

#[test]
fn the_caller_does_not_frame_the_body() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("x-api-key", "k"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let head = Request {
        method: &Method::POST,
        target: "/a",
        host: "host:1",
        headers: &headers,
        extra: &[],
        body: Bytes::from_static(b"four"),
    }
    .head();
    assert_eq!(
        std::str::from_utf8(&head).unwrap(),
        "POST /a HTTP/1.1\r\nhost: host:1\r\nx-api-key: k\r\ncontent-length: 4\r\n\r\n"
    );
}
