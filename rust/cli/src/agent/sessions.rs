//! `omni sessions`.

use crate::agent::args::{Sessions, SessionsCommand};
use crate::agent::show::{Printer, excerpt};
use crate::agent::{run, setup};
use crate::args::Common;
use crate::exit::{DONE, Failure};
use crate::host::Composition;
use crate::output::{Output, note};
use omni_agent::{PathQuery, SessionInfo, SessionStore, StoredMessage};
use omni_core::{Content, Part, Role};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

pub(crate) async fn run(
    sessions: Sessions,
    common: &Common,
    composition: &Composition,
) -> Result<i32, Failure> {
    let place = &sessions.setup;
    if let SessionsCommand::Resume { session, task, turn } = sessions.command {
        return run::turn(task, Some(session), turn, place, common, composition).await;
    }
    let store = setup::store_only(place)?;
    let mut output = Output::stdout();
    match sessions.command {
        SessionsCommand::List { limit, json } => {
            let found = store.list(limit, None).await?;
            if json {
                output.json(&found, false);
            } else {
                for session in &found {
                    output.text(&row(session));
                }
                if found.is_empty() {
                    note("no sessions yet: `omni run \"…\"` makes one");
                }
            }
        }
        SessionsCommand::Show { session, tree, json } => {
            if json {
                return events(&*store, &session).await;
            }
            let info = store.info(&session).await?;
            let messages = if tree {
                store.tree(&session).await?
            } else {
                store.path(&session, PathQuery::default()).await?
            };
            output.text(&row(&info));
            for message in &messages {
                output.text(&shown(message, tree));
            }
        }
        SessionsCommand::Fork { session, at, json } => {
            let fork = store.fork(&session, at).await?;
            if json {
                output.json(&fork, false);
            } else {
                output.text(&format!("{}\n", fork.session_id));
            }
        }
        SessionsCommand::Rename { session, title } => {
            store.rename(&session, title).await?;
        }
        SessionsCommand::Export { session, format } => {
            if format == "openai" {
                let messages = omni_agent::export_messages(&*store, &session, None).await?;
                output.json(&messages, false);
            } else {
                output.text(&omni_agent::export_log(&*store, &session).await?);
            }
        }
        SessionsCommand::Import { file } => {
            let text = read(&file)?;
            // A log is lines of objects with an event each; messages are a list, or an object that has one.
            let imported = match serde_json::from_str::<Value>(&text) {
                Ok(messages) if messages.is_array() || messages.get("messages").is_some() => {
                    omni_agent::import_messages(&*store, &text, None).await?
                }
                _ => omni_agent::import_log(&*store, &text).await?,
            };
            output.text(&format!("{}\n", imported.session_id));
        }
        SessionsCommand::Search { words, limit, json } => {
            let hits = store.search(&words.join(" "), limit).await?;
            if json {
                output.json(&hits, false);
            } else {
                for hit in &hits {
                    let title = hit.title.as_deref().unwrap_or("untitled");
                    output.text(&format!(
                        "{}  {}  {title}\n    {}\n",
                        hit.session_id,
                        hit.message_id,
                        excerpt(&hit.excerpt)
                    ));
                }
                if hits.is_empty() {
                    note("nothing was said with these words");
                }
            }
        }
        SessionsCommand::Rm { sessions } => {
            for session in &sessions {
                store.delete(session).await?;
                note(&format!("deleted {session}"));
            }
        }
        SessionsCommand::Resume { .. } => {}
    }
    output.flush()?;
    Ok(DONE)
}

/// Every durable event, one a line.
async fn events(store: &dyn SessionStore, session: &str) -> Result<i32, Failure> {
    let mut printer = Printer::new(true, true);
    let mut after = 0;
    loop {
        let page = store.events(session, after, 1000).await?;
        let Some(last) = page.last() else { break };
        after = last.seq.unwrap_or(after + 1);
        for event in &page {
            printer.event(event);
        }
        printer.output.flush()?;
    }
    Ok(DONE)
}

/// One line about a session.
fn row(session: &SessionInfo) -> String {
    let count = |n: u64, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}  {}  {}, {}  {}\n",
        session.session_id,
        time(session.updated_ms),
        count(session.turns, "turn"),
        count(session.messages, "message"),
        session.title.as_deref().unwrap_or("untitled")
    )
}

/// A message as people read it.
fn shown(stored: &StoredMessage, tree: bool) -> String {
    let message = &stored.message;
    let place = if tree {
        format!(
            "{} ← {} ",
            stored.message_id,
            stored.parent_id.as_deref().unwrap_or("-")
        )
    } else {
        String::new()
    };
    let text = message.text();
    let mut lines = Vec::new();
    match message.role {
        Role::Tool => {
            let failed = if message.is_error == Some(true) {
                " (failed)"
            } else {
                ""
            };
            lines.push(format!("{place}  result{failed}: {}", excerpt(&text)));
        }
        role => {
            if let Some(Content::Parts(parts)) = &message.content {
                for part in parts {
                    match part {
                        Part::Reasoning { text, .. } if !text.is_empty() => {
                            lines.push(format!("{place}  reasoning: {}", excerpt(text)));
                        }
                        Part::ImageUrl { .. } | Part::InputAudio { .. } | Part::File { .. } => {
                            lines.push(format!("{place}  [{}]", part.kind()));
                        }
                        _ => {}
                    }
                }
            }
            if !text.is_empty() {
                lines.push(format!("{place}{}: {text}", role.name()));
            }
            for call in message.tool_calls.iter().flatten() {
                lines.push(format!("{place}  → {} {}", call.name(), excerpt(call.text())));
            }
        }
    }
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Unix milliseconds as `2026-11-27 23:05` (UTC).
fn time(milliseconds: u64) -> String {
    // Days to a date, by the proleptic Gregorian calendar counted from 1 March.
    let minutes = milliseconds / 60_000;
    let (days, minute) = (minutes / 1440, minutes % 1440);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        minute / 60,
        minute % 60
    )
}

fn read(file: &Path) -> Result<String, Failure> {
    let told = |error: std::io::Error| Failure::Io(format!("{}: {error}", file.display()));
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(told)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(time(0), "1970-01-01 00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(time(1_795_820_700_000), "2026-11-27 23:05");
    }
}
