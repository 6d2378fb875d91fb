//! OpenAI's chat completions, as OpenAI and many others speak them. Source: recorded traffic, and
//! <https://platform.openai.com/docs/api-reference/chat>.

mod decode;
mod dialect;
mod encode;

pub(crate) use decode::Decoder;
pub(crate) use dialect::Dialect;
pub(crate) use encode::{declines, encode};
