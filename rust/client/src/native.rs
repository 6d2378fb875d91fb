//! The native engine behind the client: which calls it takes, where they go, and with which key.
//!
//! It takes a call, or leaves it to the other engine, before the first byte is sent and never after.

use crate::client::Shared;
use omni_core::{Code, EngineChoice, Error, Request, Steps};
use std::time::Duration;

/// Who makes a try.
#[allow(dead_code, reason = "the native engine is being put in")]
pub(crate) enum Route {
    /// The native engine: it has begun.
    Native(Steps),
    /// The engine behind the bridge; why the native one does not take it, if it was asked.
    Bridge(Option<String>),
    /// Nobody.
    Refused(Error),
}

impl Shared {
    /// Begins a try of `request`, or says who else is to.
    pub(crate) fn route(&self, request: &Request, _stream: bool, _connect: Option<Duration>) -> Route {
        if request.engine == Some(EngineChoice::Native) {
            let message = "the native engine is not here yet";
            return Route::Refused(Error::new(Code::Unsupported, message));
        }
        Route::Bridge(None)
    }
}
