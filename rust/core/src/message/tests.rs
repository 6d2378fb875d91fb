use super::*;
use serde_json::json;

fn same(document: &Value) -> Message {
    let message: Message = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&message).unwrap(), document);
    // The other way of reading: from text, where serde borrows and buffers differently.
    assert_eq!(
        serde_json::from_str::<Message>(&document.to_string()).unwrap(),
        message
    );
    message
}

#[test]
fn unknown_keys_are_kept_on_messages_parts_and_calls() {
    let message = same(&json!({
        "role": "assistant", "novel": {"a": [1, null]}, "cache_control": {"type": "ephemeral"},
        "content": [{"type": "text", "text": "x", "novel": 1.5, "extra": {"gemini": {}}}],
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{", "novel": true},
                        "novel": null}],
    }));
    assert_eq!(message.other["novel"], json!({"a": [1, null]}));
}

#[test]
fn a_part_of_an_unknown_type_is_kept_whole() {
    let message =
        same(&json!({"role": "user", "content": [{"type": "hologram", "data": [1], "signature": "s"}]}));
    let Some(Content::Parts(parts)) = &message.content else {
        panic!("parts are expected")
    };
    assert_eq!((parts[0].kind(), parts[0].signature()), ("hologram", Some("s")));
}

#[test]
fn every_known_part_comes_back_and_knows_its_type() {
    let parts = json!([
        {"type": "text", "text": "a", "annotations": [{"type": "url_citation"}], "signature": "s"},
        {"type": "image_url", "image_url": {"url": "data:,"}, "signature": "s"},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}, "signature": "s"},
        {"type": "file", "file": {"file_id": "f"}, "signature": "s"},
        {"type": "reasoning", "text": "", "encrypted": "e", "id": "r", "signature": "s"},
        {"type": "provider", "provider": "p", "kind": "k", "data": null, "signature": "s"},
        {"type": "tool_call", "id": "c", "signature": "s"},
    ]);
    let message = same(&json!({"role": "assistant", "content": parts}));
    let Some(Content::Parts(parts)) = &message.content else {
        panic!("parts are expected")
    };
    assert_eq!(parts.iter().map(Part::kind).collect::<Vec<_>>(), Part::TYPES);
    assert!(parts.iter().all(|part| part.signature() == Some("s")));
}

#[test]
fn null_is_absent_and_unknown_nulls_stay() {
    let read: Message =
        serde_json::from_value(json!({"role": "user", "content": null, "name": null, "x": null})).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        json!({"role": "user", "x": null})
    );
}

#[test]
fn null_is_absent_on_parts_too() {
    let part = json!({"type": "image_url", "image_url": null, "cache_control": null, "extra": null,
                      "signature": null, "x": null});
    let read: Message = serde_json::from_value(json!({"role": "user", "content": [part]})).unwrap();
    let kept = json!([{"type": "image_url", "image_url": null, "x": null}]);
    assert_eq!(serde_json::to_value(&read.content).unwrap(), kept);
}

#[test]
fn a_misfit_part_is_told_without_its_value() {
    for bad in [
        json!({"type": "text", "text": 7}),
        json!({"type": "text"}),
        json!({"text": "secret"}),
        json!("secret"),
    ] {
        let error = serde_json::from_value::<Message>(json!({"role": "user", "content": [bad]})).unwrap_err();
        let told = crate::unreadable("the message", &error).message;
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn the_text_is_joined() {
    let mut message = Message::user("one");
    assert_eq!(message.text(), "one");
    message.content = Some(Content::Parts(vec![
        Part::text("a"),
        Part::ToolCall {
            id: "c".into(),
            other: Object::new(),
        },
        Part::text("b"),
        Part::text("c"),
    ]));
    assert_eq!(message.text(), "abc");
    message.content = None;
    assert_eq!(message.text(), "");
}

#[test]
fn debug_shows_no_prompt() {
    let mut message = Message::user("my secret");
    assert!(!format!("{message:?}").contains("secret"));
    message.content = Some(Content::Parts(vec![
        Part::text("my secret"),
        Part::Reasoning {
            text: "my secret".into(),
            encrypted: Some("my secret".into()),
            id: None,
            signature: Some("my secret".into()),
            other: Object::new(),
        },
        Part::ImageUrl {
            image_url: json!("my secret"),
            other: Object::new(),
        },
    ]));
    let shown = format!("{message:?}");
    assert!(
        !shown.contains("secret") && shown.contains("text(9 bytes)"),
        "{shown}"
    );
}
