//! Budgets in tokens and dollars, of a client and of a call.

use super::*;

fn tokens(most: u64) -> Budget {
    Budget {
        tokens: Some(most),
        usd: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_of_the_client_lets_no_call_begin() {
    let engine = FakeEngine::new([answer(60, 50)]);
    let client = build(&engine, |builder| builder.budget(tokens(100)));
    let whole = client.clone().chat(request()).await.unwrap();
    assert_eq!(whole.content, "whole", "paid for, so it is given");
    let events = all(&client, request()).await;
    let (error, reply) = failed(&events);
    assert_eq!((error.code, error.retryable), (Code::Budget, false));
    assert!(
        error
            .message
            .contains("budget of 100 tokens is spent: 110 tokens"),
        "{error}"
    );
    assert!(reply.attempts.is_empty());
    assert_eq!(engine.requests().len(), 1);
    assert_eq!(client.spent().tokens, 110);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_exceeds_the_budget_and_goes_on_is_stopped() {
    let script = vec![
        FakeEngine::start(),
        text(0, "so far"),
        used(60, 50),
        text(0, " and more"),
        finish(),
    ];
    let engine = FakeEngine::new([script]);
    let client = build(&engine, |builder| builder.fallbacks(["demo/two"]));
    let events = all(
        &client,
        Request {
            budget: Some(tokens(100)),
            fallback_mid_stream: Some(true),
            ..request()
        },
    )
    .await;
    assert_eq!(kinds(&events), ["start", "text_delta", "usage", "error"]);
    let (error, reply) = failed(&events);
    assert_eq!((error.code, reply.content.as_str()), (Code::Budget, "so far"));
    assert!(
        error.message.starts_with("the call's budget of 100 tokens"),
        "{error}"
    );
    assert_eq!(error.model.as_deref(), Some("demo/one"));
    assert_eq!((reply.attempts.len(), engine.open()), (1, 0));
    assert!(
        client.chat(request()).await.is_ok(),
        "another call has its own budget"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unstreamed_answer_is_whole_even_if_its_usage_is_told_first() {
    let script = vec![FakeEngine::start(), used(60, 50), text(0, "whole"), finish()];
    let engine = FakeEngine::new([script]);
    let client = build(&engine, |builder| builder.budget(tokens(100)));
    assert_eq!(client.chat(request()).await.unwrap().content, "whole");
    assert_eq!(client.chat(request()).await.unwrap_err().code, Code::Budget);
}

#[tokio::test(start_paused = true)]
async fn tries_of_one_call_share_its_budget() {
    let half = vec![FakeEngine::start(), used(60, 50), fail(Code::Connection)];
    let engine = FakeEngine::new([half]);
    let client = build(&engine, |builder| {
        builder.fallbacks(["demo/two"]).fallback_mid_stream(true)
    });
    let events = all(
        &client,
        Request {
            budget: Some(tokens(110)),
            ..request()
        },
    )
    .await;
    let (error, reply) = failed(&events);
    assert_eq!(error.code, Code::Budget);
    assert_eq!(reply.attempts[0].error.as_ref().unwrap().code, Code::Connection);
    assert_eq!(engine.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dollars_come_from_the_prices_unless_the_provider_says() {
    let told = Usage {
        input_tokens: Some(1),
        cost_usd: Some(0.5),
        ..Usage::default()
    };
    let engine = FakeEngine::new([
        answer(100, 10),
        vec![FakeEngine::start(), event(Event::Usage { usage: told }), finish()],
    ]);
    let client = build(&engine, |builder| {
        builder
            .pricing(|provider, model, usage, tier| {
                assert_eq!((provider, model, tier), ("demo", "one", Some("flex")));
                Some(if usage.input_tokens? == 100 { 0.25 } else { 100.0 })
            })
            .budget(Budget {
                tokens: None,
                usd: Some(0.75),
            })
    });
    let request = || Request {
        service_tier: Some("flex".into()),
        ..request()
    };
    let events = all(&client, request()).await;
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Usage { usage } if usage.cost_usd == Some(0.25)))
    );
    assert_eq!(done(&events).usage.cost_usd, Some(0.25));
    assert_eq!(client.chat(request()).await.unwrap().usage.cost_usd, Some(0.5));
    let spent = Spent {
        tokens: 111,
        usd: 0.75,
    };
    assert_eq!(client.spent(), spent);
    let error = client.chat(request()).await.unwrap_err();
    assert!(
        error.message.contains("$0.75 is spent: 111 tokens and $0.750000"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_price_follows_the_tier_that_was_used() {
    let tiered = Finish {
        finish_reason: Some(FinishReason::Stop),
        service_tier: Some("priority".into()),
        ..Finish::default()
    };
    let engine = FakeEngine::new([vec![FakeEngine::start(), used(1, 1), Act::Finish(tiered)]]);
    let client = build(&engine, |builder| {
        builder.pricing(|_, _, _, tier| Some(if tier == Some("priority") { 2.0 } else { 1.0 }))
    });
    let reply = client.chat(request()).await.unwrap();
    assert_eq!((reply.usage.cost_usd, client.spent().usd), (Some(2.0), 2.0));
}

#[test]
fn what_is_no_amount_is_refused_by_name() {
    let wrong = Budget {
        tokens: None,
        usd: Some(-1.0),
    };
    let error = Client::builder().budget(wrong).build().unwrap_err();
    assert!(error.message.starts_with("budget.usd: "), "{error}");
    let request = Request {
        budget: Some(wrong),
        ..request()
    };
    assert!(request.check().unwrap_err().message.starts_with("budget.usd: "));
}
