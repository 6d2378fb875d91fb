//! What the benchmark programs share: the canned answers, the plain way to read them, the conversation with the
//! harness.

pub mod raw;
pub mod side;
pub mod wire;
