//! The contract of `omni_bridge`: what a request, an event, a reply and an error are.
//!
//! Pure: no socket, no clock, no runtime, no provider's name. Everything else in the
//! workspace depends on this crate and this crate on none of it.

mod engine;
mod error;
mod event;
mod explain;
mod fold;
mod json;
mod message;
mod model;
mod reply;
mod request;
mod sse;
mod tool;

pub use engine::{Engine as ChatEngine, Step, Steps};
pub use error::{Code, Error, Result};
pub use event::{Event, Finish};
pub use explain::near_match;
pub use fold::Fold;
pub use json::{Object, from_slice_lenient, mend_surrogates, unreadable};
pub use message::{Content, Message, Part, Role};
pub use model::{BoxFuture, Canceller, ChatModel, ChatStream, ModelId, ModelInfo};
pub use reply::{Attempt, CacheCreation, Engine, FinishReason, Reply, Usage};
pub use request::{Budget, EngineChoice, Request, Retry, RetryPolicy, Stop, Timeout, Timeouts};
pub use sse::{SseFrame, SseReader};
pub use tool::{Custom, Function, Tool, ToolCall, ToolChoice};

/// The version of the contract: in the schema, in `/health`, in `omni_version()` and in every handshake.
pub const CONTRACT: u32 = 1;
