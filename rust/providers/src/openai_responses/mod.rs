//! The OpenAI responses protocol: `POST …/responses`.
//!
//! Source: recorded traffic, and <https://platform.openai.com/docs/api-reference/responses>.

mod content;
mod decode;
mod dialect;
mod encode;
mod input;
mod items;
mod tell;
mod usage;
mod wire;

pub(crate) use decode::Decoder;
pub(crate) use dialect::Dialect;
pub(crate) use encode::{declines, encode};

#[cfg(test)]
mod tests;
