//! The `generateContent` protocol of Gemini, as AI Studio and Vertex speak it.
//!
//! Source: recorded traffic, <https://ai.google.dev/api/generate-content> and
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>.

mod decode;
mod dialect;
mod encode;

pub(crate) use decode::Decoder;
pub(crate) use dialect::Dialect;
pub(crate) use encode::{declines, encode};

/// Gemini often gives no id of a call. An id that begins so is ours and never goes back to it.
const OWN_ID: &str = "omni_call_";

/// Whose Gemini's parts are, whichever provider serves it: any target that speaks this protocol takes them back.
const FAMILY: &str = "gemini";
