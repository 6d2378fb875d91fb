//! The native engine behind the client: which calls it takes, where they go, and with which key.
//!
//! It takes a call, or leaves it to the other engine, before the first byte is sent and never after.

use crate::catalogue::{Auth, Catalogue, Provider, Resolved};
use crate::credentials::{
    self, Credentials, Environments, FoundKey, Guard, Hosts, KeyAsk, Lookup, Principal, Secret, Source,
    Verdict, check_endpoints, check_host, given_in,
};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use omni_core::{BoxFuture, Code, EngineChoice, Error, Object, Request, Result, Steps};
use omni_providers::{Outgoing, Protocol, Target};
use omni_transport::{Transport, check_address};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Who makes a try.
pub(crate) enum Route {
    /// The native engine: it has begun.
    Native(Steps),
    /// The engine behind the bridge; why the native one does not take it, if it was asked.
    Bridge(Option<String>),
    /// Nobody.
    Refused(Error),
    /// To be waited for: the key is in a store that has to be asked.
    Later(BoxFuture<'static, Route>),
}

/// Why a call is not made by the native engine.
enum Not {
    /// Another engine may.
    Declined(String),
    /// Nobody may.
    Refused(Error),
}

impl From<Error> for Not {
    fn from(error: Error) -> Self {
        Not::Refused(error)
    }
}

/// A call whose target is known and whose key is not.
struct Aimed {
    provider: Arc<Provider>,
    protocol: Protocol,
    target: Target,
    base_url: String,
}

impl Aimed {
    fn ask(&self) -> KeyAsk<'_> {
        KeyAsk {
            provider: &self.provider.name,
            env: &self.provider.key_env,
        }
    }
}

/// Everything that native calls share.
pub(crate) struct Native {
    pub(crate) transport: Transport,
    pub(crate) catalogue: Catalogue,
    pub(crate) credentials: Arc<dyn Credentials>,
    pub(crate) environments: Arc<Environments>,
    pub(crate) principal: Principal,
    /// Who is to answer where a request does not say.
    pub(crate) choice: EngineChoice,
    pub(crate) allow_endpoints: bool,
    pub(crate) allowed_hosts: Vec<String>,
}

impl Native {
    /// Begins a try of `request`, or says who else is to.
    pub(crate) fn route(
        self: &Arc<Self>,
        request: &Request,
        stream: bool,
        connect: Option<Duration>,
    ) -> Route {
        if self.choice(request) == EngineChoice::Litellm {
            return bridge(request, None);
        }
        let aimed = match self.aim(request) {
            Ok(aimed) => aimed,
            Err(not) => return not.route(request, self.choice(request)),
        };
        let found = match request.api_key.as_deref() {
            Some(key) => Some(Ok(Some(FoundKey {
                secret: key.into(),
                source: Source::Call,
            }))),
            None => match self.credentials.key(&self.principal, &aimed.ask()) {
                Lookup::Now(found) => Some(found),
                Lookup::Later(_) => None,
            },
        };
        match found {
            Some(found) => self.send(request, aimed, found, stream, connect),
            None => self.route_later(request.clone(), aimed, stream, connect),
        }
    }

    /// The same, once the store of keys has answered. A rare path: it may copy the request.
    fn route_later(
        self: &Arc<Self>,
        request: Request,
        aimed: Aimed,
        stream: bool,
        connect: Option<Duration>,
    ) -> Route {
        let native = Arc::clone(self);
        Route::Later(Box::pin(async move {
            let ask = aimed.ask();
            let found = credentials::find(&*native.credentials, &native.principal, &ask, None).await;
            native.send(&request, aimed, found, stream, connect)
        }))
    }

    fn choice(&self, request: &Request) -> EngineChoice {
        request.engine.unwrap_or(self.choice)
    }

    fn aim(&self, request: &Request) -> Result<Aimed, Not> {
        let resolved = self.catalogue.resolve(&request.model);
        let Resolved {
            provider,
            protocol,
            model,
            ..
        } = resolved.map_err(|unresolved| Not::Declined(unresolved.to_string()))?;
        if let Some(name) = provider.left_to_litellm(|name| self.variable(name)) {
            return Err(Not::Declined(format!(
                "{name} is set, and it does not do what that asks"
            )));
        }
        let target = Target {
            provider: provider.name.clone(),
            model,
            dialect: Arc::clone(&provider.dialect),
        };
        let base_url = self.base_url(&provider, request)?;
        let protocol = provider.protocol_for(request, &target.model, protocol, &base_url);
        if let Some(why) = protocol.declines(request, &target) {
            return Err(Not::Declined(why));
        }
        check_endpoints(request, self.allow_endpoints)?;
        Ok(Aimed {
            provider,
            protocol,
            target,
            base_url,
        })
    }

    fn send(
        &self,
        request: &Request,
        aimed: Aimed,
        found: Result<Option<FoundKey>>,
        stream: bool,
        connect: Option<Duration>,
    ) -> Route {
        match found
            .map_err(Not::Refused)
            .and_then(|found| self.outgoing(request, aimed, found.as_ref(), stream, connect))
        {
            Ok(outgoing) => Route::Native(omni_providers::call(&self.transport, outgoing)),
            Err(not) => not.route(request, self.choice(request)),
        }
    }

    fn outgoing(
        &self,
        request: &Request,
        aimed: Aimed,
        found: Option<&FoundKey>,
        stream: bool,
        connect: Option<Duration>,
    ) -> Result<Outgoing, Not> {
        let Aimed {
            provider,
            protocol,
            target,
            base_url,
        } = aimed;
        let hosts = Hosts {
            provider: &provider.name,
            own: &provider.hosts,
            allowed: &self.allowed_hosts,
            base_url: provider.custom.then_some(provider.base_url.as_str()),
        };
        let guard = Guard::new(hosts, &self.environments, given_in(request));
        let encoded = protocol.encode(request, &target, stream)?;
        let url = omni_providers::join(&base_url, &encoded.path);
        // Most calls have four: the key, the kinds of body that are sent and taken, and how it may be packed.
        let given = request.headers.as_ref().map_or(0, Object::len);
        let mut headers = HeaderMap::with_capacity(4 + provider.headers.len() + given);
        for (name, value) in provider.headers_in(|name| self.variable(name)) {
            headers.insert(header_name(name)?, header_value(name, &value)?);
        }
        // Nobody knows which of the caller's headers is a key.
        let mut secrets = Vec::new();
        for (name, value) in request.headers.iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            headers.insert(header_name(name)?, header_value(name, value)?);
            secrets.push(Secret::from(value));
        }
        match found {
            Some(key) => {
                // What is no address is nobody's host: that is told first.
                let refused = |error| check_address(&url).err().unwrap_or(error);
                guard.may_send(key, &url).map_err(refused)?;
                check_host(request, &key.source)?;
                put_key(&mut headers, &provider.auth, key)?;
                secrets.push(key.secret.clone());
            }
            None if provider.needs_key(&headers) => {
                let ask = KeyAsk {
                    provider: &provider.name,
                    env: &provider.key_env,
                };
                if provider.other_credentials && self.choice(request) != EngineChoice::Native {
                    return Err(Not::Declined(format!("no key for {} is known", provider.name)));
                }
                return Err(Not::Refused(credentials::missing(&ask, None)));
            }
            None => {}
        }
        // A value may be UTF-8 beside ASCII; whatever it is, the guard sees it.
        let shown: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), shown(value)))
            .collect();
        let shown = shown.iter().map(|(name, value)| (*name, &**value));
        match guard.verdict(&url, shown, &encoded.body) {
            Verdict::Go => {}
            Verdict::Without(names) => {
                for name in names {
                    headers.remove(name);
                }
            }
            Verdict::Refused(error) => return Err(Not::Refused(error)),
        }
        Ok(Outgoing {
            protocol,
            encoded,
            stream,
            url,
            headers,
            model_id: request.model.clone(),
            model: target.model,
            secrets,
            connect_timeout: connect,
        })
    }

    /// Where a call goes: what the request says, else the environment, else the provider's own address.
    fn base_url(&self, provider: &Provider, request: &Request) -> Result<String, Not> {
        let given = request.api_base.as_deref().filter(|base| !base.is_empty());
        // LiteLLM may find the place in ways of its own: a project in a file of credentials, a profile.
        provider
            .base(given, |name| self.variable(name))
            .map_err(Not::Declined)
    }

    /// A variable of the environment that says something.
    fn variable(&self, name: &str) -> Option<String> {
        self.environments
            .variable(name)
            .and_then(|value| value.into_string().ok())
            .filter(|value| !value.trim().is_empty())
    }
}

impl Not {
    fn route(self, request: &Request, choice: EngineChoice) -> Route {
        match self {
            Not::Refused(error) => Route::Refused(error.for_model(&request.model)),
            Not::Declined(why) if choice == EngineChoice::Native => {
                let message = format!(
                    "the native engine does not take this call: {why}; leave engine out, or ask for \"litellm\""
                );
                Route::Refused(Error::new(Code::Unsupported, message).for_model(&request.model))
            }
            Not::Declined(why) => bridge(request, Some(why)),
        }
    }
}

impl Provider {
    /// Whether a call needs a key that its headers do not bring.
    fn needs_key(&self, headers: &HeaderMap) -> bool {
        match &self.auth {
            Auth::None => false,
            _ if self.local => false,
            Auth::Bearer => !headers.contains_key(AUTHORIZATION),
            Auth::Header(name) => {
                !headers.contains_key(name.as_str()) && !headers.contains_key(AUTHORIZATION)
            }
        }
    }
}

/// `LiteLLM` is to answer. What no engine could send is refused here, in the words of the native one.
fn bridge(request: &Request, why: Option<String>) -> Route {
    let checked = || {
        if let Some(base) = request.api_base.as_deref().filter(|base| !base.is_empty()) {
            check_address(base)?;
        }
        for (name, value) in request.headers.iter().flatten() {
            header_name(name)?;
            header_value(name, value.as_str().unwrap_or_default())?;
        }
        match request.api_key.as_deref() {
            Some(key) => check_key(key, Source::Call.name()),
            None => Ok(()),
        }
    };
    match checked() {
        Ok(()) => Route::Bridge(why),
        Err(error) => Route::Refused(error.for_model(&request.model)),
    }
}

/// A key that a header can carry. Marks that a word processor has made of others are accidents too.
fn check_key(key: &str, source: &str) -> Result<()> {
    if key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    let message = format!(
        "the key from the {source} has characters that cannot stand in a header: set it again, without blanks or line ends"
    );
    Err(Error::new(Code::Authentication, message))
}

/// Puts the key where the provider looks for it, unless the caller has set that header.
pub(crate) fn put_key(headers: &mut HeaderMap, auth: &Auth, key: &FoundKey) -> Result<()> {
    let secret = key.secret.expose();
    if auth != &Auth::None {
        check_key(secret, key.source.name())?;
    }
    let bearer;
    let (name, value) = match auth {
        Auth::None => return Ok(()),
        Auth::Bearer => {
            bearer = Zeroizing::new(format!("Bearer {secret}"));
            (AUTHORIZATION, HeaderValue::from_str(&bearer))
        }
        Auth::Header(name) => (header_name(name)?, HeaderValue::from_str(secret)),
    };
    // Nothing that passed the check above is refused here.
    let mut value = value.map_err(|_| Error::internal("a key was refused by a header"))?;
    value.set_sensitive(true);
    headers.entry(name).or_insert(value);
    Ok(())
}

/// A header's value as text, whatever is in it.
fn shown(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn header_name(name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Error::invalid(format!("headers.{name:.100}: this cannot be a header's name")))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Error::invalid(format!(
            "headers.{name}: the value has characters that cannot stand in a header"
        ))
    })?;
    // Nobody knows which of the caller's headers is a key.
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
