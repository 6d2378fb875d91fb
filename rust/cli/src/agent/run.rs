//! `omni run`, and `omni sessions resume`.

use crate::agent::args::{Run, Setup, Turn};
use crate::agent::show::Printer;
use crate::agent::{approve, setup};
use crate::args::Common;
use crate::exit::{DONE, Failure, INTERRUPTED};
use crate::host::Composition;
use crate::output::{self, Reader};
use crate::prompt;
use futures_util::FutureExt;
use omni_agent::{Agent, AgentEvent, McpOptions, McpServers, Payload, RunHandle, RunInput, StoppedBy};
use omni_core::{Code, Error, ToolCall};
use std::pin::pin;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(crate) async fn run(run: Run, common: &Common, composition: &Composition) -> Result<i32, Failure> {
    turn(run.task, run.session, run.turn, &run.setup, common, composition).await
}

/// One turn, in a new session or in `session`.
pub(crate) async fn turn(
    task: Option<String>,
    session: Option<String>,
    turn: Turn,
    setup: &Setup,
    common: &Common,
    composition: &Composition,
) -> Result<i32, Failure> {
    // Asked for before anything is read or started: from here on Ctrl-C never kills half-way.
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut config = setup::config(setup, &turn, || prompt::model(common.verbose))?;
    // Nobody sees the question of a program whose output is read by another.
    config.approval.unattended |= turn.json || !approve::somebody_there();
    let task = tokio::select! {
        task = prompt::task(task) => task?,
        _ = &mut interrupt => return Err(Failure::Interrupted),
    };
    let model = setup::model(&config, common, composition)?;
    let store = setup::store(setup, Some(&config))?;
    if config.approval.file.is_none() {
        config.approval.file = Some(setup::approvals(setup, &config)?);
    }
    let servers = McpServers::of_agent(&config, McpOptions::default());
    let mut builder = Agent::builder(config).model(model).store(store);
    for server in servers.sources() {
        builder = builder.tools(server);
    }
    let agent = builder.build()?;
    let mut input = RunInput::from(task);
    if let Some(session_id) = session {
        input = input.session(session_id);
    }
    let ended = drive(&agent, input, turn.json, &mut interrupt).await;
    agent.close().await;
    ended
}

async fn drive(
    agent: &Agent,
    input: RunInput,
    json: bool,
    interrupt: &mut (impl Future<Output = std::io::Result<()>> + Unpin),
) -> Result<i32, Failure> {
    let mut printer = Printer::new(json, false);
    let mut run = tokio::select! {
        run = agent.run(input) => run?,
        _ = &mut *interrupt => return Err(Failure::Interrupted),
    };
    let handle = run.handle();
    let questions = asking(handle.clone());
    let mut interrupted = false;
    let mut ended = Ok(DONE);
    loop {
        // What is there is printed together; what must be waited for is waited for with everything printed.
        let mut event = run.next().now_or_never();
        if (event.is_none() || printer.output.is_full()) && printer.output.flush()? == Reader::Gone {
            handle.cancel();
            return Ok(DONE);
        }
        if event.is_none() {
            event = Some(tokio::select! {
                event = run.next() => event,
                _ = &mut *interrupt, if !interrupted => {
                    interrupted = true;
                    handle.cancel();
                    continue;
                }
                // Who presses Ctrl-C again does not want to wait.
                _ = tokio::signal::ctrl_c(), if interrupted => return Ok(INTERRUPTED),
            });
        }
        let Some(event) = event.flatten() else { break };
        printer.event(&event);
        if let Payload::ToolProposed {
            call,
            needs_approval: true,
            ..
        } = &event.payload
        {
            let call_id = event.call_id.clone().unwrap_or_default();
            // Nobody listens any more where nobody could be asked.
            let _ = questions.send((call_id, call.clone()));
        }
        if let Some(end) = end(&event) {
            ended = end;
        }
    }
    printer.output.flush()?;
    ended
}

/// Asks beside the run, so that other tools go on and Ctrl-C is heard: one question after the other, as an answer must
/// belong to what was asked.
fn asking(handle: RunHandle) -> UnboundedSender<(String, ToolCall)> {
    let (questions, mut asked) = unbounded_channel::<(String, ToolCall)>();
    tokio::spawn(async move {
        while let Some((call_id, call)) = asked.recv().await {
            let waits = || handle.waiting().contains(&call_id);
            // Decided meanwhile: by an approval for the session, or by the time that it may wait.
            if !waits() {
                continue;
            }
            let Some(decision) = approve::ask(&call).await else {
                continue;
            };
            if waits() {
                let _ = handle.approve(&call_id, decision);
            } else {
                output::note("that call no longer waits: nothing was decided");
            }
        }
    });
    questions
}

/// How the command ends, once the turn has.
fn end(event: &AgentEvent) -> Option<Result<i32, Failure>> {
    match &event.payload {
        Payload::TurnCompleted {
            stopped_by: Some(StoppedBy::Budget),
            ..
        } => Some(Err(Failure::Call(Error::new(
            Code::Budget,
            "the turn's budget is spent; give it more with budget.tokens or budget.usd in the configuration",
        )))),
        Payload::TurnCompleted { .. } => Some(Ok(DONE)),
        Payload::TurnFailed { error, .. } => Some(Err(Failure::Call(error.clone()))),
        Payload::TurnCancelled { .. } => Some(Err(Failure::Interrupted)),
        _ => None,
    }
}
