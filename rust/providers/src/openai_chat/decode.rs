//! Answers → events.

use crate::fault::Fault;
use crate::parts::Parts;
use crate::protocol::{Context, Decode, Meta};
use omni_core::Finish;

/// Decodes one answer, streamed or whole.
pub(crate) struct Decoder {
    meta: Meta,
}

impl Decoder {
    pub(crate) fn new(_context: &Context) -> Self {
        Self {
            meta: Meta::default(),
        }
    }
}

impl Decode for Decoder {
    fn frame(&mut self, _event: &str, _data: &str, _parts: &mut Parts) -> Result<(), Fault> {
        Err(Fault::protocol("this protocol is not written yet"))
    }

    fn body(&mut self, _body: &[u8], _parts: &mut Parts) -> Result<(), Fault> {
        Err(Fault::protocol("this protocol is not written yet"))
    }

    fn end(&mut self, _parts: &mut Parts) -> Result<Finish, Fault> {
        Err(Fault::protocol("this protocol is not written yet"))
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn last_seen(&self) -> bool {
        false
    }
}
