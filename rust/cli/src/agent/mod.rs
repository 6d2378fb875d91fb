//! The commands around the agent: a shell over `omni_agent`, as `chat` is one over the client.

pub(crate) mod approve;
pub(crate) mod args;
pub(crate) mod mcp;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod sessions;
pub(crate) mod setup;
pub(crate) mod show;
