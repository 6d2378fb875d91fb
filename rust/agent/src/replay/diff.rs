//! Two logs compared event by event: what differs, as a person reads it.

use crate::protocol::{AgentEvent, Payload};
use serde_json::Value;
use std::fmt;

/// Events around a change that are shown with it.
const AROUND: usize = 2;

/// One event of the two logs, by its place in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// In both.
    Same(String),
    /// Only in the recorded log.
    Missing(String),
    /// Only in the new one.
    New(String),
}

/// How two logs differ. Shown, it is a unified diff with one event a paragraph: `-` was recorded, `+` is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    changes: Vec<Change>,
}

impl Diff {
    /// Whether the logs say the same.
    pub fn is_empty(&self) -> bool {
        self.changes
            .iter()
            .all(|change| matches!(change, Change::Same(_)))
    }

    /// Every event of both logs.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// Compares the durable events of two logs. What is never the same is left out: times, durations, session ids and
/// `seq`; what servers and the log tell by themselves (`mcp.*`, `log`); forks that were made of it; and where a title came,
/// as nobody waits for it.
pub fn compare(recorded: &[AgentEvent], new: &[AgentEvent]) -> Diff {
    let (old, new) = (comparable(recorded), comparable(new));
    let old: Vec<String> = old.into_iter().map(shown).collect();
    let new: Vec<String> = new.into_iter().map(shown).collect();
    let ahead = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[ahead..], &new[ahead..]);
    let behind = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(old, new)| old == new)
        .count();
    let (old_mid, new_mid) = (
        &old_rest[..old_rest.len() - behind],
        &new_rest[..new_rest.len() - behind],
    );
    let mut changes: Vec<Change> = old[..ahead].iter().cloned().map(Change::Same).collect();
    changes.extend(middle(old_mid, new_mid));
    changes.extend(old[old.len() - behind..].iter().cloned().map(Change::Same));
    Diff { changes }
}

/// Whether an event is of the session's own doing, in its place.
pub(super) fn is_compared(payload: &Payload) -> bool {
    payload.durable()
        && !matches!(
            payload,
            Payload::ServerConnected { .. }
                | Payload::ServerFailed { .. }
                | Payload::ServerToolsChanged { .. }
                | Payload::Log { .. }
                | Payload::TitleGenerated { .. }
                | Payload::SessionForked { .. }
        )
}

fn comparable(events: &[AgentEvent]) -> Vec<&AgentEvent> {
    let titles = events
        .iter()
        .filter(|event| matches!(event.payload, Payload::TitleGenerated { .. }));
    let inside = events.iter().filter(|event| is_compared(&event.payload));
    inside.chain(titles).collect()
}

/// An event as text, without what is never the same.
fn shown(event: &AgentEvent) -> String {
    let document = serde_json::to_value(&event.payload).unwrap_or_default();
    let kind = document["event_type"].as_str().unwrap_or_default();
    let mut payload = document["payload"].clone();
    if let Some(fields) = payload.as_object_mut() {
        fields.shift_remove("duration_ms");
        if let Some(Value::Object(origin)) = fields.get_mut("forked_from") {
            origin.shift_remove("session_id");
        }
    }
    let place = event.call_id.as_ref().or(event.turn_id.as_ref());
    let mut text = place.map_or_else(|| kind.to_owned(), |place| format!("{kind} ({place})"));
    for (name, value) in payload.as_object().into_iter().flatten() {
        text.push_str("\n  ");
        text.push_str(name);
        text.push_str(": ");
        match value {
            Value::Object(_) => {
                let pretty = format!("{value:#}");
                text.push_str(&pretty.replace('\n', "\n  "));
            }
            other => text.push_str(&other.to_string()),
        }
    }
    text
}

/// The shortest way from one to the other, by their longest common subsequence.
fn middle(old: &[String], new: &[String]) -> Vec<Change> {
    let width = new.len() + 1;
    // Both sides are what lies between the first and the last change; a table of it is small, unless all is different.
    if old.len().saturating_mul(width) > 4_000_000 {
        let gone = old.iter().cloned().map(Change::Missing);
        return gone.chain(new.iter().cloned().map(Change::New)).collect();
    }
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    for at in (0..old.len()).rev() {
        for of in (0..new.len()).rev() {
            longest[at * width + of] = if old[at] == new[of] {
                longest[(at + 1) * width + of + 1] + 1
            } else {
                longest[(at + 1) * width + of].max(longest[at * width + of + 1])
            };
        }
    }
    let (mut at, mut of) = (0, 0);
    let mut changes = Vec::new();
    while at < old.len() || of < new.len() {
        if at < old.len() && of < new.len() && old[at] == new[of] {
            changes.push(Change::Same(old[at].clone()));
            (at, of) = (at + 1, of + 1);
        } else if of == new.len()
            || (at < old.len() && longest[(at + 1) * width + of] >= longest[at * width + of + 1])
        {
            changes.push(Change::Missing(old[at].clone()));
            at += 1;
        } else {
            changes.push(Change::New(new[of].clone()));
            of += 1;
        }
    }
    changes
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "no difference in {} events", self.changes.len());
        }
        writeln!(f, "--- recorded\n+++ new")?;
        let near = |at: usize| {
            let from = at.saturating_sub(AROUND);
            let to = (at + AROUND + 1).min(self.changes.len());
            self.changes[from..to]
                .iter()
                .any(|change| !matches!(change, Change::Same(_)))
        };
        let mut at = 0;
        let mut skipped = false;
        while at < self.changes.len() {
            if !near(at) {
                skipped = true;
                at += 1;
                continue;
            }
            if std::mem::take(&mut skipped) || at == 0 {
                writeln!(f, "@@ event {} @@", at + 1)?;
            }
            match (&self.changes[at], self.changes.get(at + 1)) {
                (Change::Same(text), _) => lines(f, ' ', text.lines().take(1))?,
                // The same event that says something else: only the lines that differ, under its name.
                (Change::Missing(old), Some(Change::New(new)))
                    if old.lines().next() == new.lines().next() =>
                {
                    let (old, new): (Vec<_>, Vec<_>) = (
                        old.lines().map(str::to_owned).collect(),
                        new.lines().map(str::to_owned).collect(),
                    );
                    for change in middle(&old, &new) {
                        let (sign, line) = match &change {
                            Change::Same(line) => (' ', line),
                            Change::Missing(line) => ('-', line),
                            Change::New(line) => ('+', line),
                        };
                        lines(f, sign, line.lines())?;
                    }
                    at += 1;
                }
                (Change::Missing(text), _) => lines(f, '-', text.lines())?,
                (Change::New(text), _) => lines(f, '+', text.lines())?,
            }
            at += 1;
        }
        Ok(())
    }
}

fn lines<'a>(f: &mut fmt::Formatter<'_>, sign: char, lines: impl Iterator<Item = &'a str>) -> fmt::Result {
    for line in lines {
        writeln!(f, "{sign}{line}")?;
    }
    Ok(())
}
