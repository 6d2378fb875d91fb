//! What the options make of an agent: its configuration, its servers, its store, its model.

use crate::agent::args::{Setup, Turn};
use crate::args::Common;
use crate::exit::Failure;
use crate::host::Composition;
use crate::output;
use omni_agent::{AgentConfig, Durability, EngineSwitch, Policy, ServerConfig, SqliteStore, StoreConfig};
use omni_bridge::Client;
use omni_core::{EngineChoice, Error};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration that the options describe, all but its model checked.
pub(crate) fn config(
    setup: &Setup,
    turn: &Turn,
    model: impl FnOnce() -> Result<String, Failure>,
) -> Result<AgentConfig, Failure> {
    let mut config = match &setup.config {
        Some(path) => config_file(path)?,
        None => AgentConfig::default(),
    };
    if let Some(model) = &turn.model {
        config.model.clone_from(model);
    } else if config.model.is_empty() {
        config.model = model()?;
    }
    config.engine = match turn.engine.as_deref() {
        Some("native") => EngineSwitch::All(EngineChoice::Native),
        Some("litellm") => EngineSwitch::All(EngineChoice::Litellm),
        Some(_) => EngineSwitch::All(EngineChoice::Auto),
        None => config.engine,
    };
    if let Some(system) = &turn.system {
        config.system = Some(system.clone());
    }
    if let Some(base) = &turn.api_base {
        config
            .request
            .insert("api_base".to_owned(), Value::String(base.clone()));
    }
    match turn.approve.as_deref() {
        Some("approve") => config.approval.default = Policy::Approve,
        Some("approve-reads") => config.approval.default = Policy::ApproveReads,
        Some("deny") => config.approval.default = Policy::Deny,
        Some(_) => config.approval.default = Policy::Ask,
        None => {}
    }
    config.mcp_servers.extend(servers(&turn.mcp)?);
    config.check()?;
    Ok(config)
}

/// A configuration file; what the command line adds is checked with it later.
pub(crate) fn config_file(path: &Path) -> Result<AgentConfig, Failure> {
    AgentConfig::read_toml(&read(path)?).map_err(|error| named(path, error))
}

/// The servers of some files in the shape that everyone has.
pub(crate) fn servers(files: &[PathBuf]) -> Result<BTreeMap<String, ServerConfig>, Failure> {
    let mut all = BTreeMap::new();
    for path in files {
        let document: Value = serde_json::from_str(&read(path)?)
            .map_err(|error| named(path, omni_core::unreadable("the file", &error)))?;
        let servers = document.get("mcpServers").or_else(|| document.get("mcp_servers"));
        let Some(servers) = servers.and_then(Value::as_object) else {
            let shape = "expected {\"mcpServers\": {\"name\": {\"command\": …} or {\"url\": …}}}";
            return Err(Failure::Usage(format!("{}: {shape}", path.display())));
        };
        for (name, server) in servers {
            let server = ServerConfig::read(name, server.clone()).map_err(|error| named(path, error))?;
            all.insert(name.clone(), server);
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::Io(format!("{}: {error}", path.display())))
}

fn named(path: &Path, mut error: Error) -> Failure {
    error.message = format!("{}: {}", path.display(), error.message);
    Failure::Call(error)
}

/// The store that the options, the configuration or the system's habits name.
pub(crate) fn store(setup: &Setup, config: Option<&AgentConfig>) -> Result<Arc<SqliteStore>, Failure> {
    let (path, durability) = place(setup, config)?;
    Ok(Arc::new(SqliteStore::open(&path, durability)?))
}

/// Where what a person approves for always is kept, unless the configuration says it: beside the store.
pub(crate) fn approvals(setup: &Setup, config: &AgentConfig) -> Result<PathBuf, Failure> {
    Ok(place(setup, Some(config))?.0.with_file_name("approvals.json"))
}

fn place(setup: &Setup, config: Option<&AgentConfig>) -> Result<(PathBuf, Durability), Failure> {
    let configured = config.and_then(|config| config.session_store.clone());
    Ok(match (&setup.store, configured) {
        (Some(path), Some(StoreConfig::Full { durability, .. })) => (path.clone(), durability),
        (Some(path), _) => (path.clone(), Durability::default()),
        (None, Some(StoreConfig::Path(path))) => (path, Durability::default()),
        (None, Some(StoreConfig::Full { path, durability })) => (path, durability),
        (None, None) => (default_path()?, Durability::default()),
    })
}

/// The store of a command that asks no model: the file of the options, else of the configuration.
pub(crate) fn store_only(setup: &Setup) -> Result<Arc<SqliteStore>, Failure> {
    let config = setup.config.as_deref().map(config_file).transpose()?;
    store(setup, config.as_ref())
}

fn default_path() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("XDG_DATA_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    let Some(folder) = folder.map(|folder| folder.join("omni")) else {
        let message = "there is no folder for sessions: set HOME, or name a file with --store";
        return Err(Failure::Usage(message.to_owned()));
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::Io(format!("{}: {error}", folder.display())))?;
    Ok(folder.join("sessions.db"))
}

/// The model: the bridge, embedded or at an address.
pub(crate) fn model(
    config: &AgentConfig,
    common: &Common,
    composition: &Composition,
) -> Result<Arc<Client>, Failure> {
    let mut common = common.clone();
    if common.bridge_url.as_deref().is_none_or(str::is_empty) {
        common.bridge_url.clone_from(&config.bridge_url);
    }
    if common.verbose {
        output::note(&format!("asking {}", config.model));
    }
    Ok(Arc::new(crate::client(&common, composition)?))
}
