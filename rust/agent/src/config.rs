//! What an agent is: one document, the same as TOML, as JSON, from Rust and from Python. Only the model has no default.
//! Keys have no place in it: they stay in the bridge's environment.

use crate::session::Durability;
use omni_core::{Budget, EngineChoice, Error, Object, Request, Result, near_match};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An agent: its model, its tools, its limits.
///
/// ```
/// let config = omni_agent::AgentConfig::from_toml(r#"
/// model = "openai/gpt-5-mini"
/// [mcp_servers.time]
/// command = "mcp-server-time"
/// "#)?;
/// assert_eq!(config.max_tool_rounds, 30);
/// # Ok::<(), omni_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Who answers: only `bridge`.
    pub llm: Llm,
    /// Where the bridge is: only `embedded` (in this process). `bridge_url` is the other way.
    pub bridge: Bridge,
    /// The URL of a bridge service (`omni serve`), in place of the embedded one.
    pub bridge_url: Option<String>,
    /// The model id, `provider/model`.
    pub model: String,
    /// Model ids, or objects with the fields to change, that are tried in turn when the model fails.
    #[schemars(with = "Vec<Value>")]
    pub fallbacks: Vec<Value>,
    /// Which engine answers: one word, or one word per model id.
    pub engine: EngineSwitch,
    /// Instructions for the model.
    pub system: Option<String>,
    /// MCP servers by name, in the shape that everyone has (`mcpServers` is read too).
    #[serde(alias = "mcpServers")]
    pub mcp_servers: BTreeMap<String, ServerConfig>,
    /// Rounds of tool calls in one turn.
    pub max_tool_rounds: u32,
    /// Tool calls of one answer that run at once.
    pub max_parallel_tools: usize,
    /// Bytes of one tool result that the model is shown; the rest is cut, and the model is told.
    pub max_result_bytes: usize,
    /// How often the very same call may be made in one turn.
    pub max_repeated_calls: u32,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// Limits of spending, for one turn.
    pub budget: Budgets,
    /// Which tools may run, and who is asked.
    pub approval: Approval,
    /// When and how what the model sees is shortened.
    pub compaction: Compaction,
    /// Where sessions are kept; `None` keeps them in memory.
    pub session_store: Option<StoreConfig>,
    /// Whether a title is made after the first turn.
    pub titles: bool,
    /// Who makes titles and summaries; the model itself if `None`.
    pub small_model: Option<String>,
    /// Other fields of the contract's request: `temperature`, `reasoning_effort`, `provider_options` …
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub request: Object,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            llm: Llm::Bridge,
            bridge: Bridge::Embedded,
            bridge_url: None,
            model: String::new(),
            fallbacks: Vec::new(),
            engine: EngineSwitch::default(),
            system: None,
            mcp_servers: BTreeMap::new(),
            max_tool_rounds: 30,
            max_parallel_tools: 8,
            max_result_bytes: 128 * 1024,
            max_repeated_calls: 3,
            timeouts: Timeouts::default(),
            budget: Budgets::default(),
            approval: Approval::default(),
            compaction: Compaction::default(),
            session_store: None,
            titles: true,
            small_model: None,
            request: Object::new(),
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Llm {
    /// The bridge.
    #[default]
    Bridge,
}

/// Where the bridge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bridge {
    /// In this process.
    #[default]
    Embedded,
}

/// Which engine answers: `"native"`, or `{default = "auto", models = {"openai/gpt-5" = "litellm"}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected \"auto\", \"native\" or \"litellm\", or a table with default and models"
)]
pub enum EngineSwitch {
    /// One for every model.
    All(#[schemars(with = "String")] EngineChoice),
    /// By model id; `provider/*` stands for a provider's models.
    Each {
        /// For models that are not named.
        #[serde(default)]
        #[schemars(with = "String")]
        default: EngineChoice,
        /// By model id.
        #[schemars(with = "BTreeMap<String, String>")]
        models: BTreeMap<String, EngineChoice>,
    },
}

impl Default for EngineSwitch {
    fn default() -> Self {
        EngineSwitch::All(EngineChoice::Auto)
    }
}

impl EngineSwitch {
    /// The engine for a model id: its own entry, its provider's, the default.
    pub fn choice(&self, model: &str) -> EngineChoice {
        match self {
            EngineSwitch::All(choice) => *choice,
            EngineSwitch::Each { default, models } => {
                let provider = model.split_once('/').map(|(provider, _)| format!("{provider}/*"));
                let of_provider = provider.and_then(|key| models.get(&key));
                *models.get(model).or(of_provider).unwrap_or(default)
            }
        }
    }
}

/// An MCP server: a program, or an address.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServerConfig {
    /// `stdio` (a program) or `http`; told by `command` and `url` if absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables added to its environment, which otherwise holds only what a program needs to run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// HTTP headers; `${NAME}` stands for a variable of the environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Seconds that it may take to start and to list its tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_timeout: Option<f64>,
    /// Seconds that one call may take, in place of `timeouts.tool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_timeout: Option<f64>,
    /// Seconds that a list of tools is believed without asking again; a server that says when its list changes is
    /// believed until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools_ttl: Option<f64>,
    /// Only these tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled_tools: Option<Vec<String>>,
    /// Left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What other programs write beside these; kept, and not used.
    #[serde(flatten)]
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub other: Object,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            kind: None,
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            url: None,
            headers: BTreeMap::new(),
            startup_timeout: None,
            tool_timeout: None,
            tools_ttl: None,
            enabled_tools: None,
            disabled: false,
            other: Object::new(),
        }
    }
}

/// Arguments, variables and headers may hold secrets: their names are shown, their values never.
impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("type", &self.kind)
            .field("command", &self.command)
            .field("args", &self.args.len())
            .field("env", &self.env.keys())
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}

/// Limits of time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a whole turn; `None` is no limit.
    pub turn: Option<f64>,
    /// For one tool call.
    pub tool: f64,
    /// Until the model says something.
    pub first_event: Option<f64>,
    /// For a person to approve a tool call.
    pub approval: f64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            turn: None,
            tool: 120.0,
            first_event: None,
            approval: 600.0,
        }
    }
}

/// Limits of spending, for one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budgets {
    /// Tokens, input and output.
    pub tokens: Option<u64>,
    /// Dollars.
    pub usd: Option<f64>,
}

impl From<Budgets> for Budget {
    fn from(budgets: Budgets) -> Self {
        Self {
            tokens: budgets.tokens,
            usd: budgets.usd,
        }
    }
}

/// Whether a tool may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It may.
    Approve,
    /// Only what its server says only reads; for the rest somebody is asked.
    ApproveReads,
    /// Somebody is asked.
    Ask,
    /// It may not.
    Deny,
}

/// Which tools may run, and who is asked. The most exact entry counts: `tools`, then `servers`, then `default`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Approval {
    /// For servers and tools that are not named.
    pub default: Policy,
    /// By server; `host` for the program's own functions.
    pub servers: BTreeMap<String, Policy>,
    /// By tool, as the model names it.
    pub tools: BTreeMap<String, Policy>,
    /// Nobody is there to ask: what would be asked is denied at once.
    pub unattended: bool,
    /// Where "always" is kept; `None` keeps it for the process.
    pub file: Option<PathBuf>,
}

impl Default for Approval {
    fn default() -> Self {
        Self {
            default: Policy::Ask,
            servers: BTreeMap::new(),
            tools: BTreeMap::new(),
            unattended: false,
            file: None,
        }
    }
}

/// When and how what the model sees is shortened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compaction {
    /// Whether it is done at all.
    pub enabled: bool,
    /// The share of the model's window at which it is done.
    pub at: f64,
    /// The window in tokens, in place of what the catalogue knows.
    pub window: Option<u64>,
    /// The last turns that stay whole.
    pub keep_turns: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            enabled: true,
            at: 0.8,
            window: None,
            keep_turns: 2,
        }
    }
}

/// Where sessions are kept: a path, or `{path, durability}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a path, or a table with path and durability")]
pub enum StoreConfig {
    /// A file.
    Path(PathBuf),
    /// A file, and what it must survive.
    Full {
        /// The file.
        path: PathBuf,
        /// What it must survive.
        #[serde(default)]
        durability: Durability,
    },
}

impl AgentConfig {
    /// An agent on `model` with every default.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            ..Self::default()
        }
    }

    /// Reads a TOML document and checks it.
    ///
    /// # Errors
    /// `invalid_request` with the path of what is wrong and a near match for an unknown field.
    pub fn from_toml(text: &str) -> Result<Self> {
        let config = Self::read_toml(text)?;
        config.check()?;
        Ok(config)
    }

    /// As [`AgentConfig::from_toml`], for whoever completes the document before he checks it: a command line may name
    /// the model.
    pub fn read_toml(text: &str) -> Result<Self> {
        // The parser's message quotes the line, which may hold a secret: only the place is told.
        let document: Value = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(0, |span| span.start);
            let line = text
                .get(..place)
                .map_or(1, |before| before.matches('\n').count() + 1);
            Error::invalid(format!(
                "the agent's configuration is no TOML document: line {line}: {}",
                error.message()
            ))
        })?;
        Self::read(document)
    }

    /// Takes a JSON document and checks it.
    ///
    /// # Errors
    /// As [`AgentConfig::from_toml`].
    pub fn from_value(document: Value) -> Result<Self> {
        let config = Self::read(document)?;
        config.check()?;
        Ok(config)
    }

    fn read(document: Value) -> Result<Self> {
        if let Some(object) = document.as_object() {
            let known = serde_json::to_value(Self::default()).unwrap_or(json!({}));
            for key in object.keys() {
                if known.get(key).is_none() && key != "mcpServers" {
                    let names = known
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(name, _)| name.as_str());
                    let near = near_match(key, names).map(|near| format!("; did you mean \"{near}\"?"));
                    return Err(Error::invalid(format!(
                        "{key}: the agent's configuration has no such field{}",
                        near.unwrap_or_default()
                    )));
                }
            }
        }
        read_at("", document)
    }

    /// Checks what types alone do not say.
    pub fn check(&self) -> Result<()> {
        // Some message, as no request is without one: it is the other fields that are checked.
        let request = self.request_of(&self.model, vec![omni_core::Message::user("Hello")])?;
        request.check()?;
        for (path, share) in [("compaction.at", self.compaction.at)] {
            if !(0.1..=1.0).contains(&share) {
                return Err(Error::invalid(format!(
                    "{path}: expected a share from 0.1 to 1, got {share}"
                )));
            }
        }
        let seconds = [
            ("timeouts.turn", self.timeouts.turn),
            ("timeouts.tool", Some(self.timeouts.tool)),
            ("timeouts.first_event", self.timeouts.first_event),
            ("timeouts.approval", Some(self.timeouts.approval)),
        ];
        for (path, value) in seconds {
            if value.is_some_and(|value| !value.is_finite() || value <= 0.0) {
                return Err(Error::invalid(format!(
                    "{path}: expected a number of seconds above 0"
                )));
            }
        }
        Budget::from(self.budget).check()?;
        for (name, server) in &self.mcp_servers {
            server.check(name)?;
        }
        Ok(())
    }

    /// A request of `model` with what the configuration says about every request.
    pub fn request_of(&self, model: &str, messages: Vec<omni_core::Message>) -> Result<Request> {
        let mut document = self.request.clone();
        for key in ["model", "messages", "tools", "engine", "fallbacks", "api_key"] {
            if document.contains_key(key) {
                return Err(Error::invalid(format!(
                    "request.{key}: {}",
                    if key == "api_key" {
                        "keys stay in the bridge's environment; set the provider's variable there"
                    } else {
                        "the agent sets it itself; use the configuration's own field"
                    }
                )));
            }
        }
        document.insert("model".to_owned(), Value::String(model.to_owned()));
        document.insert("messages".to_owned(), json!([]));
        let mut request = serde_json::from_value::<Request>(Value::Object(document.clone()))
            .or_else(|_| Request::from_value(&Value::Object(document)))?;
        request.messages = messages;
        request.engine = Some(self.engine.choice(model));
        if !self.fallbacks.is_empty() {
            request.fallbacks = Some(self.fallbacks.clone());
        }
        Ok(request)
    }
}

/// A document as a type, or where it is wrong and what was expected there.
fn read_at<T: serde::de::DeserializeOwned>(above: &str, document: Value) -> Result<T> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = match (above, error.path().to_string()) {
            ("", path) => path,
            (above, path) if path == "." => above.to_owned(),
            (above, path) => format!("{above}.{path}"),
        };
        Error::invalid(format!("{path}: {}", expected(error.inner())))
    })
}

/// What serde expected, without the value that it found: that may be a secret in the wrong place.
fn expected(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let names = || said.split('`').skip(1).step_by(2);
    if said.starts_with("unknown field ") {
        let near = names()
            .next()
            .and_then(|field| near_match(field, names().skip(1)));
        let near = near.map(|near| format!("; did you mean \"{near}\"?"));
        return format!("there is no such field{}", near.unwrap_or_default());
    }
    if let Some((_, expected)) = said.rsplit_once(", expected ") {
        return format!("expected {}", expected.replace('`', "\""));
    }
    if said.starts_with("missing field ") || said.starts_with("expected ") {
        return said.replace('`', "\"");
    }
    "a value is of the wrong kind".to_owned()
}

impl ServerConfig {
    /// Reads what stands under a server's name in `mcpServers`.
    ///
    /// # Errors
    /// `invalid_request` with the path of what is wrong.
    pub fn read(name: &str, document: Value) -> Result<Self> {
        read_at(&format!("mcp_servers.{name}"), document)
    }

    /// Checks that it is a program or an address, and not both.
    ///
    /// # Errors
    /// `invalid_request` with what to write.
    pub fn check(&self, name: &str) -> Result<()> {
        let wrong = |what: &str| Err(Error::invalid(format!("mcp_servers.{name}: {what}")));
        let proper = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name == "host" || !name.chars().all(proper) {
            return wrong("a server's name has only letters, digits, - and _, and is not \"host\"");
        }
        match (self.kind.as_deref(), &self.command, &self.url) {
            (None | Some("stdio"), Some(_), None) => Ok(()),
            (None | Some("http" | "streamable-http" | "streamable_http"), None, Some(url)) => {
                if url.starts_with("http://") || url.starts_with("https://") {
                    Ok(())
                } else {
                    wrong("url: expected an address that begins with http:// or https://")
                }
            }
            (Some("sse"), ..) => wrong(
                "type: \"sse\" is the retired HTTP+SSE transport; use the server's streamable HTTP address with \"http\"",
            ),
            (Some(kind), ..) if !matches!(kind, "stdio" | "http" | "streamable-http" | "streamable_http") => {
                wrong("type: expected \"stdio\" or \"http\"")
            }
            _ => wrong("give either \"command\" (a program) or \"url\" (an address)"),
        }
    }

    /// Whether it is reached by HTTP.
    pub const fn is_http(&self) -> bool {
        self.url.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named_with_a_near_match() {
        let error = AgentConfig::from_toml("model = \"openai/x\"\nmax_tool_round = 3").unwrap_err();
        assert!(error.message.contains("max_tool_round:"), "{}", error.message);
        assert!(error.message.contains("\"max_tool_rounds\""), "{}", error.message);
    }

    #[test]
    fn what_is_wrong_below_the_top_is_told_with_its_path_and_never_with_its_value() {
        for (document, says) in [
            (
                json!({"timeouts": {"tol": 5}}),
                "timeouts.tol: there is no such field; did you mean \"tool\"?",
            ),
            (
                json!({"timeouts": {"tool": "sk-secret"}}),
                "timeouts.tool: expected f64",
            ),
            (
                json!({"max_tool_rounds": "sk-secret"}),
                "max_tool_rounds: expected u32",
            ),
            (
                json!({"engine": "sk-secret"}),
                "engine: expected \"auto\", \"native\" or \"litellm\", or a table with default and models",
            ),
            (
                json!({"session_store": 5}),
                "session_store: expected a path, or a table with path and durability",
            ),
            (
                json!({"mcp_servers": {"a": {"args": "sk-secret"}}}),
                "mcp_servers.a.args: expected a sequence",
            ),
        ] {
            let error = AgentConfig::from_value(document.clone()).unwrap_err();
            assert_eq!(error.message, says, "{document}");
        }
        let error = AgentConfig::from_value(json!({"approval": {"default": "sk-secret"}})).unwrap_err();
        assert!(
            error
                .message
                .starts_with("approval.default: expected one of \"approve\""),
            "{error}"
        );
        assert!(!error.message.contains("secret"), "{error}");
    }

    #[test]
    fn the_shape_that_everyone_has_is_read() {
        let config = AgentConfig::from_value(json!({
            "model": "openai/x",
            "mcpServers": {
                "time": {"command": "mcp-server-time", "args": ["--local"], "env": {"TZ": "UTC"}},
                "web": {"type": "http", "url": "https://example.org/mcp", "headers": {"a": "b"}, "novel": 1},
            }
        }))
        .unwrap();
        assert!(config.mcp_servers["web"].is_http());
        assert_eq!(config.mcp_servers["time"].args, ["--local"]);
    }

    #[test]
    fn a_configuration_holds_no_key_and_no_wrong_server() {
        for (document, says) in [
            (
                json!({"model": "openai/x", "request": {"api_key": "k"}}),
                "environment",
            ),
            (
                json!({"model": "openai/x", "mcp_servers": {"a": {"type": "sse", "url": "http://x"}}}),
                "retired",
            ),
            (json!({"model": "openai/x", "mcp_servers": {"a": {}}}), "command"),
            (
                json!({"model": "openai/x", "mcp_servers": {"host": {"command": "x"}}}),
                "host",
            ),
            (json!({"model": ""}), "model"),
            (
                json!({"model": "openai/x", "request": {"temprature": 1}}),
                "temperature",
            ),
            (
                json!({"model": "openai/x", "timeouts": {"tool": 0}}),
                "timeouts.tool",
            ),
        ] {
            let error = AgentConfig::from_value(document.clone()).unwrap_err();
            assert!(error.message.contains(says), "{document}: {}", error.message);
        }
    }

    #[test]
    fn the_engine_is_chosen_by_model_then_provider_then_default() {
        let config = AgentConfig::from_toml(
            "model = \"openai/x\"\n[engine]\ndefault = \"native\"\n[engine.models]\n\"openai/*\" = \"auto\"\n\"openai/y\" = \"litellm\"",
        )
        .unwrap();
        assert_eq!(config.engine.choice("openai/x"), EngineChoice::Auto);
        assert_eq!(config.engine.choice("openai/y"), EngineChoice::Litellm);
        assert_eq!(config.engine.choice("gemini/z"), EngineChoice::Native);
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let mut server = ServerConfig {
            command: Some("x".into()),
            ..ServerConfig::default()
        };
        server.env.insert("TOKEN".into(), "sk-secret".into());
        server
            .headers
            .insert("Authorization".into(), "Bearer sk-secret".into());
        let shown = format!("{server:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("sk-secret"), "{shown}");
    }
}
