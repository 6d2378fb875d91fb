//! Authorization of an HTTP server by the SDK's own means: client credentials, or a page that a person opens.
//! A token stands in no log, no error and no Debug print.

use super::env;
use super::http;
use super::{McpOptions, notices::Notices};
use crate::config::ServerConfig;
use crate::protocol::LogLevel;
use omni_core::{BoxFuture, Code, Error, Result};
use rmcp::transport::auth::{AuthError, OAuthState};
use rmcp::transport::{
    AuthClient, AuthorizationRequest, ClientCredentialsConfig, CredentialStore, StoredCredentials,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// How long a person may take.
const PERSON: Duration = Duration::from_secs(300);
/// The longest request that the page's redirect may be.
const MAX_REDIRECT: usize = 16 * 1024;

/// Opens a page for a person: the server's name, and the address.
pub type OpenUrl = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Where tokens outlive the process: a keychain, say. What is kept is a text that only this module reads.
pub trait TokenStore: Send + Sync {
    /// What is kept for a server.
    fn load(&self, server: &str) -> Option<String>;
    /// Keeps it; `None` forgets it.
    ///
    /// # Errors
    /// Whatever the store says; the token is then used and not kept.
    fn save(&self, server: &str, tokens: Option<&str>) -> Result<()>;
}

/// `oauth` beside a server's `url`. `${NAME}` stands for a variable of the environment.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OauthConfig {
    client_id: Option<String>,
    client_secret: Option<String>,
    scopes: Vec<String>,
    /// `authorization_code` (a person says yes) or `client_credentials` (a program asks for itself).
    grant: Option<String>,
    /// The port of the redirect, where a provider wants to know it before.
    redirect_port: Option<u16>,
    /// The address of this client's own description, where a provider takes one in place of a registration.
    client_metadata_url: Option<String>,
}

impl OauthConfig {
    /// The `oauth` of a server's configuration.
    pub(super) fn read(name: &str, config: &ServerConfig, notices: &Notices) -> Result<Self> {
        let Some(document) = config.other.get("oauth") else {
            return Ok(Self::default());
        };
        let place = format!("mcp_servers.{name}.oauth");
        // The reader's words may quote the secret: only the place is told.
        let mut found: Self = serde_json::from_value(document.clone()).map_err(|_| {
            let known = "client_id, client_secret, scopes, grant, redirect_port, client_metadata_url";
            Error::invalid(format!("{place}: expected an object of {known}"))
        })?;
        for (key, value) in [
            ("client_id", &mut found.client_id),
            ("client_secret", &mut found.client_secret),
        ] {
            if let Some(text) = value {
                *text = env::expand(text, &env::place(name, "oauth", key))?;
            }
        }
        notices.add_secrets(found.client_secret.as_deref());
        match found.grant.as_deref() {
            None | Some("authorization_code") => Ok(found),
            Some("client_credentials") if found.client_id.is_some() && found.client_secret.is_some() => {
                Ok(found)
            }
            Some("client_credentials") => Err(Error::invalid(format!(
                "{place}: client_credentials needs client_id and client_secret"
            ))),
            Some(_) => Err(Error::invalid(format!(
                "{place}.grant: expected \"authorization_code\" or \"client_credentials\""
            ))),
        }
    }

    /// Whether a token is asked for without anybody's yes.
    fn by_itself(&self) -> bool {
        self.grant.as_deref() == Some("client_credentials")
    }
}

/// Gets a token for the server that sent `challenge`, and a client that uses it.
pub(super) async fn authorize(
    name: &str,
    config: &ServerConfig,
    options: &McpOptions,
    notices: &Notices,
    challenge: &str,
) -> Result<http::Client> {
    let oauth = OauthConfig::read(name, config, notices)?;
    let failed = |error: &AuthError| {
        Error::new(
            Code::Authentication,
            format!(
                "the MCP server \"{name}\" was not authorized: {}",
                http::auth_text(error, notices)
            ),
        )
    };
    let url = config.url.as_deref().unwrap_or_default();
    let mut manager = http::manager(name, url).await?;
    if let Some(store) = &options.tokens {
        manager.set_credential_store(Stored::new(name, Arc::clone(store)));
    }
    let mut state = OAuthState::Unauthorized(manager);
    if oauth.by_itself() {
        let request = ClientCredentialsConfig::ClientSecret {
            client_id: oauth.client_id.unwrap_or_default(),
            client_secret: oauth.client_secret.unwrap_or_default(),
            scopes: oauth.scopes,
            resource: Some(url.to_owned()),
        };
        let answer = state.authenticate_client_credentials(request).await;
        answer.map_err(|error| failed(&error))?;
    } else {
        by_a_person(name, options, notices, oauth, challenge, &mut state)
            .await?
            .map_err(|error| failed(&error))?;
    }
    let Some(manager) = state.into_authorization_manager() else {
        return Err(Error::internal("an authorization without its manager"));
    };
    Ok(AuthClient::new(http::plain()?, manager))
}

async fn by_a_person(
    name: &str,
    options: &McpOptions,
    notices: &Notices,
    oauth: OauthConfig,
    challenge: &str,
    state: &mut OAuthState,
) -> Result<std::result::Result<(), AuthError>> {
    let Some(open) = &options.open_url else {
        return Err(Error::new(
            Code::Authentication,
            format!(
                "the MCP server \"{name}\" asks for authorization, and this program opens no page for it: give a token \
                 in \"headers\", or \"oauth\" with grant \"client_credentials\""
            ),
        ));
    };
    let listener = TcpListener::bind(("127.0.0.1", oauth.redirect_port.unwrap_or(0)))
        .await
        .map_err(|error| {
            Error::new(
                Code::Connection,
                format!("mcp_servers.{name}.oauth.redirect_port: {error}"),
            )
        })?;
    let port = listener.local_addr().map_or(0, |address| address.port());
    let base = format!("http://127.0.0.1:{port}");
    let mut request = AuthorizationRequest::new(format!("{base}/callback")).with_client_name("omni_bridge");
    if !challenge.is_empty() {
        request = request.with_challenge(challenge);
    }
    if !oauth.scopes.is_empty() {
        request = request.with_scopes(oauth.scopes);
    }
    if let Some(id) = oauth.client_id {
        request = request.with_preregistered_client(id);
        if let Some(secret) = oauth.client_secret {
            request = request.with_client_secret(secret);
        }
    }
    if let Some(url) = oauth.client_metadata_url {
        request = request.with_client_metadata_url(url);
    }
    if let Err(error) = state.start_authorization(request).await {
        return Ok(Err(error));
    }
    let page = match state.get_authorization_url().await {
        Ok(page) => page,
        Err(error) => return Ok(Err(error)),
    };
    notices.log(
        LogLevel::Info,
        "it asks for authorization: a page was opened for it",
    );
    open(name, &page);
    let redirect = tokio::time::timeout(PERSON, redirected(&listener, &base)).await;
    let Ok(redirect) = redirect else {
        return Err(Error::new(
            Code::Authentication,
            format!(
                "the MCP server \"{name}\" asks for authorization, and nobody gave it in {} s",
                PERSON.as_secs()
            ),
        ));
    };
    Ok(state.handle_callback_url(&redirect).await)
}

/// The address that the page was redirected to. What else comes to the port is answered and forgotten.
async fn redirected(listener: &TcpListener, base: &str) -> String {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut head = Vec::new();
        let read = async {
            let mut buffer = [0_u8; 2048];
            while head.len() < MAX_REDIRECT && !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => head.extend_from_slice(&buffer[..read]),
                }
            }
        };
        // A caller that says nothing must not hold up the one that is waited for.
        let _ = tokio::time::timeout(Duration::from_secs(2), read).await;
        let text = String::from_utf8_lossy(&head);
        let target = text
            .strip_prefix("GET ")
            .and_then(|rest| rest.split(' ').next())
            .filter(|target| target.starts_with("/callback?"));
        let (status, body) = match target {
            Some(_) => ("200 OK", "Done. This page may be closed.\n"),
            None => ("404 Not Found", "Nothing is here.\n"),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        // Whether the page is shown changes nothing.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        if let Some(target) = target {
            return format!("{base}{target}");
        }
    }
}

/// A [`TokenStore`] as the SDK wants it.
pub(super) struct Stored {
    server: String,
    store: Arc<dyn TokenStore>,
}

impl Stored {
    pub(super) fn new(server: &str, store: Arc<dyn TokenStore>) -> Self {
        Self {
            server: server.to_owned(),
            store,
        }
    }
}

fn not_kept(_: Error) -> AuthError {
    AuthError::CredentialStoreError("the tokens could not be kept".to_owned())
}

impl CredentialStore for Stored {
    fn load<'a, 'b>(&'a self) -> BoxFuture<'b, std::result::Result<Option<StoredCredentials>, AuthError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let kept = self.store.load(&self.server);
        // What cannot be read is as good as nothing: the server asks again.
        Box::pin(async move { Ok(kept.and_then(|text| serde_json::from_str(&text).ok())) })
    }

    fn save<'a, 'b>(
        &'a self,
        credentials: StoredCredentials,
    ) -> BoxFuture<'b, std::result::Result<(), AuthError>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let text = serde_json::to_value(&credentials).map(|value: Value| value.to_string());
            let text = text.map_err(|_| not_kept(Error::internal("")))?;
            self.store.save(&self.server, Some(&text)).map_err(not_kept)
        })
    }

    fn clear<'a, 'b>(&'a self) -> BoxFuture<'b, std::result::Result<(), AuthError>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move { self.store.save(&self.server, None).map_err(not_kept) })
    }
}
