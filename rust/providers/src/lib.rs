//! The native engine: protocols as pure encoders and decoders, and one driver that speaks them over HTTP.
//!
//! A protocol folder does no I/O and knows no vendor: what one provider does differently stands in its [`Dialect`],
//! which is data. So the same decoder runs under tokio, under a fuzzer and over a recording.

mod answer;
mod anthropic;
mod dialect;
#[cfg(feature = "driver")]
mod driver;
#[cfg(feature = "driver")]
mod error;
mod fault;
mod gemini;
mod known;
mod merge;
mod openai_chat;
mod openai_responses;
mod parts;
mod protocol;
#[cfg(test)]
mod round_trips;
#[cfg(feature = "driver")]
mod secret;
mod value;

pub use answer::Answer;
pub use dialect::Dialect;
#[cfg(feature = "driver")]
pub use driver::{Outgoing, call, join};
pub use fault::Fault;
pub use known::{dialect_of, known_dialects};
pub use protocol::{Context, Encoded, Protocol, Target};
#[cfg(feature = "driver")]
pub use secret::Secret;
