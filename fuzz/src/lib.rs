//! What the fuzz targets check. Each `run` takes one input of the fuzzer and panics when something does not hold.
//!
//! The first bytes of an input say how the rest of it is cut ([`input`]); [`mutate`] is how the fuzzer finds the next
//! input; [`sse`], [`answer`] and [`request`] hold the checks.

pub mod answer;
pub mod input;
pub mod mutate;
pub mod request;
pub mod sse;
