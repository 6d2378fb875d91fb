//! What one provider does differently from this protocol as its inventor documents it, as data.

use serde::{Deserialize, Serialize};

/// The deviations of one provider; the default has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// What `max_tokens` is when the request names none; absent: what is known of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Whether the server refuses the header `anthropic-beta`.
    pub no_betas: bool,
}
