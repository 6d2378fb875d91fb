//! The pool, and what holds for every call through it.

use crate::exchange::Exchange;
use bytes::Bytes;
use http::{HeaderMap, Method};
use omni_core::{Code, Error, Result};
use reqwest::Url;
use reqwest::redirect::Policy;
use rustls_platform_verifier::Verifier;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
    /// Without headers and body: keys and prompts are in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

/// The pooled client. Cheap to clone; clones share their connections.
#[derive(Clone, Default)]
pub struct Transport(Arc<Pools>);

/// Made when first needed: reading the system's certificates takes milliseconds that a plain call need not pay,
/// and this machine's own servers are never behind a proxy.
#[derive(Default)]
struct Pools {
    loopback: OnceLock<reqwest::Client>,
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
}

const CONNECT: Duration = Duration::from_secs(15);
/// Shorter than servers keep theirs (uvicorn 5 s): a connection that the server is about to close fails the call.
const KEEP_IDLE: Duration = Duration::from_secs(4);
const MAX_REDIRECTS: usize = 3;

impl Transport {
    /// A client without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `call`. Nothing happens until the exchange is polled, on a tokio runtime with time and I/O.
    pub fn send(&self, call: Call) -> Exchange {
        match self.request(call) {
            Ok((client, request)) => Exchange::new(async move { client.execute(request).await }),
            Err(error) => Exchange::failed(error),
        }
    }

    fn request(&self, call: Call) -> Result<(reqwest::Client, reqwest::Request)> {
        let url = parse(&call.url)?;
        let pool = match url.scheme() {
            "https" => &self.0.tls,
            _ if is_loopback(&url) => &self.0.loopback,
            _ => &self.0.plain,
        };
        if pool.get().is_none() {
            // Two threads may build at once; one of the clients stays.
            let _ = pool.set(build(url.scheme() == "https", is_loopback(&url))?);
        }
        let client = pool
            .get()
            .ok_or_else(|| Error::internal("the HTTP client got lost"))?
            .clone();
        let mut request = reqwest::Request::new(call.method, url);
        *request.headers_mut() = call.headers;
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.into());
        }
        Ok((client, request))
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

fn parse(url: &str) -> Result<Url> {
    // The address is not shown: what is no address may be a token that was put in the wrong place.
    let bad = |why: String| {
        Error::invalid(format!(
            "the address {why}; give one such as http://127.0.0.1:8411 or https://host/path"
        ))
    };
    let parsed = Url::parse(url).map_err(|error| bad(format!("cannot be read: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none_or(str::is_empty) {
        return Err(bad("is not one of a web server".to_owned()));
    }
    Ok(parsed)
}

/// The address of a service as the start of its endpoints' addresses: without a slash at its end.
///
/// # Errors
/// `invalid_request` for what is no such address; it may carry no user, password or query, which would be shown
/// wherever an address is shown.
pub fn base_url(url: &str) -> Result<String> {
    let parsed = parse(url)?;
    if !parsed.username().is_empty()
        || parsed.password().is_some()
        || parsed.query().is_some()
        || parsed.fragment().is_some()
    {
        let host = parsed.host_str().unwrap_or_default();
        return Err(Error::invalid(format!(
            "the address of {host} may carry no user, password or query: give the token apart"
        )));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// Whether `url` names this machine by its loopback address.
fn is_loopback(url: &Url) -> bool {
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn build(tls: bool, loopback: bool) -> Result<reqwest::Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("the TLS library refuses its own defaults: {error}")))?;
    let config = if tls {
        let verifier = Verifier::new(provider).map_err(|error| {
            let message = format!(
                "the system's certificates cannot be read: {error}; install them (Debian: ca-certificates) or name a \
                 file in SSL_CERT_FILE"
            );
            Error::new(Code::Connection, message)
        })?;
        config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()
    } else {
        config
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    };
    let mut client = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(KEEP_IDLE)
        .redirect(Policy::custom(|attempt| {
            // Only within one origin: whatever a header is called, a key or a token in it stays where it was sent.
            let Some(from) = attempt.previous().last() else {
                return attempt.stop();
            };
            if from.origin() == attempt.url().origin() && attempt.previous().len() <= MAX_REDIRECTS {
                attempt.follow()
            } else {
                attempt.stop()
            }
        }));
    if loopback {
        client = client.no_proxy();
    }
    client
        .build()
        .map_err(|error| Error::internal(format!("the HTTP client cannot be made: {}", error.without_url())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for yes in [
            "http://127.0.0.1:1",
            "http://[::1]:80/x",
            "http://localhost",
            "http://127.9.9.9",
        ] {
            assert!(is_loopback(&parse(yes).unwrap()), "{yes}");
        }
        for no in [
            "http://127.0.0.1.example.org",
            "http://localhost.example.org",
            "http://10.0.0.1",
            "http://[::]",
        ] {
            assert!(!is_loopback(&parse(no).unwrap()), "{no}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_an_example() {
        for wrong in ["", "127.0.0.1:80", "ftp://x", "http://", "file:///etc/passwd"] {
            let error = parse(wrong).unwrap_err();
            assert!(
                error.message.contains("http://127.0.0.1:8411"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn a_base_address_has_no_slash_at_its_end_and_no_secret() {
        assert_eq!(base_url("http://127.0.0.1:80/").unwrap(), "http://127.0.0.1");
        assert_eq!(base_url("https://host/omni/").unwrap(), "https://host/omni");
        for secret in [
            "http://user:hunter2@host",
            "http://host/?token=hunter2",
            "http://hunter2@host",
        ] {
            let error = base_url(secret).unwrap_err();
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_call_shows_neither_its_key_nor_its_body() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer hunter2".parse().unwrap());
        let call = Call {
            method: Method::POST,
            url: "http://x/".into(),
            headers,
            body: Bytes::from_static(b"hunter2"),
        };
        assert_eq!(format!("{call:?}"), "POST http://x/");
    }
}
