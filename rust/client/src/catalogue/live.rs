//! What providers themselves say that they have: `GET …/models`.

use super::resolve::known_as;
use super::{Catalogue, Model, Protocol, Provider};
use crate::client::Client;
use crate::credentials::{Guard, Hosts, KeyAsk, Source};
use crate::native::{Native, put_key};
use futures_util::future::join_all;
use omni_core::{Code, Error, Result, near_match};
use omni_transport::{Bytes, Call, HeaderMap, HeaderName, HeaderValue, Method, Transport};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// No list is longer.
const MAX_LENGTH: usize = 16 << 20;
/// Pages that are asked for, of a list that comes in pages.
const MAX_PAGES: usize = 50;
/// A provider's list is waited for this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// A server on this machine says at once whether it is there.
const LOCAL_PATIENCE: Duration = Duration::from_millis(400);

/// A server that was found on this machine.
#[derive(Clone, Debug)]
pub struct Local {
    /// As whom it is asked.
    pub provider: Arc<Provider>,
    /// Where it is.
    pub base_url: String,
    /// What it has.
    pub models: Vec<Arc<Model>>,
}

impl Client {
    /// What a provider's own list has now, each with what the catalogue knows of it. The key is found as for a call,
    /// and goes only where a call's may.
    ///
    /// # Errors
    /// `invalid_request` for a provider that is unknown, `unsupported` for one that only `LiteLLM` can ask.
    pub async fn live_models(&self, provider: &str) -> Result<Vec<Arc<Model>>> {
        let native = self.native().ok_or_else(|| {
            Error::new(
                Code::Unsupported,
                "a client of another engine lists no provider's models",
            )
        })?;
        native.live_models(provider).await
    }
}

impl Native {
    async fn live_models(&self, name: &str) -> Result<Vec<Arc<Model>>> {
        let provider = self
            .catalogue
            .provider(name)
            .ok_or_else(|| unknown(&self.catalogue, name))?;
        let variable = |name: &str| self.environments.variable(name)?.into_string().ok();
        let base = provider.base(None, variable).map_err(Error::invalid)?;
        let ask = KeyAsk {
            provider: &provider.name,
            env: &provider.key_env,
        };
        let found = self.credentials.key(&self.principal, &ask).wait().await?;
        let mut headers = own_headers(&provider)?;
        if let Some(key) = &found {
            let hosts = Hosts {
                provider: &provider.name,
                own: &provider.hosts,
                allowed: &self.allowed_hosts,
                base_url: provider.custom.then_some(provider.base_url.as_str()),
            };
            debug_assert!(key.source != Source::Call);
            Guard::new(hosts, &self.environments, std::iter::empty()).may_send(key, &base)?;
            put_key(&mut headers, &provider.auth, key)?;
        }
        let listing = list(&self.transport, &provider, &base, &headers);
        let names = tokio::time::timeout(PATIENCE, listing).await.map_err(|_| {
            failed(
                &provider,
                Code::Timeout,
                "the list of models did not come in time",
            )
        })??;
        Ok(known(&self.catalogue, &provider, names))
    }
}

impl Catalogue {
    /// The servers on this machine that answer now: Ollama, LM Studio, llama.cpp, vLLM and others whose address the
    /// catalogue has, or the environment sets. Needs a tokio runtime.
    pub async fn discover(&self, env: impl Fn(&str) -> Option<String>) -> Vec<Local> {
        let transport = Transport::new();
        let here = self.providers().into_iter().filter(|provider| provider.local);
        let asked = here.filter_map(|provider| {
            let base = provider.base(None, &env).ok()?;
            Some((provider, base))
        });
        let found = join_all(asked.map(async |(provider, base)| {
            let headers = own_headers(&provider).ok()?;
            let listing = list(&transport, &provider, &base, &headers);
            let names = tokio::time::timeout(LOCAL_PATIENCE, listing).await.ok()?.ok()?;
            Some(Local {
                models: known(self, &provider, names),
                provider,
                base_url: base,
            })
        }));
        found.await.into_iter().flatten().collect()
    }
}

/// There is no such provider, or none that we could ask.
pub fn unknown(catalogue: &Catalogue, name: &str) -> Error {
    let names = catalogue.provider_names();
    if names.iter().any(|known| known == name) {
        let message = format!("the native engine does not ask {name}: it speaks none of our protocols");
        return Error::new(Code::Unsupported, message);
    }
    let shown: String = name.chars().filter(|char| !char.is_control()).take(64).collect();
    let near = known_as(name).or_else(|| near_match(name, names.iter().map(String::as_str)));
    let meant = match near {
        Some(near) => format!("did you mean {near:?}?"),
        None => "name one as model ids begin, such as \"openai\"".to_owned(),
    };
    Error::invalid(format!("there is no provider {shown:?}; {meant}"))
}

/// The listed names with what is known of them.
fn known(catalogue: &Catalogue, provider: &Provider, mut names: Vec<String>) -> Vec<Arc<Model>> {
    names.sort_unstable();
    names.dedup();
    let with_id = |name: String| {
        let id = format!("{}/{name}", provider.name);
        let model = catalogue
            .model(&id)
            .map(|model| Model::clone(&model))
            .unwrap_or_default();
        // Under the name by which it was listed: the catalogue may know it under another.
        Arc::new(Model {
            key: id,
            provider: provider.name.clone(),
            ..model
        })
    };
    names.into_iter().map(with_id).collect()
}

fn own_headers(provider: &Provider) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if provider.protocol == Protocol::Anthropic {
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    }
    for (name, value) in &provider.headers {
        let pair = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        let (name, mut value) =
            pair.ok_or_else(|| Error::invalid(format!("{}: a header cannot be sent", provider.name)))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The names in a provider's list, all pages.
async fn list(
    transport: &Transport,
    provider: &Provider,
    base: &str,
    headers: &HeaderMap,
) -> Result<Vec<String>> {
    let (path, mark) = match provider.protocol {
        Protocol::Anthropic => ("/v1/models?limit=1000", "after_id"),
        Protocol::Gemini => ("/models?pageSize=1000", "pageToken"),
        Protocol::OpenaiChat | Protocol::OpenaiResponses => ("/models", ""),
    };
    let first = omni_providers::join(base, path);
    let mut names = Vec::new();
    let mut next = first.clone();
    for _ in 0..MAX_PAGES {
        let mut exchange = transport.send(Call {
            method: Method::GET,
            url: next,
            headers: headers.clone(),
            body: Bytes::new(),
        });
        let status = exchange.head().await?.status;
        if status != 200 {
            return Err(refused(provider, status));
        }
        let body = exchange.whole(MAX_LENGTH).await?;
        let page: Value = serde_json::from_slice(&body)
            .map_err(|_| failed(provider, Code::Protocol, "the list of models is not JSON"))?;
        let page = Page::read(&page)
            .ok_or_else(|| failed(provider, Code::Protocol, "the answer is no list of models"))?;
        names.extend(page.names);
        match page.next {
            Some(more) if !mark.is_empty() => {
                let more: String = url::form_urlencoded::byte_serialize(more.as_bytes()).collect();
                next = format!("{first}&{mark}={more}");
            }
            _ => break,
        }
    }
    Ok(names)
}

/// One page of a list.
struct Page {
    names: Vec<String>,
    /// The mark of the next one.
    next: Option<String>,
}

impl Page {
    /// `None` if this is no list.
    fn read(page: &Value) -> Option<Self> {
        let entries = [page.get("data"), page.get("models"), Some(page)]
            .into_iter()
            .flatten();
        let entries = entries.into_iter().find_map(Value::as_array)?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry
                .get("id")
                .or_else(|| entry.get("name"))
                .unwrap_or(entry)
                .as_str();
            // What only embeds or draws answers no chat.
            let methods = entry.get("supportedGenerationMethods").and_then(Value::as_array);
            let chat = |method: &Value| method.as_str() == Some("generateContent");
            if let Some(name) = name.filter(|_| methods.is_none_or(|methods| methods.iter().any(chat))) {
                names.push(name.strip_prefix("models/").unwrap_or(name).to_owned());
            }
        }
        let token = page.get("nextPageToken").and_then(Value::as_str);
        let after = page.get("has_more").and_then(Value::as_bool) == Some(true);
        let last = page.get("last_id").and_then(Value::as_str).filter(|_| after);
        let next = token.or(last).filter(|mark| !mark.is_empty()).map(str::to_owned);
        Some(Self { names, next })
    }
}

fn refused(provider: &Provider, status: u16) -> Error {
    let (code, why) = match status {
        401 => (Code::Authentication, "the key is missing or wrong"),
        403 => (Code::Permission, "this key may not list models"),
        404 | 405 => (Code::NotFound, "this provider has no list of models"),
        429 => (Code::RateLimit, "too many calls"),
        _ => (Code::Provider, "the list of models was refused"),
    };
    let mut error = failed(provider, code, why);
    error.status = Some(status);
    error
}

fn failed(provider: &Provider, code: Code, why: &str) -> Error {
    let mut error = Error::new(code, format!("{}: {why}", provider.name));
    error.provider = Some(provider.name.clone());
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_of_each_shape_is_read() {
        let read = |page: Value| Page::read(&page).map(|page| (page.names.join(" "), page.next));
        let openai = json!({"object": "list", "data": [{"id": "a"}, {"id": "b/c"}, {}]});
        assert_eq!(read(openai), Some(("a b/c".to_owned(), None)));
        let bare = json!([{"id": "a"}]);
        assert_eq!(read(bare), Some(("a".to_owned(), None)));
        let anthropic = json!({"data": [{"id": "a"}], "has_more": true, "last_id": "a"});
        assert_eq!(read(anthropic), Some(("a".to_owned(), Some("a".to_owned()))));
        let gemini = json!({"models": [
            {"name": "models/a", "supportedGenerationMethods": ["generateContent"]},
            {"name": "models/b", "supportedGenerationMethods": ["embedContent"]}], "nextPageToken": "t"});
        assert_eq!(read(gemini), Some(("a".to_owned(), Some("t".to_owned()))));
        for no_list in [json!({}), json!(1), json!({"data": 5}), json!(null)] {
            assert_eq!(read(no_list), None);
        }
    }

    #[test]
    fn an_unknown_provider_gives_what_was_meant() {
        let catalogue = Catalogue::builtin();
        assert!(
            unknown(&catalogue, "antropic")
                .message
                .contains("did you mean \"anthropic\"?")
        );
        assert_eq!(unknown(&catalogue, "bedrock").code, Code::Unsupported);
    }
}
