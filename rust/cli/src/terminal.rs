//! Reading a secret from the terminal: nothing is echoed, and the terminal is as it was afterwards, also after Ctrl-C.

use omni_bridge::credentials::Secret;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::fs::File;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// More than any key that somebody types or pastes. The buffer never grows, so it leaves no copy behind.
const ROOM: usize = 64 * 1024;

/// How a line ended.
#[derive(Debug)]
pub(crate) enum Typed {
    Line(Secret),
    /// Ctrl-C.
    Interrupted,
}

/// Shows `question` and reads a line.
pub(crate) fn ask(question: &str) -> io::Result<Typed> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    // First: a fast hand, or a paste, must not be echoed either.
    let quiet = Quiet::new(terminal.try_clone()?)?;
    terminal.write_all(question.as_bytes())?;
    #[expect(
        clippy::unbuffered_bytes,
        reason = "a person types; a buffer would keep the secret and more"
    )]
    let typed = read((&terminal).bytes());
    drop(quiet);
    terminal.write_all(b"\n")?;
    typed
}

/// A terminal that echoes nothing and hands over each key, Ctrl-C too, until this is dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: File) -> io::Result<Self> {
        let before = termios::tcgetattr(&terminal)?;
        let mut after = before.clone();
        after.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        after.special_codes[SpecialCodeIndex::VMIN] = 1;
        after.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(&terminal, OptionalActions::Now, &after)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The terminal may be gone: then nobody sees it either.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// A line of keys: backspace, Ctrl-U and Ctrl-W mend it; arrows and the marks of a paste are nothing.
fn read(mut keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Typed> {
    let mut line = Zeroizing::new(Vec::with_capacity(ROOM));
    while let Some(key) = keys.next().transpose()? {
        match key {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => return Ok(Typed::Interrupted),
            0x7f | 0x08 => {
                // A letter may be several bytes; all but its first begin with the bits 10.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            0x15 => line.clear(),
            0x17 => {
                let kept = line.trim_ascii_end();
                let word = kept.iter().rposition(u8::is_ascii_whitespace);
                let length = word.map_or(0, |at| at + 1);
                line.truncate(length);
            }
            0x1b => skip_sequence(&mut keys)?,
            0x00..=0x1f => {}
            _ if line.len() == ROOM => return Err(io::Error::other("that is too long for a key")),
            _ => line.push(key),
        }
    }
    // Moved, not copied; what is no text is overwritten.
    String::from_utf8(std::mem::take(&mut *line))
        .map(|text| Typed::Line(Secret::from(text)))
        .map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            io::Error::other("what was typed is no text")
        })
}

/// Reads to the end of what an arrow or another special key sends.
fn skip_sequence(keys: &mut impl Iterator<Item = io::Result<u8>>) -> io::Result<()> {
    let Some(b'[' | b'O') = keys.next().transpose()? else {
        return Ok(());
    };
    while let Some(key) = keys.next().transpose()? {
        if matches!(key, 0x40..=0x7e) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &str) -> Option<String> {
        match read(keys.bytes().map(Ok)).unwrap() {
            Typed::Line(secret) => Some(secret.expose().to_owned()),
            Typed::Interrupted => None,
        }
    }

    #[test]
    fn a_line_can_be_mended_and_left() {
        for (keys, want) in [
            ("a-key\rrest", Some("a-key")),
            ("a-kéx\u{7f}\u{7f}ey\n", Some("a-key")),
            ("\u{7f}wrong\u{15}a-key\n", Some("a-key")),
            ("one two \u{17}x\n", Some("one x")),
            ("a\u{1b}[A\u{1b}[200~-key\u{1b}[201~\u{1b}OP\n", Some("a-key")),
            ("a\u{0}\u{1}b\u{4}", Some("ab")),
            ("without an end", Some("without an end")),
            ("a-key\u{3}\n", None),
            ("\u{1b}", Some("")),
        ] {
            assert_eq!(line(keys).as_deref(), want, "{keys:?}");
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused_without_being_shown() {
        for keys in [b"canary\xff\n".to_vec(), vec![b'c'; ROOM + 1]] {
            let error = read(keys.into_iter().map(Ok)).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }
}
