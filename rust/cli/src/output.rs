//! Printing: to people, to pipes, and to readers that leave early.

use crate::exit::Failure;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// What a pipe takes at once on Linux.
const FULL: usize = 64 * 1024;

/// Standard output, buffered until [`flush`](Output::flush).
pub(crate) struct Output {
    buffer: Vec<u8>,
    terminal: bool,
}

/// What became of something that was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Reads,
    /// The other end of the pipe is closed: it has seen enough.
    Gone,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self {
            buffer: Vec::new(),
            terminal: io::stdout().is_terminal(),
        }
    }

    /// Whether so much waits that it should be written before there is more.
    pub(crate) const fn is_full(&self) -> bool {
        self.buffer.len() >= FULL
    }

    /// Adds text of a model. A terminal gets it without control characters: what a model writes must not move the
    /// cursor, change the title or paste into the shell. A pipe gets it as it is.
    pub(crate) fn text(&mut self, text: &str) {
        if self.terminal {
            self.buffer.extend_from_slice(harmless(text).as_bytes());
        } else {
            self.buffer.extend_from_slice(text.as_bytes());
        }
    }

    /// Adds a JSON document and a newline: one line, or, whole on a terminal, many.
    pub(crate) fn json(&mut self, document: &impl Serialize, line: bool) {
        let result = if self.terminal && !line {
            serde_json::to_writer_pretty(&mut self.buffer, document)
        } else {
            serde_json::to_writer(&mut self.buffer, document)
        };
        // Our own types always serialise, and memory takes every byte.
        debug_assert!(result.is_ok());
        self.buffer.push(b'\n');
    }

    /// Writes what has been added.
    pub(crate) fn flush(&mut self) -> Result<Reader, Failure> {
        if self.buffer.is_empty() {
            return Ok(Reader::Reads);
        }
        let mut stdout = io::stdout().lock();
        let result = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        match result {
            Ok(()) => Ok(Reader::Reads),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(Failure::Io(format!("standard output: {error}"))),
        }
    }
}

/// One line on standard error, which may be closed.
pub(crate) fn note(message: &str) {
    let _ = writeln!(io::stderr(), "omni: {}", harmless(message));
}

/// `text` without the characters that a terminal obeys; line ends and tabs stay.
pub(crate) fn harmless(text: &str) -> std::borrow::Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(obeyed) {
        text.replace(obeyed, "\u{fffd}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_moved_by_a_model() {
        let mut output = Output {
            buffer: Vec::new(),
            terminal: true,
        };
        output.text("a\x1b[2Jb\tc\r\n\u{9b}é");
        assert_eq!(
            String::from_utf8(output.buffer).unwrap(),
            "a\u{fffd}[2Jb\tc\u{fffd}\n\u{fffd}é"
        );
        let mut output = Output {
            buffer: Vec::new(),
            terminal: false,
        };
        output.text("a\x1b[2J");
        assert_eq!(output.buffer, b"a\x1b[2J");
    }
}
