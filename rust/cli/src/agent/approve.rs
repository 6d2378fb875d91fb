//! Asking the person whether a tool may run.

use crate::agent::show::excerpt;
use crate::output;
use omni_agent::{Decision, Scope};
use omni_core::ToolCall;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};

/// Whether somebody is there to ask: a terminal that belongs to this process, and a person who sees the question.
pub(crate) fn somebody_there() -> bool {
    std::io::stderr().is_terminal() && File::options().read(true).write(true).open("/dev/tty").is_ok()
}

/// Asks on the terminal, whatever standard input is; `None` if nobody answers.
pub(crate) async fn ask(call: &ToolCall) -> Option<Decision> {
    // On the terminal without what it would obey: what the model wrote must not hide what it asks for.
    let question = format!(
        "omni: may {} run with {}? [y]es, yes for this [s]ession, [a]lways, [n]o: ",
        output::harmless(call.name()),
        output::harmless(&excerpt(call.text()))
    );
    tokio::task::spawn_blocking(move || answer(&question))
        .await
        .ok()
        .flatten()
}

fn answer(question: &str) -> Option<Decision> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    let mut lines = BufReader::new(terminal.try_clone().ok()?);
    loop {
        terminal.write_all(question.as_bytes()).ok()?;
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(decision) = read(&line) {
            return Some(decision);
        }
    }
}

/// What a typed line decides; nothing if it is neither yes nor no.
fn read(line: &str) -> Option<Decision> {
    let approve = |scope| Some(Decision::Approve { scope });
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => approve(Scope::Once),
        "s" | "session" => approve(Scope::Session),
        "a" | "always" => approve(Scope::Always),
        "n" | "no" => Some(Decision::Deny { reason: None }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_decides() {
        for (line, scope) in [
            ("y\n", Scope::Once),
            (" S ", Scope::Session),
            ("always", Scope::Always),
        ] {
            assert_eq!(read(line), Some(Decision::Approve { scope }));
        }
        assert_eq!(read("No\r\n"), Some(Decision::Deny { reason: None }));
        for line in ["", "\n", "maybe", "yy"] {
            assert_eq!(read(line), None);
        }
    }
}
