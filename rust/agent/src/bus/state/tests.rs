//! What the bus holds does not grow with its readers, nor with what is over.

use super::*;
use crate::protocol::{ChunkKind, EVENT_VERSION};

fn event(seq: Option<u64>, call: u64, payload: Payload) -> AgentEvent {
    AgentEvent {
        v: EVENT_VERSION,
        seq,
        after_seq: None,
        timestamp_ms: 1,
        session_id: "s".to_owned(),
        turn_id: Some("t1".to_owned()),
        call_id: Some(format!("t1.{call}")),
        parent: None,
        payload,
    }
}

#[test]
fn memory_is_the_open_text_and_the_limits_however_many_readers_are_stopped() {
    let limits = Limits {
        events: 16,
        bytes: 1 << 20,
        calls: 4,
        text: 10_000,
    };
    let mut state = State::new("s".to_owned(), 0, limits);
    let mut stopped = Vec::new();
    let mut seq = 0;
    for call in 1..=200 {
        seq += 1;
        let (model, round) = ("test/model".to_owned(), 1);
        state.publish(event(Some(seq), call, Payload::StreamStarted { model, round }));
        for at in 0..100 {
            let text = "0123456789".repeat(2);
            let payload = Payload::StreamChunk {
                index: 0,
                kind: ChunkKind::Text,
                offset: at * 20,
                text,
                tool: None,
            };
            state.publish(event(None, call, payload));
        }
        // A reader that is stopped inside each call.
        let mut reader = Cursor::new(&state, None, Vec::new());
        assert!(matches!(reader.next(&state), Step::Event(_)));
        stopped.push(reader);
        assert!(state.text_bytes() <= 10_000 + 2_000, "{}", state.text_bytes());
        seq += 1;
        let error = omni_core::Error::internal("x");
        state.publish(event(
            Some(seq),
            call,
            Payload::StreamFailed {
                error,
                retried: false,
            },
        ));
        assert!(state.text_bytes() <= 10_000);
        assert!(state.ring.len() <= 16);
    }
    assert!(
        state.closed.len() >= 200,
        "who is inside a call still knows its shape"
    );
    stopped.clear();
    seq += 1;
    let title = "x".to_owned();
    state.publish(event(Some(seq), 0, Payload::SessionRenamed { title }));
    assert_eq!(state.closed.len(), 4, "and nobody else needs it");
}
