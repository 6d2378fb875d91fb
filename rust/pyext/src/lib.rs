//! `omni_bridge._native`: lists and registers.

mod agent;
mod bell;
mod call;
mod channel;
mod doors;
mod engine;
mod engine_call;
mod engine_exit;
mod engine_hub;
mod enter;
mod error;
mod event;
mod frozen;
mod json;
mod mailbox;
mod message;
mod reply;
mod request;
mod runtime;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    engine::register(module)?;
    engine_exit::register(module)?;
    event::register(module)?;
    message::register(module)?;
    reply::register(module)?;
    module.add_class::<request::Request>()?;
    module.add_class::<call::Call>()?;
    module.add_class::<channel::Channel>()?;
    agent::register(module)?;
    doors::register(module)
}
