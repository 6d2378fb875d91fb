//! Which hosts may see a key that the call did not bring. Pure: names in, yes or no out.
//!
//! The same rule as `python/omni_bridge/_endpoints.py`; `tests/test_keys.py` feeds one table of cases to both.

use super::environment::Environment;
use super::place::{Destination, Place, written_port};

/// The hosts that are known of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Hosts<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// Its own hosts, asked over https only: `*` stands for a piece of one name between two dots, `{region}` for a
    /// region of AWS, `{NAME}` for the value of that environment variable. None may match a name that a stranger can
    /// register.
    pub own: &'a [String],
    /// What the configuration names (`allowed_hosts`): `host`, `host:port`, `.suffix`, or an address, whose port then
    /// counts.
    pub allowed: &'a [String],
    /// The base URL of a provider of the user's own making (`omni.toml`, `register_provider`): the configuration
    /// names this host and port.
    pub base_url: Option<&'a str>,
}

impl Hosts<'_> {
    /// Whether keys that the call did not bring may go there, as far as that can be said without looking at the
    /// environment.
    pub(super) fn known(&self, to: &Destination<'_>) -> bool {
        // `{NAME}` needs the environment; it is asked in `trusted`.
        (to.tls && self.own.iter().any(|own| to.place.is_one_of(own)))
            || self.allowed.iter().any(|entry| to.place.is_named_by(entry))
            || self
                .base_url
                .is_some_and(|base| to.place.is_at(base) && to.is_as_safe_as(base))
    }
}

/// Whether keys that the call did not bring may go to `url`: to the provider's own hosts over https, to those that
/// the configuration names, and to the base URL that the environment itself sets for this provider.
pub fn trusted(url: &str, hosts: &Hosts<'_>, environment: &Environment) -> bool {
    Destination::of(url).is_some_and(|to| hosts.known(&to) || named_by_environment(&to, hosts, environment))
}

/// The part of [`trusted`] that needs the environment.
pub(super) fn named_by_environment(
    to: &Destination<'_>,
    hosts: &Hosts<'_>,
    environment: &Environment,
) -> bool {
    (to.tls
        && hosts
            .own
            .iter()
            .any(|own| to.place.is_one_with_variable(own, environment)))
        || environment
            .bases_of(hosts.provider)
            .any(|base| to.place.is_at(base) && to.is_as_safe_as(base))
}

impl Destination<'_> {
    /// Whether a key goes there no less protected than to `base`: https is not taken back.
    fn is_as_safe_as(&self, base: &str) -> bool {
        self.tls || !base.trim_start().to_ascii_lowercase().starts_with("https:")
    }
}

impl Place<'_> {
    fn is_at(&self, base: &str) -> bool {
        Place::of(base).is_some_and(|place| place == *self)
    }

    /// Whether an entry of `allowed_hosts` means this place.
    fn is_named_by(&self, entry: &str) -> bool {
        let (bare, suffix) = match entry.strip_prefix('.') {
            Some(bare) => (bare, true),
            None => (entry, false),
        };
        let Some(named) = Place::of(bare) else {
            return false;
        };
        let matches = if suffix {
            self.host
                .strip_suffix(&*named.host)
                .is_some_and(|before| before.ends_with('.') && before.len() > 1)
        } else {
            self.host == named.host
        };
        let explicit = entry.contains("://") || written_port(entry).is_some();
        matches && (!explicit || named.port == self.port)
    }

    /// Whether a pattern without a variable means this host.
    fn is_one_of(&self, own: &str) -> bool {
        variable(own).is_none() && host_matches(own, &self.host)
    }

    /// Whether a pattern with a variable means this host.
    fn is_one_with_variable(&self, own: &str, environment: &Environment) -> bool {
        let Some(name) = variable(own) else {
            return false;
        };
        let value = environment.variable(name).unwrap_or_default().to_lowercase();
        // Nothing that ends the name early, or brings a dot of its own.
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        !value.is_empty()
            && value.bytes().all(plain)
            && own.replace(&format!("{{{name}}}"), &value) == self.host
    }
}

/// The environment variable that a pattern names, as in `{SNOWFLAKE_ACCOUNT_ID}.snowflakecomputing.com`.
fn variable(own: &str) -> Option<&str> {
    let mut rest = own;
    loop {
        let start = rest.find('{')? + 1;
        rest = &rest[start..];
        let name = &rest[..rest.find('}')?];
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
        let goes_on = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if begins && name.bytes().all(goes_on) {
            return Some(name);
        }
    }
}

/// Whether a pattern of `*` and `{region}` means this host: label by label, since neither reaches over a dot.
fn host_matches(pattern: &str, host: &str) -> bool {
    let mut names = host.split('.');
    pattern
        .split('.')
        .all(|label| names.next().is_some_and(|name| label_matches(label, name)))
        && names.next().is_none()
}

fn label_matches(pattern: &str, name: &str) -> bool {
    const REGION: &str = "{region}";
    let special = pattern
        .find('*')
        .map(|at| (at, 1))
        .into_iter()
        .chain(pattern.find(REGION).map(|at| (at, REGION.len())))
        .min();
    let Some((at, length)) = special else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(&pattern[..at]) else {
        return false;
    };
    let takes: fn(&str) -> bool = if length == 1 { is_piece } else { is_region };
    let after = &pattern[at + length..];
    // A name has 63 letters at the most, and a pattern one or two of these.
    (1..=rest.len())
        .filter(|&end| rest.is_char_boundary(end))
        .any(|end| takes(&rest[..end]) && label_matches(after, &rest[end..]))
}

fn is_piece(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a text is a region of AWS: `eu-west-1`, `us-gov-east-1`.
fn is_region(text: &str) -> bool {
    let mut pieces = text.split('-');
    let letters = |piece: &str| !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_lowercase());
    let number =
        |piece: &str| matches!(piece.len(), 1 | 2) && piece.bytes().all(|byte| byte.is_ascii_digit());
    let (Some(first), Some(last)) = (pieces.next(), pieces.next_back()) else {
        return false;
    };
    let mut middle = pieces.peekable();
    first.len() == 2 && letters(first) && number(last) && middle.peek().is_some() && middle.all(letters)
}
