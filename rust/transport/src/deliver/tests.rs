//! Which redirects a call follows.

use super::*;

fn answer(status: u16, location: &str) -> Head {
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, location.parse().unwrap());
    Head { status, headers }
}

#[test]
fn a_post_is_never_turned_into_a_get() {
    let from = Address::parse("https://host/a").unwrap();
    for status in [300, 301, 302, 303, 304, 305] {
        assert!(
            moved(&from, &Method::POST, &answer(status, "/b")).is_none(),
            "{status}"
        );
    }
    for status in [307, 308] {
        let to = moved(&from, &Method::POST, &answer(status, "/b")).unwrap();
        assert_eq!(to.path(), "/b", "{status}");
    }
    for status in [301, 302, 303, 307, 308] {
        assert!(
            moved(&from, &Method::GET, &answer(status, "/b")).is_some(),
            "{status}"
        );
    }
}

#[test]
fn a_redirect_out_of_tls_or_to_another_host_is_not_followed() {
    let from = Address::parse("https://host/a").unwrap();
    for location in [
        "http://host/a",
        "https://other/a",
        "https://host:444/a",
        "//other/a",
        "\u{1}",
    ] {
        let Ok(location) = location.parse() else { continue };
        let mut head = answer(307, "/");
        head.headers.insert(LOCATION, location);
        assert!(moved(&from, &Method::GET, &head).is_none());
    }
}

#[test]
fn what_speaks_of_a_connection_stays_out_of_http2() {
    let mut headers = HeaderMap::new();
    for name in ["connection", "host", "te", "x-api-key"] {
        headers.insert(name, HeaderValue::from_static("x"));
    }
    let names: Vec<_> = shared_headers(&headers)
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    assert_eq!(names, ["x-api-key"]);
}
