//! One connection to a server: the handshake, and one way to ask.

#![expect(
    deprecated,
    reason = "roots, sampling and logging leave the protocol one day; until then servers use them"
)]

use super::http;
use super::lines::Lines;
use super::notices::Notices;
use super::process::Process;
use super::tap::{self, Tag, Tap, Tapped};
use crate::config::ServerConfig;
use crate::protocol::ToolFailure;
use crate::tool::{ProgressSink, ToolError};
use omni_core::{Code, Error};
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientCapabilities, ClientConfig, ClientNotification,
    ClientRequest, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult,
    ErrorCode, ErrorData, Implementation, ListRootsResult, ProtocolVersion, RequestId, ServerPeerInfo,
    ServerResult, SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, PeerRequestOptions, RequestContext, RoleClient,
    RunningService, ServiceError, Subscription, serve_client_with_lifecycle,
};
use rmcp::transport::Transport;
use rmcp::{ClientHandler, service::ClientCacheConfig};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

/// How long the SDK's loop may take to end.
const CLOSING: Duration = Duration::from_secs(3);

/// Why a request has no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server ended, or is not reached.
    Gone(String),
    /// It answered in the wrong shape.
    Malformed(String),
    /// It answered with an error.
    Refused(ErrorData),
    /// Anything else.
    Other(String),
}

impl Trouble {
    /// As a tool's failure.
    pub(super) fn of_tool(self, server: &str) -> ToolError {
        match self {
            Trouble::Gone(why) => ToolError::new(
                ToolFailure::ServerGone,
                format!(
                    "the MCP server \"{server}\" is gone: {why}. It is started again; whether the call took effect is not known"
                ),
            ),
            Trouble::Malformed(why) => ToolError::new(
                ToolFailure::Malformed,
                format!("the MCP server \"{server}\" gave no proper answer: {why}"),
            ),
            Trouble::Refused(error) => {
                let kind = match error.code {
                    ErrorCode::INVALID_PARAMS => ToolFailure::InvalidArguments,
                    ErrorCode::METHOD_NOT_FOUND => ToolFailure::Unknown,
                    _ => ToolFailure::Failed,
                };
                ToolError::new(
                    kind,
                    format!(
                        "the MCP server \"{server}\" answered with error {}: {}",
                        error.code.0, error.message
                    ),
                )
            }
            Trouble::Other(why) => {
                ToolError::new(ToolFailure::Failed, format!("the MCP server \"{server}\": {why}"))
            }
        }
    }

    /// As an error of the contract.
    pub(super) fn of_server(self, server: &str) -> Error {
        let (code, why) = match self {
            Trouble::Gone(why) => (Code::Connection, format!("is gone: {why}")),
            Trouble::Malformed(why) => (Code::Protocol, format!("gave no proper answer: {why}")),
            Trouble::Refused(error) => (
                Code::Provider,
                format!("answered with error {}: {}", error.code.0, error.message),
            ),
            Trouble::Other(why) => (Code::Provider, format!("failed: {why}")),
        };
        Error::new(code, format!("the MCP server \"{server}\" {why}"))
    }
}

pub(super) struct Connection {
    peer: Peer<RoleClient>,
    pub(super) tap: Arc<Tap>,
    service: Mutex<Option<RunningService<RoleClient, Client>>>,
    process: Option<Process>,
    runtime: Handle,
    info: Option<Arc<ServerPeerInfo>>,
    /// What it wants to have authorized, if a call showed that it wants something.
    challenge: OnceLock<String>,
    /// Where a server of the newest protocol sends what has changed.
    _subscription: Option<Subscription>,
}

impl Connection {
    /// Starts the program, or reaches the address with `client`, and shakes hands.
    pub(super) async fn open(
        name: &str,
        config: &ServerConfig,
        client: Option<&http::Client>,
        notices: &Arc<Notices>,
        programs: &TaskTracker,
    ) -> Result<Self, Start> {
        let mode = ClientLifecycleMode::Initialize;
        match Self::open_with(name, config, client, notices, programs, mode).await {
            Err(Start::Refused(_)) => {}
            other => return other,
        }
        // From 2026-07-28 on the protocol has no handshake: such a server refuses `initialize`.
        let mode = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        };
        Self::open_with(name, config, client, notices, programs, mode)
            .await
            .map_err(|error| match error {
                Start::Refused(error) => Start::Failed(Error::new(
                    Code::Protocol,
                    format!(
                        "the MCP server \"{name}\" refused the handshake with error {}: {}",
                        error.code.0, error.message
                    ),
                )),
                other => other,
            })
    }

    async fn open_with(
        name: &str,
        config: &ServerConfig,
        client: Option<&http::Client>,
        notices: &Arc<Notices>,
        programs: &TaskTracker,
        mode: ClientLifecycleMode,
    ) -> Result<Self, Start> {
        let tap = Arc::new(Tap::new(Arc::clone(notices)));
        if let Some(client) = client {
            let transport = http::transport(name, config, client.clone(), notices)?;
            let error = match Self::serve(transport, &tap, mode).await {
                Ok(service) => return Ok(Self::opened(service, tap, None).await),
                Err(ClientInitializeError::JsonRpcError(error)) => return Err(Start::Refused(error)),
                Err(error) => error,
            };
            if let Some(challenge) = http::challenge(&error) {
                return Err(Start::Unauthorized(challenge));
            }
            return Err(http::of_start(name, config, notices, &error).await.into());
        }
        let (process, stdout, stdin) = Process::start(name, config, notices, tap.ended.clone(), programs)?;
        let transport = Lines::new(stdout, stdin, Arc::clone(&tap));
        match Self::serve(transport, &tap, mode).await {
            Ok(service) => Ok(Self::opened(service, tap, Some(process)).await),
            Err(ClientInitializeError::JsonRpcError(error)) if !tap::is_malformed(&error) => {
                process.end().await;
                Err(Start::Refused(error))
            }
            Err(error) => {
                let (code, why) = match (tap.fault(), error) {
                    (Some(fault), _) => (Code::Protocol, fault.to_owned()),
                    (None, ClientInitializeError::JsonRpcError(error)) => {
                        (Code::Protocol, error.message.into_owned())
                    }
                    (
                        None,
                        ClientInitializeError::ConnectionClosed(_)
                        | ClientInitializeError::TransportError { .. },
                    ) => (Code::Connection, process.last_words().await),
                    (None, _) => (
                        Code::Protocol,
                        "its answer to the handshake has not the protocol's shape".to_owned(),
                    ),
                };
                process.end().await;
                Err(Error::new(code, format!("the MCP server \"{name}\" did not start: {why}")).into())
            }
        }
    }

    async fn serve<T: Transport<RoleClient> + 'static>(
        transport: T,
        tap: &Arc<Tap>,
        mode: ClientLifecycleMode,
    ) -> Result<RunningService<RoleClient, Client>, ClientInitializeError> {
        let transport = Tapped {
            inner: transport,
            tap: Arc::clone(tap),
        };
        serve_client_with_lifecycle(Client, transport, mode).await
    }

    async fn opened(
        service: RunningService<RoleClient, Client>,
        tap: Arc<Tap>,
        process: Option<Process>,
    ) -> Self {
        let peer = service.peer().clone();
        // Lists are cached here, with the time to live of the configuration.
        peer.set_response_cache_config(ClientCacheConfig::disabled())
            .await;
        let info = peer.peer_info();
        let says_changes = info.as_ref().is_some_and(|info| says_changes(info));
        let modern = info
            .as_ref()
            .is_some_and(|info| !info.protocol_version.has_initialize());
        let subscription = if modern && says_changes {
            let filter = SubscriptionFilter::builder().tools_list_changed().build();
            peer.listen(filter).await.ok()
        } else {
            None
        };
        Self {
            peer,
            tap,
            service: Mutex::new(Some(service)),
            process,
            runtime: Handle::current(),
            info,
            challenge: OnceLock::new(),
            _subscription: subscription,
        }
    }

    /// What the server said about itself.
    pub(super) fn info(&self) -> Option<&ServerPeerInfo> {
        self.info.as_deref()
    }

    /// Whether it says when its list of tools changes.
    pub(super) fn says_changes(&self) -> bool {
        self.info().is_some_and(says_changes)
    }

    /// What it wants to have authorized before it is of use again.
    pub(super) fn challenge(&self) -> Option<&str> {
        self.challenge.get().map(String::as_str)
    }

    pub(super) fn is_over(&self) -> bool {
        self.tap.ended.is_cancelled()
    }

    /// Asks. Dropping the future tells the server that nobody waits any more.
    pub(super) async fn ask(
        &self,
        mut request: ClientRequest,
        progress: Option<ProgressSink>,
    ) -> Result<ServerResult, Trouble> {
        if let Some(sink) = progress {
            tag(&mut request, Tag(sink));
        }
        let sent = self
            .peer
            .send_request_with_option(request, PeerRequestOptions::no_options());
        let mut handle = match sent.await {
            Ok(handle) => handle,
            Err(error) => return Err(self.trouble(error).await),
        };
        let mut abandoned = Abandoned {
            connection: self,
            id: Some(handle.id.clone()),
        };
        let answer = tokio::select! {
            biased;
            answer = &mut handle.rx => answer.unwrap_or(Err(ServiceError::TransportClosed)),
            () = self.tap.ended.cancelled() => Err(ServiceError::TransportClosed),
        };
        abandoned.id = None;
        match answer {
            Ok(result) => Ok(result),
            Err(error) => Err(self.trouble(error).await),
        }
    }

    async fn trouble(&self, error: ServiceError) -> Trouble {
        if let Some(fault) = self.tap.fault() {
            return Trouble::Malformed(fault.to_owned());
        }
        match error {
            ServiceError::McpError(error) if tap::is_malformed(&error) => {
                Trouble::Malformed(error.message.into_owned())
            }
            ServiceError::McpError(error) => Trouble::Refused(error),
            ServiceError::UnexpectedResponse => Trouble::Malformed("an answer of another kind".to_owned()),
            ServiceError::TransportSend(_) if self.process.is_none() => {
                if error.is_authorization_required() || error.auth_challenge().is_some() {
                    // Only the first is of interest: the connection ends here.
                    let _ = self
                        .challenge
                        .set(error.auth_challenge().unwrap_or_default().to_owned());
                }
                let (over, trouble) = http::of_call(&error, self.tap.notices());
                if over {
                    self.tap.ended.cancel();
                }
                trouble
            }
            ServiceError::TransportClosed | ServiceError::TransportSend(_) => {
                Trouble::Gone(self.last_words().await)
            }
            other => Trouble::Other(other.to_string()),
        }
    }

    /// Why it is over, for an error's text.
    pub(super) async fn last_words(&self) -> String {
        match (self.tap.fault(), &self.process) {
            (Some(fault), _) => fault.to_owned(),
            (None, Some(process)) => process.last_words().await,
            (None, None) => "the connection ended".to_owned(),
        }
    }

    /// Ends it, and the program with everything that it started.
    pub(super) async fn close(&self) {
        let service = self.service.lock().await.take();
        if let Some(mut service) = service {
            // Its answer is of no use: the loop ends either way.
            let _ = service.close_with_timeout(CLOSING).await;
        }
        self.tap.ended.cancel();
        if let Some(process) = &self.process {
            process.end().await;
        }
    }
}

fn says_changes(info: &ServerPeerInfo) -> bool {
    let tools = info.capabilities.tools.as_ref();
    tools.and_then(|tools| tools.list_changed).unwrap_or(false)
}

fn tag(request: &mut ClientRequest, tag: Tag) {
    use rmcp::model::GetExtensions as _;
    request.extensions_mut().insert(tag);
}

/// Tells the server that nobody waits for a request any more.
struct Abandoned<'a> {
    connection: &'a Connection,
    id: Option<RequestId>,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        if self.connection.is_over() {
            return;
        }
        let peer = self.connection.peer.clone();
        self.connection.runtime.spawn(async move {
            let params =
                CancelledNotificationParam::new(Some(id), Some("the caller stopped waiting".to_owned()));
            let notification = CancelledNotification::new(params);
            // The connection may have ended meanwhile: then there is nobody to tell.
            let _ = peer
                .send_notification(ClientNotification::CancelledNotification(notification))
                .await;
        });
    }
}

/// How a start failed.
pub(super) enum Start {
    /// The server answered the handshake with an error.
    Refused(ErrorData),
    /// It asks for authorization, with this challenge.
    Unauthorized(String),
    Failed(Error),
}

impl From<Error> for Start {
    fn from(error: Error) -> Self {
        Start::Failed(error)
    }
}

/// What a server may ask of us: a ping. The rest is refused, and the connection lives on.
struct Client;

fn not_supported(method: &'static str) -> ErrorData {
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        format!("this client does not support {method}"),
        None,
    )
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("omni_bridge", env!("CARGO_PKG_VERSION")),
        )
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Err(not_supported("sampling/createMessage"))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Err(not_supported("roots/list"))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(not_supported("elicitation/create"))
    }
}
