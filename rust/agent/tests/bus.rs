//! The event bus: what all readers have seen is the same, however slow they are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

#[path = "bus/client.rs"]
mod client;
#[path = "bus/log.rs"]
mod log;
#[path = "bus/random.rs"]
mod random;
#[path = "bus/readers.rs"]
mod readers;
