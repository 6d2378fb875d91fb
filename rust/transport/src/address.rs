//! Where a call goes: what is taken for an address, and what counts as the same origin.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use omni_core::{Error, Result};
use std::net::IpAddr;
use url::Url;

/// The address of one request. Never shown whole: its query may carry a key.
#[derive(Clone)]
pub(crate) struct Address(Uri);

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        // Nearly every address is taken as it is; the slower reader also knows names that need encoding.
        let uri = match text.parse::<Uri>() {
            Ok(uri) if is_ours(&uri) => uri,
            _ => {
                let uri = parse(text)?.as_str().parse::<Uri>();
                uri.ok()
                    .filter(is_ours)
                    .ok_or_else(|| bad("is not one of a web server"))?
            }
        };
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            let host = uri.host().unwrap_or_default();
            return Err(Error::invalid(format!(
                "the address of {host} may carry no user and no password: give the key apart"
            )));
        }
        Ok(Self(uri))
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    pub(crate) fn authority(&self) -> &str {
        self.0.authority().map_or("", Authority::as_str)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// Without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        bare(self.0.host().unwrap_or_default())
    }

    pub(crate) fn port(&self) -> u16 {
        let usual = if self.is_tls() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(usual)
    }

    /// Host and port, the latter also where the address leaves it out.
    pub(crate) fn with_port(&self) -> String {
        format!("{}:{}", self.0.host().unwrap_or_default(), self.port())
    }

    /// Whether this is the machine itself by its loopback address: never behind a proxy.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// What calls share connections by: scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        // Put together by hand: each call asks for it.
        let mut origin = [
            if self.is_tls() { "https://" } else { "http://" },
            self.authority(),
        ]
        .concat();
        origin.make_ascii_lowercase();
        origin
    }

    /// Where a redirect to `location` leads, if that is the same origin.
    ///
    /// Only there: whatever a header is called, a key or a token in it stays where it was sent.
    pub(crate) fn join_within_origin(&self, location: &str) -> Option<Self> {
        let from = Url::parse(&self.0.to_string()).ok()?;
        let mut to = from.join(location).ok()?;
        to.set_fragment(None);
        let stays = from.origin() == to.origin() && to.username().is_empty() && to.password().is_none();
        stays.then(|| Self::parse(to.as_str()).ok()).flatten()
    }
}

fn is_ours(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri
            .path_and_query()
            .is_some_and(|path| path.as_str().starts_with('/'))
        && uri.authority().is_some_and(port_is_one)
}

/// `http` takes any text for a port and then says that there is none, which would be the usual one's server.
fn port_is_one(authority: &Authority) -> bool {
    let text = authority.as_str();
    let place = text.rsplit_once('@').map_or(text, |(_, place)| place);
    authority.port_u16().is_some() || place.len() == authority.host().len()
}

/// Whether a call could go to this address, whoever makes it.
///
/// # Errors
/// `invalid_request` that says what is wrong with it, and does not show it.
pub fn check_address(url: &str) -> Result<()> {
    match url.parse::<Uri>() {
        Ok(uri) if is_ours(&uri) => Ok(()),
        _ => parse(url).map(|_| ()),
    }
}

pub(crate) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The address itself is not shown: what is no address may be a token that was put in the wrong place.
fn bad(why: &str) -> Error {
    Error::invalid(format!(
        "the address {why}; give one such as http://127.0.0.1:8411 or https://host/path"
    ))
}

fn parse(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).map_err(|error| bad(&format!("cannot be read: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none_or(str::is_empty) {
        return Err(bad("is not one of a web server"));
    }
    Ok(parsed)
}

/// The address of a service as the start of its endpoints' addresses: without a slash at its end.
///
/// # Errors
/// `invalid_request` for what is no such address; it may carry no user, password or query, which would be shown
/// wherever an address is shown.
pub fn base_url(url: &str) -> Result<String> {
    let parsed = parse(url)?;
    if !parsed.username().is_empty()
        || parsed.password().is_some()
        || parsed.query().is_some()
        || parsed.fragment().is_some()
    {
        let host = parsed.host_str().unwrap_or_default();
        return Err(Error::invalid(format!(
            "the address of {host} may carry no user, password or query: give the token apart"
        )));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for yes in [
            "http://127.0.0.1:1",
            "http://[::1]:80/x",
            "http://localhost",
            "http://LOCALHOST:8",
            "http://127.9.9.9",
        ] {
            assert!(address(yes).is_loopback(), "{yes}");
        }
        for no in [
            "http://127.0.0.1.example.org",
            "http://localhost.example.org",
            "http://10.0.0.1",
            "http://[::]",
        ] {
            assert!(!address(no).is_loopback(), "{no}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_an_example() {
        for wrong in [
            "",
            "127.0.0.1:80",
            "ftp://x",
            "http://",
            "file:///etc/passwd",
            "hunter2",
            // Not the server at the usual port, who would be sent the key.
            "http://127.0.0.1:99999/v1",
            "http://127.0.0.1:port/v1",
            "http://[::1]:0x50/v1",
        ] {
            let error = Address::parse(wrong).err().unwrap();
            assert_eq!(check_address(wrong).unwrap_err(), error, "{wrong}");
            assert!(
                error.message.contains("http://127.0.0.1:8411") && !error.message.contains("hunter2"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_without_showing_it() {
        for secret in ["http://user:hunter2@host/", "https://hunter2@host"] {
            let error = Address::parse(secret).err().unwrap();
            assert!(
                error.message.contains("host") && !error.message.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_that_need_encoding_are_encoded() {
        let address = address("https://b\u{fc}cher.example/a b?x=1");
        assert_eq!(
            (address.host(), address.path(), address.port()),
            ("xn--bcher-kva.example", "/a%20b?x=1", 443)
        );
    }

    #[test]
    fn a_port_that_is_left_out_is_the_usual_one() {
        for (text, port) in [
            ("http://h:/v1", 80),
            ("https://h", 443),
            ("http://[::1]:8/", 8),
            ("https://[::1]", 443),
        ] {
            assert_eq!(address(text).port(), port, "{text}");
            check_address(text).unwrap();
        }
    }

    #[test]
    fn the_path_of_a_call_is_never_empty() {
        assert_eq!(address("http://host").path(), "/");
        assert_eq!(address("http://host?key=1").path(), "/?key=1");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let from = address("https://Host:8443/a/b?key=1");
        assert_eq!(from.origin(), "https://host:8443");
        for (location, path) in [
            ("/c", "/c"),
            ("c#x", "/a/c"),
            ("https://host:8443/d", "/d"),
            ("//host:8443/e?q", "/e?q"),
        ] {
            assert_eq!(
                from.join_within_origin(location).unwrap().path(),
                path,
                "{location}"
            );
        }
        for elsewhere in [
            "http://host:8443/",
            "https://host/",
            "https://other:8443/",
            "//host.evil:8443/",
            "https://user@host:8443/",
            "javascript:1",
        ] {
            assert!(from.join_within_origin(elsewhere).is_none(), "{elsewhere}");
        }
    }

    #[test]
    fn a_base_address_has_no_slash_at_its_end_and_no_secret() {
        assert_eq!(base_url("http://127.0.0.1:80/").unwrap(), "http://127.0.0.1");
        assert_eq!(base_url("https://host/omni/").unwrap(), "https://host/omni");
        for secret in [
            "http://user:hunter2@host",
            "http://host/?token=hunter2",
            "http://hunter2@host",
        ] {
            let error = base_url(secret).unwrap_err();
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }
}
