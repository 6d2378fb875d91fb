//! The reader of server-sent events against a plain reading of the same bytes, whole and in pieces.

use crate::input::Input;
use omni_core::SseReader;

/// What was read: events with their data, and what was wrong.
#[derive(Debug, PartialEq)]
struct Read {
    frames: Vec<(String, String)>,
    torn: bool,
    inside: bool,
    last: Option<(String, String)>,
    failed: Option<String>,
}

/// One input.
pub fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else {
        return;
    };
    let whole = read(SseReader::new(), input.whole());
    assert_eq!(
        read(SseReader::new(), input.pieces()),
        whole,
        "a cut changed what was read"
    );
    let (frames, last) = plainly(input.bytes);
    assert_eq!((&whole.frames, &whole.last), (&frames, &last), "read otherwise");

    let line = 8 + usize::from(input.flags & 0x0f) * 4;
    let event = 8 + usize::from(input.flags >> 4) * 8;
    let bounded = || SseReader::with_limits(line, event);
    let whole = read(bounded(), input.whole());
    let pieces = read(bounded(), input.pieces());
    // Which of the two limits an error names may depend on the cut, if both were passed.
    let failed = |read: &Read| read.failed.is_some();
    assert_eq!(
        (&pieces.frames, &pieces.last, failed(&pieces)),
        (&whole.frames, &whole.last, failed(&whole)),
        "a cut changed what is too long"
    );
    for (name, data) in whole.frames.iter().chain(&whole.last) {
        // A byte that is not UTF-8 becomes three.
        assert!(name.len() + data.len() <= event * 3, "longer than the limit");
    }
}

fn read<'a>(mut reader: SseReader, pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut read = Read {
        frames: Vec::new(),
        torn: false,
        inside: false,
        last: None,
        failed: None,
    };
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => read.frames.push((frame.event.into(), frame.data.into())),
                Ok(None) => break,
                Err(error) => {
                    assert!(reader.next_frame().is_err(), "a broken reader stays broken");
                    read.failed = Some(error.message);
                    return read;
                }
            }
        }
    }
    (read.torn, read.inside) = (reader.is_torn(), reader.is_inside());
    match reader.finish() {
        Ok(frame) => read.last = frame.map(|frame| (frame.event.into(), frame.data.into())),
        Err(error) => read.failed = Some(error.message),
    }
    read
}

type Frame = (String, String);

/// What the standard says, as simply as can be: the frames, and the one that no empty line ends.
fn plainly(bytes: &[u8]) -> (Vec<Frame>, Option<Frame>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut frames = Vec::new();
    let mut name = String::new();
    let mut data: Option<String> = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &rest[..end.unwrap_or(rest.len())];
        rest = match end {
            None => &[],
            Some(at) if rest[at..].starts_with(b"\r\n") => &rest[at + 2..],
            Some(at) => &rest[at + 1..],
        };
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            frames.extend(data.take().map(|data| (name, data)));
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut data) {
            ("event", _) => value.clone_into(&mut name),
            ("data", None) => data = Some(value.to_owned()),
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            _ => {}
        }
    }
    (frames, data.map(|data| (name, data)))
}
