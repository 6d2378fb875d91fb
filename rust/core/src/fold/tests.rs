use super::*;
use crate::Error;
use proptest::prelude::*;

fn fold(events: &[Event]) -> Reply {
    let mut fold = Fold::new();
    for event in events {
        fold.push(event);
    }
    fold.finish(
        Finish {
            finish_reason: Some(FinishReason::Stop),
            ..Finish::default()
        },
        Vec::new(),
    )
}

fn events(document: Value) -> Vec<Event> {
    serde_json::from_value(document).unwrap()
}

fn content(reply: &Reply) -> Value {
    serde_json::to_value(&reply.message.content).unwrap()
}

#[test]
fn nothing_at_all_is_an_empty_answer() {
    let reply = fold(&[]);
    assert_eq!((reply.content.as_str(), content(&reply)), ("", json!("")));
    assert_eq!(reply.message.tool_calls, None);
    assert_eq!(reply.usage, Usage::default());
}

#[test]
fn plain_text_is_a_plain_string() {
    let reply = fold(&events(json!([
        {"type": "text_start", "index": 0}, {"type": "text_delta", "index": 0, "text": "a"},
        {"type": "text_delta", "index": 0, "text": "b"}, {"type": "text_end", "index": 0},
    ])));
    assert_eq!(content(&reply), json!("ab"));
}

#[test]
fn calls_that_come_last_need_no_marks_and_others_get_them() {
    let text = |index| json!([{"type": "text_delta", "index": index, "text": "t"}]);
    let call = |index| {
        json!([{"type": "tool_call_start", "index": index, "id": format!("c{index}"), "name": "f"},
               {"type": "tool_call_delta", "index": index, "arguments": "{}"}])
    };
    let all = |lists: [Value; 3]| fold(&lists.into_iter().flat_map(events).collect::<Vec<_>>());
    assert_eq!(content(&all([text(0), call(1), call(2)])), json!("t"));
    let between = all([text(0), call(1), text(2)]);
    assert_eq!(
        content(&between),
        json!([{"type": "text", "text": "t"}, {"type": "tool_call", "id": "c1"}, {"type": "text", "text": "t"}])
    );
    assert_eq!(between.content, "tt");
    assert_eq!(between.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn parts_stand_by_index_however_their_events_interleave() {
    let reply = fold(&events(json!([
        {"type": "tool_call_start", "index": 2, "id": "two", "name": "g"},
        {"type": "tool_call_start", "index": 1, "id": "one", "name": "f"},
        {"type": "tool_call_delta", "index": 2, "arguments": "{\"b\":"},
        {"type": "tool_call_delta", "index": 1, "arguments": "{\"a\":1}"},
        {"type": "tool_call_delta", "index": 2, "arguments": "2"},
        {"type": "reasoning_delta", "index": 0, "text": "hm"},
    ])));
    let calls: Vec<_> = reply
        .tool_calls
        .iter()
        .map(|call| (call.id.as_str(), call.name(), call.text()))
        .collect();
    assert_eq!(calls, [("one", "f", "{\"a\":1}"), ("two", "g", "{\"b\":2")]);
    assert_eq!(content(&reply), json!([{"type": "reasoning", "text": "hm"}]));
}

#[test]
fn a_custom_call_keeps_its_input_also_when_its_start_comes_late() {
    let reply = fold(&events(json!([
        {"type": "tool_call_start", "index": 0, "id": "c", "name": "sql", "kind": "custom"},
        {"type": "tool_call_delta", "index": 0, "arguments": "SELECT 1"},
        {"type": "tool_call_end", "index": 0, "signature": "s", "extra": {"openai": {"x": 1}}},
    ])));
    assert_eq!(
        serde_json::to_value(&reply.tool_calls).unwrap(),
        json!([{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}, "signature": "s",
                "extra": {"openai": {"x": 1}}}])
    );
}

#[test]
fn an_index_that_is_used_for_two_types_loses_neither() {
    let reply = fold(&events(json!([
        {"type": "reasoning_delta", "index": 0, "text": "hm"}, {"type": "text_delta", "index": 0, "text": "a"},
        {"type": "provider_part", "index": 0, "provider": "p", "kind": "k", "data": 1},
        {"type": "reasoning_delta", "index": 0, "text": "!"}, {"type": "text_delta", "index": 0, "text": "b"},
    ])));
    assert_eq!(
        content(&reply),
        json!([{"type": "reasoning", "text": "hm!"}, {"type": "text", "text": "ab"},
               {"type": "provider", "provider": "p", "kind": "k", "data": 1}])
    );
}

#[test]
fn media_become_the_parts_that_a_user_would_send() {
    let media = |index: u32, mime: &str| {
        events(json!([{"type": "media_start", "index": index, "mime": mime},
            {"type": "media_delta", "index": index, "base64": "AA"}, {"type": "media_delta", "index": index, "base64": "=="},
            {"type": "media_end", "index": index, "signature": "s"}]))
    };
    let reply = fold(
        &[
            media(0, "image/png"),
            media(1, "audio/wav"),
            media(2, "application/pdf"),
            media(3, ""),
        ]
        .concat(),
    );
    assert_eq!(
        content(&reply),
        json!([
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}, "signature": "s"},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}, "signature": "s"},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "format": "application/pdf"},
             "signature": "s"},
            {"type": "file", "file": {"file_data": "data:application/octet-stream;base64,AA==",
             "format": "application/octet-stream"}, "signature": "s"},
        ])
    );
}

#[test]
fn an_empty_text_part_says_nothing_unless_something_stands_on_it() {
    let bare = events(json!([{"type": "text_start", "index": 0}, {"type": "text_end", "index": 0}]));
    assert_eq!(content(&fold(&bare)), json!(""));
    let signed = events(
        json!([{"type": "text_start", "index": 0}, {"type": "text_end", "index": 0, "signature": "s"}]),
    );
    assert_eq!(
        content(&fold(&signed)),
        json!([{"type": "text", "text": "", "signature": "s"}])
    );
}

#[test]
fn the_indexes_that_have_begun_are_told_once_each() {
    let mut fold = Fold::new();
    for event in events(json!([
        {"type": "text_delta", "index": 4, "text": "x"}, {"type": "reasoning_delta", "index": 1, "text": "x"},
        {"type": "tool_call_delta", "index": 4, "arguments": "x"}, {"type": "refusal_delta", "text": "x"},
    ])) {
        fold.push(&event);
    }
    assert_eq!(fold.indexes(), [1, 4]);
}

#[test]
fn a_fallback_forgets_what_it_discards_and_who_said_it() {
    let mut all = events(json!([
        {"type": "start", "id": "1", "model": "m1", "provider": "p1", "engine": "native"},
        {"type": "text_delta", "index": 0, "text": "gone"}, {"type": "refusal_delta", "text": "gone"},
        {"type": "text_delta", "index": 1, "text": "kept"}, {"type": "usage", "usage": {"input_tokens": 5}},
    ]));
    all.push(Event::Fallback {
        from: "p1/m1".into(),
        to: "p2/m2".into(),
        error: Error::internal("x"),
        discarded: vec![0],
    });
    let after = fold(&all);
    assert_eq!(
        (after.content.as_str(), &after.refusal, &after.model),
        ("kept", &None, &None)
    );
    assert_eq!(after.usage, Usage::default());
    all.extend(events(json!([
        {"type": "start", "model": "m2", "provider": "p2", "engine": "litellm"},
        {"type": "text_delta", "index": 2, "text": " more"},
    ])));
    let whole = fold(&all);
    assert_eq!(whole.content, "kept more");
    assert_eq!(
        (whole.id, whole.model.as_deref(), whole.provider.as_deref()),
        (None, Some("m2"), Some("p2"))
    );
}

#[test]
fn the_finish_reason_follows_the_calls() {
    let call = events(json!([{"type": "tool_call_start", "index": 0, "id": "c", "name": "f"}]));
    for (given, with_call, without) in [
        (FinishReason::Stop, FinishReason::ToolCalls, FinishReason::Stop),
        (
            FinishReason::ToolCalls,
            FinishReason::ToolCalls,
            FinishReason::Stop,
        ),
        (FinishReason::Length, FinishReason::Length, FinishReason::Length),
        (
            FinishReason::ContentFilter,
            FinishReason::ContentFilter,
            FinishReason::ContentFilter,
        ),
        (FinishReason::Pause, FinishReason::Pause, FinishReason::Pause),
        (FinishReason::Other, FinishReason::Other, FinishReason::Other),
    ] {
        let finish = || Finish {
            finish_reason: Some(given),
            ..Finish::default()
        };
        let mut with = Fold::new();
        for event in &call {
            with.push(event);
        }
        assert_eq!(with.finish(finish(), vec![]).finish_reason, Some(with_call));
        assert_eq!(Fold::new().finish(finish(), vec![]).finish_reason, Some(without));
    }
    assert_eq!(Fold::new().partial(vec![]).finish_reason, None);
}

#[test]
fn unknown_keys_of_the_providers_message_are_kept_and_no_key_stands_twice() {
    let extra =
        json!({"reasoning_details": [1], "role": "x", "content": "x", "extra": {"p": {}}, "name": "n"});
    let finish: Finish = serde_json::from_value(json!({ "message_extra": extra })).unwrap();
    let mut fold = Fold::new();
    fold.push(&Event::TextDelta {
        index: 0,
        text: "a".into(),
    });
    let text = serde_json::to_string(&fold.finish(finish, vec![]).message).unwrap();
    let message: Message = serde_json::from_str(&text).unwrap();
    assert_eq!(
        serde_json::to_value(message).unwrap(),
        json!({"role": "assistant", "content": "a", "name": "n", "extra": {"p": {}}, "reasoning_details": [1]})
    );
}

/// A part before it is cut into deltas.
#[derive(Clone, Debug)]
enum Whole {
    Text(String, Option<String>),
    Reasoning(String, Option<String>),
    Call(String, bool),
    Media(String),
    Provider(i32),
    Refusal(String),
}

fn whole() -> impl Strategy<Value = Whole> {
    let maybe = || prop::option::of("[a-z]{1,4}");
    prop_oneof![
        (".{0,12}", maybe()).prop_map(|(text, signature)| Whole::Text(text, signature)),
        (".{0,12}", maybe()).prop_map(|(text, encrypted)| Whole::Reasoning(text, encrypted)),
        (".{0,12}", any::<bool>()).prop_map(|(arguments, custom)| Whole::Call(arguments, custom)),
        "[A-Za-z0-9+/]{0,12}".prop_map(Whole::Media),
        any::<i32>().prop_map(Whole::Provider),
        ".{0,12}".prop_map(Whole::Refusal),
    ]
}

/// Cuts `text` into pieces whose lengths `cuts` gives, in turn.
fn cut(text: &str, cuts: &[usize]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut turn, mut out) = (0, 0, Vec::new());
    while at < chars.len() {
        let to = (at + cuts[turn % cuts.len()]).min(chars.len());
        out.push(chars[at..to].iter().collect());
        (at, turn) = (to, turn + 1);
    }
    out
}

/// The events of each part, cut as told; the caller decides how they interleave.
fn streams(parts: &[Whole], cuts: &[usize]) -> Vec<Vec<Event>> {
    let mut index = 0;
    parts
        .iter()
        .map(|part| {
            let at = index;
            index += u32::from(!matches!(part, Whole::Refusal(_)));
            match part {
                Whole::Text(text, signature) => {
                    let mut all = vec![Event::TextStart { index: at }];
                    all.extend(
                        cut(text, cuts)
                            .into_iter()
                            .map(|text| Event::TextDelta { index: at, text }),
                    );
                    all.push(Event::TextEnd {
                        index: at,
                        annotations: None,
                        signature: signature.clone(),
                    });
                    all
                }
                Whole::Reasoning(text, encrypted) => {
                    let mut all = vec![Event::ReasoningStart {
                        index: at,
                        id: Some(format!("r{at}")),
                    }];
                    all.extend(
                        cut(text, cuts)
                            .into_iter()
                            .map(|text| Event::ReasoningDelta { index: at, text }),
                    );
                    all.push(Event::ReasoningEnd {
                        index: at,
                        signature: None,
                        encrypted: encrypted.clone(),
                    });
                    all
                }
                Whole::Call(arguments, custom) => {
                    let kind = custom.then(|| "custom".to_owned());
                    let mut all = vec![Event::ToolCallStart {
                        index: at,
                        id: format!("c{at}"),
                        name: "f".into(),
                        kind,
                    }];
                    let deltas = cut(arguments, cuts).into_iter();
                    all.extend(deltas.map(|arguments| Event::ToolCallDelta { index: at, arguments }));
                    all.push(Event::ToolCallEnd {
                        index: at,
                        signature: None,
                        extra: None,
                    });
                    all
                }
                Whole::Media(base64) => {
                    let mut all = vec![Event::MediaStart {
                        index: at,
                        mime: "image/png".into(),
                    }];
                    all.extend(
                        cut(base64, cuts)
                            .into_iter()
                            .map(|base64| Event::MediaDelta { index: at, base64 }),
                    );
                    all.push(Event::MediaEnd {
                        index: at,
                        signature: None,
                    });
                    all
                }
                Whole::Provider(data) => vec![Event::ProviderPart {
                    index: at,
                    provider: "p".into(),
                    kind: "k".into(),
                    data: json!(data),
                    signature: None,
                }],
                Whole::Refusal(text) => cut(text, cuts)
                    .into_iter()
                    .map(|text| Event::RefusalDelta { text })
                    .collect(),
            }
        })
        .collect()
}

/// Takes from the streams in turn as `turns` says, each stream in its own order; refusals, which have no index, stay in order.
fn interleave(streams: Vec<Vec<Event>>, turns: &[usize]) -> Vec<Event> {
    let (refusals, rest): (Vec<_>, Vec<_>) = streams
        .into_iter()
        .partition(|stream| stream.iter().all(|event| event.index().is_none()));
    let mut queues: Vec<std::vec::IntoIter<Event>> = rest.into_iter().map(Vec::into_iter).collect();
    queues.push(refusals.concat().into_iter());
    let (mut out, mut turn) = (Vec::new(), 0);
    while !queues.is_empty() {
        let at = turns[turn % turns.len()] % queues.len();
        turn += 1;
        match queues[at].next() {
            Some(event) => out.push(event),
            None => drop(queues.remove(at)),
        }
    }
    out
}

proptest! {
    #[test]
    fn any_cutting_and_any_interleaving_give_the_reply_of_the_unstreamed_answer(
        parts in prop::collection::vec(whole(), 0..7),
        cuts in prop::collection::vec(1usize..5, 1..6),
        turns in prop::collection::vec(0usize..8, 1..30),
    ) {
        let unstreamed = fold(&streams(&parts, &[usize::MAX / 2]).concat());
        prop_assert_eq!(serde_json::to_value(fold(&interleave(streams(&parts, &cuts), &turns))).unwrap(),
                        serde_json::to_value(&unstreamed).unwrap());
        let text: String = parts.iter().filter_map(|part| match part { Whole::Text(text, _) => Some(text.as_str()), _ => None }).collect();
        prop_assert_eq!(unstreamed.content, text);
    }

    #[test]
    fn a_folded_reply_comes_back_from_its_text(parts in prop::collection::vec(whole(), 0..7)) {
        let reply = fold(&streams(&parts, &[3]).concat());
        prop_assert_eq!(&serde_json::from_str::<Reply>(&serde_json::to_string(&reply).unwrap()).unwrap(), &reply);
        prop_assert_eq!(&serde_json::from_str::<Message>(&serde_json::to_string(&reply.message).unwrap()).unwrap(), &reply.message);
    }

    #[test]
    fn events_come_back_from_their_text(parts in prop::collection::vec(whole(), 0..7), cuts in prop::collection::vec(1usize..5, 1..6)) {
        for event in streams(&parts, &cuts).concat() {
            prop_assert_eq!(&serde_json::from_str::<Event>(&serde_json::to_string(&event).unwrap()).unwrap(), &event);
        }
    }
}
