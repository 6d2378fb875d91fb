//! What is asked: the arguments, standard input and files as one request.

use crate::args::Chat;
use crate::exit::Failure;
use crate::{files, keys, output};
use omni_core::{Content, EngineChoice, Message, Part, Request, Role, Timeout};
use serde_json::{Map, Value};
use std::io::{self, IsTerminal, Read};

/// The request that the command line describes.
pub(crate) async fn request(chat: &Chat, verbose: bool) -> Result<Request, Failure> {
    let mut messages: Vec<Message> = chat.system.iter().map(Message::system).collect();
    let mut parts = Vec::new();
    for path in &chat.file {
        parts.push(files::part(path)?);
    }
    let text = joined(chat.prompt.clone(), piped().await?);
    let mut asked = Message::user(text.clone());
    if !parts.is_empty() {
        // Files first: the question then speaks of what has been seen.
        parts.extend((!text.is_empty()).then(|| Part::text(text)));
        asked.content = Some(Content::Parts(parts));
    } else if text.is_empty() {
        let message = "nothing to ask: give a prompt, as in `omni chat \"Say hello.\"`, or pipe one in";
        return Err(Failure::Usage(message.to_owned()));
    }
    messages.push(asked);
    let mut request = Request::new(String::new(), messages);
    request.api_base.clone_from(&chat.api_base);
    request.engine = match chat.engine.as_deref() {
        Some("native") => Some(EngineChoice::Native),
        Some("litellm") => Some(EngineChoice::Litellm),
        _ => None,
    };
    request.timeout = chat.timeout.map(Timeout::Total);
    request = set(request, &chat.set)?;
    if request.model.is_empty() {
        request.model = match &chat.model {
            Some(model) => model.clone(),
            None => model(verbose)?,
        };
    }
    Ok(request)
}

/// The task of an agent: the argument, and what is piped in.
pub(crate) async fn task(argument: Option<String>) -> Result<String, Failure> {
    let text = joined(argument, piped().await?);
    if text.is_empty() {
        let message = "nothing to do: give a task, as in `omni run \"What time is it?\"`, or pipe one in";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(text)
}

/// The model of a person who names none: `OMNI_MODEL`'s, or a small one of the first provider with a key.
pub(crate) fn model(verbose: bool) -> Result<String, Failure> {
    if let Some(model) = std::env::var("OMNI_MODEL").ok().filter(|model| !model.is_empty()) {
        return Ok(model);
    }
    let message = "no model: name one with -m provider/model or in OMNI_MODEL, or set a provider's key \
                   (OPENAI_API_KEY, ANTHROPIC_API_KEY, …); `omni demo-server` stands in for a provider without a key";
    let (model, key) =
        keys::default_model(keys::in_environment).ok_or_else(|| Failure::Usage(message.to_owned()))?;
    if verbose {
        output::note(&format!("{key} is set: asking {model}"));
    }
    Ok(model.to_owned())
}

/// `request` with the fields of `--set`. The contract's own check names what is wrong, with a near match.
fn set(mut request: Request, fields: &[String]) -> Result<Request, Failure> {
    if fields.is_empty() {
        return Ok(request);
    }
    let mut object = Map::new();
    for field in fields {
        let Some((name, value)) = field.split_once('=') else {
            return Err(Failure::Usage(format!(
                "--set {field}: write FIELD=VALUE, as in --set temperature=0"
            )));
        };
        // What is no JSON is text: --set user=me needs no quotes.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        object.insert(name.to_owned(), value);
    }
    let messages = (!object.contains_key("messages")).then(|| std::mem::take(&mut request.messages));
    let Ok(Value::Object(mut whole)) = serde_json::to_value(&request) else {
        return Err(Failure::Call(omni_core::Error::internal(
            "a request cannot be written as JSON",
        )));
    };
    whole.extend(object);
    // The check wants a model and a message; which, is said later.
    let (no_model, no_messages) = (
        whole.get("model").is_none_or(|model| model == ""),
        messages.is_some(),
    );
    if no_model {
        whole.insert("model".into(), "to be chosen".into());
    }
    if no_messages {
        whole.insert(
            "messages".into(),
            serde_json::json!([{"role": Role::User, "content": ""}]),
        );
    }
    let mut request = Request::from_json(Value::Object(whole).to_string().as_bytes())?;
    if no_model {
        request.model = String::new();
    }
    if let Some(messages) = messages {
        request.messages = messages;
    }
    Ok(request)
}

/// What is piped in, if anything is.
async fn piped() -> Result<Option<String>, Failure> {
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = match read.await {
        Ok(Ok(bytes)) => bytes,
        // A closed standard input is one with nothing in it.
        Ok(Err(error)) if error.raw_os_error() == Some(9) => Vec::new(),
        Ok(Err(error)) => return Err(Failure::Io(format!("standard input: {error}"))),
        Err(error) => return Err(Failure::Io(format!("standard input: {error}"))),
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Usage("standard input is not text: send a file with --file".to_owned()))?;
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

fn joined(prompt: Option<String>, piped: Option<String>) -> String {
    match (prompt, piped) {
        (Some(prompt), Some(piped)) => format!("{prompt}\n\n{piped}"),
        (prompt, piped) => prompt.or(piped).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::new("", vec![Message::user("Hello")])
    }

    fn setting(fields: &[&str]) -> Result<Request, Failure> {
        set(
            request(),
            &fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn set_takes_json_and_plain_text_and_keeps_the_rest() {
        let set = setting(&["temperature=0.5", "user=me", "stop=[\"a\"]", "service_tier=\"5\""]).unwrap();
        assert_eq!((set.temperature, set.user.as_deref()), (Some(0.5), Some("me")));
        assert_eq!(
            (set.service_tier.as_deref(), set.messages, set.model),
            (Some("5"), request().messages, String::new())
        );
        assert_eq!(setting(&["model=a/b"]).unwrap().model, "a/b");
    }

    #[test]
    fn a_slip_in_set_is_told() {
        let Err(Failure::Call(error)) = setting(&["temprature=1"]) else {
            panic!()
        };
        assert!(error.message.contains("\"temperature\""), "{error}");
        assert!(matches!(setting(&["temperature"]), Err(Failure::Usage(_))));
    }

    #[test]
    fn what_is_piped_in_follows_the_prompt() {
        assert_eq!(
            joined(Some("sum up".into()), Some("text".into())),
            "sum up\n\ntext"
        );
        assert_eq!(joined(None, Some("text".into())), "text");
    }
}
