//! The C door: `omni_bridge.h` is generated from the functions and comments of this crate
//! (`cargo test -p omni-capi --test header -- --write`), so the comments on exported items speak to C programmers.
//!
//! Each exported function converts, calls and converts. JSON text goes in and out, so the contract is not
//! rebuilt as C structs; handles are entries of a table, never addresses; no panic leaves `door!`.
#![allow(
    unsafe_code,
    reason = "raw pointers are what a C interface is made of; each use argues its case"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the comments become the C header, which says in its own words what the caller must keep to"
)]
#![allow(
    clippy::doc_markdown,
    reason = "backticks would be noise in the C header that the comments become"
)]

#[macro_use]
mod door;
mod config;
mod events;
mod gil;
mod handle;
mod last_error;
mod runtime;
mod scripted;

pub mod about;
pub mod client;
pub mod code;
pub mod json;
pub mod push;
pub mod stream;
pub mod text;

#[cfg(test)]
mod tests;
