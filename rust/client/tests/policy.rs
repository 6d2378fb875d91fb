//! What holds for all calls of a client together: the retry budget, limits by provider, budgets, and fallbacks in the
//! middle of a stream. Over a scripted engine, with the clock paused: no test waits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use futures_util::future::join_all;
use omni_bridge::testing::{Act, FakeEngine};
use omni_bridge::{
    BoxFuture, Budget, ChatEngine, Client, ClientBuilder, Code, Engine, Error, Event, Limit, Message,
    ModelInfo, Reply, Request, Result, Retry, RetryPolicy, Spent, Steps, Timeout, Timeouts, Usage,
};
use omni_core::{Finish, FinishReason, Fold};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn build(engine: &FakeEngine, with: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    with(Client::builder().engine(engine.clone())).build().unwrap()
}

fn request() -> Request {
    Request::new("demo/one", vec![Message::user("Hello")])
}

fn fail(code: Code) -> Act {
    Act::Fail(Error::new(code, "as the script says"))
}

fn event(event: Event) -> Act {
    Act::Event(event)
}

fn text(index: u32, text: &str) -> Act {
    let text = text.to_owned();
    event(Event::TextDelta { index, text })
}

fn used(input: u64, output: u64) -> Act {
    let usage = Usage {
        input_tokens: Some(input),
        output_tokens: Some(output),
        ..Usage::default()
    };
    event(Event::Usage { usage })
}

fn finish() -> Act {
    Act::Finish(Finish {
        finish_reason: Some(FinishReason::Stop),
        ..Finish::default()
    })
}

/// A whole answer with its usage.
fn answer(input: u64, output: u64) -> Vec<Act> {
    vec![
        FakeEngine::start(),
        text(0, "whole"),
        used(input, output),
        finish(),
    ]
}

async fn all(client: &Client, request: Request) -> Vec<Event> {
    let mut stream = client.stream(request);
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    events
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::kind).collect()
}

fn done(events: &[Event]) -> &Reply {
    match events.last() {
        Some(Event::Done { reply }) => reply,
        other => panic!("not done: {other:?}"),
    }
}

fn failed(events: &[Event]) -> (&Error, &Reply) {
    match events.last() {
        Some(Event::Error { error, reply }) => (error, reply),
        other => panic!("not an error: {other:?}"),
    }
}

mod retry_budget {
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
}

mod mid_stream {
    use super::*;

    /// Two parts of an answer, then a failure.
    fn half() -> Vec<Act> {
        vec![
            FakeEngine::start(),
            event(Event::ReasoningStart { index: 0, id: None }),
            event(Event::TextStart { index: 1 }),
            text(1, "half an ans"),
            used(7, 3),
            fail(Code::Connection),
        ]
    }

    fn asking(fallbacks: &[&str]) -> Request {
        Request {
            fallbacks: Some(fallbacks.iter().map(|model| json!(model)).collect()),
            fallback_mid_stream: Some(true),
            ..request()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fallback_takes_over_and_says_what_does_not_count() {
        let engine = FakeEngine::new([half(), FakeEngine::answer("a whole answer")]);
        let client = build(&engine, |builder| builder);
        let events = all(&client, asking(&["demo/two"])).await;
        assert_eq!(
            kinds(&events),
            [
                "start",
                "reasoning_start",
                "text_start",
                "text_delta",
                "usage",
                "fallback",
                "start",
                "text_start",
                "text_delta",
                "text_end",
                "done"
            ]
        );
        let Event::Fallback {
            from,
            to,
            error,
            discarded,
        } = &events[5]
        else {
            panic!("{:?}", events[5]);
        };
        assert_eq!(
            (from.as_str(), to.as_str(), error.code),
            ("demo/one", "demo/two", Code::Connection)
        );
        assert_eq!(discarded, &[0, 1]);
        assert_eq!(events[8].index(), Some(2), "no index is used twice");
        let reply = done(&events);
        assert_eq!(
            (reply.content.as_str(), reply.reasoning.len()),
            ("a whole answer", 0)
        );
        let told: Vec<_> = reply
            .attempts
            .iter()
            .map(|attempt| {
                let code = attempt.error.as_ref().map(|error| error.code);
                (attempt.model.as_str(), attempt.engine, code)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("demo/one", Some(Engine::Litellm), Some(Code::Connection)),
                ("demo/two", Some(Engine::Litellm), None)
            ]
        );
        // A caller who folds the events gets the same.
        let mut fold = Fold::new();
        for event in &events {
            fold.push(event);
        }
        assert_eq!(fold.partial(Vec::new()).message, reply.message);
        assert_eq!(client.spent().tokens, 10, "the half answer was paid for");
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_happen_again_and_each_model_has_its_tries_before_its_first_event() {
        let engine = FakeEngine::new([
            half(),
            vec![fail(Code::Overloaded)],
            half(),
            FakeEngine::answer("third"),
        ]);
        let client = build(&engine, |builder| builder);
        let events = all(&client, asking(&["demo/two", "demo/three"])).await;
        let discarded: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Fallback { discarded, .. } => Some(discarded.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(discarded, [vec![0, 1], vec![2, 3]]);
        let reply = done(&events);
        let models: Vec<_> = reply
            .attempts
            .iter()
            .map(|attempt| attempt.model.as_str())
            .collect();
        assert_eq!(models, ["demo/one", "demo/two", "demo/two", "demo/three"]);
        assert_eq!(reply.content, "third");
    }

    #[tokio::test(start_paused = true)]
    async fn not_asked_for_what_was_read_is_never_taken_back() {
        let client_asks = |mid_stream| {
            let engine = FakeEngine::new([half(), FakeEngine::answer("other")]);
            build(&engine, |builder| {
                builder.fallbacks(["demo/two"]).fallback_mid_stream(mid_stream)
            })
        };
        let events = all(&client_asks(false), request()).await;
        let (error, reply) = failed(&events);
        assert_eq!(
            (error.code, reply.content.as_str()),
            (Code::Connection, "half an ans")
        );
        assert_eq!(reply.attempts.len(), 1);
        assert_eq!(done(&all(&client_asks(true), request()).await).content, "other");
        let no = Request {
            fallback_mid_stream: Some(false),
            ..request()
        };
        failed(&all(&client_asks(true), no).await);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_in_the_middle_is_a_failure_too() {
        let mut silent = half();
        silent.pop();
        silent.push(Act::Hang);
        let engine = FakeEngine::new([silent, FakeEngine::answer("other")]);
        let client = build(&engine, |builder| {
            builder.timeout(Timeouts {
                idle: Some(5.0),
                ..Timeouts::default()
            })
        });
        let events = all(&client, asking(&["demo/two"])).await;
        let reply = done(&events);
        assert_eq!(reply.attempts[0].error.as_ref().unwrap().code, Code::Timeout);
        assert_eq!((reply.content.as_str(), engine.open()), ("other", 0));
    }

    #[test]
    fn it_belongs_to_the_whole_call() {
        for field in ["fallback_mid_stream", "budget"] {
            let error = Client::builder()
                .fallbacks([json!({"model": "a/b", field: null})])
                .build()
                .unwrap_err();
            assert!(
                error.message.starts_with(&format!("fallbacks[0].{field}: ")),
                "{error}"
            );
        }
    }
}

mod limits {
    use super::*;

    fn slow(seconds: u64) -> Vec<Act> {
        let mut acts = vec![Act::Wait(Duration::from_secs(seconds))];
        acts.extend(FakeEngine::answer("slow"));
        acts
    }

    fn limited(engine: &FakeEngine, limit: Limit) -> Client {
        build(engine, |builder| builder.limits("demo", limit))
    }

    fn at_once(most: u32) -> Limit {
        Limit {
            concurrency: Some(most),
            ..Limit::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_run_at_once_and_others_follow_in_the_order_of_coming() {
        let engine = FakeEngine::new([slow(1)]);
        let client = limited(&engine, at_once(2));
        let began = Instant::now();
        let calls = (0..6).map(|_| {
            let client = client.clone();
            async move {
                client.chat(request()).await.unwrap();
                began.elapsed().as_secs()
            }
        });
        let watch = async {
            let mut most = 0;
            for _ in 0..30 {
                most = most.max(engine.open());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            most
        };
        let (ended, most) = tokio::join!(join_all(calls), watch);
        assert_eq!(ended, [1, 1, 2, 2, 3, 3]);
        assert_eq!(most, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn another_provider_does_not_wait() {
        let engine = FakeEngine::new([slow(5)]);
        let client = limited(&engine, at_once(1));
        let began = Instant::now();
        let other = Request::new("other/model", vec![Message::user("Hello")]);
        let (one, two) = tokio::join!(client.chat(request()), client.chat(other));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_holds_for_every_try_retries_too() {
        let engine = FakeEngine::new([
            vec![fail(Code::Overloaded)],
            FakeEngine::answer("second"),
            FakeEngine::answer("third"),
        ]);
        let client = limited(
            &engine,
            Limit {
                requests_per_minute: Some(2),
                ..Limit::default()
            },
        );
        let began = Instant::now();
        client.chat(request()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1));
        client.chat(request()).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_a_minute_are_those_that_usage_tells() {
        let engine = FakeEngine::new([answer(600, 500), answer(1, 1)]);
        let client = limited(
            &engine,
            Limit {
                tokens_per_minute: Some(1000),
                ..Limit::default()
            },
        );
        let began = Instant::now();
        client.chat(request()).await.unwrap();
        client.chat(request()).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_within_the_calls_own_limit_and_not_silence_of_the_provider() {
        let engine = FakeEngine::new([slow(100), FakeEngine::answer("second")]);
        let client = limited(&engine, at_once(1));
        let first = client.chat(request());
        let second = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let limits = Timeout::Each(Timeouts {
                first_event: Some(2.0),
                total: Some(10.0),
                ..Timeouts::default()
            });
            let began = Instant::now();
            let events = all(
                &client,
                Request {
                    timeout: Some(limits),
                    ..request()
                },
            )
            .await;
            (events, began.elapsed().as_secs())
        };
        let (_, (events, waited)) = tokio::join!(first, second);
        let (error, reply) = failed(&events);
        assert_eq!((error.code, waited), (Code::Timeout, 10));
        assert!(error.message.contains("limits that this client keeps"), "{error}");
        assert!(reply.attempts.is_empty(), "nothing was tried");
        assert_eq!(engine.requests().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_can_be_cancelled_or_dropped_and_the_next_one_moves_up() {
        let engine = FakeEngine::new([slow(10)]);
        let client = limited(&engine, at_once(1));
        let began = Instant::now();
        let cancelled = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut stream = client.stream(request());
            let canceller = stream.canceller();
            let cancel = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                canceller.cancel();
            };
            let (event, ()) = tokio::join!(stream.next(), cancel);
            assert!(matches!(event, Some(Event::Cancelled { .. })), "{event:?}");
            assert_eq!(began.elapsed().as_secs(), 2);
        };
        let dropped = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let call = tokio::time::timeout(Duration::from_secs(1), client.chat(request()));
            assert!(call.await.is_err());
        };
        let last = async {
            tokio::time::sleep(Duration::from_millis(3500)).await;
            client.chat(request()).await.unwrap();
            began.elapsed().as_secs()
        };
        let (first, (), (), last) = tokio::join!(client.chat(request()), cancelled, dropped, last);
        first.unwrap();
        assert_eq!((last, engine.requests().len()), (20, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_try_frees_its_place_while_it_rests() {
        let retry_after = Error {
            retry_after: Some(30.0),
            ..Error::new(Code::RateLimit, "slow down")
        };
        let engine = FakeEngine::new([vec![Act::Fail(retry_after)], FakeEngine::answer("ok")]);
        let client = limited(&engine, at_once(1));
        let began = Instant::now();
        let second = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.chat(request()).await.unwrap();
            began.elapsed().as_secs()
        };
        let (first, second) = tokio::join!(client.chat(request()), second);
        first.unwrap();
        assert_eq!(second, 1);
    }

    #[test]
    fn a_limit_that_lets_nothing_pass_is_refused() {
        let error = Client::builder().limits("demo", at_once(0)).build().unwrap_err();
        assert!(error.message.starts_with("limits.demo.concurrency: "), "{error}");
    }
}

mod budgets {
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
}
