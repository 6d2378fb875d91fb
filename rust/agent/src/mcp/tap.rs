//! What stands between a transport and the SDK's service loop: it hands progress to its call, log lines and changed
//! lists to whoever listens, in the order in which they came, and keeps a server from flooding the loop.
//!
//! The SDK would start a task for each notification: out of order, and without a bound.

#![expect(
    deprecated,
    reason = "roots, sampling and logging leave the protocol one day; until then servers use them"
)]

use super::notices::Notices;
use crate::protocol::LogLevel;
use crate::tool::{Progress, ProgressSink};
use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ErrorData, GetExtensions, GetMeta, JsonRpcMessage,
    LoggingLevel, ProgressToken, RequestId, ServerJsonRpcMessage, ServerNotification,
};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Requests of a server that wait for their answer to be taken; with more it is flooding us.
const UNANSWERED: usize = 1000;
/// The mark in an error's data that says: made here, of an answer in the wrong shape.
const MALFORMED: &str = "omni/malformed";

/// Travels with a request from the caller to the transport, where its id and token are known.
#[derive(Clone)]
pub(super) struct Tag(pub(super) ProgressSink);

/// What the two sides of a connection know of each other.
pub(super) struct Tap {
    notices: Arc<Notices>,
    pending: Mutex<Pending>,
    unanswered: AtomicUsize,
    /// The list of tools is not what it was.
    pub(super) changed: Notify,
    /// Nothing comes any more.
    pub(super) ended: CancellationToken,
    /// Why it was ended from here.
    fault: OnceLock<String>,
}

#[derive(Default)]
struct Pending {
    /// Requests without an answer; with the token of their progress.
    requests: HashMap<RequestId, Option<ProgressToken>>,
    sinks: HashMap<ProgressToken, ProgressSink>,
}

impl Tap {
    pub(super) fn new(notices: Arc<Notices>) -> Self {
        Self {
            notices,
            pending: Mutex::default(),
            unanswered: AtomicUsize::new(0),
            changed: Notify::new(),
            ended: CancellationToken::new(),
            fault: OnceLock::new(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests without an answer.
    pub(super) fn outstanding(&self) -> Vec<RequestId> {
        self.pending().requests.keys().cloned().collect()
    }

    pub(super) fn is_outstanding(&self, id: &RequestId) -> bool {
        self.pending().requests.contains_key(id)
    }

    /// Why the connection was ended from here, if it was.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Ends the connection: the server does what no server may.
    pub(super) fn fail(&self, why: String) {
        let _ = self.fault.set(why);
        self.ended.cancel();
    }

    pub(super) fn notices(&self) -> &Notices {
        &self.notices
    }

    pub(super) fn log(&self, level: LogLevel, text: &str) {
        self.notices.log(level, text);
    }

    fn forget(&self, id: &RequestId) {
        let mut pending = self.pending();
        // Some servers send a number back as a string.
        let same = match id {
            RequestId::String(text) if !pending.requests.contains_key(id) => {
                text.parse().ok().map(RequestId::Number)
            }
            _ => None,
        };
        if let Some(Some(token)) = pending.requests.remove(same.as_ref().unwrap_or(id)) {
            pending.sinks.remove(&token);
        }
    }

    fn sends(&self, message: &ClientJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                let tag = request.request.extensions().get::<Tag>();
                let token = request.request.get_meta().get_progress_token();
                let mut pending = self.pending();
                let token = tag.zip(token).map(|(Tag(sink), token)| {
                    pending.sinks.insert(token.clone(), sink.clone());
                    token
                });
                pending.requests.insert(request.id.clone(), token);
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.forget(id);
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
    }

    /// Takes what is for us; the rest goes on to the service loop.
    fn receives(&self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        match &message {
            JsonRpcMessage::Response(response) => self.forget(&response.id),
            JsonRpcMessage::Error(error) => {
                if let Some(id) = &error.id {
                    self.forget(id);
                }
            }
            JsonRpcMessage::Request(_) => {
                if self.unanswered.fetch_add(1, Ordering::Relaxed) >= UNANSWERED {
                    self.fail(format!(
                        "it sent {UNANSWERED} requests and reads none of the answers"
                    ));
                }
            }
            JsonRpcMessage::Notification(notification) => match &notification.notification {
                ServerNotification::ProgressNotification(progress) => {
                    let progress = &progress.params;
                    let sink = self.pending().sinks.get(&progress.progress_token).cloned();
                    if let Some(sink) = sink {
                        sink.report(Progress {
                            progress: progress.progress,
                            total: progress.total,
                            message: progress.message.clone(),
                        });
                    }
                    return None;
                }
                ServerNotification::LoggingMessageNotification(logging) => {
                    let said = &logging.params;
                    let text = match &said.data {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    let logger = said.logger.as_ref().map(|logger| format!("{logger}: "));
                    self.log(
                        level(said.level),
                        &format!("{}{text}", logger.unwrap_or_default()),
                    );
                    return None;
                }
                ServerNotification::ToolListChangedNotification(_) => {
                    self.changed.notify_one();
                    return None;
                }
                ServerNotification::CancelledNotification(_)
                | ServerNotification::SubscriptionsAcknowledgedNotification(_) => {}
                _ => return None,
            },
        }
        Some(message)
    }
}

fn level(level: LoggingLevel) -> LogLevel {
    match level {
        LoggingLevel::Debug => LogLevel::Debug,
        LoggingLevel::Info | LoggingLevel::Notice => LogLevel::Info,
        LoggingLevel::Warning => LogLevel::Warning,
        LoggingLevel::Error | LoggingLevel::Critical | LoggingLevel::Alert | LoggingLevel::Emergency => {
            LogLevel::Error
        }
    }
}

/// The answer that a call gets in place of one in the wrong shape.
pub(super) fn malformed(id: RequestId, why: &str) -> ServerJsonRpcMessage {
    let data = json!({ MALFORMED: true });
    ServerJsonRpcMessage::error(ErrorData::invalid_request(why.to_owned(), Some(data)), Some(id))
}

/// Whether `error` was made by [`malformed`].
pub(super) fn is_malformed(error: &ErrorData) -> bool {
    error
        .data
        .as_ref()
        .is_some_and(|data| data.get(MALFORMED).is_some())
}

/// A transport with a tap.
pub(super) struct Tapped<T> {
    pub(super) inner: T,
    pub(super) tap: Arc<Tap>,
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Tapped<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.tap.sends(&message);
        let answers = matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_));
        let tap = Arc::clone(&self.tap);
        let sent = self.inner.send(message);
        async move {
            let result = sent.await;
            if answers {
                tap.unanswered.fetch_sub(1, Ordering::Relaxed);
            }
            result
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let message = tokio::select! {
                biased;
                () = self.tap.ended.cancelled() => None,
                message = self.inner.receive() => message,
            };
            let Some(message) = message else {
                self.tap.ended.cancel();
                return None;
            };
            if let Some(message) = self.tap.receives(message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.tap.ended.cancel();
        self.inner.close().await
    }
}

/// However the loop ends, nobody waits for it for ever.
impl<T> Drop for Tapped<T> {
    fn drop(&mut self) {
        self.tap.ended.cancel();
    }
}
