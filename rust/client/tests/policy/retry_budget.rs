//! Retries that no longer help are given up, for one provider and not for others.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_every_call_gets_few_retries_and_others_theirs() {
    let engine = FakeEngine::new([vec![fail(Code::Overloaded)]]);
    let client = build(&engine, |builder| {
        builder.retry(RetryPolicy {
            max_retries: Some(1),
            ..RetryPolicy::default()
        })
    });
    let mut last = None;
    for _ in 0..300 {
        last = client.chat(request()).await.err();
    }
    let tries = engine.requests().len();
    // A hundred at once, and what the seconds of rest have given back.
    assert!((400..420).contains(&tries), "{tries} tries of 300 calls");
    let last = last.unwrap();
    assert!(last.message.contains("too many calls to this provider"), "{last}");
    client
        .chat(Request::new("other/model", vec![Message::user("Hello")]))
        .await
        .unwrap_err();
    assert_eq!(engine.requests().len(), tries + 2, "another provider has its own");
}

/// One model is ill and the other well.
struct IllAndWell(FakeEngine, FakeEngine);

impl ChatEngine for IllAndWell {
    fn name(&self) -> Engine {
        Engine::Litellm
    }
    fn call(&self, request: &Request, stream: bool) -> Steps {
        let ill = request.model == "demo/one";
        if ill { &self.0 } else { &self.1 }.call(request, stream)
    }
    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        self.0.model_info(model)
    }
    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        self.0.models()
    }
    fn count_tokens(&self, request: Request) -> BoxFuture<'_, Result<u64>> {
        self.0.count_tokens(request)
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_retry_is_left_a_fallback_still_goes_on() {
    let soon = Error {
        retry_after: Some(0.0),
        ..Error::new(Code::Overloaded, "busy")
    };
    let ill = FakeEngine::new([vec![Act::Fail(soon)]]);
    let both = IllAndWell(ill.clone(), FakeEngine::saying("from the other"));
    let client = Client::builder().engine(both).build().unwrap();
    let reply = client
        .chat(Request {
            retry: Some(Retry::Policy(RetryPolicy {
                max_retries: Some(1000),
                max_wait: Some(1e9),
            })),
            fallbacks: Some(vec![json!("other/model")]),
            ..request()
        })
        .await
        .unwrap();
    let tries = ill.requests().len();
    assert!((101..110).contains(&tries), "{tries}");
    assert_eq!(
        (reply.content.as_str(), reply.attempts.len()),
        ("from the other", tries + 1)
    );
}
