//! The arguments, as clap reads them; the comments are the help.
#![allow(clippy::doc_markdown, reason = "backticks would stand in the help")]

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  omni chat \"Say hello.\" -m openai/gpt-5-mini
  cat report.txt | omni chat \"Sum this up\" | less
  omni chat \"What is in the picture?\" --file photo.jpg
  omni doctor

Exit codes:
  0 done; 2 wrong usage; 3 input or output failed; 130 cancelled with Ctrl-C; else the kind of error:
  11 invalid_request   15 not_found       19 rate_limit   23 connection
  12 authentication    16 timeout         20 budget       24 overloaded
  13 quota             17 context_length  21 provider     25 engine_unavailable
  14 permission        18 content_filter  22 protocol     26 unsupported
                                                          28 internal";

const MODELS_EXAMPLES: &str = "\
Examples:
  omni models --provider anthropic --reasoning
  omni models --tools --vision --max-price 1
  omni models --live --provider groq
  omni models --local";

const CHAT_EXAMPLES: &str = "\
Examples:
  omni chat \"Say hello.\" -m anthropic/claude-haiku-4-5
  cat report.txt | omni chat \"Sum this up\" | less
  omni chat \"Which city?\" --file photo.jpg --system \"Answer in one word.\"
  omni chat \"A colour\" --json --set temperature=0 --set 'response_format={\"type\":\"json_object\"}'
  omni chat \"Count to ten\" --stream --json        # the events, one JSON document a line

Keys are read from the environment under LiteLLM's names: OPENAI_API_KEY, ANTHROPIC_API_KEY, …
Without a key: `omni demo-server` stands in for a provider.";

const AUTH_EXAMPLES: &str = "\
Examples:
  omni auth set openai                       # asks for the key
  pass show openai | omni auth set openai --file
  omni auth list

A call takes the key that it is given, else the environment's, else the keychain's, else the file's.
OMNI_KEYCHAIN=off leaves the keychain out; OMNI_CREDENTIALS names another file.";

/// One LLM call for every provider: ask, look, serve.
#[derive(Debug, Parser)]
#[command(
    name = "omni",
    version = version(),
    after_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command that asks an engine.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Common {
    /// Interpreter or virtual environment to embed [default: OMNI_BRIDGE_PYTHON, VIRTUAL_ENV, then python3]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// Ask the bridge service at this address instead; its token is read from OMNI_BRIDGE_TOKEN
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "OMNI_BRIDGE_URL",
        hide_env_values = true
    )]
    pub(crate) bridge_url: Option<String>,

    /// Tell on standard error what was asked and what it took
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask a model; the answer comes as it is written
    Chat(Box<Chat>),
    /// Let an agent do a task with tools, in a session that stays
    Run(Box<crate::agent::args::Run>),
    /// List, print, resume, fork, export, search and delete sessions
    Sessions(Box<crate::agent::args::Sessions>),
    /// List and check MCP servers
    Mcp(crate::agent::args::Mcp),
    /// Play a session's log
    Replay(crate::agent::args::Replay),
    /// Run the agent's loop again from a log, with its answers and tools, and compare
    TestRun(Box<crate::agent::args::TestRun>),
    /// List the models that are known
    Models(Models),
    /// Compare the catalogue of providers and models with LiteLLM's, or bring it up to date (needs Python)
    Catalogue(Catalogue),
    /// Look at what is there and what is missing, and say how to mend it
    Doctor(Doctor),
    /// Keep, list and remove keys
    Auth(Auth),
    /// Serve the same call over HTTP (needs Python)
    #[command(disable_help_flag = true)]
    Serve(Rest),
    /// Stand in for a provider, offline (needs Python)
    #[command(disable_help_flag = true)]
    DemoServer(Rest),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = CHAT_EXAMPLES)]
pub(crate) struct Chat {
    /// What to ask; what is piped in follows it
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,

    /// Model, as provider/model [default: OMNI_MODEL, else a small one of the first provider with a key]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Who is to ask [default: auto, the native engine where it can, else LiteLLM]
    #[arg(long, value_name = "ENGINE", value_parser = ["auto", "native", "litellm"])]
    pub(crate) engine: Option<String>,

    /// Instructions to the model
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,

    /// Text, picture, sound or PDF to send along; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Vec<PathBuf>,

    /// Print the whole reply as JSON; with --stream the events, one a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Use the provider's streamed wire [default, except with --json]
    #[arg(long, overrides_with = "no_stream")]
    pub(crate) stream: bool,

    /// Use the provider's unstreamed wire
    #[arg(long)]
    pub(crate) no_stream: bool,

    /// Another base URL for the provider
    #[arg(long, value_name = "URL")]
    pub(crate) api_base: Option<String>,

    /// Seconds that the whole call may take
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,

    /// Set any other field of the request, as JSON or plain text; may be given several times
    #[arg(long, value_name = "FIELD=VALUE", action = ArgAction::Append)]
    pub(crate) set: Vec<String>,
}

impl Chat {
    /// Which of the provider's wires to use.
    pub(crate) fn streamed(&self) -> bool {
        self.stream || !(self.no_stream || self.json)
    }
}

#[derive(Debug, ClapArgs)]
#[command(after_help = MODELS_EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Models {
    /// Only models whose id contains this
    #[arg(value_name = "TEXT")]
    pub(crate) search: Option<String>,

    /// Only this provider's
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,

    /// Only models that take tools
    #[arg(long)]
    pub(crate) tools: bool,

    /// Only models that take images
    #[arg(long)]
    pub(crate) vision: bool,

    /// Only models that reason
    #[arg(long)]
    pub(crate) reasoning: bool,

    /// Only models whose million tokens cost no more dollars than this, in and out
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) max_price: Option<f64>,

    /// Ask the provider itself what it has now
    #[arg(long, requires = "provider", conflicts_with = "local")]
    pub(crate) live: bool,

    /// Look for servers on this machine: Ollama, LM Studio, llama.cpp, vLLM …
    #[arg(long)]
    pub(crate) local: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Catalogue {
    #[command(subcommand)]
    pub(crate) command: CatalogueCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogueCommand {
    /// Whether the catalogue in use is what the installed LiteLLM gives
    Check,
    /// Read it anew from the installed LiteLLM, into your folder for configuration
    Update(CatalogueUpdate),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CatalogueUpdate {
    /// Another folder to write to
    #[arg(long, value_name = "PATH")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = AUTH_EXAMPLES)]
pub(crate) struct Auth {
    #[command(subcommand)]
    pub(crate) command: AuthCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Keep a provider's key; it is asked for without echo, or read from a pipe
    Set(AuthSet),
    /// List the keys that are there: names and places, never values
    List(AuthList),
    /// Forget a provider's key, wherever `set` put it
    Remove(AuthRemove),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuthSet {
    /// Provider, as in a model id: openai, anthropic, …
    #[arg(value_name = "PROVIDER")]
    pub(crate) provider: String,

    /// Keep it in a file that only you can read, instead of the keychain [default: omni/credentials.json in your folder
    /// for configuration, or OMNI_CREDENTIALS]
    #[arg(long)]
    pub(crate) file: bool,

    /// A key that was written here after all: it is taken, so that no message repeats it, and refused.
    #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
    pub(crate) misplaced: Vec<OsString>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuthList {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuthRemove {
    /// Provider, as in a model id
    #[arg(value_name = "PROVIDER")]
    pub(crate) provider: String,
}

/// Arguments that the Python command reads.
#[derive(Debug, ClapArgs)]
pub(crate) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<OsString>,
}

fn version() -> String {
    format!("{} (contract {})", env!("CARGO_PKG_VERSION"), omni_core::CONTRACT)
}
