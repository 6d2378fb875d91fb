//! What one provider does differently from this protocol as its inventor documents it, as data.

use serde::{Deserialize, Serialize};

/// The deviations of one provider; the default is the inventor's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// What follows the path, for example "?api-version=2025-04-01-preview".
    pub query: String,
    /// Whether instructions stand in a field of their own: some servers demand it, and take no system message.
    pub instructions: bool,
    /// How the names of models begin that give their reasoning encrypted. Other models refuse to be asked for it.
    pub encrypted_reasoning: Vec<String>,
    /// Fields of the request that this provider refuses, by their names in the contract.
    pub refuses: Vec<String>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            query: String::new(),
            instructions: false,
            encrypted_reasoning: ["gpt-5", "o1", "o3", "o4"].map(str::to_owned).into(),
            refuses: Vec::new(),
        }
    }
}

impl Dialect {
    /// Whether `model` gives its reasoning encrypted. A model that is not known to is not asked: it answers all the
    /// same, and what it thought is then known to the server alone, by its id.
    pub(crate) fn encrypts(&self, model: &str) -> bool {
        // Routers put the maker before the name.
        let name = model.rsplit('/').next().unwrap_or(model);
        let reasons = |start: &String| name.starts_with(start.as_str());
        self.encrypted_reasoning.iter().any(reasons) && !name.contains("-chat")
    }
}
