use super::*;
use crate::Fold;
use serde_json::json;

/// One of each, with every field set.
fn one_of_each() -> Vec<Event> {
    let text = || "t".to_owned();
    let reply = || Box::new(Fold::new().partial(Vec::new()));
    vec![
        Event::Start {
            id: Some(text()),
            request_id: Some(text()),
            model: text(),
            provider: text(),
            engine: Engine::Native,
        },
        Event::TextStart { index: 0 },
        Event::TextDelta {
            index: 0,
            text: text(),
        },
        Event::TextEnd {
            index: 0,
            annotations: Some(vec![json!({"x": null})]),
            signature: Some(text()),
        },
        Event::RefusalDelta { text: text() },
        Event::ReasoningStart {
            index: 0,
            id: Some(text()),
        },
        Event::ReasoningDelta {
            index: 0,
            text: text(),
        },
        Event::ReasoningEnd {
            index: 0,
            signature: Some(text()),
            encrypted: Some(text()),
        },
        Event::ToolCallStart {
            index: 0,
            id: text(),
            name: text(),
            kind: Some("custom".into()),
        },
        Event::ToolCallDelta {
            index: 0,
            arguments: text(),
        },
        Event::ToolCallEnd {
            index: 0,
            signature: Some(text()),
            extra: Some(Object::new()),
        },
        Event::MediaStart {
            index: 0,
            mime: text(),
        },
        Event::MediaDelta {
            index: 0,
            base64: text(),
        },
        Event::MediaEnd {
            index: 0,
            signature: Some(text()),
        },
        Event::ProviderPart {
            index: 0,
            provider: text(),
            kind: text(),
            data: json!([1]),
            signature: Some(text()),
        },
        Event::Fallback {
            from: text(),
            to: text(),
            error: Error::internal("x"),
            discarded: vec![0],
        },
        Event::Usage {
            usage: Usage {
                input_tokens: Some(0),
                ..Usage::default()
            },
        },
        Event::Done { reply: reply() },
        Event::Error {
            error: Error::internal("x"),
            reply: reply(),
        },
        Event::Cancelled {
            reply: reply(),
            closed_ms: Some(3),
        },
    ]
}

#[test]
fn every_event_comes_back_from_text_and_from_a_value() {
    let all = one_of_each();
    assert_eq!(all.iter().map(Event::kind).collect::<Vec<_>>(), Event::TYPES);
    for event in all {
        let text = serde_json::to_string(&event).unwrap();
        assert!(
            text.starts_with(&format!("{{\"type\":\"{}\"", event.kind())),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::from_value::<Event>(value.clone()).unwrap(), event);
        assert_eq!(event.index(), value.get("index").map(|_| 0));
    }
}

#[test]
fn a_required_key_is_required() {
    for event in one_of_each() {
        let Value::Object(whole) = serde_json::to_value(&event).unwrap() else {
            panic!("an object")
        };
        for key in whole.keys() {
            let mut less = whole.clone();
            less.shift_remove(key);
            match serde_json::from_value::<Event>(Value::Object(less)) {
                Ok(read) => assert_eq!(read.kind(), event.kind()),
                Err(error) => assert!(error.to_string().contains(key.as_str()), "{error}"),
            }
        }
    }
    assert!(serde_json::from_value::<Event>(json!({"type": "text_delta", "text": "x"})).is_err());
    assert!(serde_json::from_value::<Event>(json!({"type": "novel"})).is_err());
    assert!(serde_json::from_str::<Event>("[]").is_err() && serde_json::from_str::<Event>("{}").is_err());
}

#[test]
fn the_type_may_stand_anywhere_and_unknown_keys_are_ignored() {
    let first = r#"{"type": "text_delta", "index": 1, "novel": [2], "text": "x"}"#;
    let last = r#"{"novel": {"a": 1}, "index": 1, "text": "x", "type": "text_delta"}"#;
    for text in [first, last] {
        let want = Event::TextDelta {
            index: 1,
            text: "x".into(),
        };
        assert_eq!(serde_json::from_str::<Event>(text).unwrap(), want);
    }
    assert!(serde_json::from_str::<Event>(r#"{"index": 1, "text": "x"}"#).is_err());
    let escaped = r#"{"\u0074ype": "text_st\u0061rt", "index": 1}"#;
    assert_eq!(
        serde_json::from_str::<Event>(escaped).unwrap(),
        Event::TextStart { index: 1 }
    );
}

#[test]
fn an_index_moves_on_and_what_has_none_stays() {
    for before in one_of_each() {
        let mut after = before.clone();
        after.shift_index(7);
        assert_eq!(after.index(), before.index().map(|index| index + 7), "{before:?}");
        if before.index().is_none() {
            assert_eq!(after, before);
        }
    }
}

#[test]
fn what_adds_to_an_answer_is_told_from_what_closes_it() {
    let adds = one_of_each().into_iter().filter(Event::adds);
    for event in adds {
        let kind = event.kind();
        assert!(
            ["_start", "_delta", "_part"]
                .iter()
                .any(|end| kind.ends_with(end)),
            "{kind}"
        );
    }
    let others = one_of_each().into_iter().filter(|event| !event.adds());
    for event in others {
        let kind = event.kind();
        assert!(kind.ends_with("_end") || event.index().is_none(), "{kind}");
    }
}

#[test]
fn only_the_last_three_are_last() {
    let last: Vec<_> = one_of_each()
        .iter()
        .filter(|event| event.is_last())
        .map(Event::kind)
        .collect();
    assert_eq!(last, ["done", "error", "cancelled"]);
}
