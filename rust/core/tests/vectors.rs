//! The golden documents of `tests/vectors` through the Rust types: what `tests/test_vectors.py` does with the models.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test, and its helpers are not marked as one"
)]

use omni_core::{Code, Error, Event, Finish, Fold, Reply, Request, from_slice_lenient};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// Raw: lone surrogates are only escapes until somebody reads them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    kind: String,
    #[serde(rename = "about")]
    _about: String,
    document: Option<Box<RawValue>>,
    #[serde(default)]
    documents: Vec<Box<RawValue>>,
    expect: Option<Box<RawValue>>,
    expect_documents: Option<Vec<Box<RawValue>>>,
    finish: Option<Box<RawValue>>,
    refused: Option<Refused>,
    traits: Option<Traits>,
}

#[derive(Deserialize)]
struct Refused {
    code: Code,
    starts: String,
}

#[derive(Deserialize)]
struct Traits {
    number: i32,
    http_status: u16,
    #[serde(rename = "python")]
    _python: String,
}

/// Puts the text in place of each `{"$repeat": [text, times]}`; the JSON text of the whole, surrogate escapes kept.
fn expanded(raw: &RawValue) -> String {
    fn expand(value: &mut Value) {
        match value {
            Value::Object(object) => {
                if let Some(Value::Array(repeat)) = object.get("$repeat") {
                    let times = usize::try_from(repeat[1].as_u64().unwrap()).unwrap();
                    *value = Value::String(repeat[0].as_str().unwrap().repeat(times));
                } else {
                    object.values_mut().for_each(expand);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(expand),
            _ => {}
        }
    }
    if !raw.get().contains("$repeat") {
        return raw.get().to_owned();
    }
    let mut value: Value = serde_json::from_str(raw.get()).unwrap();
    expand(&mut value);
    value.to_string()
}

fn value(raw: &RawValue) -> Value {
    from_slice_lenient(expanded(raw).as_bytes()).unwrap()
}

/// Reads the document as `T` and gives it back as a value: straight, and once more from its own text.
fn through<T: DeserializeOwned + serde::Serialize + PartialEq>(name: &str, raw: &RawValue) -> (T, Value) {
    let read: T =
        from_slice_lenient(expanded(raw).as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = serde_json::to_vec(&read).unwrap();
    assert!(
        serde_json::from_slice::<T>(&text).unwrap() == read,
        "{name}: its own text reads otherwise"
    );
    let out = serde_json::to_value(&read).unwrap();
    (read, out)
}

fn vectors() -> Vec<(String, Vector)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut all: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let vector = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, vector)
        })
        .collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn of_kind(kind: &str, least: usize, check: impl Fn(&str, &Vector)) {
    let all: Vec<_> = vectors()
        .into_iter()
        .filter(|(_, vector)| vector.kind == kind)
        .collect();
    assert!(all.len() >= least, "only {} vectors of kind {kind}", all.len());
    for (name, vector) in &all {
        check(name, vector);
    }
}

fn expected(vector: &Vector) -> Value {
    value(vector.expect.as_deref().or(vector.document.as_deref()).unwrap())
}

#[test]
fn every_vector_is_of_a_known_kind() {
    for (name, vector) in vectors() {
        assert!(
            ["request", "reply", "events", "error"].contains(&vector.kind.as_str()),
            "{name}: {}",
            vector.kind
        );
    }
}

#[test]
fn requests_come_back_or_are_refused_as_the_vector_says() {
    of_kind("request", 20, |name, vector| {
        let document = vector.document.as_deref().unwrap();
        let text = expanded(document);
        match (&vector.refused, Request::from_json(text.as_bytes())) {
            (None, Ok(request)) => {
                assert_eq!(
                    serde_json::to_value(&request).unwrap(),
                    expected(vector),
                    "{name}"
                );
                assert_eq!(Request::from_value(&value(document)).unwrap(), request, "{name}");
                through::<Request>(name, document);
            }
            (Some(refused), Err(error)) => {
                assert_eq!(error.code, refused.code, "{name}");
                assert!(
                    error.message.starts_with(&refused.starts),
                    "{name}: {}",
                    error.message
                );
                assert_eq!(
                    Request::from_value(&value(document)).unwrap_err(),
                    error,
                    "{name}"
                );
            }
            (None, Err(error)) => panic!("{name}: {error}"),
            (Some(_), Ok(_)) => panic!("{name}: was taken"),
        }
    });
}

#[test]
fn replies_come_back() {
    of_kind("reply", 8, |name, vector| {
        let (_, out) = through::<Reply>(name, vector.document.as_deref().unwrap());
        assert_eq!(out, expected(vector), "{name}");
    });
}

#[test]
fn errors_come_back_with_their_numbers_and_every_code_has_a_vector() {
    let seen = std::cell::RefCell::new(Vec::new());
    of_kind("error", 18, |name, vector| {
        let (error, out) = through::<Error>(name, vector.document.as_deref().unwrap());
        assert_eq!(out, expected(vector), "{name}");
        let traits = vector.traits.as_ref().unwrap();
        assert_eq!(
            (error.code.number(), error.code.http_status()),
            (traits.number, traits.http_status),
            "{name}"
        );
        seen.borrow_mut().push(error.code.number());
    });
    let mut seen = seen.into_inner();
    seen.sort_unstable();
    assert_eq!(
        seen,
        Code::ALL.iter().map(|code| code.number()).collect::<Vec<_>>()
    );
}

#[test]
fn events_come_back_and_fold_to_the_reply() {
    let kinds = std::cell::RefCell::new(std::collections::BTreeSet::new());
    of_kind("events", 25, |name, vector| {
        let expect = expected(vector);
        let out = vector.expect_documents.as_ref().unwrap_or(&vector.documents);
        assert_eq!(out.len(), vector.documents.len(), "{name}");
        let mut fold = Fold::new();
        for (at, (document, wanted)) in vector.documents.iter().zip(out).enumerate() {
            let (event, out) = through::<Event>(name, document);
            assert_eq!(out, value(wanted), "{name}[{at}]");
            assert_eq!(event.is_last(), at + 1 == vector.documents.len(), "{name}[{at}]");
            kinds.borrow_mut().insert(event.kind());
            fold.push(&event);
        }
        let finish = value(vector.finish.as_deref().unwrap());
        let folded = match finish["type"].as_str() {
            Some("finish") => fold.finish(serde_json::from_value::<Finish>(finish).unwrap(), Vec::new()),
            _ => fold.partial(Vec::new()),
        };
        assert_eq!(serde_json::to_value(folded).unwrap(), expect, "{name}");
    });
    let kinds = kinds.into_inner();
    assert!(
        Event::TYPES.iter().all(|kind| kinds.contains(kind)),
        "types without a vector: {kinds:?}"
    );
}
