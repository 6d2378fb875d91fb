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

const STREAM: &[u8] =
    "\u{feff}: hello\r\n\r\nevent: a\r\ndata: {\"x\": \"é😀\"}\r\n\r\ndata:one\rdata: two\r\r\
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
fn a_name_that_is_taken_back_leaves_no_place_behind() {
    let text = "event: a name that is longer than what follows\nevent:\n: a comment\ndata: x\n\n";
    assert_eq!(read(&[text.as_bytes()]), pairs(&[("", "x")]));
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(read(&bytes), pairs(&[("", "x")]));
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
