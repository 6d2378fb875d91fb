//! The conversation with the harness: the same file as our own sides have.

#[path = "../../rust/src/side.rs"]
pub mod side;
#[path = "../../rust/src/wire.rs"]
pub mod wire;
