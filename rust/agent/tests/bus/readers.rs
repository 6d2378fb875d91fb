//! Many readers of one run, and the edges of a reader's life.

use super::client::Client;
use super::log::{Log, SESSION, Says, Writer};
use futures_util::StreamExt;
use omni_agent::{Bus, BusLimits, Payload, follow};
use std::sync::Arc;
use tokio::sync::watch;

fn writer(limits: BusLimits) -> Writer {
    let log = Arc::new(Log::default());
    let bus = Bus::new(SESSION, 0).with_store(log.clone()).with_limits(limits);
    Writer::new(log, bus)
}

fn tight() -> BusLimits {
    BusLimits {
        events: 2,
        bytes: 1,
        calls: 8,
        text: 0,
    }
}

fn log_event(words: &str) -> Payload {
    Payload::Log {
        level: omni_agent::LogLevel::Info,
        message: words.to_owned(),
        server: None,
    }
}

/// A run of three calls, thinking, text and arguments each; `between` chunks the others have their turn.
async fn slow_run(writer: &mut Writer, between: impl AsyncFn()) {
    for round in 1..=3 {
        let call_id = format!("t1.{round}");
        writer.start(&call_id);
        for at in 0..40 {
            writer.say(Says::Thinking, &format!("thought {at}, "), false);
            writer.flush();
            between().await;
        }
        writer.event(Some(&call_id), Payload::ThinkingCompleted { index: 0, length: 0 });
        for at in 0..200 {
            writer.say(Says::Text, &format!("word{at} é "), false);
            writer.flush();
            between().await;
        }
        writer.say(Says::Arguments, "", true);
        writer.say(Says::Arguments, "{\"a\":1}", false);
        writer.end(false);
        writer.flush();
    }
}

fn run(writer: &mut Writer) {
    futures_util::FutureExt::now_or_never(slow_run(writer, async || {})).unwrap();
}

fn assert_whole(client: &Client, writer: &Writer) {
    assert_eq!(client.reader.failure(), None);
    assert_eq!(
        client.durable,
        writer.log.all()[usize::try_from(client.from).unwrap()..]
    );
    for call in &writer.calls {
        for part in call.parts.iter().filter(|part| !part.discarded) {
            assert_eq!(client.has(call, part.index, part.says), part.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_see_the_same_one_stopped_and_one_reconnecting_inside_a_part() {
    // Who would read all that was said must know it first: the same run, written once before.
    let truth = {
        let mut rehearsal = writer(BusLimits::default());
        run(&mut rehearsal);
        rehearsal.calls
    };
    let mut writer = writer(tight());
    let (go, _) = watch::channel(false);
    let mut readers = Vec::new();
    for number in 0..100 {
        let mut client = Client::new(&writer.bus, 0);
        let (mut gate, truth, bus) = (go.subscribe(), truth.clone(), writer.bus.clone());
        readers.push(tokio::spawn(async move {
            let mut broken = false;
            while let Some(event) = client.reader.next().await {
                client.see(&event, &truth);
                if number == 1 && client.chunks == 60 {
                    // Stopped inside a part until all is over.
                    gate.wait_for(|go| *go).await.unwrap();
                }
                if number == 2 && client.chunks > 50 && !broken {
                    broken = true;
                    assert!(!client.position.offsets().is_empty(), "it is inside a part");
                    client.reconnect(&bus);
                }
                if number > 2 && number % 10 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            drop(bus);
            client
        }));
        if number % 25 == 0 {
            tokio::task::yield_now().await;
        }
    }
    slow_run(&mut writer, tokio::task::yield_now).await;
    go.send_replace(true);
    writer.bus.close();
    let mut clients = Vec::new();
    for reader in readers {
        clients.push(reader.await.unwrap());
    }
    for client in &clients {
        assert_whole(client, &writer);
    }
    let joined: Vec<_> = clients.iter().map(|client| &client.texts).collect();
    assert!(joined.iter().all(|texts| *texts == joined[0]));
}

#[test]
fn a_stopped_reader_gets_many_chunks_as_one_at_the_right_place() {
    let mut writer = writer(BusLimits::default());
    let mut slow = Client::new(&writer.bus, 0);
    run(&mut writer);
    writer.bus.close();
    while slow.poll(&writer.calls) {}
    assert_whole(&slow, &writer);
    // Per call: thinking, text, arguments.
    assert_eq!((slow.chunks, slow.thinking), (9, 3));
    assert!(slow.ended);
}

#[test]
fn a_late_reader_first_gets_the_open_parts_from_their_beginning() {
    let mut writer = writer(tight());
    writer.start("t1.1");
    writer.say(Says::Text, "Once upon ", false);
    writer.flush();
    let mut late = Client::new(&writer.bus, writer.seq);
    assert!(late.poll(&writer.calls));
    assert_eq!(late.has(&writer.calls[0], 0, Says::Text), "Once upon ");
    writer.say(Says::Text, "a time", false);
    writer.flush();
    assert!(late.poll(&writer.calls) && !late.poll(&writer.calls));
    assert_eq!(late.has(&writer.calls[0], 0, Says::Text), "Once upon a time");
}

#[test]
fn after_its_end_a_call_is_told_to_late_readers_by_durable_events_alone() {
    let mut writer = writer(BusLimits::default());
    run(&mut writer);
    let mut late = Client::new(&writer.bus, 0);
    while late.poll(&writer.calls) {}
    assert_eq!((late.chunks, late.durable.len()), (0, writer.log.all().len()));
}

#[test]
fn a_reader_that_names_its_offset_gets_the_rest_even_after_the_end() {
    for limits in [BusLimits::default(), tight()] {
        let mut writer = writer(limits);
        let mut client = Client::new(&writer.bus, 0);
        writer.start("t1.1");
        writer.say(Says::Text, "Once upon ", false);
        writer.flush();
        while client.poll(&writer.calls) {}
        writer.say(Says::Text, "a time", false);
        writer.end(false);
        writer.flush();
        client.reconnect(&writer.bus);
        while client.poll(&writer.calls) {}
        assert_whole(&client, &writer);
        assert_eq!(client.chunks, 2);
    }
}

#[test]
fn a_reader_stopped_for_more_calls_than_the_bus_remembers_still_gets_the_rest_of_its_part() {
    let limits = BusLimits { calls: 1, ..tight() };
    let mut writer = writer(limits);
    let mut client = Client::new(&writer.bus, 0);
    writer.start("t1.1");
    writer.say(Says::Thinking, "Hmm", false);
    writer.say(Says::Text, "Once upon ", false);
    writer.flush();
    while client.poll(&writer.calls) {}
    writer.say(Says::Text, "a time", false);
    writer.end(false);
    for call in 2..9 {
        writer.start(&format!("t1.{call}"));
        writer.say(Says::Text, "Once upon another time", false);
        writer.end(false);
    }
    writer.flush();
    while client.poll(&writer.calls) {}
    assert_eq!(client.has(&writer.calls[0], 1, Says::Text), "Once upon a time");
    assert_eq!(client.durable, writer.log.all());
}

#[test]
fn who_falls_behind_reads_from_the_store_and_who_does_not_never_does() {
    let mut writer = writer(tight());
    let mut slow = Client::new(&writer.bus, 0);
    let mut quick = Client::new(&writer.bus, 0);
    for _ in 0..1_000 {
        writer.event(None, log_event("a fact"));
        writer.flush();
        while quick.poll(&[]) {}
    }
    assert_eq!(
        (quick.durable.len(), *writer.log.pages.lock().unwrap()),
        (1_000, 0)
    );
    while slow.poll(&[]) {}
    assert_eq!(slow.durable, quick.durable);
    assert_eq!(*writer.log.pages.lock().unwrap(), 4, "256 at once");
}

#[test]
fn a_gap_that_another_writer_left_is_filled_from_the_store() {
    let mut writer = writer(BusLimits::default());
    let mut client = Client::new(&writer.bus, 0);
    writer.event(None, log_event("published"));
    writer.flush();
    writer.event(None, log_event("written by somebody else"));
    let unpublished = Bus::new(SESSION, 0);
    let ours = std::mem::replace(&mut writer.bus, unpublished);
    writer.flush();
    writer.bus = ours;
    writer.event(None, log_event("published after it"));
    writer.flush();
    while client.poll(&[]) {}
    assert_eq!(client.durable, writer.log.all());
}

#[test]
fn a_store_that_fails_ends_the_reader_with_its_reason_and_a_new_one_goes_on() {
    let mut writer = writer(tight());
    let mut client = Client::new(&writer.bus, 0);
    for _ in 0..10 {
        writer.event(None, log_event("a fact"));
    }
    writer.flush();
    *writer.log.broken.lock().unwrap() = true;
    while client.poll(&[]) {}
    assert!(client.ended);
    assert_eq!(client.reader.failure().unwrap().message, "the disk is gone");
    *writer.log.broken.lock().unwrap() = false;
    client.reconnect(&writer.bus);
    while client.poll(&[]) {}
    assert_eq!(client.durable, writer.log.all());
}

#[test]
fn without_a_store_who_falls_behind_is_told_so() {
    let log = Arc::new(Log::default());
    let mut writer = Writer::new(log, Bus::new(SESSION, 0).with_limits(tight()));
    let mut client = Client::new(&writer.bus, 0);
    for _ in 0..10 {
        writer.event(None, log_event("a fact"));
    }
    writer.flush();
    while client.poll(&[]) {}
    let failure = client.reader.failure().unwrap();
    assert!(failure.message.contains("fell behind"), "{failure}");
}

#[test]
fn what_is_not_in_the_store_is_shown_to_nobody_and_nothing_is_shown_twice() {
    let mut writer = writer(BusLimits::default());
    let mut client = Client::new(&writer.bus, 0);
    writer.event(None, log_event("a fact"));
    writer.flush();
    let stored = writer.log.all();
    let mut unstored = stored[0].clone();
    unstored.seq = None;
    writer.bus.publish(vec![unstored, stored[0].clone()]);
    while client.poll(&[]) {}
    assert_eq!(client.durable, stored);
}

#[test]
fn a_slow_reader_gets_the_newest_progress_of_each_tool() {
    let mut writer = writer(BusLimits::default());
    let mut slow = Client::new(&writer.bus, 0);
    let progress = |progress| Payload::ToolProgress {
        progress,
        total: None,
        message: None,
    };
    for at in 0..50 {
        writer.event(Some("t1.1.1"), progress(f64::from(at)));
        writer.event(Some("t1.1.2"), progress(f64::from(at) + 0.5));
    }
    writer.flush();
    while slow.poll(&[]) {}
    assert_eq!(slow.progress, [49.0, 49.5]);
    writer.event(
        Some("t1.1.1"),
        Payload::ToolCompleted {
            is_error: false,
            bytes: 1,
            truncated: false,
            early: None,
            duration_ms: 1,
        },
    );
    writer.flush();
    let mut late = Client::new(&writer.bus, writer.seq);
    while late.poll(&[]) {}
    assert_eq!(late.progress, [49.5], "a tool that has ended has no progress");
}

#[test]
fn deletion_is_the_last_event_even_for_who_lacks_what_is_gone() {
    let mut writer = writer(tight());
    let (mut slow, mut quick) = (Client::new(&writer.bus, 0), Client::new(&writer.bus, 0));
    for _ in 0..10 {
        writer.event(None, log_event("a fact"));
        writer.flush();
        while quick.poll(&[]) {}
    }
    *writer.log.broken.lock().unwrap() = true;
    let mut gone = writer.log.all()[0].clone();
    (gone.seq, gone.payload) = (None, Payload::SessionDeleted {});
    writer.bus.publish(vec![gone]);
    for client in [&mut slow, &mut quick] {
        let mut last = None;
        while let Some(event) = futures_util::FutureExt::now_or_never(client.reader.next()).flatten() {
            last = Some(event);
        }
        assert!(matches!(last.unwrap().payload, Payload::SessionDeleted {}));
        assert_eq!(client.reader.failure(), None);
    }
}

#[test]
fn a_call_asked_again_under_the_same_id_is_another_call() {
    let mut writer = writer(BusLimits::default());
    let mut slow = Client::new(&writer.bus, 0);
    writer.start("t1.1");
    writer.say(Says::Text, "half an ans", false);
    writer.fail();
    writer.start("t1.1");
    writer.say(Says::Text, "a whole answer", false);
    writer.end(false);
    writer.flush();
    while slow.poll(&writer.calls) {}
    assert_whole(&slow, &writer);
}

#[tokio::test]
async fn readers_end_when_the_last_clone_of_the_bus_is_gone() {
    let bus = Bus::new(SESSION, 0);
    let (clone, mut reader) = (bus.clone(), bus.subscribe(None));
    let waiting = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    drop(bus);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(clone);
    assert_eq!(waiting.await.unwrap(), None);
}

#[tokio::test]
async fn a_follower_sees_what_another_process_writes() {
    let mut writer = writer(BusLimits::default());
    for _ in 0..300 {
        writer.event(None, log_event("before"));
    }
    let mut followed = Box::pin(follow(writer.log.clone(), SESSION, 10));
    for seq in 11..=300 {
        assert_eq!(followed.next().await.unwrap().unwrap().seq, Some(seq));
    }
    let next = tokio::spawn(async move { (followed.next().await, followed) });
    tokio::task::yield_now().await;
    writer.event(None, log_event("after"));
    let (event, mut followed) = next.await.unwrap();
    assert_eq!(event.unwrap().unwrap().seq, Some(301));
    *writer.log.broken.lock().unwrap() = true;
    assert!(followed.next().await.unwrap().is_err());
    assert!(followed.next().await.is_none());
}
