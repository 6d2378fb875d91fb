//! The anthropic protocol.

mod betas;
mod block;
mod decode;
mod dialect;
mod encode;
mod format;
mod media;
mod messages;
mod model;
mod schema;
mod tools;
mod usage;
mod wire;

pub(crate) use decode::Decoder;
pub(crate) use dialect::Dialect;
pub(crate) use encode::{declines, encode};

/// The tool of ours that stands for `response_format` where the model has no structured output: its input is the
/// answer.
const FORMAT_TOOL: &str = "json_answer";
/// The same for an answer that is no object, which a tool's input must be: it stands under "values".
const FORMAT_VALUES: &str = "json_answer_values";

#[cfg(test)]
mod tests;
