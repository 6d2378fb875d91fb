//! What one provider does differently from this protocol as its inventor documents it, as data.

use serde::{Deserialize, Serialize};

/// The deviations of one provider; the default is AI Studio, the Gemini API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// It fetches a file at an `https` address for every model. The Gemini API does so from Gemini 2.5 on.
    pub fetches_files: bool,
    /// It knows ids of calls from Gemini 3 on alone; the Gemini API takes them from every model.
    pub call_ids_from_3: bool,
    /// It knows no `serviceTier` in the body (Vertex has headers for it).
    pub no_service_tier: bool,
}
