//! Fallbacks: other models, or the same one elsewhere, in the order given.

use omni_core::{Error, Message, ModelId, Object, Request, Result, unreadable};
use serde_json::Value;

/// Fields that belong to the provider that was asked first. They go along to another model of the same provider,
/// never to another provider: a key must not reach a foreign host because a model was busy.
const OF_THE_PROVIDER: [&str; 3] = ["api_key", "api_base", "headers"];

/// Checks one entry of `fallbacks` when the call begins, so that a slip does not wait for a bad day to show.
pub(crate) fn check(at: usize, fallback: &Value) -> Result<()> {
    let object = match fallback {
        Value::String(model) if !model.trim().is_empty() => return Ok(()),
        Value::Object(object) if !object.is_empty() => object,
        _ => {
            return Err(Error::invalid(format!(
                "fallbacks[{at}]: give a model id, or an object with the fields to change, for example \
                 {{\"model\": \"openai/gpt-5-mini\", \"temperature\": 0}}"
            )));
        }
    };
    if object.contains_key("fallbacks") {
        return Err(Error::invalid(format!(
            "fallbacks[{at}].fallbacks: list all fallbacks in one list"
        )));
    }
    for whole in ["budget", "fallback_mid_stream"] {
        if object.contains_key(whole) {
            return Err(Error::invalid(format!(
                "fallbacks[{at}].{whole}: belongs to the whole call; give it in the request itself"
            )));
        }
    }
    if object.contains_key("messages") {
        return Err(Error::invalid(format!(
            "fallbacks[{at}].messages: a fallback answers the same conversation; leave them out"
        )));
    }
    let mut probe = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": ""}]});
    if let Value::Object(probe) = &mut probe {
        probe.extend(object.clone());
    }
    let at = |error: Error| Error {
        message: format!("fallbacks[{at}].{}", error.message),
        ..error
    };
    Request::from_json(probe.to_string().as_bytes())
        .map(drop)
        .map_err(at)
}

/// `first` (the request as it was asked first, but for its `messages`) as `fallback` changes it. `null` in the object
/// takes a field away.
pub(crate) fn apply(first: &Request, messages: Vec<Message>, fallback: &Value) -> Result<Request> {
    let mut changes = match fallback {
        Value::String(model) => {
            let mut object = Object::new();
            object.insert("model".into(), Value::String(model.clone()));
            object
        }
        Value::Object(object) => object.clone(),
        _ => {
            return Err(Error::internal(
                "a fallback was not checked before the call began",
            ));
        }
    };
    let Ok(Value::Object(mut fields)) = serde_json::to_value(first) else {
        return Err(Error::internal("a request cannot be written as JSON"));
    };
    let model = changes.get("model").and_then(Value::as_str);
    if model.is_some_and(|model| moves(&first.model, model)) {
        fields.retain(|field, _| !OF_THE_PROVIDER.contains(&field.as_str()));
    }
    fields.append(&mut changes);
    let request: Result<Request, _> = serde_json::from_value(Value::Object(fields));
    let request = request.map_err(|error| unreadable("fallbacks", &error))?;
    // The conversation is the long part: it moves over as it is, not through JSON.
    Ok(Request { messages, ..request })
}

/// Whether another model may be another provider's. An id without a provider may be anybody's.
fn moves(from: &str, to: &str) -> bool {
    let provider = ModelId::parse(from).provider;
    provider != ModelId::parse(to).provider || (provider.is_none() && from != to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> Request {
        Request {
            api_key: Some("key".into()),
            api_base: Some("https://here".into()),
            temperature: Some(1.0),
            ..Request::new("openai/gpt-5", vec![Message::user("Hello")])
        }
    }

    fn change(fallback: &Value) -> Result<Request> {
        let mut first = request();
        let messages = std::mem::take(&mut first.messages);
        apply(&first, messages, fallback)
    }

    #[test]
    fn an_id_changes_the_model_alone() {
        let next = change(&json!("openai/gpt-5-mini")).unwrap();
        assert_eq!(
            next,
            Request {
                model: "openai/gpt-5-mini".into(),
                ..request()
            }
        );
    }

    #[test]
    fn a_key_never_goes_along_to_another_provider() {
        let next = change(&json!("anthropic/claude-sonnet-4-5")).unwrap();
        assert_eq!(
            (next.api_key, next.api_base, next.temperature),
            (None, None, Some(1.0))
        );
        let own = change(&json!({"model": "groq/llama", "api_key": "other"})).unwrap();
        assert_eq!((own.api_key.as_deref(), own.api_base), (Some("other"), None));
    }

    #[test]
    fn a_key_never_goes_along_when_an_id_does_not_say_whose_it_is() {
        let bare = Request {
            model: "gpt-5".into(),
            headers: Some([("x-own".to_owned(), json!("1"))].into_iter().collect()),
            messages: Vec::new(),
            ..request()
        };
        for other in ["claude-sonnet-4-5", "openai/gpt-5"] {
            let next = apply(&bare, Vec::new(), &json!(other)).unwrap();
            assert_eq!(
                (next.api_key, next.api_base, next.headers.is_some()),
                (None, None, false),
                "{other}"
            );
        }
        let same = apply(&bare, Vec::new(), &json!({"model": "gpt-5", "temperature": 0})).unwrap();
        assert_eq!(same.api_key.as_deref(), Some("key"));
    }

    #[test]
    fn an_object_sets_and_takes_away_fields() {
        let next = change(&json!({"temperature": null, "max_tokens": 5})).unwrap();
        assert_eq!(
            next,
            Request {
                temperature: None,
                max_tokens: Some(5),
                ..request()
            }
        );
    }

    #[test]
    fn a_slip_is_named_with_its_place() {
        let error = check(1, &json!({"model": "openai/gpt-5", "temprature": 0})).unwrap_err();
        assert!(error.message.starts_with("fallbacks[1].temprature: "), "{error}");
        assert!(error.message.contains("\"temperature\""), "{error}");
        for wrong in [
            json!(""),
            json!({}),
            json!(3),
            json!({"fallbacks": []}),
            json!({"messages": []}),
        ] {
            assert!(check(0, &wrong).is_err(), "{wrong}");
        }
        assert_eq!(check(0, &json!("openai/gpt-5")), Ok(()));
    }
}
