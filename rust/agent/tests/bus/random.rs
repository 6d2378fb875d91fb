//! Random runs, read at random paces by readers that come, stop, break off and come back: they all see the same.

use super::client::Client;
use super::log::{Log, SESSION, Says, Writer};
use omni_agent::{Bus, BusLimits, Payload};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Move {
    Say(Says, u8, bool),
    FallBack,
    End(u8),
    Fact,
    Flush,
    /// A reader comes, so many durable events back.
    Come(u8),
    Read(u8, u8),
    Reconnect(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let says = prop_oneof![
        Just(Says::Thinking),
        Just(Says::Text),
        Just(Says::Text),
        Just(Says::Arguments)
    ];
    let one = prop_oneof![
        8 => (says, 0..12u8, any::<bool>()).prop_map(|(says, length, anew)| Move::Say(says, length, anew)),
        1 => Just(Move::FallBack),
        2 => any::<u8>().prop_map(Move::End),
        1 => Just(Move::Fact),
        6 => Just(Move::Flush),
        1 => any::<u8>().prop_map(Move::Come),
        6 => (any::<u8>(), 1..6u8).prop_map(|(reader, times)| Move::Read(reader, times)),
        2 => any::<u8>().prop_map(Move::Reconnect),
    ];
    prop::collection::vec(one, 1..160)
}

/// Words that differ from place to place, some of them of more than one byte.
fn words(clock: usize, length: u8) -> String {
    let alphabet = ['a', 'é', 'c', '語', 'e', 'f', '🧨'];
    (0..usize::from(length))
        .map(|at| alphabet[(clock * 5 + at * 3 + clock / 7) % alphabet.len()])
        .collect()
}

/// What is promised of a part that counts, once its call has ended, by how much the bus may keep.
#[derive(Clone, Copy, PartialEq)]
enum Promise {
    /// All text, also of calls that failed.
    All,
    /// All text that was saved.
    Saved,
    /// The rest of the saved calls that the reader is inside.
    Begun,
}

fn play(moves: Vec<Move>, limits: BusLimits, promise: Promise) {
    let log = Arc::new(Log::default());
    let bus = Bus::new(SESSION, 0).with_store(log.clone()).with_limits(limits);
    let mut writer = Writer::new(log, bus);
    let mut clients = vec![
        (Client::new(&writer.bus, 0), false),
        (Client::new(&writer.bus, 0), false),
    ];
    for (clock, one) in moves.into_iter().enumerate() {
        let count = clients.len();
        match one {
            Move::Say(says, length, anew) => {
                if writer.open().is_none() {
                    let id = format!("t1.{}", writer.calls.len() / 2);
                    writer.start(&id);
                }
                writer.say(says, &words(clock, length), anew);
            }
            Move::FallBack if writer.open().is_some() => writer.fall_back(),
            Move::End(how) if writer.open().is_some() => match how % 4 {
                0 => writer.fail(),
                1 => writer.end(true),
                _ => writer.end(false),
            },
            Move::Fact => writer.event(
                None,
                Payload::SessionRenamed {
                    title: words(clock, 3),
                },
            ),
            Move::Flush => writer.flush(),
            Move::Come(back) if count < 8 => {
                let from = writer.bus.last_seq().saturating_sub(u64::from(back % 8));
                clients.push((Client::new(&writer.bus, from), false));
            }
            Move::Read(reader, times) => {
                let (client, _) = &mut clients[usize::from(reader) % count];
                for _ in 0..times {
                    client.poll(&writer.calls);
                }
            }
            Move::Reconnect(reader) => {
                let (client, broken) = &mut clients[usize::from(reader) % count];
                client.reconnect(&writer.bus);
                *broken = true;
            }
            Move::FallBack | Move::End(_) | Move::Come(_) => {}
        }
    }
    if writer.open().is_some() {
        writer.end(false);
    }
    writer.flush();
    writer.bus.close();
    for (client, broken) in &mut clients {
        // What it had of each part before it read to the end, and whether it had begun it.
        let begun: Vec<_> = client.texts.keys().copied().collect();
        while client.poll(&writer.calls) {}
        assert!(client.ended && client.reader.failure().is_none());
        assert_eq!(
            client.durable,
            writer.log.all()[usize::try_from(client.from).unwrap()..]
        );
        for call in &writer.calls {
            let closed = call.closed.unwrap();
            // A reader that came back after the end of the call is only sure of what it had begun, and only if
            // the bus has not forgotten the call.
            let there = client.joined < closed && !*broken && promise != Promise::Begun;
            for part in call.parts.iter().filter(|part| !part.discarded) {
                let has = client.has(call, part.index, part.says);
                let had = begun.contains(&(call.started, part.index, part.says)) && !has.is_empty();
                let due = there || (had && (promise != Promise::Begun || !*broken));
                if due && (promise == Promise::All || call.saved) {
                    assert_eq!(has, part.text, "of {call:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_readers_see_the_same(moves in moves()) {
        play(moves, BusLimits { calls: 1_000, text: 1 << 20, ..BusLimits::default() }, Promise::All);
    }

    #[test]
    fn all_readers_see_the_same_when_the_bus_keeps_no_text(moves in moves()) {
        play(moves, BusLimits { events: 2, bytes: 1_000, calls: 1_000, text: 0 }, Promise::Saved);
    }

    #[test]
    fn all_readers_see_the_same_when_the_bus_forgets_calls(moves in moves()) {
        play(moves, BusLimits { events: 1, bytes: 1, calls: 0, text: 0 }, Promise::Begun);
    }
}
