//! One LLM call for every provider: what a Rust user depends on.
//!
//! ```no_run
//! use omni_bridge::{Client, Message, Request};
//!
//! # async fn run() -> omni_bridge::Result<()> {
//! let client = Client::builder().build()?;
//! let reply = client.chat(Request::new("openai/gpt-5-mini", vec![Message::user("Say hello.")])).await?;
//! println!("{}", reply.content);
//! # Ok(()) }
//! ```
//!
//! [`Client`] keeps the time limits, tries again, goes on with a fallback, and folds the events into the reply: the
//! same above every engine. What is asked and answered is the contract of `omni_core`, re-exported here.

mod builder;
mod call;
mod cancel;
pub mod catalogue;
mod client;
mod content;
pub mod credentials;
mod fallback;
mod gate;
mod limits;
mod native;
mod retry;
mod source;
mod spend;
mod storm;
pub mod testing;
mod timer;
mod trace;
mod window;

pub use builder::{Bridge, ClientBuilder};
pub use client::Client;
pub use gate::Limit;
pub use omni_core::{
    Attempt, BoxFuture, Budget, CONTRACT, CacheCreation, Canceller, ChatEngine, ChatModel, ChatStream, Code,
    Content, Custom, Engine, EngineChoice, Error, Event, FinishReason, Function, Message, ModelId, ModelInfo,
    Object, Part, Reply, Request, Result, Retry, RetryPolicy, Role, Step, Steps, Stop, Timeout, Timeouts,
    Tool, ToolCall, ToolChoice, Usage,
};
pub use spend::Spent;
