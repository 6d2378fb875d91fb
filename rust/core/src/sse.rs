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
        let event = match String::from_utf8_lossy(slice(&event)) {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => {
                self.event_text = text;
                &self.event_text
            }
        };
        let data = if self.more_data.is_empty() {
            String::from_utf8_lossy(slice(&data))
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

fn too_long(limit: usize) -> Error {
    Error::new(
        Code::Protocol,
        format!("the answer holds an event of more than {limit} bytes: no provider sends that"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pair = (String, String);

    fn read_with(reader: &mut SseReader, chunks: &[&[u8]]) -> Result<Vec<Pair>> {
        let mut out = Vec::new();
        for chunk in chunks {
            reader.push(chunk);
            while let Some(frame) = reader.next_frame()? {
                out.push((frame.event.to_owned(), frame.data.to_owned()));
            }
        }
        Ok(out)
    }

    fn read(chunks: &[&[u8]]) -> Vec<Pair> {
        read_with(&mut SseReader::new(), chunks).unwrap()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<Pair> {
        expected
            .iter()
            .map(|(event, data)| ((*event).to_owned(), (*data).to_owned()))
            .collect()
    }

    const STREAM: &[u8] = "\u{feff}: hello\r\n\r\nevent: a\r\ndata: {\"x\": \"é😀\"}\r\n\r\ndata:one\rdata: two\r\r\
        id: 7\nretry: 5\ndata\n\nevent: lost\n\n:ping\n\ndata:  two spaces\nevent:b\nfoo: bar\n\ndata: [DONE]\n\n"
        .as_bytes();

    fn expected() -> Vec<Pair> {
        pairs(&[
            ("a", "{\"x\": \"é😀\"}"),
            ("", "one\ntwo"),
            ("", ""),
            ("b", " two spaces"),
            ("", "[DONE]"),
        ])
    }

    #[test]
    fn whole() {
        assert_eq!(read(&[STREAM]), expected());
    }

    #[test]
    fn one_byte_at_a_time() {
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(read(&bytes), expected());
    }

    #[test]
    fn cut_in_two_anywhere_so_also_inside_a_character_a_line_end_and_the_byte_order_mark() {
        for at in 0..=STREAM.len() {
            assert_eq!(read(&[&STREAM[..at], &STREAM[at..]]), expected(), "cut at {at}");
        }
    }

    #[test]
    fn every_line_end_reads_the_same() {
        for end in ["\n", "\r", "\r\n"] {
            let text = "event: e\ndata: 1\ndata: 2\n\ndata: 3\n\n".replace('\n', end);
            assert_eq!(
                read(&[text.as_bytes()]),
                pairs(&[("e", "1\n2"), ("", "3")]),
                "{end:?}"
            );
        }
    }

    #[test]
    fn an_event_that_ends_in_cr_is_handed_out_at_once() {
        assert_eq!(read(&[b"data: x\r\r"]), pairs(&[("", "x")]));
        assert_eq!(
            read(&[b"data: x\r\n\r", b"\ndata: y\n\n"]),
            pairs(&[("", "x"), ("", "y")])
        );
    }

    #[test]
    fn an_event_without_data_is_none_and_its_name_does_not_stay() {
        assert_eq!(read(&[b"event: a\n\ndata: 1\n\n"]), pairs(&[("", "1")]));
    }

    #[test]
    fn invalid_utf8_and_nul_pass() {
        assert_eq!(
            read(&[b"event: \xff\ndata: a\xf0\x9f\ndata: \0\n\n"]),
            pairs(&[("\u{fffd}", "a\u{fffd}\n\0")])
        );
    }

    #[test]
    fn the_end_of_the_stream_gives_what_is_left_and_tells_whether_it_was_torn() {
        for (bytes, torn, left) in [
            (&b"data: 1\n\n"[..], false, None),
            (b"data: 1\n\ndata: [DONE]", true, Some("[DONE]")),
            (b"data: 1\n\ndata: [DONE]\n", false, Some("[DONE]")),
            (b"data: 1\r\n\r\ndata: [DONE]\r\n", false, Some("[DONE]")),
            (b"data: 1\r\rdata: [DONE]\r", false, Some("[DONE]")),
            (b"", false, None),
            (b"\xef", true, None),
        ] {
            let mut reader = SseReader::new();
            read_with(&mut reader, &[bytes]).unwrap();
            assert_eq!(reader.is_torn(), torn, "{bytes:?}");
            assert_eq!(
                reader
                    .finish()
                    .unwrap()
                    .map(|frame| frame.data.to_owned())
                    .as_deref(),
                left,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_refused_and_its_memory_given_back() {
        let mut reader = SseReader::with_limits(100, 1000);
        let error = read_with(&mut reader, &[&[b'x'; 60], &[b'x'; 60]]).unwrap_err();
        assert_eq!(error.code, Code::Protocol);
        assert_eq!(reader.buffer.capacity(), 0);
        reader.push(b"data: later\n\n");
        assert!(reader.next_frame().is_err(), "a broken reader stays broken");
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut reader = SseReader::with_limits(100, 1000);
        let line: &[u8] = b"data: 0123456789\n";
        assert_eq!(
            read_with(&mut reader, &[line; 100]).unwrap_err().code,
            Code::Protocol
        );
        let mut reader = SseReader::with_limits(100, 1000);
        assert_eq!(
            read_with(&mut reader, &[&b"data\n"[..]; 300]).unwrap_err().code,
            Code::Protocol
        );
    }

    #[test]
    fn comments_and_handed_out_events_take_no_memory() {
        let mut reader = SseReader::with_limits(100, 1000);
        for _ in 0..10_000 {
            read_with(
                &mut reader,
                &[b": ping\n\ndata: a whole event of some length\n\n"],
            )
            .unwrap();
        }
        assert!(reader.buffer.capacity() < 1000, "{}", reader.buffer.capacity());
        for _ in 0..10_000 {
            read_with(&mut reader, &[b": ping\n"]).unwrap();
        }
        assert!(reader.buffer.capacity() < 1000, "{}", reader.buffer.capacity());
    }

    fn soup() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"data"[..],
            b"event",
            b":",
            b" ",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"x",
            "é😀".as_bytes(),
            b"\xff",
            BOM,
            b"data: y\n\n",
        ]);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cutting_of_any_bytes_gives_the_same_frames(bytes in soup(), cuts in prop::collection::vec(0usize..400, 0..20)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut from = 0;
            let chunks: Vec<&[u8]> = cuts.iter().map(|to| { let chunk = &bytes[from..*to]; from = *to; chunk }).collect();
            let (mut cut, mut whole) = (SseReader::new(), SseReader::new());
            prop_assert_eq!(read_with(&mut cut, &chunks).unwrap(), read_with(&mut whole, &[&bytes]).unwrap());
            prop_assert_eq!(cut.is_torn(), whole.is_torn());
            prop_assert_eq!(cut.finish().unwrap(), whole.finish().unwrap());
        }

        #[test]
        fn what_is_written_is_read(events in prop::collection::vec(("[a-z_]{0,8}", "[^\r\n]{0,40}(\n[^\r\n]{0,10}){0,3}"), 0..8)) {
            let mut wire = Vec::new();
            for (event, data) in &events {
                if !event.is_empty() {
                    wire.extend_from_slice(format!("event: {event}\n").as_bytes());
                }
                for line in data.split('\n') {
                    wire.extend_from_slice(format!("data: {line}\n").as_bytes());
                }
                wire.push(b'\n');
            }
            prop_assert_eq!(read(&[&wire]), events);
        }
    }
}
