//! `omni replay` and `omni test-run`.

use crate::agent::args::{Replay, TestRun};
use crate::agent::setup;
use crate::agent::show::Printer;
use crate::exit::{DONE, Failure, USAGE};
use crate::output::{Output, Reader, note};
use futures_util::StreamExt;
use omni_agent::{AgentConfig, AgentEvent, SessionStore};
use std::pin::pin;

/// What `test-run` ends with where the loop did something else than the log.
const DIFFERENT: i32 = 1;

pub(crate) async fn replay(replay: Replay) -> Result<i32, Failure> {
    if !replay.speed.is_finite() || replay.speed < 0.0 {
        note("--speed: expected a number from 0");
        return Ok(USAGE);
    }
    let store = setup::store_only(&replay.setup)?;
    let mut events = Vec::new();
    loop {
        let after = events.last().and_then(|event: &AgentEvent| event.seq).unwrap_or(0);
        let page = store.events(&replay.session, after, 1000).await?;
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    let mut printer = Printer::new(replay.json, true);
    let mut played = pin!(omni_agent::play(events, replay.speed));
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

pub(crate) async fn test_run(test: TestRun) -> Result<i32, Failure> {
    let text = std::fs::read_to_string(&test.log)
        .map_err(|error| Failure::Io(format!("{}: {error}", test.log.display())))?;
    let log = omni_agent::read_log(&text)?;
    let config = match &test.setup.config {
        Some(path) => Some(setup::config_file(path)?),
        None => None::<AgentConfig>,
    };
    let difference = omni_agent::test_run(log, config).await?;
    let mut output = Output::stdout();
    if test.json {
        output.json(&difference, false);
    } else if difference.is_empty() {
        output.text("the same: every command and event\n");
    } else {
        output.text(&difference.to_string());
    }
    output.flush()?;
    Ok(if difference.is_empty() { DONE } else { DIFFERENT })
}
