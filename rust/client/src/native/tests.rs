//! Which requests leave with a key that the call did not bring.

use super::*;
use crate::credentials::LocalKeys;
use serde_json::json;

const CANARY: &str = "canary-0123456789-abcdef";

/// What becomes of a call where the environment is `variables`. Nothing is sent before it is polled.
fn route(variables: &[(&'static str, &'static str)], more: &serde_json::Value) -> Result<(), Error> {
    let environments = Arc::new(Environments::fixed(variables.iter().copied()));
    let native = Arc::new(Native {
        transport: Transport::new(),
        catalogue: Catalogue::builtin(),
        credentials: Arc::new(LocalKeys::new(Arc::clone(&environments))),
        environments,
        principal: Principal::local(),
        choice: EngineChoice::Auto,
        allow_endpoints: true,
        allowed_hosts: Vec::new(),
    });
    let mut document = json!({"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let fields = document.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let request: Request = serde_json::from_value(document).unwrap();
    match native.route(&request, false, None) {
        Route::Native(_) => Ok(()),
        Route::Refused(error) => Err(error),
        Route::Bridge(why) => panic!("left to the other engine: {why:?}"),
        Route::Later(_) => panic!("asks a store"),
    }
}

#[test]
fn a_key_that_the_call_did_not_bring_goes_to_no_host_that_a_header_names() {
    let environment = [("OPENAI_API_KEY", CANARY)];
    assert!(route(&environment, &json!({})).is_ok());
    assert!(route(&environment, &json!({"headers": {"x-team": "blue"}})).is_ok());
    let error = route(&environment, &json!({"headers": {"Host": "evil.example"}})).unwrap_err();
    assert_eq!(error.code, Code::Authentication);
    assert!(error.message.contains("headers.host"), "{error}");
    assert!(!error.message.contains(CANARY), "{error}");
    let own = json!({"headers": {"Host": "inner.example"}, "api_key": "mine"});
    assert!(route(&environment, &own).is_ok());
}

#[test]
fn a_header_beside_ascii_is_seen_by_the_guard() {
    let environment = [
        ("OPENAI_ORGANIZATION", "\u{e9}-canary-0123456789"),
        ("ORG_TOKEN", "canary-0123456789"),
    ];
    let foreign = json!({"api_base": "https://evil.example/v1", "api_key": "mine"});
    let error = route(&environment, &foreign).unwrap_err();
    assert_eq!(error.code, Code::Authentication);
    assert!(
        error.message.contains("the header openai-organization"),
        "{error}"
    );
}
