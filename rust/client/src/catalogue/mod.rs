//! The catalogue: who serves which model, where, in which protocol, and what the model can do and costs.
//!
//! It is read from `LiteLLM`'s own data into a snapshot (`tools/catalogue.py`) that is compiled in and never parsed as
//! a whole: a look-up finds its line by bisection, whatever the number of models.
//!
//! ```
//! use omni_bridge::catalogue::{Catalogue, Unresolved};
//!
//! let catalogue = Catalogue::builtin();
//! let found = catalogue.resolve("anthropic/claude-sonnet-4-5")?;
//! assert_eq!((found.provider.name.as_str(), found.model.as_str()), ("anthropic", "claude-sonnet-4-5"));
//! assert_eq!(found.protocol.name(), "anthropic");
//!
//! let slip = catalogue.resolve("antropic/claude-sonnet-4-5").unwrap_err();
//! assert_eq!(slip.near(), Some("anthropic/claude-sonnet-4-5"));
//! # Ok::<(), Unresolved>(())
//! ```

mod config;
mod cost;
mod definition;
mod lines;
mod live;
mod model;
mod own;
mod price;
mod provider;
mod reasoning_tools;
mod resolve;
mod snapshot;
#[cfg(test)]
mod tests;

pub use config::folder;
pub use cost::{cost, cost_at};
pub use definition::Definition;
pub use live::{Local, unknown};
pub use model::{Abilities, Ability, Mode, Model};
pub use omni_providers::{Dialect, Protocol};
pub use price::{Meter, Price, Prices, Tier};
pub use provider::{Auth, Provider};
pub use reasoning_tools::ReasoningTools;
pub use resolve::{Resolved, Unresolved};
pub use snapshot::{VERSION, is_newer};

use omni_core::Usage;
use snapshot::Snapshot;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What is known of providers and models. Cheap to clone; clones share what is registered.
#[derive(Clone)]
pub struct Catalogue {
    shared: Arc<Shared>,
}

struct Shared {
    snapshot: Snapshot,
    own: RwLock<Own>,
    /// Ids that were resolved before.
    known: RwLock<HashMap<String, Resolved>>,
}

/// What the user added.
#[derive(Clone, Default)]
struct Own {
    providers: BTreeMap<String, Arc<Provider>>,
    /// Of those providers, as they were given.
    definitions: BTreeMap<String, Definition>,
    models: BTreeMap<String, Arc<Model>>,
    aliases: BTreeMap<String, String>,
}

/// Ids that are kept resolved. A program has a handful; one that makes up ids must not fill the memory.
const MAX_KNOWN: usize = 1_024;

impl Catalogue {
    /// The snapshot that is compiled in, and nothing of the user's.
    pub fn builtin() -> Self {
        Self {
            shared: Arc::new(Shared {
                snapshot: Snapshot::builtin(),
                own: RwLock::default(),
                known: RwLock::default(),
            }),
        }
    }

    /// Who is asked for a model id, how, and under which name.
    ///
    /// # Errors
    /// See [`Unresolved`].
    pub fn resolve(&self, id: &str) -> Result<Resolved, Unresolved> {
        if let Some(found) = read(&self.shared.known).get(id) {
            return Ok(found.clone());
        }
        let own = read(&self.shared.own);
        let found = resolve::resolve(&self.shared.snapshot, &own, id)?;
        // Still under the lock of `own`: what is registered after this forgets it again.
        let mut known = write(&self.shared.known);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(id.to_owned(), found.clone());
        Ok(found)
    }

    /// What is known of a model, by its id; also of one that only `LiteLLM` can ask.
    pub fn model(&self, id: &str) -> Option<Arc<Model>> {
        if let Some(found) = read(&self.shared.known).get(id) {
            return found.info.clone();
        }
        resolve::model(&self.shared.snapshot, &read(&self.shared.own), id)
    }

    /// What a call to the model `id` costs in dollars: what the provider says, or else what its usage and the prices
    /// give. `None` if that is not known.
    pub fn cost(&self, id: &str, usage: &Usage, service_tier: Option<&str>) -> Option<f64> {
        self.cost_at(id, usage, service_tier, cost::now())
    }

    /// [`cost`](Self::cost) at another moment, in seconds after 1970.
    pub fn cost_at(&self, id: &str, usage: &Usage, service_tier: Option<&str>, seconds: u64) -> Option<f64> {
        let raw = cost::Raw::of(usage);
        if let Some(said) = cost::told(&raw) {
            return Some(said);
        }
        let model = self.model(id)?;
        let other = |name: &str| self.model(&format!("{}/{name}", model.served_by()));
        cost::worked_out(&model, usage, &raw, service_tier, seconds, other)
    }

    /// A provider that the native engine can speak to.
    pub fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        let own = read(&self.shared.own).providers.get(name).cloned();
        own.or_else(|| self.shared.snapshot.provider(name).native())
    }

    /// Every provider that the native engine can speak to, by name.
    pub fn providers(&self) -> Vec<Arc<Provider>> {
        let mut all: BTreeMap<String, Arc<Provider>> = self
            .shared
            .snapshot
            .provider_names()
            .filter_map(|name| Some((name.to_owned(), self.shared.snapshot.provider(name).native()?)))
            .filter(|(name, provider)| *name == provider.name)
            .collect();
        let own = read(&self.shared.own);
        all.extend(
            own.providers
                .iter()
                .map(|(name, provider)| (name.clone(), Arc::clone(provider))),
        );
        all.into_values().collect()
    }

    /// The names of all providers that are known, `LiteLLM`'s too.
    pub fn provider_names(&self) -> Vec<String> {
        let own = read(&self.shared.own);
        let mut names: Vec<String> = self.shared.snapshot.provider_names().map(str::to_owned).collect();
        names.extend(own.providers.keys().cloned());
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The texts of the snapshot in use, models and providers, as `tools/catalogue.py` writes them.
    pub fn snapshot(&self) -> (&str, &str) {
        self.shared.snapshot.texts()
    }

    /// Every model that is known, by id. Reads the whole snapshot: for lists, not for calls.
    pub fn models(&self) -> Vec<Model> {
        let mut all: BTreeMap<String, Model> = BTreeMap::new();
        for model in self.shared.snapshot.models() {
            let id = model.id();
            // Some stand in it with and without their provider's name: the fuller name counts.
            if model.key == id || !all.contains_key(&id) {
                all.insert(id, model);
            }
        }
        let own = read(&self.shared.own);
        all.extend(
            own.models
                .iter()
                .map(|(key, model)| (key.clone(), model.as_ref().clone())),
        );
        all.into_values().collect()
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::builtin()
    }
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = read(&self.shared.own);
        f.debug_struct("Catalogue")
            .field("own_providers", &own.providers.keys())
            .field("own_models", &own.models.len())
            .finish_non_exhaustive()
    }
}

/// What a lock holds is whole at any time: whoever panicked elsewhere does not matter.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
