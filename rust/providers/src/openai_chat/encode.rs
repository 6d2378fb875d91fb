//! Requests → wire.

use crate::protocol::{Encoded, Target};
use omni_core::{Code, Error, Request, Result};

/// Why this protocol cannot carry `request`.
pub(crate) fn declines(_request: &Request, _target: &Target) -> Option<String> {
    Some("this protocol is not written yet".to_owned())
}

/// `request` on the wire.
pub(crate) fn encode(request: &Request, _target: &Target, _stream: bool) -> Result<Encoded> {
    Err(Error::new(Code::Unsupported, "this protocol is not written yet").for_model(&request.model))
}
