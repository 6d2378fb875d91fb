//! Streamable HTTP: the client, the headers, and what went wrong in plain words.

use super::McpOptions;
use super::connection::Trouble;
use super::env;
use super::notices::{Notices, cut};
use crate::config::ServerConfig;
use omni_core::{Code, Error};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::auth::{AuthError, AuthorizationManager};
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use rmcp::transport::{AuthClient, StreamableHttpClientTransport};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Arc, Once};
use std::time::Duration;

/// What every request goes through: a client that adds a token if there is one.
pub(super) type Client = AuthClient<reqwest::Client>;

/// How long reaching the address may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may take to show that it speaks the retired transport.
const PROBE: Duration = Duration::from_secs(3);
/// Bytes that are read for it.
const PROBE_BYTES: usize = 4096;

/// TLS as everywhere in the bridge: ring. The SDK makes HTTP clients of its own, which take the process's choice; one
/// that the program has made stays.
fn choose_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error: another thread was faster, and there is one.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    });
}

/// A plain client.
pub(super) fn plain() -> Result<reqwest::Client, Error> {
    choose_tls();
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .build()
        .map_err(|error| Error::internal(format!("no HTTP client: {}", root_cause(&error))))
}

/// What authorises the requests to `url`. Without a token it adds none.
pub(super) async fn manager(name: &str, url: &str) -> Result<AuthorizationManager, Error> {
    choose_tls();
    AuthorizationManager::new(url)
        .await
        .map_err(|error| Error::invalid(format!("mcp_servers.{name}.url: {error}")))
}

/// The headers of the configuration.
fn headers(
    name: &str,
    config: &ServerConfig,
    notices: &Notices,
) -> Result<HashMap<HeaderName, HeaderValue>, Error> {
    let mut headers = HashMap::new();
    for (key, value) in &config.headers {
        let place = env::place(name, "headers", key);
        let value = env::expand(value, &place)?;
        notices.add_secrets([value.as_str()]);
        let proper = HeaderName::try_from(key.as_str())
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        let Some((key, mut value)) = proper else {
            return Err(Error::invalid(format!("{place}: this is no HTTP header")));
        };
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// A transport to the server of `config`.
pub(super) fn transport(
    name: &str,
    config: &ServerConfig,
    client: Client,
    notices: &Notices,
) -> Result<StreamableHttpClientTransport<Client>, Error> {
    let url = config.url.clone().unwrap_or_default();
    let settings =
        StreamableHttpClientTransportConfig::with_uri(url).custom_headers(headers(name, config, notices)?);
    Ok(StreamableHttpClientTransport::with_client(client, settings))
}

type Http = StreamableHttpError<reqwest::Error>;

/// The transport's own error inside an error of the SDK.
fn inside<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Http> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Http>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost cause: without the address, which may hold a key.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What a call's failed request means. True: the connection is of no use any more.
pub(super) fn of_call(error: &ServiceError, notices: &Notices) -> (bool, Trouble) {
    let inner = match error {
        ServiceError::TransportSend(error) => inside(error.error.as_ref()),
        _ => None,
    };
    match inner {
        Some(inner) => explained(inner, notices),
        None => (true, Trouble::Gone("the connection ended".to_owned())),
    }
}

fn explained(error: &Http, notices: &Notices) -> (bool, Trouble) {
    match error {
        StreamableHttpError::Client(error) => match error.status() {
            Some(status) => (
                false,
                Trouble::Other(format!("it answered with HTTP status {status}")),
            ),
            None if error.is_connect() => (
                true,
                Trouble::Gone(format!("it cannot be reached: {}", root_cause(error))),
            ),
            None => (true, Trouble::Gone(root_cause(error))),
        },
        StreamableHttpError::HttpStatus(status) => {
            let later = status
                .retry_after
                .as_ref()
                .map(|after| format!("; it asks to wait {after} s"));
            (
                false,
                Trouble::Other(format!(
                    "it answered with HTTP status {}{}",
                    status.status,
                    later.unwrap_or_default()
                )),
            )
        }
        StreamableHttpError::AuthRequired(_) => (
            true,
            Trouble::Other("it asks for authorization (HTTP status 401)".to_owned()),
        ),
        StreamableHttpError::InsufficientScope(_) => (
            true,
            Trouble::Other("the authorization does not reach that far (HTTP status 403)".to_owned()),
        ),
        StreamableHttpError::Auth(error) => (true, Trouble::Other(auth_text(error, notices))),
        StreamableHttpError::UnexpectedServerResponse(text) => {
            (false, Trouble::Malformed(notices.hide(cut(text, 300))))
        }
        StreamableHttpError::ResponseBodyTooLarge { .. }
        | StreamableHttpError::UnexpectedContentType(_)
        | StreamableHttpError::Deserialize(_)
        | StreamableHttpError::MissingSessionIdInResponse
        | StreamableHttpError::Sse(_)
        | StreamableHttpError::UnexpectedEndOfStream => (false, Trouble::Malformed(error.to_string())),
        StreamableHttpError::ReservedHeaderConflict(header) => (
            false,
            Trouble::Other(format!(
                "the header \"{header}\" is the protocol's own: leave it out of \"headers\""
            )),
        ),
        _ => (true, Trouble::Gone(error.to_string())),
    }
}

/// What went wrong with an authorization. The SDK's texts hold no token; a provider's own words may, so what we know of
/// is left out.
pub(super) fn auth_text(error: &AuthError, notices: &Notices) -> String {
    let text = match error {
        AuthError::HttpError(error) => format!("OAuth: {}", root_cause(error)),
        other => other.to_string(),
    };
    notices.hide(cut(&text, 300))
}

/// Why a start failed.
pub(super) async fn of_start(
    name: &str,
    config: &ServerConfig,
    notices: &Notices,
    error: &ClientInitializeError,
) -> Error {
    let inner = match error {
        ClientInitializeError::TransportError { error, .. } => inside(error.error.as_ref()),
        _ => None,
    };
    let trouble = match inner {
        Some(inner) => explained(inner, notices).1,
        None => Trouble::Malformed("its answer to the handshake has not the protocol's shape".to_owned()),
    };
    if !matches!(trouble, Trouble::Gone(_)) && speaks_retired(name, config, notices).await {
        return Error::new(
            Code::Unsupported,
            format!(
                "the MCP server \"{name}\" speaks only the retired HTTP+SSE transport; use its streamable HTTP address \
                 (often the one that ends in /mcp), or a newer version of the server"
            ),
        );
    }
    trouble.of_server(name)
}

/// Whether the address answers a GET as the retired transport did: a stream whose first event names an endpoint.
async fn speaks_retired(name: &str, config: &ServerConfig, notices: &Notices) -> bool {
    let (Ok(client), Ok(headers)) = (plain(), headers(name, config, notices)) else {
        return false;
    };
    let headers: HeaderMap = headers.into_iter().collect();
    let url = config.url.clone().unwrap_or_default();
    let probe = async {
        let request = client
            .get(url)
            .headers(headers)
            .header(ACCEPT, "text/event-stream");
        let mut response = request.send().await.ok()?;
        let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
        if !response.status().is_success() || !kind.starts_with("text/event-stream") {
            return None;
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            text.extend_from_slice(&chunk[..chunk.len().min(PROBE_BYTES)]);
            let found = String::from_utf8_lossy(&text);
            if found
                .lines()
                .any(|line| line.replace(' ', "") == "event:endpoint")
            {
                return Some(());
            }
            if text.len() >= PROBE_BYTES {
                return None;
            }
        }
        None
    };
    tokio::time::timeout(PROBE, probe).await.ok().flatten().is_some()
}

/// The challenge of a server that asks for authorization.
pub(super) fn challenge(error: &ClientInitializeError) -> Option<String> {
    error
        .is_authorization_required()
        .then(|| error.auth_challenge().unwrap_or_default().to_owned())
}

/// A client for `config`, with the manager of its authorization.
pub(super) async fn client(name: &str, config: &ServerConfig, options: &McpOptions) -> Result<Client, Error> {
    let url = config.url.as_deref().unwrap_or_default();
    let mut manager = manager(name, url).await?;
    if let Some(store) = &options.tokens {
        manager.set_credential_store(super::oauth::Stored::new(name, Arc::clone(store)));
        // An error: what is stored is of no use, and the server will ask.
        let _ = manager.initialize_from_store().await;
    }
    Ok(AuthClient::new(plain()?, manager))
}
