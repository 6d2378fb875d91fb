//! `omni replay` and `omni test-run`.

use crate::agent::args::{Replay, TestRun};
use crate::agent::setup;
use crate::agent::show::Printer;
use crate::args::Common;
use crate::exit::{DONE, Failure};
use crate::output::{Output, Reader};
use crate::prompt;
use futures_util::StreamExt;
use omni_agent::{AgentEvent, Payload, SessionStore};
use serde_json::json;
use std::pin::pin;

/// What `test-run` ends with where the loop did something else than the log.
const DIFFERENT: i32 = 1;

pub(crate) async fn replay(replay: Replay) -> Result<i32, Failure> {
    let store = setup::store_only(&replay.setup)?;
    let mut events = Vec::new();
    loop {
        let after = events
            .last()
            .and_then(|event: &AgentEvent| event.seq)
            .unwrap_or(0);
        let page = store.events(&replay.session, after, 1000).await?;
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    let mut printer = Printer::new(replay.json, true);
    let mut played = pin!(omni_agent::play(events, replay.speed)?);
    loop {
        let event = tokio::select! {
            event = played.next() => event,
            _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
        };
        let Some(event) = event else { break };
        printer.event(&event);
        if printer.output.flush()? == Reader::Gone {
            break;
        }
    }
    Ok(DONE)
}

pub(crate) async fn test_run(run: TestRun, common: &Common) -> Result<i32, Failure> {
    let text = std::fs::read_to_string(&run.log)
        .map_err(|error| Failure::Io(format!("{}: {error}", run.log.display())))?;
    let log = omni_agent::read_log(&text)?;
    let asked = log.iter().find_map(|event| match &event.payload {
        Payload::TurnStarted { model, .. } => Some(model.clone()),
        _ => None,
    });
    // The log says which model was asked; the rest of the configuration is the caller's.
    let model = || asked.map_or_else(|| prompt::model(common.verbose), Ok);
    let mut config = setup::config(&run.setup, &run.turn, model)?;
    config.titles &= log
        .iter()
        .any(|event| matches!(event.payload, Payload::TitleGenerated { .. }));
    let events = log.len();
    let difference = omni_agent::test_run(log, |parts| parts.agent(config)).await?;
    let mut output = Output::stdout();
    if run.turn.json {
        let diff = difference.to_string();
        output.json(
            &json!({"same": difference.is_empty(), "events": events, "diff": diff}),
            false,
        );
    } else {
        output.text(&difference.to_string());
    }
    output.flush()?;
    Ok(if difference.is_empty() { DONE } else { DIFFERENT })
}
