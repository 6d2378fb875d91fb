//! JSON-RPC over a program's standard input and output: one message a line, none larger than a bound.
//!
//! In place of the SDK's own transport, which drops what it cannot read: here the call that it was the answer to gets
//! an error at once, and does not wait for its time limit.

use super::notices::cut;
use super::tap::{Tap, malformed};
use crate::protocol::LogLevel;
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

/// The longest message that is read: as the SDK has it for HTTP.
pub(super) const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// So much without one message among it, and the server is given up.
const MAX_JUNK: u64 = 64 * 1024 * 1024;
/// What is kept of both ends of a message that is too long, to find its id.
const KEPT_HEAD: usize = 256;
const KEPT_TAIL: usize = 128;

pub(super) struct Lines<R, W> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// The line is too long: its head is in `line`, its tail here.
    too_long: Option<Vec<u8>>,
    writer: Arc<Mutex<Option<W>>>,
    /// Messages made here in place of what could not be read.
    made: VecDeque<ServerJsonRpcMessage>,
    junk: u64,
    max_message: usize,
    tap: Arc<Tap>,
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send + 'static> Lines<R, W> {
    pub(super) fn new(reader: R, writer: W, tap: Arc<Tap>) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            line: Vec::new(),
            too_long: None,
            writer: Arc::new(Mutex::new(Some(writer))),
            made: VecDeque::new(),
            junk: 0,
            max_message: MAX_MESSAGE,
            tap,
        }
    }

    /// Reads to the end of a line; false at the end of all. May be dropped at any await and called again: what was
    /// taken from the reader is in `self`.
    async fn read_line(&mut self) -> io::Result<bool> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(false);
            }
            let newline = memchr::memchr(b'\n', available);
            let taken = newline.map_or(available.len(), |at| at + 1);
            let piece = &available[..newline.unwrap_or(taken)];
            if let Some(tail) = &mut self.too_long {
                tail.extend_from_slice(&piece[piece.len().saturating_sub(KEPT_TAIL)..]);
                tail.drain(..tail.len().saturating_sub(KEPT_TAIL));
                self.junk += taken as u64;
            } else if self.line.len() + piece.len() > self.max_message {
                let mut tail = self.line[self.line.len().saturating_sub(KEPT_TAIL)..].to_vec();
                tail.extend_from_slice(&piece[piece.len().saturating_sub(KEPT_TAIL)..]);
                tail.drain(..tail.len().saturating_sub(KEPT_TAIL));
                self.junk += (self.line.len() + taken) as u64;
                self.line.extend_from_slice(&piece[..piece.len().min(KEPT_HEAD)]);
                self.line.truncate(KEPT_HEAD);
                self.line.shrink_to_fit();
                self.too_long = Some(tail);
            } else {
                self.line.extend_from_slice(piece);
            }
            self.reader.consume(taken);
            if newline.is_some() {
                return Ok(true);
            }
            if self.junk > MAX_JUNK {
                return Ok(false);
            }
        }
    }

    /// What the line says, or what is made of it.
    fn take_line(&mut self) -> Option<ServerJsonRpcMessage> {
        if let Some(tail) = self.too_long.take() {
            let why = format!(
                "it sent a message of more than {} MiB, which was not read",
                self.max_message / (1024 * 1024)
            );
            self.tap.log(LogLevel::Warning, &why);
            let id = id_at_an_end(&self.line, &tail).filter(|id| self.tap.is_outstanding(id));
            let ids = id.map_or_else(|| self.tap.outstanding(), |id| vec![id]);
            self.made.extend(ids.into_iter().map(|id| malformed(id, &why)));
            self.line = Vec::new();
            return None;
        }
        let line = self.line.trim_ascii();
        if line.is_empty() {
            self.line.clear();
            return None;
        }
        let message = match omni_core::from_slice_lenient::<ServerJsonRpcMessage>(line) {
            Ok(message) => {
                self.junk = 0;
                Some(message)
            }
            Err(error) => {
                self.junk += line.len() as u64;
                self.unreadable(&error)
            }
        };
        self.line.clear();
        if self.line.capacity() > 1024 * 1024 {
            self.line = Vec::new();
        }
        message
    }

    fn unreadable(&self, error: &serde_json::Error) -> Option<ServerJsonRpcMessage> {
        let line = self.line.trim_ascii();
        let Ok(value) = omni_core::from_slice_lenient::<Value>(line) else {
            let text = String::from_utf8_lossy(&line[..line.len().min(400)]);
            self.tap.log(
                LogLevel::Warning,
                &format!(
                    "it wrote to its standard output what is no message: {}",
                    cut(&text, 200)
                ),
            );
            return None;
        };
        let id = value.get("id").cloned();
        let id = id.and_then(|id| serde_json::from_value::<RequestId>(id).ok());
        let is_answer = value.get("method").is_none();
        match id {
            Some(id) if is_answer && self.tap.is_outstanding(&id) => {
                Some(malformed(id, "its answer has not the protocol's shape"))
            }
            _ => {
                let what = if is_answer {
                    "an answer to nothing"
                } else {
                    "a message in the wrong shape"
                };
                // The reader's own words may quote the message.
                let _ = error;
                self.tap.log(LogLevel::Warning, &format!("it sent {what}"));
                None
            }
        }
    }
}

impl<R, W> Transport<RoleClient> for Lines<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let writer = Arc::clone(&self.writer);
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let mut writer = writer.lock().await;
            let Some(writer) = writer.as_mut() else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            writer.write_all(&line).await?;
            writer.flush().await
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if let Some(message) = self.made.pop_front() {
                return Some(message);
            }
            let whole = self.read_line().await.unwrap_or(false);
            if self.junk > MAX_JUNK {
                self.tap.fail(format!(
                    "it sent more than {} MiB without one message in them",
                    MAX_JUNK / (1024 * 1024)
                ));
                return None;
            }
            if !whole {
                return None;
            }
            if let Some(message) = self.take_line() {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // Its end tells the server to end. Who still writes holds the lock: the process ends them both.
        if let Ok(mut writer) = self.writer.try_lock() {
            drop(writer.take());
        }
        Ok(())
    }
}

/// The id of a message of which only both ends are known: where the SDKs write it, first or last.
fn id_at_an_end(head: &[u8], tail: &[u8]) -> Option<RequestId> {
    let number = |digits: &str| digits.parse().ok().map(RequestId::Number);
    let head: String = String::from_utf8_lossy(head).split_whitespace().collect();
    let head = head.strip_prefix('{').unwrap_or("");
    let head = head.strip_prefix("\"jsonrpc\":\"2.0\",").unwrap_or(head);
    if let Some(rest) = head.strip_prefix("\"id\":") {
        return number(rest.split(',').next().unwrap_or(rest));
    }
    let tail: String = String::from_utf8_lossy(tail).split_whitespace().collect();
    // One brace closes the message itself: what stands before it is the message's own key.
    let tail = tail.strip_suffix('}')?;
    number(tail.rsplit_once("\"id\":")?.1)
}

#[cfg(test)]
mod tests {
    use super::super::notices::Notices;
    use super::*;
    use rmcp::model::{JsonRpcMessage, PingRequest};
    use serde_json::json;

    async fn read(input: &str, max: usize, asked: &[i64]) -> (Vec<Value>, Option<String>) {
        let tap = Arc::new(Tap::new(Arc::new(Notices::new("s"))));
        let mut lines = super::super::tap::Tapped {
            inner: Lines::new(input.as_bytes(), tokio::io::sink(), Arc::clone(&tap)),
            tap: Arc::clone(&tap),
        };
        lines.inner.max_message = max;
        for id in asked {
            let ping = rmcp::model::ClientRequest::PingRequest(PingRequest::default());
            lines
                .send(ClientJsonRpcMessage::request(ping, RequestId::Number(*id)))
                .await
                .unwrap();
        }
        let mut seen = Vec::new();
        while let Some(message) = lines.receive().await {
            if let JsonRpcMessage::Error(error) = &message {
                assert!(super::super::tap::is_malformed(&error.error));
            }
            seen.push(serde_json::to_value(message).unwrap());
        }
        (seen, tap.fault().map(str::to_owned))
    }

    #[tokio::test]
    async fn an_answer_in_the_wrong_shape_fails_its_call_at_once() {
        let (seen, _) = read(
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"outcome\":3}\n",
            MAX_MESSAGE,
            &[7],
        )
        .await;
        assert_eq!(seen[0]["id"], 7);
        assert!(
            seen[0]["error"]["message"].as_str().unwrap().contains("shape"),
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_fails_its_own_call_and_no_other() {
        let filler = "x".repeat(5000);
        for line in [
            format!("{{\"jsonrpc\": \"2.0\", \"id\": 7, \"result\": {{\"id\": 8, \"x\": \"{filler}\"}}}}\n"),
            format!("{{\"result\":{{\"id\":8,\"x\":\"{filler}\"}},\"jsonrpc\":\"2.0\",\"id\":7}}\n"),
        ] {
            let (seen, _) = read(&format!("{line}{line}"), 1000, &[7, 8]).await;
            assert_eq!(
                seen.iter().map(|one| &one["id"]).collect::<Vec<_>>()[0],
                &json!(7)
            );
        }
        // Whose it was cannot be told: nobody waits for ever.
        let (seen, _) = read(&format!("{{\"x\":\"{filler}\"}}\n"), 1000, &[7, 8]).await;
        assert_eq!(seen.len(), 2);
    }

    #[tokio::test]
    async fn text_that_is_no_message_is_passed_over() {
        let good = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
        let (seen, fault) = read(
            &format!("starting up\n\n\u{feff}\n{{\"a\":1}}\n{good}\r\n"),
            MAX_MESSAGE,
            &[1],
        )
        .await;
        assert_eq!((seen, fault), (vec![good], None));
    }
}
