//! Limits on rate and concurrency, by provider.

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
