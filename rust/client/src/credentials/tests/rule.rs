//! Where a key may go. The table that both engines answer is in `tests/test_keys_parity.py`.

use super::super::*;
use super::{CANARY, names};
use omni_core::{Code, Request};
use serde_json::json;

const OPENAI: &str = "https://api.openai.com/v1/chat/completions";
const FOREIGN: &str = "https://gateway.example/v1/chat/completions";

struct Known {
    provider: &'static str,
    own: Vec<String>,
    allowed: Vec<String>,
    base_url: Option<&'static str>,
}

fn openai() -> Known {
    Known {
        provider: "openai",
        own: names(&["api.openai.com"]),
        allowed: Vec::new(),
        base_url: None,
    }
}

impl Known {
    fn hosts(&self) -> Hosts<'_> {
        Hosts {
            provider: self.provider,
            own: &self.own,
            allowed: &self.allowed,
            base_url: self.base_url,
        }
    }
}

fn key(source: Source) -> FoundKey {
    FoundKey {
        secret: Secret::from(CANARY),
        source,
    }
}

fn every_source_but_the_call() -> [Source; 4] {
    [
        Source::Environment("OPENAI_API_KEY".into()),
        Source::Keychain,
        Source::File,
        Source::Store,
    ]
}

#[test]
fn no_key_but_the_calls_own_goes_to_a_foreign_api_base() {
    let environments = Environments::fixed([("OPENAI_API_KEY", CANARY)]);
    let known = openai();
    let guard = Guard::new(known.hosts(), &environments, []);
    for source in every_source_but_the_call() {
        assert!(guard.may_send(&key(source.clone()), OPENAI).is_ok());
        let error = guard.may_send(&key(source), FOREIGN).unwrap_err();
        assert_eq!(error.code, Code::Authentication);
        assert_eq!(error.provider.as_deref(), Some("openai"));
        assert!(
            error.message.contains("would go to gateway.example"),
            "{}",
            error.message
        );
        assert!(error.message.contains("Pass api_key"), "{}", error.message);
        assert!(!error.message.contains("canary"), "{}", error.message);
    }
    assert!(guard.may_send(&key(Source::Call), FOREIGN).is_ok());
}

#[test]
fn a_provider_of_ones_own_making_gets_the_key_of_another_only_at_the_base_that_the_configuration_names() {
    let environments = Environments::fixed([("OPENAI_API_KEY", CANARY)]);
    let acme = Known {
        provider: "acme",
        own: Vec::new(),
        allowed: Vec::new(),
        base_url: Some("https://llm.acme.example:8443/v1"),
    };
    let guard = Guard::new(acme.hosts(), &environments, []);
    for source in every_source_but_the_call() {
        let found = key(source);
        assert!(
            guard
                .may_send(&found, "https://llm.acme.example:8443/v1/chat/completions")
                .is_ok()
        );
        for url in [
            "https://llm.acme.example/v1/chat/completions",
            "http://llm.acme.example:8443.evil.example/",
            "https://other.acme.example:8443/v1",
            OPENAI,
        ] {
            assert!(guard.may_send(&found, url).is_err(), "{url}");
        }
    }
    let nowhere = Known {
        base_url: None,
        ..acme
    };
    let guard = Guard::new(nowhere.hosts(), &environments, []);
    assert!(
        guard
            .may_send(&key(Source::Keychain), "https://llm.acme.example:8443/v1")
            .is_err()
    );
}

#[test]
fn a_redirect_from_a_trusted_host_to_another_is_judged_by_where_it_leads() {
    let environments = Environments::fixed([("OPENAI_API_KEY", CANARY)]);
    let known = openai();
    let guard = Guard::new(known.hosts(), &environments, []);
    let bearer = format!("Bearer {CANARY}");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(guard.verdict(OPENAI, headers, b"{}"), Verdict::Go);
    assert!(matches!(
        guard.verdict(FOREIGN, headers, b"{}"),
        Verdict::Refused(_)
    ));
}

#[test]
fn addresses_that_only_look_like_the_providers_own_are_foreign() {
    let environment = Environment::default();
    let known = openai();
    for url in [
        "http://api.openai.com/v1",
        "https://api.openai.com@evil.example/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil.example\\@api.openai.com/v1",
        "https://evil.example/#@api.openai.com",
        "https://evil.example?https://api.openai.com/",
        "https://xapi.openai.com/v1",
        "https://api-openai.com/v1",
        "ftp://api.openai.com/v1",
        "//api.openai.com/v1",
        "api.openai.com",
        "https://",
        "",
    ] {
        assert!(!trusted(url, &known.hosts(), &environment), "{url}");
    }
    for url in [
        OPENAI,
        "https://API.OpenAI.com./v1",
        "https://api.openai.com:8443/v1",
        "https://user:word@api.openai.com/v1",
        // The HTTP client reads this as the host api.openai.com too.
        "https:\\\\api.openai.com\\v1",
    ] {
        assert!(trusted(url, &known.hosts(), &environment), "{url}");
    }
}

#[test]
fn an_environments_secret_stands_in_no_part_of_a_request_to_a_foreign_host() {
    let environments = Environments::fixed([("OTHER_TOKEN", CANARY), ("OPENAI_ORGANIZATION", "org-of-mine")]);
    let known = openai();
    let guard = Guard::new(known.hosts(), &environments, []);
    let refused = |url: &str, headers: &[(&str, &str)], body: &str| match guard.verdict(
        url,
        headers.iter().copied(),
        body.as_bytes(),
    ) {
        Verdict::Refused(error) => {
            assert!(!error.message.contains("canary"), "{}", error.message);
            let (_, what) = error.message.split_once(" in ").unwrap();
            what.split_once(',').unwrap().0.to_owned()
        }
        other => format!("{other:?}"),
    };
    let header = format!("x{CANARY}");
    assert_eq!(refused(FOREIGN, &[("X-Mine", &header)], ""), "the header x-mine");
    assert_eq!(
        refused(&format!("{FOREIGN}?q={CANARY}"), &[], ""),
        "the query field q"
    );
    assert_eq!(
        refused(&format!("{FOREIGN}/%63anary-0123456789-abcdef"), &[], ""),
        "the address"
    );
    assert_eq!(
        refused(FOREIGN, &[], &format!("{{\"a\": \"{CANARY}\"}}")),
        "the body"
    );
    assert_eq!(
        refused(FOREIGN, &[("openai-organization", "org-of-mine")], ""),
        "Without([\"openai-organization\"])"
    );
    assert_eq!(
        refused(FOREIGN, &[("content-type", "application/json")], "{}"),
        "Go"
    );
    assert_eq!(refused(OPENAI, &[("x-mine", &header)], ""), "Go");
}

#[test]
fn what_the_caller_gave_for_this_call_may_go_where_the_call_goes() {
    let environments = Environments::fixed([("OPENAI_API_KEY", CANARY)]);
    let request: Request = serde_json::from_value(json!({
        "model": "openai/m", "messages": [], "api_key": CANARY, "headers": {"x-team": "blue", "x-number": 7},
    }))
    .unwrap();
    let known = openai();
    assert_eq!(given_in(&request).collect::<Vec<_>>(), ["blue", CANARY]);
    let guard = Guard::new(known.hosts(), &environments, given_in(&request));
    let bearer = format!("Bearer {CANARY}");
    assert_eq!(
        guard.verdict(
            FOREIGN,
            [("authorization", bearer.as_str()), ("x-team", "blue")],
            b""
        ),
        Verdict::Go
    );
    assert!(matches!(
        guard.verdict(FOREIGN, [("authorization", "Bearer another-key")], b""),
        Verdict::Refused(_)
    ));
}

#[test]
fn where_calls_may_not_choose_their_endpoint_each_field_that_does_is_named() {
    let request = |more: serde_json::Value| -> Request {
        let mut document = json!({"model": "openai/m", "messages": []});
        document
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    };
    assert!(check_endpoints(&request(json!({"headers": null, "temperature": 1})), false).is_ok());
    let asked = request(json!({
        "api_key": CANARY,
        "provider_options": {"openai": {"Extra_Headers": {}, "user": "x", "schema": {"properties": {"api_key": {}}}}},
        "fallbacks": ["a/b", {"model": "c/d", "api_base": "http://x.example"}, "http://y.example"],
    }));
    assert!(check_endpoints(&asked, true).is_ok());
    let error = check_endpoints(&asked, false).unwrap_err();
    assert_eq!(error.code, Code::Permission);
    assert!(
        error.message.starts_with(
            "api_key, provider_options.openai.Extra_Headers, fallbacks[1].api_base, fallbacks[2]: requests may not say"
        ),
        "{}",
        error.message
    );
    assert!(!error.message.contains("canary"), "{}", error.message);
}
