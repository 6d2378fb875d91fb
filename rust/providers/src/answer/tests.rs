//! What does not depend on how the bytes were cut.

use super::*;
use omni_core::FinishReason;

/// The events of an answer of the anthropic protocol that comes in pieces of `size`, and how it ended.
fn read(bytes: &[u8], size: usize) -> (Vec<Event>, Result<Finish, Fault>) {
    let mut answer = Answer::new(Protocol::Anthropic, &Context::default(), "asked", None);
    let failed = bytes.chunks(size).find_map(|piece| answer.push(piece).err());
    let ended = failed.map_or_else(|| answer.end(), Err);
    (std::iter::from_fn(|| answer.event()).collect(), ended)
}

fn same_however_it_is_cut(bytes: &[u8]) -> (Vec<Event>, Result<Finish, Fault>) {
    let whole = read(bytes, usize::MAX);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(read(bytes, size), whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn what_follows_the_last_event_is_nobodys() {
    let stream = concat!(
        "data: {\"type\": \"message_start\", \"message\": {\"id\": \"m\", \"model\": \"x\"}}\n\n",
        "data: {\"type\": \"message_delta\", \"delta\": {\"stop_reason\": \"end_turn\"}}\n\n",
        "data: {\"type\": \"message_stop\"}\n\n",
    );
    let want = same_however_it_is_cut(stream.as_bytes());
    assert_eq!(want.1.as_ref().unwrap().finish_reason, Some(FinishReason::Stop));
    for more in [
        "data: no JSON\n\n",
        "data: torn",
        "data: {\"type\": \"error\", \"error\": {}}\n\n",
    ] {
        let longer = format!("{stream}{more}");
        assert_eq!(same_however_it_is_cut(longer.as_bytes()), want, "{more}");
    }
}

#[test]
fn a_byte_order_mark_and_blanks_before_an_answer_say_nothing() {
    let body = r#"{"id": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}"#;
    let want = same_however_it_is_cut(body.as_bytes());
    assert!(want.1.is_ok(), "{want:?}");
    for before in ["\u{FEFF}", "\u{FEFF}\r\n \n", "\n\n    "] {
        let longer = format!("{before}{body}");
        assert_eq!(same_however_it_is_cut(longer.as_bytes()), want, "{before:?}");
    }
    for empty in ["", " ", "\u{FEFF}", "\u{FEFF} "] {
        let (events, ended) = same_however_it_is_cut(empty.as_bytes());
        assert!(events.is_empty() && ended.is_err(), "{empty:?}");
    }
}

#[test]
fn a_stream_is_bounded_for_a_caller_that_holds_it_until_it_is_whole() {
    let comment = format!(":{}\n", " ".repeat(60_000));
    let piece = comment.repeat(16).into_bytes();
    let answer = || Answer::new(Protocol::Anthropic, &Context::default(), "asked", None);
    let pieces = MAX_BODY / piece.len();
    for (mut answer, fails) in [(answer().bounded(), true), (answer(), false)] {
        assert!((0..pieces).all(|_| answer.push(&piece).is_ok()));
        let error = answer.push(&piece).err();
        assert_eq!(error, fails.then(too_long));
    }
}

#[test]
fn a_document_is_bounded() {
    let mut answer = Answer::new(Protocol::Anthropic, &Context::default(), "asked", None);
    answer.push(b"{").unwrap();
    let blanks = vec![b' '; MAX_BODY / 4];
    assert!((0..3).all(|_| answer.push(&blanks).is_ok()));
    assert_eq!(answer.push(&blanks), Err(too_long()));
}
