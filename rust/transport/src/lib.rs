//! The one pooled HTTP client of `omni_bridge`: no protocol in it, and no provider.
//!
//! [`Transport`] sends a [`Call`] and hands out an [`Exchange`]: the head, then the body piece by piece as the reader
//! asks for it, so that a slow reader slows the sender and no buffer grows. Dropping an exchange, or cancelling it
//! from any thread, closes its socket.

mod client;
mod exchange;

pub use bytes::Bytes;
pub use client::{Call, Transport, base_url};
pub use exchange::{Exchange, Head};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method};
