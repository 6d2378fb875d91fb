//! What holds for any answer.

use super::*;
use proptest::prelude::*;

/// What a decoder holds and has said.
fn state(decoder: &mut Decoder, parts: &mut Parts) -> (Vec<Event>, Result<Finish, Fault>, Meta) {
    let ended = decoder.end(parts);
    let events = std::iter::from_fn(|| parts.pop()).collect();
    (events, ended, decoder.meta.clone())
}

fn both_ways(documents: &[Value]) -> [(Vec<Event>, Result<Finish, Fault>, Meta); 2] {
    let (mut quick, mut quick_parts) = (Decoder::default(), Parts::default());
    let (mut plain, mut plain_parts) = (Decoder::default(), Parts::default());
    for document in documents {
        let data = document.to_string();
        let one = quick.frame("", &data, &mut quick_parts);
        let other = plain.documents(document.clone(), false, &mut plain_parts);
        assert_eq!(one, other);
    }
    [
        state(&mut quick, &mut quick_parts),
        state(&mut plain, &mut plain_parts),
    ]
}

#[test]
fn the_chunks_that_google_sends_are_common_ones() {
    let usage =
        json!({"promptTokenCount": 9, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}]});
    let mut studio = stop(json!([{"text": "a\nb"}]));
    studio["usageMetadata"] = usage.clone();
    let vertex = json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "x", "thought": true}]}}],
                        "usageMetadata": {"trafficType": "ON_DEMAND"}, "modelVersion": "m",
                        "createTime": "2026-01-01T00:00:00Z", "responseId": "r"});
    for document in [chunk(json!([{"text": "x"}])), studio, vertex] {
        assert!(
            Decoder::default().common(&document.to_string(), &mut Parts::default()),
            "{document}"
        );
    }
    for document in [
        chunk(json!([])),
        chunk(json!([{"text": "x", "thoughtSignature": "s"}])),
        json!({"error": 1}),
    ] {
        assert!(
            !Decoder::default().common(&document.to_string(), &mut Parts::default()),
            "{document}"
        );
    }
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[a-z\\n\"\u{e9}\u{1f914}]{0,5}".prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!(0)),
    ]
}

/// A chunk as it comes, or nearly so.
fn nearly_common() -> impl Strategy<Value = Value> {
    let piece = (
        word(),
        prop::option::weighted(
            0.3,
            prop_oneof![Just(json!(true)), Just(json!(false)), Just(Value::Null)],
        ),
    );
    let pieces = prop::collection::vec(piece, 0..3);
    let extra = prop::option::weighted(0.2, prop::sample::select(vec!["safetyRatings", "novel", "index"]));
    (
        pieces,
        word(),
        prop::option::of(word()),
        prop::option::of(0_u64..99),
        extra,
    )
        .prop_map(|(pieces, id, reason, tokens, extra)| {
            let parts: Vec<Value> = pieces
                .into_iter()
                .map(|(text, thought)| {
                    let mut part = json!({ "text": text });
                    if let Some(thought) = thought {
                        part["thought"] = thought;
                    }
                    part
                })
                .collect();
            let mut candidate = json!({"content": {"parts": parts, "role": "model"}});
            if let Some(reason) = reason {
                candidate["finishReason"] = reason;
            }
            if let Some(extra) = extra {
                candidate[extra] = json!(1);
            }
            let mut document = json!({"candidates": [candidate], "responseId": id, "modelVersion": "m"});
            if let Some(tokens) = tokens {
                document["usageMetadata"] = json!({"promptTokenCount": tokens});
            }
            document
        })
}

/// The parts of an answer: kind, text and whether it is signed.
fn shapes() -> impl Strategy<Value = Vec<(u8, String, bool)>> {
    prop::collection::vec((0_u8..4, "[a-zé🤔 ]{1,6}", any::<bool>()), 0..6).prop_map(|mut all| {
        // Where nothing tells two parts apart a stream cannot either.
        all.dedup_by(|next, before| next.0 == before.0 && next.0 < 2 && !before.2);
        all
    })
}

fn wire_part(at: usize, kind: u8, text: &str, signed: bool) -> Value {
    let mut part = match kind {
        0 => json!({ "text": text }),
        1 => json!({"text": text, "thought": true}),
        2 => json!({"functionCall": {"id": format!("c{at}"), "name": "f", "args": {"x": text}}}),
        _ => json!({"executableCode": {"code": text}}),
    };
    if signed {
        part["thoughtSignature"] = json!(format!("s{at}=="));
    }
    part
}

/// The same parts as chunks: texts in two pieces, and a signature in an empty piece after them.
fn wire_chunks(shapes: &[(u8, String, bool)]) -> Vec<Value> {
    let mut out = Vec::new();
    for (at, (kind, text, signed)) in shapes.iter().enumerate() {
        if *kind > 1 {
            out.push(chunk(json!([wire_part(at, *kind, text, *signed)])));
            continue;
        }
        let middle = text
            .char_indices()
            .nth(text.chars().count() / 2)
            .map_or(0, |(middle, _)| middle);
        for piece in [&text[..middle], &text[middle..]] {
            out.push(chunk(json!([wire_part(at, *kind, piece, false)])));
        }
        if *signed {
            out.push(chunk(json!([wire_part(at, *kind, "", true)])));
        }
    }
    out.push(stop(json!([])));
    out
}

/// Every place of a document, replaced by `new` in turn of `nth`.
fn mutate(value: &mut Value, nth: &mut usize, new: &Value) {
    if *nth == 0 {
        *value = new.clone();
    }
    *nth = nth.wrapping_sub(1);
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| mutate(one, nth, new)),
        Value::Object(all) => all.values_mut().for_each(|one| mutate(one, nth, new)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_common_chunk_gives_the_events_of_the_general_way(documents in prop::collection::vec(nearly_common(), 1..6)) {
        let [quick, plain] = both_ways(&documents);
        prop_assert_eq!(quick, plain);
    }

    #[test]
    fn any_cutting_gives_the_same_events(shapes in shapes(), cuts in prop::collection::vec(1_usize..40, 1..30)) {
        let body = sse(&wire_chunks(&shapes)).into_bytes();
        let mut rest = body.as_slice();
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(read(pieces), read([body.as_slice()]));
    }

    #[test]
    fn a_stream_folds_into_the_reply_of_the_whole_answer(shapes in shapes()) {
        let parts: Vec<Value> =
            shapes.iter().enumerate().map(|(at, (kind, text, signed))| wire_part(at, *kind, text, *signed)).collect();
        prop_assert_eq!(streamed(&wire_chunks(&shapes)), whole(&stop(json!(parts))));
    }

    #[test]
    fn no_document_makes_a_panic(shapes in shapes(), nth in 0_usize..60, new in prop::sample::select(vec![
        Value::Null, json!(true), json!(-1), json!(1e300), json!("x"), json!([]), json!({}), json!([[{}]]),
        json!({"parts": {"text": 1}}), json!({"functionCall": {"partialArgs": [{"jsonPath": "$[[", "stringValue": 1}]}}),
    ])) {
        let mut all = json!(wire_chunks(&shapes));
        mutate(&mut all, &mut nth.clone(), &new);
        let _ = read([all.to_string().as_bytes()]);
        if let Value::Array(documents) = &all {
            let _ = read([sse(documents).as_bytes()]);
            for one in documents {
                drop(read([one.to_string().as_bytes()]));
            }
        }
    }

    #[test]
    fn no_bytes_make_a_panic(shapes in shapes(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = sse(&wire_chunks(&shapes)).into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = read([body.as_slice()]);
    }
}
