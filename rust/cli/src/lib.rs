//! The `omni` command line, hosted by a binary of its own and by the Python package's console script.
//!
//! A shell: it reads arguments, calls the client, prints. What a call does is the client's business.

mod agent;
mod args;
mod auth;
mod catalogue;
mod chat;
mod doctor;
mod exit;
mod files;
mod host;
mod keys;
mod models;
mod output;
mod prompt;
mod terminal;

pub use exit::exit_code;
pub use host::Composition;

use args::{Args, Command, Common};
use clap::Parser;
use clap::error::ErrorKind;
use exit::Failure;
use std::ffi::OsString;

/// Runs the command line `words` (the program's name first) and gives the exit code.
pub fn run<A: Into<OsString> + Clone>(words: impl IntoIterator<Item = A>, composition: &Composition) -> i32 {
    let args = match Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => {
            // Help that was asked for goes to stdout; a reader that has seen enough is no failure.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::DONE,
                _ => exit::USAGE,
            };
        }
    };
    match command(args, composition) {
        Ok(code) => code,
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}

/// What the console script of the Python package calls, inside a Python process.
pub fn main_from<A: Into<OsString> + Clone>(words: impl IntoIterator<Item = A>) -> i32 {
    run(words, &Composition::python())
}

fn command(args: Args, composition: &Composition) -> Result<i32, Failure> {
    let common = args.common;
    match args.command {
        Command::Chat(chat) => on_runtime(chat::run(*chat, &common, composition)),
        Command::Run(run) => on_runtime(agent::run::run(*run, &common, composition)),
        Command::Sessions(sessions) => on_runtime(agent::sessions::run(*sessions, &common, composition)),
        Command::Replay(replay) => on_runtime(agent::replay::replay(replay)),
        Command::TestRun(test) => on_runtime(agent::replay::test_run(*test, &common)),
        Command::Mcp(mcp) => on_runtime(agent::mcp::run(mcp)),
        Command::Models(models) => on_runtime(models::run(models, &common, composition)),
        Command::Catalogue(catalogue) => catalogue::run(&catalogue.command, &common, composition),
        Command::Doctor(doctor) => on_runtime(doctor::run(&doctor, &common, composition)),
        Command::Auth(auth) => auth::run(&auth.command),
        Command::Serve(rest) => host::exec("serve", &rest.arguments, &common, composition),
        Command::DemoServer(rest) => host::exec("demo-server", &rest.arguments, &common, composition),
    }
}

/// One thread is enough: calls are polled on it, and the engine has its own.
fn on_runtime(work: impl Future<Output = Result<i32, Failure>>) -> Result<i32, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("the system gives no event queue: {error}")))?;
    let result = runtime.block_on(work);
    // A read of standard input may still block a thread of the pool: nobody waits for it.
    runtime.shutdown_background();
    result
}

/// The client that the options ask for.
fn client(common: &Common, composition: &Composition) -> Result<omni_bridge::Client, Failure> {
    let mut builder = composition
        .builder()
        .catalogue(omni_bridge::catalogue::Catalogue::load()?);
    if let Some(url) = common.bridge_url.clone().filter(|url| !url.is_empty()) {
        let token = std::env::var("OMNI_BRIDGE_TOKEN")
            .ok()
            .filter(|token| !token.is_empty());
        builder = builder.bridge(omni_bridge::Bridge::Url { url, token });
    }
    if let Some(python) = &common.python {
        builder = builder.python(python);
    }
    builder.build().map_err(Failure::Call)
}
