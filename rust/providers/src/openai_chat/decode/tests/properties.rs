use super::*;
use proptest::prelude::*;

/// Values that stand where they should not, too.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!("")),
        Just(json!([])),
        Just(json!({})),
        Just(json!(0)),
        Just(json!(1)),
        Just(json!(1.5)),
        Just(json!(true)),
        "[a-c\"\\\\é]{0,4}".prop_map(Value::String),
        Just(json!({"type": "text", "text": "t"})),
        Just(json!([{"type": "text", "text": "l"}, "s"])),
    ]
}

/// An object of some of these keys.
fn object_of(keys: &[(&'static str, BoxedStrategy<Value>)]) -> BoxedStrategy<Value> {
    let entries: Vec<_> = keys
        .iter()
        .map(|(key, value)| {
            let key = *key;
            let value = prop_oneof![8 => value.clone(), 1 => anything()];
            prop::option::of(value.prop_map(move |value| (key.to_owned(), value)))
        })
        .collect();
    entries
        .prop_map(|entries| Value::Object(entries.into_iter().flatten().collect()))
        .boxed()
}

fn word() -> BoxedStrategy<Value> {
    prop_oneof![Just(json!(null)), "[a-b \"\\n]{0,3}".prop_map(Value::String)].boxed()
}

fn list_of(one: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(one, 0..3).prop_map(Value::Array).boxed()
}

fn a_call() -> BoxedStrategy<Value> {
    let function = object_of(&[("name", word()), ("arguments", word())]);
    object_of(&[
        ("index", (0..2).prop_map(|index| json!(index)).boxed()),
        ("id", word()),
        ("type", Just(json!("function")).boxed()),
        ("function", function.clone()),
        (
            "custom",
            prop_oneof![9 => Just(json!(null)), 1 => function].boxed(),
        ),
    ])
}

fn a_document(message: &'static str) -> BoxedStrategy<Value> {
    let delta = object_of(&[
        ("role", word()),
        ("content", word()),
        ("reasoning", word()),
        ("reasoning_content", word()),
        ("refusal", word()),
        ("tool_calls", list_of(a_call())),
        ("novel", word()),
    ]);
    let choice = object_of(&[
        ("index", Just(json!(0)).boxed()),
        (message, delta),
        ("finish_reason", word()),
        ("logprobs", Just(json!(null)).boxed()),
        ("novel", word()),
    ]);
    object_of(&[
        ("id", word()),
        ("object", word()),
        ("created", Just(json!(7)).boxed()),
        ("model", word()),
        (
            "choices",
            prop_oneof![4 => choice.prop_map(|one| json!([one])), 1 => Just(json!([]))].boxed(),
        ),
        (
            "usage",
            prop_oneof![Just(json!(null)), Just(json!({"prompt_tokens": 1}))].boxed(),
        ),
        ("service_tier", word()),
        ("message", word()),
        ("error", Just(json!(null)).boxed()),
    ])
}

/// `text` with some of its bytes changed, dropped or doubled.
fn mutated(text: String, changes: Vec<(prop::sample::Index, u8)>) -> String {
    let mut bytes = text.into_bytes();
    for (at, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match change % 4 {
            0 => bytes[at] = change,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, bytes[at]),
            _ => bytes.truncate(at),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..3)
}

fn sse(documents: &[String]) -> Vec<u8> {
    documents
        .iter()
        .flat_map(|document| format!("data: {document}\n\n").into_bytes())
        .collect()
}

/// All that an answer says of bytes that come in these pieces.
fn answered(bytes: &[u8], cuts: &[prop::sample::Index]) -> (Vec<Event>, Result<Finish, Fault>) {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut answer = Answer::new(Protocol::OpenaiChat, &context(), "m", None);
    let (mut from, mut said) = (0, Ok(()));
    let mut events = Vec::new();
    for cut in cuts {
        said = answer.push(&bytes[from..cut]);
        events.extend(std::iter::from_fn(|| answer.event()));
        if said.is_err() {
            break;
        }
        from = cut;
    }
    let end = said.and_then(|()| answer.end());
    events.extend(std::iter::from_fn(|| answer.event()));
    (events, end)
}

/// A text in pieces.
fn pieces(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(chars.len());
    let mut from = 0;
    cuts.into_iter()
        .map(|cut| chars[std::mem::replace(&mut from, cut)..cut].iter().collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn both_ways_of_reading_say_the_same(
        documents in prop::collection::vec((a_document("delta"), changes()), 1..6),
    ) {
        let texts: Vec<String> = documents
            .into_iter()
            .map(|(document, changes)| mutated(document.to_string(), changes))
            .chain(["[DONE]".to_owned()])
            .collect();
        prop_assert_eq!(read(&texts, false, true), read(&texts, false, false));
    }

    /// Of one shape, as the chunks of a stream are: here the last chunk is compared with and not only read.
    #[test]
    fn chunks_that_differ_in_little_are_read_as_each_alone(
        shape in a_document("delta"),
        said in prop::collection::vec(("[ab \"\\n\\\\\u{e9}]{0,4}", changes()), 2..6),
        field in prop::sample::select(vec!["content", "reasoning", "reasoning_content"]),
    ) {
        let texts: Vec<String> = said
            .into_iter()
            .map(|(text, changes)| {
                let mut document = shape.clone();
                if let Some(Value::Object(delta)) = document.pointer_mut("/choices/0/delta") {
                    delta.insert(field.to_owned(), json!(text));
                }
                // A broken document ends the answer, so that most must be whole.
                let changes = if changes.len() < 2 { Vec::new() } else { changes };
                mutated(document.to_string(), changes)
            })
            .chain(["[DONE]".to_owned()])
            .collect();
        prop_assert_eq!(read(&texts, false, true), read(&texts, false, false));
    }

    #[test]
    fn both_ways_of_reading_a_whole_answer_say_the_same(document in a_document("message"), changes in changes()) {
        let text = mutated(document.to_string(), changes);
        prop_assert_eq!(read(&[&text], true, true), read(&[&text], true, false));
    }

    #[test]
    fn any_cutting_gives_the_same_events(
        documents in prop::collection::vec(a_document("delta"), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = sse(&texts(&documents));
        prop_assert_eq!(answered(&bytes, &cuts), answered(&bytes, &[]));
    }

    #[test]
    fn the_streamed_events_fold_to_the_reply_of_the_whole_answer(
        text in "[a-c\"é ]{0,12}",
        reasoning in "[a-c\\n]{0,8}",
        arguments in prop::collection::vec("[a-c{}\":]{1,9}", 0..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        gemini in any::<bool>(),
    ) {
        let extra = if gemini { json!({"google": {"thought_signature": "s"}}) } else { json!(null) };
        let call = |at: usize, arguments: &str| json!({"index": at, "id": format!("c{at}"), "type": "function",
            "function": {"name": format!("f{at}"), "arguments": arguments}, "extra_content": extra});
        let calls: Vec<_> = arguments.iter().enumerate().map(|(at, text)| call(at, text)).collect();
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 2});
        let message = json!({"role": "assistant", "content": text, "reasoning_content": reasoning, "tool_calls": calls});
        let body = json!({"id": "x", "model": "m", "created": 7, "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});

        let mut deltas: Vec<Value> = Vec::new();
        deltas.extend(pieces(&reasoning, &cuts).into_iter().map(|piece| json!({"reasoning_content": piece})));
        deltas.extend(pieces(&text, &cuts).into_iter().map(|piece| json!({"content": piece})));
        for (at, text) in arguments.iter().enumerate() {
            deltas.push(json!({"tool_calls": [call(at, "")]}));
            deltas.extend(pieces(text, &cuts).into_iter().map(
                |piece| json!({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}),
            ));
        }
        let chunk = |delta: Value, finish: Value| json!({"id": "x", "model": "m", "created": 7,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        let mut documents: Vec<_> = deltas.into_iter().map(|delta| chunk(delta, json!(null))).collect();
        documents.push(chunk(json!({}), json!("stop")));
        documents.push(json!({"id": "x", "choices": [], "usage": usage}));
        let streamed = folded(read(&texts(&documents), false, true));
        prop_assert_eq!(streamed, folded(read(&[body.to_string()], true, true)));
    }

    #[test]
    fn no_bytes_make_it_panic(
        documents in prop::collection::vec((a_document("delta"), changes()), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        as_stream in any::<bool>(),
    ) {
        let texts: Vec<String> =
            documents.into_iter().map(|(document, changes)| mutated(document.to_string(), changes)).collect();
        let bytes = if as_stream { sse(&texts) } else { texts.concat().into_bytes() };
        let _ = answered(&bytes, &cuts);
    }
}
