//! The pool, and what holds for every call through it.

use crate::address::Address;
use crate::connect::{self, Route};
use crate::deliver::deliver;
use crate::exchange::Exchange;
use crate::pool::{Origin, lock};
use crate::tls;
use bytes::Bytes;
use http::{HeaderMap, Method};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use omni_core::{Error, Result};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime;

/// One HTTP request.
pub struct Call {
    /// GET, POST, …
    pub method: Method,
    /// The whole address, `http://` or `https://`.
    pub url: String,
    /// Headers; values with secrets are marked sensitive by whoever makes them.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
}

impl std::fmt::Debug for Call {
    /// Without headers, body and query: keys and prompts are in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Address::parse(&self.url) {
            Ok(address) => write!(f, "{} {}{}", self.method, address.origin(), address.uri().path()),
            Err(_) => write!(f, "{} (no address)", self.method),
        }
    }
}

/// The pooled client. Cheap to clone; clones share their connections.
#[derive(Clone, Default)]
pub struct Transport(Arc<Inner>);

/// How a [`Transport`] is to be, where the usual is not wanted.
#[derive(Default)]
pub struct Builder(Inner);

/// What is slow to make is made when first needed: reading the system's certificates takes milliseconds that a plain
/// call need not pay.
pub(crate) struct Inner {
    roots: Vec<CertificateDer<'static>>,
    proxies: bool,
    h2: bool,
    idle: Option<Duration>,
    pub(crate) connect: Duration,
    origins: Mutex<HashMap<String, Arc<Origin>>>,
    matcher: OnceLock<Matcher>,
    connector: OnceLock<HttpConnector>,
    tls: OnceLock<Arc<ClientConfig>>,
    proxy_tls: OnceLock<Arc<ClientConfig>>,
    /// The runtimes on which somebody closes idle connections.
    reapers: Mutex<Vec<runtime::Id>>,
}

const CONNECT: Duration = Duration::from_secs(15);
/// Shorter than servers keep theirs, since a connection that the server is about to close may fail the call: those on
/// this machine and in plain HTTP are often uvicorn's (5 s) or Node's (5 s), and are cheap to make anew.
const KEEP_PLAIN: Duration = Duration::from_secs(4);
/// The load balancers before providers keep theirs 60 s and longer, and a TLS handshake costs 50 ms and more.
const KEEP_TLS: Duration = Duration::from_secs(55);

impl Default for Inner {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            proxies: true,
            h2: true,
            idle: None,
            connect: CONNECT,
            origins: Mutex::default(),
            matcher: OnceLock::new(),
            connector: OnceLock::new(),
            tls: OnceLock::new(),
            proxy_tls: OnceLock::new(),
            reapers: Mutex::default(),
        }
    }
}

impl Builder {
    /// Also trusts the certificates in this PEM text, beside the system's.
    ///
    /// # Errors
    /// `invalid_request` for what is no certificate.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self> {
        self.0.roots.extend(tls::roots(pem)?);
        Ok(self)
    }

    /// Never through a proxy, whatever the environment names.
    #[must_use]
    pub fn without_proxies(mut self) -> Self {
        self.0.proxies = false;
        self
    }

    /// HTTP/1.1 only.
    #[must_use]
    pub fn without_http2(mut self) -> Self {
        self.0.h2 = false;
        self
    }

    /// How long a connection is kept for the next call; otherwise 4 s in plain HTTP and 55 s in TLS.
    #[must_use]
    pub fn idle(mut self, limit: Duration) -> Self {
        self.0.idle = Some(limit);
        self
    }

    /// How long connecting may take where a call does not say; otherwise 15 s.
    #[must_use]
    pub fn connect(mut self, limit: Duration) -> Self {
        self.0.connect = limit;
        self
    }

    /// The client.
    pub fn build(self) -> Transport {
        Transport(Arc::new(self.0))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Builder")
    }
}

impl Transport {
    /// A client without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that differs from the usual.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Sends `call`. Nothing happens until the exchange is polled, on a tokio runtime with time and I/O.
    pub fn send(&self, call: Call) -> Exchange {
        self.start(call, None)
    }

    /// Sends `call`, which has `connect` to get a connection: looking up the host, reaching it, its proxy and TLS.
    /// The error is then a `timeout` that says "connecting". A connection that is there needs no time.
    pub fn send_within(&self, call: Call, connect: Duration) -> Exchange {
        self.start(call, Some(connect))
    }

    fn start(&self, call: Call, connect: Option<Duration>) -> Exchange {
        Exchange::new(deliver(Arc::clone(&self.0), call, connect))
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

impl Inner {
    /// The connections to where `address` is.
    pub(crate) fn origin(&self, address: &Address) -> Arc<Origin> {
        let name = address.origin();
        let mut origins = lock(&self.origins);
        if let Some(origin) = origins.get(&name) {
            return Arc::clone(origin);
        }
        let route = if self.proxies && !address.is_loopback() {
            Route::of(address, self.matcher.get_or_init(Matcher::from_env))
        } else {
            Route::Direct
        };
        let idle = self
            .idle
            .unwrap_or(if address.is_tls() { KEEP_TLS } else { KEEP_PLAIN });
        let to = address.with_port();
        let separate = !address.is_tls() || !self.h2;
        let origin = Arc::new(Origin::new(to, route, idle, separate));
        origins.insert(name, Arc::clone(&origin));
        origin
    }

    pub(crate) fn connector(&self) -> HttpConnector {
        self.connector.get_or_init(connect::connector).clone()
    }

    pub(crate) fn tls(&self) -> Result<&Arc<ClientConfig>> {
        let protocols: &[&[u8]] = if self.h2 {
            &[b"h2", b"http/1.1"]
        } else {
            &[b"http/1.1"]
        };
        self.make_tls(&self.tls, protocols)
    }

    pub(crate) fn proxy_tls(&self) -> Result<&Arc<ClientConfig>> {
        self.make_tls(&self.proxy_tls, &[b"http/1.1"])
    }

    fn make_tls<'a>(
        &self,
        place: &'a OnceLock<Arc<ClientConfig>>,
        protocols: &[&[u8]],
    ) -> Result<&'a Arc<ClientConfig>> {
        if place.get().is_none() {
            // Two threads may make one at once; one of them stays.
            let _ = place.set(tls::config(&self.roots, protocols)?);
        }
        place
            .get()
            .ok_or_else(|| Error::internal("the TLS settings got lost"))
    }

    /// Sees to it that idle connections are closed in time on this runtime, also when nobody calls any more.
    pub(crate) fn reap(self: &Arc<Self>, runtime: runtime::Id) {
        let mut reapers = lock(&self.reapers);
        if reapers.contains(&runtime) {
            return;
        }
        reapers.push(runtime);
        let place = Reaper {
            inner: Arc::downgrade(self),
            runtime,
        };
        let every = self.idle.unwrap_or(KEEP_PLAIN).max(Duration::from_millis(10));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(inner) = place.inner.upgrade() else {
                    return;
                };
                // Calls under way hold their origin: their connections will be idle yet.
                if inner.expire() == 0 && lock(&inner.origins).is_empty() {
                    return;
                }
            }
        });
    }

    /// Closes what has waited too long and forgets origins that nobody uses. Says how many connections are left.
    fn expire(&self) -> usize {
        let mut left = 0;
        lock(&self.origins).retain(|_, origin| {
            let here = origin.expire();
            left += here;
            here > 0 || Arc::strong_count(origin) > 1
        });
        left
    }
}

/// One runtime's closing of idle connections; its place is free again however it ends, also with its runtime.
struct Reaper {
    inner: Weak<Inner>,
    runtime: runtime::Id,
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            lock(&inner.reapers).retain(|runtime| *runtime != self.runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_shows_neither_its_key_nor_its_body() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer hunter2".parse().unwrap());
        let mut call = Call {
            method: Method::POST,
            url: "http://x/path?key=hunter2".into(),
            headers,
            body: Bytes::from_static(b"hunter2"),
        };
        assert_eq!(format!("{call:?}"), "POST http://x/path");
        call.url = "hunter2".into();
        assert_eq!(format!("{call:?}"), "POST (no address)");
    }
}
