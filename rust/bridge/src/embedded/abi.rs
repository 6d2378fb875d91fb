//! The crossing: the table of C functions that `omni_bridge._native` offers and every Rust host uses.
//!
//! It is the only thing that the host binary and the extension module share, and both may have been
//! built apart: so it is plain C, carries its own version and size, and knows nothing but bytes.
//! A change of any field or meaning raises [`ABI`].

use std::ffi::{c_char, c_void};

/// The version of this table.
pub const ABI: u32 = 1;

/// The capsule's name, and where it is: attribute `engine_api` of the module `omni_bridge._native`.
pub const CAPSULE: &std::ffi::CStr = c"omni_bridge._native.engine_api";

/// Takes a batch of JSON documents, one a line, from the loop's thread (attached to the interpreter: return soon,
/// never block, never call Python). `last` is 1 with the final batch, after which `user_data` is not used again.
/// Returns 0 to go on, or 1 when the receiver is full: the call then waits until `resume`.
pub type OnEvents =
    unsafe extern "C" fn(user_data: *mut c_void, batch: *const u8, len: usize, last: i32) -> i32;

/// The table. Every function may be called from any thread, attached or not, and catches its own panics.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EngineApi {
    /// [`ABI`] of the module.
    pub abi: u32,
    /// [`omni_core::CONTRACT`] of the module.
    pub contract: u32,
    /// `size_of::<EngineApi>()` of the module.
    pub size: usize,
    /// The module's package version, NUL-terminated, static.
    pub version: *const c_char,
    /// Starts a call with the op document `op` (JSON, `len` bytes, copied before the function returns).
    /// Starts the loop if need be. Returns the call's id, or 0 if the engine is shut down or cannot start
    /// (then `on_events` has already been given one `error` document with `last` = 1).
    pub call:
        unsafe extern "C" fn(op: *const u8, len: usize, on_events: OnEvents, user_data: *mut c_void) -> u64,
    /// Lets a call go on whose receiver was full.
    pub resume: extern "C" fn(call: u64),
    /// Cancels a call. It still ends with a last batch. An unknown or ended call is left alone.
    pub cancel: extern "C" fn(call: u64),
    /// Cancels every call and stops the loop; waits at most `timeout_ms`. 0 if it is stopped, 1 if time ran out.
    /// A later `call` starts a new loop.
    pub shutdown: extern "C" fn(timeout_ms: u64) -> i32,
    /// Calls that have not ended yet.
    pub open_calls: extern "C" fn() -> u64,
}

// SAFETY: the table holds function pointers and a pointer to a static string; nothing in it is ever written.
unsafe impl Send for EngineApi {}
// SAFETY: as above.
unsafe impl Sync for EngineApi {}
