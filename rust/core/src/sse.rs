//! The reader of server-sent events: bytes cut anywhere in, frames out. Pure, bounded, and it never panics.
//!
//! What the HTML standard says of `text/event-stream`, but for `id` and `retry`, which no provider uses.

use crate::{Code, Error, Result};
use std::borrow::Cow;
use std::ops::Range;

/// One event as it stood on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseFrame<'a> {
    /// The `event` field; "" where there is none.
    pub event: &'a str,
    /// The `data` lines, joined by newlines; invalid UTF-8 has become U+FFFD.
    pub data: &'a str,
}

/// Reads events from bytes that may be cut anywhere.
///
/// ```
/// # use omni_core::SseReader;
/// let mut reader = SseReader::new();
/// reader.push(b"event: greeting\r\ndata: he");
/// assert!(reader.next_frame()?.is_none());
/// reader.push(b"llo\r\n\r\n");
/// let frame = reader.next_frame()?.expect("a whole event");
/// assert_eq!((frame.event, frame.data), ("greeting", "hello"));
/// # Ok::<(), omni_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SseReader {
    buffer: Vec<u8>,
    /// Where the event that is being read begins; everything before it has been handed out.
    begin: usize,
    /// Where its line that is being read begins, from `begin`.
    line: usize,
    /// How far that line has been searched for its end, from `begin`: a slow drip must not cost the square.
    searched: usize,
    /// The last line ended in CR; a LF that comes next belongs to it.
    after_cr: bool,
    /// The stream's first bytes have been looked at for a byte order mark.
    begun: bool,
    /// Field values of the event that is being read, from `begin`.
    event: Range<usize>,
    first_data: Option<Range<usize>>,
    more_data: Vec<Range<usize>>,
    /// What the last frame borrows when the buffer alone does not have it.
    event_text: String,
    data_text: String,
    max_line: usize,
    max_event: usize,
    broken: bool,
}

/// A line or an event longer than this is no provider's: it bounds what a broken server makes us hold.
/// A picture in one line of base64 fits.
const MAX: usize = 64 * 1024 * 1024;

/// Room that is kept between events.
const KEPT: usize = 256 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

impl Default for SseReader {
    fn default() -> Self {
        Self::with_limits(MAX, MAX)
    }
}

impl SseReader {
    /// A reader with limits of 64 MiB for a line and for an event.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader that refuses a line of more than `max_line` bytes and an event of more than `max_event`.
    pub fn with_limits(max_line: usize, max_event: usize) -> Self {
        Self {
            buffer: Vec::new(),
            begin: 0,
            line: 0,
            searched: 0,
            after_cr: false,
            begun: false,
            event: 0..0,
            first_data: None,
            more_data: Vec::new(),
            event_text: String::new(),
            data_text: String::new(),
            max_line,
            max_event,
            broken: false,
        }
    }

    /// Takes the next bytes. Read the frames out before the next push: what has been handed out is forgotten here.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if self.begin == self.buffer.len() {
            self.buffer.clear();
            // One huge event must not hold its memory for the rest of the stream.
            self.buffer.shrink_to(KEPT);
        } else {
            self.buffer.drain(..self.begin);
        }
        self.begin = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event, or `None` until more bytes come.
    ///
    /// # Errors
    /// `protocol` when a line or an event is too long; the reader then stays broken.
    pub fn next_frame(&mut self) -> Result<Option<SseFrame<'_>>> {
        if self.broken {
            return Err(too_long(self.max_line.min(self.max_event)));
        }
        if !self.skip_bom(false) {
            return Ok(None);
        }
        loop {
            self.skip_lf();
            let from = self.begin + self.searched;
            let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[from..]) else {
                self.searched = self.buffer.len() - self.begin;
                self.check()?;
                return Ok(None);
            };
            let end = from + found - self.begin;
            self.searched = end;
            self.check()?;
            self.after_cr = self.buffer[from + found] == b'\r';
            if self.end_of_line(end) {
                return Ok(Some(self.frame()));
            }
        }
    }

    /// What a stream that ended without its last empty line still holds, or `None`. It comes after the last
    /// `next_frame`, when that gave `None`; nothing may be pushed after it.
    ///
    /// The standard throws such an event away, but several providers end so. Whether it was cut off in the middle
    /// of a line, [`SseReader::is_torn`] tells before this call.
    ///
    /// # Errors
    /// `protocol` when it is too long.
    pub fn finish(&mut self) -> Result<Option<SseFrame<'_>>> {
        self.skip_bom(true);
        self.skip_lf();
        self.after_cr = false;
        self.buffer
            .extend_from_slice(if self.is_torn() { b"\n\n" } else { b"\n" });
        self.next_frame()
    }

    /// Whether the bytes so far end in the middle of a line.
    pub fn is_torn(&self) -> bool {
        let rest = &self.buffer[self.begin + self.line..];
        !(rest.is_empty() || self.after_cr && rest == b"\n")
    }

    /// Whether an event has begun that is not whole yet.
    pub fn is_inside(&self) -> bool {
        self.is_torn() || self.first_data.is_some() || !self.event.is_empty()
    }

    /// Skips the mark at the very beginning; false while too little has come to know. `ended` means no more comes.
    fn skip_bom(&mut self, ended: bool) -> bool {
        if self.begun {
            return true;
        }
        if self.buffer.starts_with(BOM) {
            self.begin = BOM.len();
        } else if !ended && self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
            return false;
        }
        self.begun = true;
        true
    }

    fn skip_lf(&mut self) {
        let at = self.begin + self.line;
        if self.after_cr && at < self.buffer.len() {
            self.after_cr = false;
            if self.buffer[at] == b'\n' {
                self.line += 1;
                self.searched = self.searched.max(self.line);
                self.forget_if_empty();
            }
        }
    }

    /// Takes the line that ends at `end`; true when it was the empty line that ends an event with data.
    fn end_of_line(&mut self, end: usize) -> bool {
        let start = self.line;
        self.line = end + 1;
        self.searched = self.line;
        let line = &self.buffer[self.begin + start..self.begin + end];
        if line.is_empty() {
            return self.first_data.is_some() || {
                self.event = 0..0;
                self.forget_if_empty();
                false
            };
        }
        let colon = memchr::memchr(b':', line);
        let name = &line[..colon.unwrap_or(line.len())];
        let value_at = match colon {
            Some(colon) if line.get(colon + 1) == Some(&b' ') => start + colon + 2,
            Some(colon) => start + colon + 1,
            None => end,
        };
        match name {
            b"data" if self.first_data.is_none() => self.first_data = Some(value_at..end),
            b"data" => self.more_data.push(value_at..end),
            // The same as none: the lines that it stands among may be forgotten, and then it had a place in none.
            b"event" if value_at == end => {
                self.event = 0..0;
                self.forget_if_empty();
            }
            b"event" => self.event = value_at..end,
            // A comment, `id`, `retry`, or what the standard says to ignore.
            _ => self.forget_if_empty(),
        }
        false
    }

    /// Forgets lines that said nothing, so that comments between two events take no memory.
    fn forget_if_empty(&mut self) {
        if self.first_data.is_none() && self.event.is_empty() {
            self.begin += self.line;
            self.searched -= self.line.min(self.searched);
            self.line = 0;
        }
    }

    /// Hands the event out.
    fn frame(&mut self) -> SseFrame<'_> {
        let begin = self.begin;
        let event = std::mem::take(&mut self.event);
        let data = self.first_data.take().unwrap_or_default();
        self.begin += self.line;
        self.line = 0;
        self.searched = 0;
        let slice = |range: &Range<usize>| &self.buffer[begin + range.start..begin + range.end];
        let event = match lossy(slice(&event)) {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => {
                self.event_text = text;
                &self.event_text
            }
        };
        let data = if self.more_data.is_empty() {
            lossy(slice(&data))
        } else {
            let mut whole = String::from_utf8_lossy(slice(&data)).into_owned();
            for range in self.more_data.drain(..) {
                whole.push('\n');
                whole.push_str(&String::from_utf8_lossy(
                    &self.buffer[begin + range.start..begin + range.end],
                ));
            }
            Cow::Owned(whole)
        };
        let data = match data {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => {
                self.data_text = text;
                &self.data_text
            }
        };
        SseFrame { event, data }
    }

    fn check(&mut self) -> Result<()> {
        let limit = if self.searched - self.line > self.max_line {
            self.max_line
        } else if self.searched > self.max_event || self.more_data.len() > self.max_event / 8 {
            self.max_event
        } else {
            return Ok(());
        };
        self.broken = true;
        self.buffer = Vec::new();
        (self.begin, self.line, self.searched) = (0, 0, 0);
        (self.event, self.first_data, self.more_data) = (0..0, None, Vec::new());
        Err(too_long(limit))
    }
}

/// As the standard library's, but nearly every text is well-formed, and to find that out is twice as fast.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

fn too_long(limit: usize) -> Error {
    Error::new(
        Code::Protocol,
        format!("the answer holds an event of more than {limit} bytes: no provider sends that"),
    )
}

#[cfg(test)]
mod tests;
