//! Servers for the tests: one that writes its bytes by hand, and one in TLS that speaks HTTP/2 or 1.1.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "each test file uses a part; a failed unwrap in a helper of a test is a failed test"
)]

use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use omni_transport::{Bytes, Call, HeaderMap, Method, Transport};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
pub const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";

pub fn get(url: impl Into<String>) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", "hunter2".parse().unwrap());
    Call {
        method: Method::GET,
        url: url.into(),
        headers,
        body: Bytes::new(),
    }
}

pub fn post(url: impl Into<String>) -> Call {
    let mut call = get(url);
    call.method = Method::POST;
    call.body = Bytes::from_static(b"a prompt");
    call
}

pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Reads one request, its body too; `None` if the connection ends before one.
pub async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    socket.read_exact(&mut body).await.ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

pub async fn answer(socket: &mut TcpStream, bytes: &[u8]) -> String {
    let request = read_request(socket).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    request
}

/// Ready once the peer has closed the connection.
pub async fn closed(socket: &mut TcpStream) {
    let mut rest = [0; 16];
    while !matches!(socket.read(&mut rest).await, Ok(0) | Err(_)) {}
}

/// Ready once nothing on this runtime has anything to do: with the clock paused, a sleep is over just then.
pub async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub async fn text(transport: &Transport, call: Call) -> omni_core::Result<String> {
    let mut exchange = transport.send(call);
    exchange.head().await?;
    Ok(String::from_utf8(exchange.whole(1 << 20).await?).unwrap())
}

/// A body that the test sends; its receiver is dropped when the client has gone.
pub struct Sent(mpsc::Receiver<Bytes>);

impl Sent {
    pub fn channel() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(receiver))
    }

    pub fn whole(text: &'static str) -> Self {
        let (sender, body) = Self::channel();
        sender.try_send(Bytes::from_static(text.as_bytes())).unwrap();
        body
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// An authority of our own and a certificate for this machine's address.
pub struct Certificates {
    pub ca: String,
    config: tokio_rustls::rustls::ServerConfig,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Each authority has a name of its own, as real ones have.
        let name = format!("authority {}", AUTHORITIES.fetch_add(1, Ordering::SeqCst));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "target.test".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        Self { ca: ca.pem(), config }
    }

    pub fn acceptor(&self, protocol: &str) -> TlsAcceptor {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A server in TLS whose ALPN offers `protocol` alone.
pub struct Server {
    pub url: String,
    pub ca: String,
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start<F, A>(protocol: &'static str, handler: F) -> Self
    where
        F: Fn(http::Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = http::Response<Sent>> + Send + 'static,
    {
        let certificates = Certificates::new();
        let acceptor = certificates.acceptor(protocol);
        let (listener, url) = listen().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let socket = listener.accept().await.unwrap().0;
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, handler) = (acceptor.clone(), handler.clone());
                tokio::spawn(async move {
                    let Ok(socket) = acceptor.accept(socket).await else {
                        return;
                    };
                    let io = TokioIo::new(socket);
                    let service = service_fn(move |request| {
                        let answer = handler(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let _ = if protocol == "h2" {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        builder.serve_connection(io, service).await
                    } else {
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(io, service)
                            .await
                    };
                });
            }
        });
        Self {
            url: url.replace("http:", "https:"),
            ca: certificates.ca,
            connections,
        }
    }

    pub fn client(&self) -> Transport {
        let builder = Transport::builder().root_certificates(self.ca.as_bytes());
        builder.unwrap().build()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
