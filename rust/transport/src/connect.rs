//! From an origin to a connected socket: directly or through a proxy, with TLS where the address says so.

use crate::address::{Address, bare};
use crate::client::Inner;
use crate::fault;
use crate::h1::{Line, Request, Talk};
use crate::pool::{Found, MAX_STREAMS, Origin, Streams};
use crate::socket::Socket;
use crate::tls;
use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use omni_core::{Error, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tower_service::Service as _;

/// HTTP/2's windows: what a server may send before its reader has taken it. 256 KiB a stream is megabytes a second
/// to the other side of the world, far above any model's pace. The connection's holds every stream's, so that a
/// reader who has stopped never holds back its neighbours.
const STREAM_WINDOW: u32 = 256 * 1024;
#[expect(clippy::cast_possible_truncation, reason = "a constant of 25 MiB")]
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * (MAX_STREAMS as u32 + 1);
/// A shared connection that a router has forgotten would swallow every call: while calls are open it is asked.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(10);
/// The same for HTTP/1.1, by the kernel: answers may be silent for minutes, and routers forget sooner.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// How an origin is reached.
pub(crate) enum Route {
    Direct,
    /// A proxy that is sent whole requests with whole addresses: `http://` only.
    Forward(Proxy),
    /// A proxy that is asked for a tunnel (CONNECT).
    Tunnel(Proxy),
    Socks(Proxy, Option<(String, String)>),
}

pub(crate) struct Proxy {
    uri: Uri,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Route {
    pub(crate) fn of(address: &Address, matcher: &Matcher) -> Self {
        let Some(proxy) = matcher.intercept(address.uri()) else {
            return Route::Direct;
        };
        let found = Proxy {
            uri: proxy.uri().clone(),
            authorization: proxy.basic_auth().cloned(),
        };
        match proxy.uri().scheme_str() {
            Some("http" | "https") if address.is_tls() => Route::Tunnel(found),
            Some("http" | "https") => Route::Forward(found),
            _ => {
                let user = proxy
                    .raw_auth()
                    .map(|(user, word)| (user.to_owned(), word.to_owned()));
                Route::Socks(found, user)
            }
        }
    }
}

pub(crate) fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE_AFTER));
    connector.set_keepalive_interval(Some(KEEPALIVE_EVERY));
    connector
}

/// A new connection to `origin`, or a place on one that another call has made meanwhile.
pub(crate) async fn connect(
    inner: &Inner,
    origin: &Arc<Origin>,
    address: &Address,
    runtime: runtime::Id,
) -> Result<Found> {
    if !origin.is_separate() {
        let gate = origin.gate.lock().await;
        if let Some(found) = origin.find(runtime) {
            return Ok(found);
        }
        if !origin.is_separate() {
            let socket = dial(inner, origin, address).await?;
            if socket.is_h2() {
                return share(origin, socket, runtime).await;
            }
            origin.set_separate();
            return Ok(Found::Line(Line::new(socket)));
        }
        drop(gate);
    }
    let socket = dial(inner, origin, address).await?;
    // A server may change its mind about HTTP/2.
    if socket.is_h2() {
        return share(origin, socket, runtime).await;
    }
    Ok(Found::Line(Line::new(socket)))
}

async fn share(origin: &Origin, socket: Socket, runtime: runtime::Id) -> Result<Found> {
    let (sender, mut connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .max_header_list_size(64 * 1024)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| fault::unconnected(&origin.to, &fault::innermost(&error)))?;
    // Ends when the pool and the last stream have let go of it. Its failure is the failure of its streams.
    let streams = Streams::new();
    let told = Arc::clone(&streams);
    tokio::spawn(std::future::poll_fn(move |context| {
        let ended = Pin::new(&mut connection).poll(context).map(drop);
        told.allow(connection.current_max_send_streams());
        ended
    }));
    Ok(origin.share(sender, streams, runtime))
}

async fn dial(inner: &Inner, origin: &Origin, address: &Address) -> Result<Socket> {
    let (uri, to) = (address.uri(), &origin.to);
    let socket = match &origin.route {
        Route::Direct => tcp(inner, uri, to).await?,
        Route::Forward(proxy) => return reach(inner, proxy).await,
        Route::Tunnel(proxy) => {
            let socket = reach(inner, proxy).await?;
            tunnel(socket, proxy, address).await?
        }
        Route::Socks(proxy, user) => socks(inner, proxy, user.as_ref(), address, to).await?,
    };
    if !address.is_tls() {
        return Ok(socket);
    }
    tls::handshake(inner.tls()?, socket, address.host(), to).await
}

async fn tcp(inner: &Inner, uri: &Uri, to: &str) -> Result<Socket> {
    let connected = inner.connector().call(uri.clone()).await;
    let connected = connected.map_err(|error| fault::unconnected(to, &fault::innermost(&error)))?;
    Ok(Socket::Tcp(connected.into_inner()))
}

/// A connection to the proxy itself.
async fn reach(inner: &Inner, proxy: &Proxy) -> Result<Socket> {
    let to = format!(
        "the proxy {}",
        proxy.uri.authority().map_or("", Authority::as_str)
    );
    let socket = tcp(inner, &proxy.uri, &to).await?;
    if proxy.uri.scheme_str() != Some("https") {
        return Ok(socket);
    }
    let host = bare(proxy.uri.host().unwrap_or_default());
    tls::handshake(inner.proxy_tls()?, socket, host, &to).await
}

async fn tunnel(socket: Socket, proxy: &Proxy, address: &Address) -> Result<Socket> {
    let target = address.with_port();
    let authorization = proxy
        .authorization
        .clone()
        .map(|value| (PROXY_AUTHORIZATION, value));
    let extra = authorization.as_slice();
    let mut talk = Talk::new(
        Line::new(socket),
        Request {
            method: &Method::CONNECT,
            target: &target,
            host: &target,
            headers: &HeaderMap::new(),
            extra,
            body: Bytes::new(),
        },
    );
    let failed = |why: &str| {
        let proxy = proxy.uri.authority().map_or("", Authority::as_str);
        fault::unconnected(&target, &format!("the proxy {proxy} {why}"))
    };
    let head = std::future::poll_fn(|context| talk.poll_head(context)).await;
    match head {
        Ok((200..=299, _)) => talk
            .into_tunnel()
            .ok_or_else(|| failed("sent something before the tunnel was in use")),
        Ok((407, _)) => Err(failed(
            "asks for a user and a password: give them as http://user:password@host in HTTPS_PROXY",
        )),
        Ok((status, _)) => Err(failed(&format!("refused with status {status}"))),
        Err(broken) => Err(failed(&format!("gave {}", broken.error.message))),
    }
}

async fn socks(
    inner: &Inner,
    proxy: &Proxy,
    user: Option<&(String, String)>,
    address: &Address,
    to: &str,
) -> Result<Socket> {
    let scheme = proxy.uri.scheme_str().unwrap_or_default().to_owned();
    let failed = |error: &(dyn std::error::Error + 'static)| -> Error {
        let proxy = proxy.uri.authority().map_or("", Authority::as_str);
        fault::unconnected(to, &format!("the proxy {proxy}: {}", fault::innermost(error)))
    };
    // With its port, since the connector takes 443 for what is missing.
    let uri = format!("http://{}", address.with_port());
    let uri: Uri = uri
        .parse()
        .map_err(|error: http::uri::InvalidUri| failed(&error))?;
    let connector = inner.connector();
    // The names with an a or an h leave looking up the host to the proxy.
    let connected = if scheme.starts_with("socks5") {
        let mut socks = SocksV5::new(proxy.uri.clone(), connector).local_dns(scheme == "socks5");
        if let Some((user, word)) = user {
            socks = socks.with_auth(user.clone(), word.clone());
        }
        socks.call(uri).await.map_err(|error| failed(&error))?
    } else {
        let mut socks = SocksV4::new(proxy.uri.clone(), connector).local_dns(scheme == "socks4");
        socks.call(uri).await.map_err(|error| failed(&error))?
    };
    Ok(Socket::Tcp(connected.into_inner()))
}
