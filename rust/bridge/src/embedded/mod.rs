//! The Python engine in this process.
#![allow(unsafe_code, reason = "the embedding: every block carries its safety argument")]

pub mod abi;
