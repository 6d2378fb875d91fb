//! The one pooled HTTP client of `omni_bridge`: no protocol in it, and no provider.
//!
//! [`Transport`] sends a [`Call`] and hands out an [`Exchange`]: the head, then the body piece by piece as the reader
//! asks for it, so that a slow reader slows the sender and no buffer grows. Dropping an exchange, or cancelling it
//! from any thread, closes its socket (HTTP/2: resets its stream).
//!
//! HTTP/1.1 is driven by whoever reads the exchange, without a task between it and the socket: that halves what a
//! call costs, and a dropped exchange closes its socket before the drop returns. HTTP/2 is hyper's, in a task for
//! each connection, since its streams share one socket.

mod address;
mod body;
mod client;
mod connect;
mod deliver;
mod exchange;
mod fault;
mod h1;
mod inflate;
mod pool;
mod socket;
mod tls;

pub use address::{base_url, check_address};
pub use bytes::Bytes;
pub use client::{Builder, Call, Transport};
pub use exchange::{Exchange, Head};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method};
