//! The session store: what it keeps, what it survives, and what it says when it cannot.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;
mod delete;
mod faults;
mod files;
mod kill;
mod processes;
mod speed;
mod transfer;
mod tree;
mod writers;
