//! HTTP/1.1 on one connection, driven by its reader.
//!
//! Our own and not hyper's for two reasons, both measured (`examples/cost.rs`): hyper hands every transfer chunk
//! through a channel of its own, and a stream of events is made of small ones; and without a task in between, dropping
//! the reader closes the socket there and then. Heads are parsed by httparse, as hyper's are.
//!
//! It is strict where leniency would let one answer run into the next (RFC 9112 sections 6 and 11): then the
//! connection is not used again, or the answer is refused.

mod chunked;

use crate::fault;
use crate::socket::Socket;
use bytes::{Buf as _, Bytes, BytesMut};
use chunked::Chunked;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use omni_core::Error;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

/// What is read at a time: a slow reader holds no more than this beside what the kernel holds.
const PIECE: usize = 16 * 1024;
/// An answer's head, all its fields together.
const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 128;
/// A body up to this long goes out in one write with its head.
const ONE_WRITE: usize = 32 * 1024;

/// A connection between two exchanges.
pub(crate) struct Line {
    pub(crate) socket: Socket,
    input: BytesMut,
}

impl Line {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            input: BytesMut::new(),
        }
    }
}

/// How the end of the body is known.
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// The connection's end is the body's.
    Close,
}

/// Why an exchange failed before its head.
pub(crate) struct Broken {
    pub(crate) error: Error,
    /// No byte of an answer has come.
    pub(crate) silent: bool,
    /// The kernel has taken no byte of the request.
    pub(crate) unsent: bool,
}

/// One exchange on a connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts of their own: none follows from another"
)]
pub(crate) struct Talk {
    line: Line,
    head: BytesMut,
    body: Bytes,
    flushed: bool,
    unsent: bool,
    headless: bool,
    framing: Framing,
    reusable: bool,
    ended: bool,
}

/// The request as it is written: `target` is a path, or a whole address for a proxy.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a str,
    pub(crate) host: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extra: &'a [(HeaderName, HeaderValue)],
    pub(crate) body: Bytes,
}

impl Request<'_> {
    fn head(&self) -> BytesMut {
        let mut head = BytesMut::with_capacity(
            512 + if self.body.len() <= ONE_WRITE {
                self.body.len()
            } else {
                0
            },
        );
        for part in [self.method.as_str(), " ", self.target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        if !self.headers.contains_key(HOST) {
            field(&mut head, HOST.as_str(), self.host.as_bytes());
        }
        for (name, value) in self.headers {
            // How the body is framed is not the caller's to say.
            if !matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION) {
                field(&mut head, name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in self.extra {
            field(&mut head, name.as_str(), value.as_bytes());
        }
        let bare = matches!(*self.method, Method::GET | Method::HEAD | Method::CONNECT);
        if !self.body.is_empty() || !bare {
            field(
                &mut head,
                "content-length",
                self.body.len().to_string().as_bytes(),
            );
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

fn field(head: &mut BytesMut, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

impl Talk {
    pub(crate) fn new(line: Line, request: Request<'_>) -> Self {
        let mut head = request.head();
        let mut body = request.body;
        if body.len() <= ONE_WRITE {
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        Self {
            line,
            head,
            body,
            flushed: false,
            unsent: true,
            headless: *request.method == Method::HEAD,
            framing: Framing::Length(0),
            reusable: true,
            ended: false,
        }
    }

    /// Whether the last byte of the answer has been seen.
    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }

    /// The connection for the next exchange, if this one has left it in order.
    pub(crate) fn into_line(mut self) -> Option<Line> {
        let whole = self.ended && self.flushed && self.reusable && self.line.input.is_empty();
        // An idle connection holds no buffer.
        self.line.input = BytesMut::new();
        whole.then_some(self.line)
    }

    /// The socket after a proxy has opened a tunnel through it.
    pub(crate) fn into_tunnel(self) -> Option<Socket> {
        // What came with the proxy's answer would be the other server's, which speaks only when spoken to.
        self.line.input.is_empty().then_some(self.line.socket)
    }

    /// The answer's status and headers.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(u16, HeaderMap), Broken>> {
        // A server may answer before it has read all, and close: what it says is worth more than the failed write.
        let written = self.poll_write(context);
        loop {
            match self.parse_head() {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
            if self.line.input.len() >= MAX_HEAD {
                let error = fault::malformed("its head is longer than 64 KiB");
                return Poll::Ready(Err(self.broken(error)));
            }
            let error = match self.poll_read(context) {
                Poll::Ready(Ok(0)) => "the server closed the connection before it answered".to_owned(),
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => error.to_string(),
                Poll::Pending => match written {
                    Poll::Ready(Err(ref error)) => error.to_string(),
                    Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
                },
            };
            return Poll::Ready(Err(self.broken(fault::no_answer(&error))));
        }
    }

    fn broken(&self, error: Error) -> Broken {
        Broken {
            error,
            silent: self.line.input.is_empty(),
            unsent: self.unsent,
        }
    }

    /// The next piece of the body; `None` once it has ended.
    pub(crate) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if !self.flushed && !self.ended {
            // The rest of a request whose answer came early. If it fails, the answer's own end tells.
            self.reusable &= !matches!(self.poll_write(context), Poll::Ready(Err(_)));
        }
        loop {
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            match self.decode() {
                Ok(Some(data)) => return Poll::Ready(Ok(Some(data))),
                Ok(None) if self.ended => continue,
                Ok(None) => {}
                Err(why) => return Poll::Ready(Err(fault::malformed(why))),
            }
            match ready!(self.poll_read(context)) {
                Ok(0) => {
                    if !matches!(self.framing, Framing::Close) {
                        return Poll::Ready(Err(fault::cut_off("the server closed the connection")));
                    }
                    self.ended = true;
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(fault::cut_off(&error.to_string()))),
            }
        }
    }

    /// What of the body has arrived.
    fn decode(&mut self) -> Result<Option<Bytes>, &'static str> {
        let input = &mut self.line.input;
        let data = match &mut self.framing {
            Framing::Close => input.split().freeze(),
            Framing::Length(left) => {
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= here as u64;
                self.ended = *left == 0;
                input.split_to(here).freeze()
            }
            Framing::Chunked(chunked) => {
                let data = chunked.decode(input)?;
                self.ended = chunked.ended();
                data
            }
        };
        Ok((!data.is_empty()).then_some(data))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = Pin::new(&mut self.line.socket);
        loop {
            let bytes = if self.head.is_empty() {
                &self.body[..]
            } else {
                &self.head[..]
            };
            if bytes.is_empty() {
                break;
            }
            let written = ready!(socket.as_mut().poll_write(context, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.unsent = false;
            if self.head.is_empty() {
                self.body.advance(written);
            } else {
                self.head.advance(written);
            }
        }
        if !self.flushed {
            ready!(socket.poll_flush(context))?;
            self.flushed = true;
            (self.head, self.body) = (BytesMut::new(), Bytes::new());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Line { socket, input } = &mut self.line;
        if input.capacity() - input.len() < PIECE / 4 {
            input.reserve(PIECE);
        }
        pin!(socket.read_buf(input)).poll(context)
    }

    /// The head, if all of it has arrived; heads of interim answers are skipped.
    fn parse_head(&mut self) -> Result<Option<(u16, HeaderMap)>, Error> {
        loop {
            // Not even cleared: there is room for far more fields than come.
            let mut fields = [MaybeUninit::uninit(); MAX_FIELDS];
            let mut response = httparse::Response::new(&mut []);
            let parser = httparse::ParserConfig::default();
            let parsed =
                parser.parse_response_with_uninit_headers(&mut response, &self.line.input, &mut fields);
            let length = match parsed {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(error) => return Err(fault::malformed(&error.to_string())),
            };
            let (status, minor) = (response.code.unwrap_or(0), response.version.unwrap_or(0));
            if status == 101 {
                return Err(fault::malformed("it changes to a protocol that nobody asked for"));
            }
            if matches!(status, 100..=199) {
                self.line.input.advance(length);
                continue;
            }
            let start = self.line.input.as_ptr() as usize;
            let places: Vec<_> = response
                .headers
                .iter()
                .map(|field| {
                    let value = field.value.as_ptr() as usize - start;
                    (
                        HeaderName::from_bytes(field.name.as_bytes()),
                        value..value + field.value.len(),
                    )
                })
                .collect();
            let head = self.line.input.split_to(length).freeze();
            let mut headers = HeaderMap::with_capacity(places.len());
            for (name, value) in places {
                let name = name.map_err(|_| fault::malformed("a field's name"))?;
                let value = if value.is_empty() {
                    Bytes::new()
                } else {
                    head.slice(value)
                };
                let value = HeaderValue::from_maybe_shared(value);
                headers.append(name, value.map_err(|_| fault::malformed("a field's value"))?);
            }
            self.frame(status, minor, &headers).map_err(fault::malformed)?;
            return Ok(Some((status, headers)));
        }
    }

    /// How the body ends, by RFC 9112 section 6.3.
    fn frame(&mut self, status: u16, minor: u8, headers: &HeaderMap) -> Result<(), &'static str> {
        self.reusable = minor == 1 && !has_token(headers, &CONNECTION, "close");
        let length = content_length(headers)?;
        self.framing = if self.headless || matches!(status, 204 | 304) {
            Framing::Length(0)
        } else if headers.contains_key(TRANSFER_ENCODING) {
            let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
            let chunked = codings
                .next()
                .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
            if !chunked || codings.next().is_some() {
                return Err("a transfer encoding other than chunked");
            }
            // Both at once may be an attempt to make two readers see two answers.
            self.reusable &= length.is_none();
            Framing::Chunked(Chunked::default())
        } else if let Some(length) = length {
            Framing::Length(length)
        } else {
            self.reusable = false;
            Framing::Close
        };
        self.ended = matches!(self.framing, Framing::Length(0));
        Ok(())
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for value in value.to_str().unwrap_or_default().split(',') {
            let value = value.trim();
            // `parse` alone would take a sign.
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let value: Option<u64> = digits.then(|| value.parse().ok()).flatten();
            let value = value.ok_or("its length is no number")?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err("it has two lengths");
            }
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
