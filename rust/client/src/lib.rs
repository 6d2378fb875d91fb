//! One LLM call for every provider: what a Rust user depends on.

pub use omni_core::*;
