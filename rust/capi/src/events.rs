//! The events of a stream as JSON text for C.

use crate::runtime;
use crate::text;
use futures_core::Stream;
use omni_core::ChatStream;
use std::ffi::CString;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The events of one call, each as JSON text. Dropping it cancels the call.
pub(crate) struct Events(Option<ChatStream>);

impl Events {
    pub(crate) const fn new(stream: ChatStream) -> Self {
        Self(Some(stream))
    }

    /// The next event, or `None` after the last.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<omni_core::Result<CString>>> {
        match &mut self.0 {
            Some(stream) => Pin::new(stream)
                .poll_next(context)
                .map(|event| event.map(|event| text::json(&event))),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Events {
    /// A stream may hold timers and tasks of the runtime, which want to end inside it.
    fn drop(&mut self) {
        let _context = runtime::existing().map(|runtime| runtime.enter());
        self.0 = None;
    }
}
