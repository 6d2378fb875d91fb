//! Where an address leads: its host and port.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use url::{Host, Url};

/// Where a call would go, as far as the rule asks.
pub(super) struct Destination<'a> {
    pub(super) place: Place<'a>,
    /// Asked over https; otherwise over http.
    pub(super) tls: bool,
}

impl<'a> Destination<'a> {
    /// Of an address as it would be asked; `None` for one that is not http or https, or has no host.
    ///
    /// The parser is that of the HTTP client, so both mean the same host by it. It takes some seven thousand
    /// instructions, so an address that can be read in one way only is not given to it: each call asks for one.
    pub(super) fn of(url: &'a str) -> Option<Self> {
        Self::of_plain(url).or_else(|| Self::parse(url))
    }

    fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let place = Place::of_url(&url)?;
        Some(Self { place, tls })
    }

    fn of_plain(url: &'a str) -> Option<Self> {
        let (tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let end = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let (host, port) = plain(&rest[..end.unwrap_or(rest.len())])?;
        let usual = if tls { 443 } else { 80 };
        let place = Place {
            host: Cow::Borrowed(host),
            port: port.or(Some(usual)),
        };
        Some(Self { place, tls })
    }
}

/// A host and a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// In lower case, without a dot at its end.
    pub(super) host: Cow<'a, str>,
    pub(super) port: Option<u16>,
}

impl<'a> Place<'a> {
    fn of_url(url: &Url) -> Option<Self> {
        let host = match url.host()? {
            Host::Domain(name) => name.trim_end_matches('.').to_ascii_lowercase(),
            address => address.to_string(),
        };
        (!host.is_empty()).then(|| Self {
            host: Cow::Owned(host),
            port: url.port_or_known_default(),
        })
    }

    /// The place of an address that may lack its scheme; its port is then known only if it is written.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        if text.contains("://") {
            if let Some(destination) = Destination::of_plain(text) {
                return Some(destination.place);
            }
            return Self::of_url(&Url::parse(text).ok()?);
        }
        if let Some((host, port)) = plain(text) {
            return Some(Self {
                host: Cow::Borrowed(host),
                port,
            });
        }
        Self::parse_bare(text)
    }

    fn parse_bare(text: &str) -> Option<Self> {
        let url = Url::parse(&format!("http://{text}")).ok()?;
        let mut place = Self::of_url(&url)?;
        if url.port().is_none() {
            // Port 80 is the scheme's own, so the parser does not tell whether it was written.
            place.port = written_port(text);
        }
        Some(place)
    }
}

/// The port at the end of an entry, as `host:8080` has one.
pub(super) fn written_port(text: &str) -> Option<u16> {
    let (_, port) = text.rsplit_once(':')?;
    port.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| port.parse().ok())?
}

/// Host and port of what can only be a plain name or an IPv4 address, in lower case and in ASCII; `None` for all else,
/// which may be right as well.
fn plain(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.split_once(':') {
        None => (authority, None),
        Some((host, port)) => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            (host, Some(digits.then(|| port.parse().ok()).flatten()?))
        }
    };
    // Each piece between dots begins and ends with a letter or a digit. Two hyphens may stand before the code for
    // letters that are not in ASCII.
    let mut within = false;
    for byte in host.bytes() {
        within = match byte {
            b'a'..=b'z' | b'0'..=b'9' => true,
            b'.' | b'-' if within => false,
            _ => return None,
        };
    }
    if !within {
        return None;
    }
    // What ends in a number is an address, which can be written in many ways.
    let last = host
        .bytes()
        .rposition(|byte| byte == b'.')
        .map_or(0, |dot| dot + 1);
    let is_name = host.as_bytes()[last].is_ascii_lowercase();
    (is_name || host.parse::<Ipv4Addr>().is_ok()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to put these together, wrong ones too.
    fn authorities() -> Vec<String> {
        let hosts = [
            "",
            "a",
            "api.openai.com",
            "API.openai.com",
            "a.",
            "a..b",
            ".a",
            "a-b.c",
            "a--b.c",
            "-a.b",
            "a-.b",
            "xn--bcher-kva.example",
            "b\u{fc}cher.example",
            "a_b.c",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "127.0.0.01",
            "256.0.0.1",
            "1.2.3.4.5",
            "2130706433",
            "a.1",
            "a.0x1",
            "a.1b",
            "a.b1",
            "1a.b",
            "[::1]",
            "[",
            "user@a",
            "a@b.c",
            "a%2eb",
            "a b",
            "a\tb",
            "a\\b",
            "\u{ad}a",
            "fa\u{df}.de",
            "\u{3002}a",
            "a:b",
        ];
        let ports = [
            "", ":", ":0", ":80", ":443", ":8080", ":00080", ":65535", ":65536", ":x", ":+1", ":1:2",
        ];
        let all = hosts
            .iter()
            .flat_map(|host| ports.iter().map(move |port| format!("{host}{port}")));
        all.collect()
    }

    #[test]
    fn what_is_read_quickly_is_what_the_parser_reads() {
        let mut quick = 0;
        for authority in authorities() {
            for scheme in [
                "http://", "https://", "HTTP://", "http:/", "http:///", " http://", "ftp://",
            ] {
                for path in [
                    "",
                    "/",
                    "/v1/chat",
                    "?a=b@c",
                    "#@d",
                    "\\x",
                    "/a\tb?c d#e",
                    "//e",
                    "/@f:1",
                ] {
                    let url = format!("{scheme}{authority}{path}");
                    if let Some(found) = Destination::of_plain(&url) {
                        quick += 1;
                        let parsed =
                            Destination::parse(&url).unwrap_or_else(|| panic!("{url:?} is no address"));
                        assert_eq!((found.place, found.tls), (parsed.place, parsed.tls), "{url:?}");
                    }
                }
            }
            if let Some((host, port)) = plain(&authority) {
                let parsed =
                    Place::parse_bare(&authority).unwrap_or_else(|| panic!("{authority:?} is no place"));
                assert_eq!((host, port), (&*parsed.host, parsed.port), "{authority:?}");
            }
        }
        // Otherwise this test compares nothing.
        assert!(quick > 100, "{quick}");
    }

    #[test]
    fn the_usual_addresses_are_read_quickly() {
        for url in [
            "https://api.openai.com/v1/chat/completions",
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
            "http://127.0.0.1:8080/v1",
            "http://localhost:11434/v1",
        ] {
            assert!(Destination::of_plain(url).is_some(), "{url}");
        }
    }
}
