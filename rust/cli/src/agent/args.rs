//! The arguments of the commands around the agent; the comments are the help.
#![allow(clippy::doc_markdown, reason = "backticks would stand in the help")]

use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

const RUN_EXAMPLES: &str = "\
Examples:
  omni run \"What time is it in Lima?\" --mcp servers.json
  omni run \"And in Oslo?\" --session s-01k…        # goes on in the same session
  omni run \"Tidy up notes/\" --mcp servers.json --approve ask
  git diff | omni run \"Review this\" --json | jq .event_type

servers.json has the shape that everyone has: {\"mcpServers\": {\"time\": {\"command\": \"mcp-server-time\"}}}.
The answer goes to standard output; tools, their results and the cost go to standard error.";

const SESSIONS_EXAMPLES: &str = "\
Examples:
  omni sessions list
  omni sessions show s-01k…
  omni sessions resume s-01k… \"Now in French\"
  omni sessions search \"invoice march\"
  omni sessions export s-01k… > session.jsonl";

/// Where sessions are kept, and what an agent is.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct Setup {
    /// The agent's configuration, as TOML
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "OMNI_AGENT",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,

    /// Where sessions are kept [default: omni/sessions.db in your folder for data]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "OMNI_SESSIONS",
        hide_env_values = true
    )]
    pub(crate) store: Option<PathBuf>,
}

/// What one turn is to be like.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct Turn {
    /// Model, as provider/model [default: the configuration's, else OMNI_MODEL, else as `omni chat` chooses]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Who is to ask: auto, native or litellm
    #[arg(long, value_name = "ENGINE", value_parser = ["auto", "native", "litellm"])]
    pub(crate) engine: Option<String>,

    /// Instructions to the model
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,

    /// File with MCP servers, {"mcpServers": {…}}; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) mcp: Vec<PathBuf>,

    /// Which tools may run: approve, approve-reads, ask or deny [default: the configuration's, else ask]
    #[arg(long, value_name = "POLICY", value_parser = ["approve", "approve-reads", "ask", "deny"])]
    pub(crate) approve: Option<String>,

    /// Another base URL for the provider
    #[arg(long, value_name = "URL")]
    pub(crate) api_base: Option<String>,

    /// Print JSON: a run's events, one a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// What to do; what is piped in follows it
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,

    /// Go on in this session
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,

    #[command(flatten)]
    pub(crate) turn: Turn,

    #[command(flatten)]
    pub(crate) setup: Setup,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = SESSIONS_EXAMPLES)]
pub(crate) struct Sessions {
    #[command(subcommand)]
    pub(crate) command: SessionsCommand,

    #[command(flatten)]
    pub(crate) setup: Setup,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List sessions, the newest first
    List {
        /// So many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a session: who said what, which tools ran
    Show {
        #[arg(value_name = "ID")]
        session: String,
        /// Every sibling, not only the active path
        #[arg(long)]
        tree: bool,
        /// Print the events as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Go on in a session
    Resume {
        #[arg(value_name = "ID")]
        session: String,
        /// What to do; what is piped in follows it
        #[arg(value_name = "TASK")]
        task: Option<String>,
        #[command(flatten)]
        turn: Turn,
    },
    /// Copy a session's beginning into a new one, and print its id
    Fork {
        #[arg(value_name = "ID")]
        session: String,
        /// The last message to copy [default: the active end]
        #[arg(long, value_name = "MESSAGE")]
        at: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a session a title
    Rename {
        #[arg(value_name = "ID")]
        session: String,
        #[arg(value_name = "TITLE")]
        title: String,
    },
    /// Write a session to standard output: its whole log, or its messages in the OpenAI shape
    Export {
        #[arg(value_name = "ID")]
        session: String,
        /// jsonl (the whole log) or openai (the messages of the active path)
        #[arg(long, value_name = "FORMAT", default_value = "jsonl", value_parser = ["jsonl", "openai"])]
        format: String,
    },
    /// Read a session from a file that `export` wrote, or from standard input with -, and print its id
    Import {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Search in what was said
    Search {
        #[arg(value_name = "WORDS")]
        words: Vec<String>,
        /// So many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete sessions for good
    Rm {
        #[arg(value_name = "ID", required = true)]
        sessions: Vec<String>,
    },
}

#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_field_names, reason = "the field is the option's name")]
pub(crate) struct Mcp {
    #[command(subcommand)]
    pub(crate) command: McpCommand,

    /// File with MCP servers, {"mcpServers": {…}}; may be given several times
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) mcp: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) setup: Setup,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// List the servers that are configured
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Start each, list its tools and end it
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Replay {
    /// The session
    #[arg(value_name = "ID")]
    pub(crate) session: String,

    /// So many times as fast as it was; `inf` prints it at once
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    pub(crate) speed: f64,

    /// Print the events as JSON, one a line
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) setup: Setup,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TestRun {
    /// A log that `omni sessions export` wrote
    #[arg(value_name = "LOG")]
    pub(crate) log: PathBuf,

    #[command(flatten)]
    pub(crate) turn: Turn,

    #[command(flatten)]
    pub(crate) setup: Setup,
}
