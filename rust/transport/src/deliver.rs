//! One call on its way: a connection, the request, the head; again where that is safe, and where the server says
//! that it has moved.

use crate::address::Address;
use crate::body::Body;
use crate::client::{Call, Inner};
use crate::connect::{Route, connect};
use crate::exchange::Head;
use crate::fault;
use crate::h1::{Broken, Line, Request, Talk};
use crate::inflate::Inflate;
use crate::pool::{Found, Lease, Origin, Sender};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, LOCATION, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::Full;
use omni_core::{Error, Result};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime;

const MAX_REDIRECTS: usize = 3;
/// A call that the server has certainly not taken up is sent again this often.
const MAX_AGAIN: usize = 2;

/// Why a call has to be made anew, or failed for good.
enum Failed {
    /// The server cannot have worked on it.
    Untouched(Error),
    Final(Error),
}

pub(crate) async fn deliver(
    inner: Arc<Inner>,
    mut call: Call,
    limit: Option<Duration>,
) -> Result<(Head, Body)> {
    let mut address = Address::parse(&call.url)?;
    if !call.headers.contains_key(ACCEPT_ENCODING) {
        call.headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    }
    for turn in 0.. {
        let (mut head, mut body) = attempt(&inner, &address, &call, limit).await?;
        if turn < MAX_REDIRECTS
            && let Some(next) = moved(&address, &call.method, &head)
        {
            drain(&mut body).await;
            address = next;
            continue;
        }
        if call.method != Method::HEAD {
            body.inflate = Inflate::of(&mut head.headers)?.map(Box::new);
        }
        return Ok((head, body));
    }
    Err(Error::internal("a call has been sent without an end"))
}

/// Where the answer sends this call, if it may follow: within its origin, and as the call that it is. A prompt that
/// was posted is never turned into a GET, so that 301 to 303 are handed out.
fn moved(from: &Address, method: &Method, head: &Head) -> Option<Address> {
    let follows = match head.status {
        307 | 308 => true,
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    };
    let location = head.headers.get(LOCATION).filter(|_| follows)?;
    from.join_within_origin(location.to_str().ok()?)
}

/// What of a redirect's body is here already is read, so that its connection can be used again.
async fn drain(body: &mut Body) {
    std::future::poll_fn(|context| {
        for _ in 0..4 {
            if !matches!(body.poll_chunk(context), Poll::Ready(Ok(Some(_)))) {
                break;
            }
        }
        Poll::Ready(())
    })
    .await;
}

async fn attempt(
    inner: &Arc<Inner>,
    address: &Address,
    call: &Call,
    limit: Option<Duration>,
) -> Result<(Head, Body)> {
    let runtime = runtime::Handle::try_current()
        .map_err(|_| Error::internal("a call was polled outside a tokio runtime"))?
        .id();
    let origin = inner.origin(address);
    let mut again = 0;
    loop {
        let idle = find(&origin, runtime, again > 0).await;
        let reused = idle.is_some();
        let found = if let Some(found) = idle {
            found
        } else {
            let limit = limit.unwrap_or(inner.connect);
            // On the heap, since most calls find a connection and need not carry this one's state.
            let connecting = Box::pin(connect(inner, &origin, address, runtime));
            let connected = tokio::time::timeout(limit, connecting).await;
            let found = connected.map_err(|_| fault::too_slow(&origin.to, limit))??;
            inner.reap(runtime);
            found
        };
        let sent = match found {
            Found::Line(line) => on_line(&origin, line, address, call, reused).await,
            Found::Stream(sender, lease) => on_stream(sender, lease, address, call).await,
        };
        match sent {
            Ok(answer) => return Ok(answer),
            Err(Failed::Untouched(_)) if again < MAX_AGAIN => again += 1,
            Err(Failed::Untouched(error) | Failed::Final(error)) => return Err(error),
        }
    }
}

/// A connection that is there and can take a request. After a failure, no idle one of HTTP/1.1: the next may be as
/// dead as the one before.
async fn find(origin: &Origin, runtime: runtime::Id, again: bool) -> Option<Found> {
    loop {
        match origin.find(runtime)? {
            Found::Line(_) if again => {}
            Found::Line(mut line) => {
                if line.socket.is_alive().await {
                    return Some(Found::Line(line));
                }
            }
            stream @ Found::Stream(..) => return Some(stream),
        }
    }
}

async fn on_line(
    origin: &Arc<Origin>,
    line: Line,
    address: &Address,
    call: &Call,
    reused: bool,
) -> Result<(Head, Body), Failed> {
    let whole;
    let mut authorization: Option<(HeaderName, HeaderValue)> = None;
    let target = match &origin.route {
        Route::Forward(proxy) => {
            authorization = proxy
                .authorization
                .clone()
                .map(|value| (PROXY_AUTHORIZATION, value));
            whole = address.uri().to_string();
            &whole
        }
        Route::Direct | Route::Tunnel(_) | Route::Socks(..) => address.path(),
    };
    let mut talk = Talk::new(
        line,
        Request {
            method: &call.method,
            target,
            host: address.authority(),
            headers: &call.headers,
            extra: authorization.as_slice(),
            body: call.body.clone(),
        },
    );
    match std::future::poll_fn(|context| talk.poll_head(context)).await {
        Ok((status, headers)) => Ok((Head { status, headers }, Body::of_line(talk, Arc::clone(origin)))),
        Err(Broken {
            error,
            silent,
            unsent,
        }) => {
            // A connection that was idle may have been closed while the request was on its way. The kernel has taken
            // nothing, or the call changes nothing: again. Otherwise the server may have worked (and billed).
            let harmless = unsent || matches!(call.method, Method::GET | Method::HEAD);
            Err(if reused && silent && harmless {
                Failed::Untouched(error)
            } else {
                Failed::Final(error)
            })
        }
    }
}

async fn on_stream(
    mut sender: Sender,
    lease: Lease,
    address: &Address,
    call: &Call,
) -> Result<(Head, Body), Failed> {
    let mut request = http::Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = address.uri().clone();
    *request.headers_mut() = shared_headers(&call.headers);
    match sender.try_send_request(request).await {
        Ok(response) => {
            let (parts, incoming) = response.into_parts();
            let head = Head {
                status: parts.status.as_u16(),
                headers: parts.headers,
            };
            Ok((head, Body::of_stream(incoming, lease)))
        }
        Err(mut error) => {
            let unsent = error.take_message().is_some();
            let error = error.into_error();
            let told = fault::no_answer(&fault::innermost(&error));
            Err(if unsent || is_refused(&error) {
                Failed::Untouched(told)
            } else {
                Failed::Final(told)
            })
        }
    }
}

/// Whether the server has said that it did not take up the stream (RFC 9113 section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            // Going away names the last stream that is still answered: ours came after it.
            let left_out = error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR);
            return left_out || reason == Some(h2::Reason::REFUSED_STREAM);
        }
        cause = error.source();
    }
    false
}

/// Without what speaks of a connection: HTTP/2 has other words for it.
fn shared_headers(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [HOST, CONNECTION, TRANSFER_ENCODING, UPGRADE, TE, CONTENT_LENGTH] {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests;
