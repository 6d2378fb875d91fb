//! The rule for one call.

use super::endpoints::{self, Hosts};
use super::environment::{Credential, Environment, Environments};
use super::place::Destination;
use super::{FoundKey, Source};
use omni_core::{Code, Error, Result};
use std::cell::OnceCell;
use std::sync::Arc;

/// Headers whose whole purpose is a credential.
const SENSITIVE: [&str; 20] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "x-goog-user-project",
    "ocp-apim-subscription-key",
    "x-amz-security-token",
    "x-auth-token",
    "x-auth",
    "x-api-token",
    "x-access-token",
    "x-token",
    "token",
    "x-key",
    "x-subscription-token",
    "zenapikey",
    "copilot-integration-token",
    "cookie",
];
const SENSITIVE_QUERY: [&str; 8] = [
    "key",
    "api_key",
    "apikey",
    "api-key",
    "access_token",
    "token",
    "subscription-key",
    "code",
];
/// Headers that every request has.
const USUAL: [&str; 13] = [
    "host",
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "content-length",
    "content-type",
    "user-agent",
    "date",
    "anthropic-version",
    "x-amz-date",
    "x-amz-content-sha256",
    "transfer-encoding",
];
/// What people write where there is no key.
const NOTHING: [&str; 10] = [
    "",
    "none",
    "null",
    "undefined",
    "nokey",
    "no-key",
    "fake-api-key",
    "not-needed",
    "dummy",
    "empty",
];

/// What may become of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may go.
    Go,
    /// It may go without these headers: they hold what the environment says of an account.
    Without(Vec<String>),
    /// It may not: the error says what would have gone where.
    Refused(Error),
}

/// Says for one call where a key that it did not bring may go, and whether a request may leave as it is.
///
/// Two questions, in this order: [`may_send`](Guard::may_send) before a key that was found is put into a request, and
/// [`verdict`](Guard::verdict) on the whole request as it would leave. For the provider's own hosts and those that the
/// configuration names, both cost one look at the address and no look at the environment.
pub struct Guard<'a> {
    hosts: Hosts<'a>,
    environments: &'a Environments,
    environment: OnceCell<Arc<Environment>>,
    given: Vec<&'a str>,
}

impl<'a> Guard<'a> {
    /// The rule for a call to this provider. `given` is what the caller gave for this call: `api_key` and the values of
    /// `headers` ([`given_in`](super::given_in)). Whole values of these may go wherever the call goes.
    pub fn new(
        hosts: Hosts<'a>,
        environments: &'a Environments,
        given: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            hosts,
            environments,
            environment: OnceCell::new(),
            given: given.into_iter().filter(|value| !value.is_empty()).collect(),
        }
    }

    /// Whether keys that the call did not bring may go to this address.
    pub fn trusted(&self, url: &str) -> bool {
        Destination::of(url).is_some_and(|to| {
            self.hosts.known(&to) || endpoints::named_by_environment(&to, &self.hosts, self.environment())
        })
    }

    /// Whether a key that was found may be put into a request to this address.
    ///
    /// # Errors
    /// `authentication`, naming the host and where the key was found, and what to do.
    pub fn may_send(&self, found: &FoundKey, url: &str) -> Result<()> {
        if found.source == Source::Call || self.trusted(url) {
            return Ok(());
        }
        Err(self.refusal(&found.source, url, "a header"))
    }

    /// Whether a request may leave as it is: a credential of the environment that the caller did not give for this call
    /// may stand in no part of a request to a host that is not trusted.
    pub fn verdict<'h>(
        &self,
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: &[u8],
    ) -> Verdict {
        let Some(to) = Destination::of(url) else {
            return self.judge(url, headers, body, self.environment());
        };
        if self.hosts.known(&to) {
            return Verdict::Go;
        }
        // What the environment was a moment ago may let a request go; only what it is now may refuse one.
        let recent = self.environments.recent();
        let headers: Vec<(&str, &str)> = headers.into_iter().collect();
        let named =
            |environment: &Environment| endpoints::named_by_environment(&to, &self.hosts, environment);
        if named(&recent) || self.judge(url, headers.iter().copied(), body, &recent) == Verdict::Go {
            return Verdict::Go;
        }
        let now = self.environment();
        if named(now) {
            return Verdict::Go;
        }
        self.judge(url, headers, body, now)
    }

    fn judge<'h>(
        &self,
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: &[u8],
        environment: &Environment,
    ) -> Verdict {
        match self.examine(url, headers, body, environment) {
            Ok(drop) if drop.is_empty() => Verdict::Go,
            Ok(drop) => Verdict::Without(drop),
            Err(what) => Verdict::Refused(self.refusal(&Source::Environment(String::new()), url, &what)),
        }
    }

    /// The headers to leave out, or what is wrong.
    fn examine<'h>(
        &self,
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: &[u8],
        environment: &Environment,
    ) -> Result<Vec<String>, String> {
        let withheld: Vec<&Credential> = self.withheld(environment).collect();
        let holds = |text: &str| withheld.iter().any(|secret| secret.is_in(text.as_bytes()));
        let mut drop = Vec::new();
        for (name, value) in headers {
            // The name says nothing: a key can stand under names that the caller set too.
            let name = name.to_ascii_lowercase();
            let usual = USUAL.contains(&name.as_str()) || name.starts_with("x-stainless-");
            let found = withheld
                .iter()
                .any(|secret| (!usual || secret.long) && secret.is_in(value.as_bytes()));
            if found {
                return Err(format!("the header {name}"));
            }
            if usual || self.harmless(value) {
                continue;
            }
            if SENSITIVE.contains(&name.as_str()) {
                return Err(format!("the header {name}"));
            }
            let others = &environment.others;
            if others.iter().any(|known| value.contains(known.as_str())) {
                drop.push(name);
            }
        }
        if url.contains('?')
            && let Ok(parsed) = url::Url::parse(url)
        {
            for (name, value) in parsed.query_pairs().filter(|(_, value)| !value.is_empty()) {
                let sensitive = SENSITIVE_QUERY.contains(&name.to_lowercase().as_str());
                if holds(&value) || (sensitive && !self.harmless(&value)) {
                    return Err(format!("the query field {name}"));
                }
            }
        }
        let decoded = || percent_encoding::percent_decode_str(url).decode_utf8_lossy();
        if holds(url) || (url.contains('%') && holds(&decoded())) {
            return Err("the address".to_owned());
        }
        if withheld.iter().any(|secret| secret.long && secret.is_in(body)) {
            return Err("the body".to_owned());
        }
        Ok(drop)
    }

    /// The environment's secrets but for those that the caller gave for this call as well.
    fn withheld<'e>(&self, environment: &'e Environment) -> impl Iterator<Item = &'e Credential> {
        let is_given = |secret: &Credential| self.given.iter().any(|given| given.contains(&secret.value));
        environment.secrets.iter().filter(move |secret| !is_given(secret))
    }

    /// Whether a value is one that the caller gave: whole values only, since a part of one could be chosen to stand in
    /// anybody's key.
    fn is_given(&self, value: &str) -> bool {
        let after_the_scheme = value.split_once(' ').map_or("", |(_, rest)| rest.trim());
        self.given.contains(&value) || self.given.contains(&after_the_scheme)
    }

    /// Whether a value is the caller's own or none at all; a value may be several joined with a comma.
    fn harmless(&self, value: &str) -> bool {
        self.is_given(value)
            || value.split(',').all(|piece| {
                let bare = without_scheme(piece).to_lowercase();
                NOTHING.contains(&bare.as_str()) || self.is_given(piece.trim())
            })
    }

    fn environment(&self) -> &Environment {
        self.environment.get_or_init(|| self.environments.current())
    }

    /// What, where, what next.
    fn refusal(&self, source: &Source, url: &str, what: &str) -> Error {
        let place = match source {
            Source::Keychain => "keychain",
            Source::File => "key file",
            Source::Store => "key store",
            Source::Call | Source::Environment(_) => "environment",
        };
        let provider = self.hosts.provider;
        let message = format!(
            "a credential of the {place} for '{provider}' would go to {} in {what}, which is neither the provider's own \
             host nor one that the environment or the configuration names. Pass api_key for this call, or name the host \
             in allowed_hosts.",
            host_of(url)
        );
        Error {
            provider: Some(provider.to_owned()),
            ..Error::new(Code::Authentication, message)
        }
    }
}

/// The host of an address, for people: never what stands before an `@` or after a `?`.
fn host_of(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    let ours = parsed.filter(|url| matches!(url.scheme(), "http" | "https"));
    match ours.as_ref().and_then(url::Url::host_str) {
        Some(host) => host.to_owned(),
        None => "an address that cannot be read".to_owned(),
    }
}

/// A header's value without the word for its kind.
fn without_scheme(value: &str) -> &str {
    let value = value.trim();
    for scheme in ["bearer", "basic", "token", "api-key"] {
        let Some(head) = value.get(..scheme.len()) else {
            continue;
        };
        let rest = &value[scheme.len()..];
        let ends = !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        if head.eq_ignore_ascii_case(scheme) && ends {
            return rest.trim();
        }
    }
    value
}
