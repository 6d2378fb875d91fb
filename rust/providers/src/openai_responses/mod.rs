//! The openai_responses protocol.

mod decode;
mod dialect;
mod encode;

pub(crate) use decode::Decoder;
pub use dialect::Dialect;
pub(crate) use encode::{declines, encode};
