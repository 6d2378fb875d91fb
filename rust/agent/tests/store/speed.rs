//! What must not grow with a session. The bounds are wide: the machine may be busy; what is measured is printed.

use crate::common::{Folder, saved};
use omni_agent::{NewEvent, PathQuery, SessionStore, SessionWriter};
use omni_core::Message;
use std::time::{Duration, Instant};

fn messages(from: usize, count: usize) -> Vec<NewEvent> {
    let text = "What a message says, in about as many words as people and models use. ".repeat(8);
    (from..from + count)
        .map(|at| {
            let parent = (at > 1).then(|| format!("m{}", at - 1));
            saved(&format!("m{at}"), parent.as_deref(), Message::user(text.as_str()))
        })
        .collect()
}

async fn median(writer: &mut dyn SessionWriter, from: usize) -> Duration {
    let mut times = Vec::new();
    for at in 0..101 {
        let events = messages(from + at, 1);
        let begun = Instant::now();
        writer.append(events).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    times[50]
}

#[tokio::test]
async fn a_session_of_10000_messages_opens_at_its_end_and_an_append_costs_the_same() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writer = store.create(Some("long".into()), Vec::new()).await.unwrap();
    let short = median(writer.as_mut(), 1).await;
    for round in 0..97 {
        writer.append(messages(102 + round * 100, 100)).await.unwrap();
    }
    writer.append(messages(9802, 98)).await.unwrap();
    let long = median(writer.as_mut(), 9900).await;
    writer.close().await.unwrap();
    drop(store);
    let query = PathQuery {
        leaf: None,
        last: Some(100),
    };
    let mut opened = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let store = folder.open();
        let writer = store.write("long").await.unwrap();
        let path = store.path("long", query.clone()).await.unwrap();
        opened.push(begun.elapsed());
        assert_eq!((path.len(), writer.last_seq()), (100, 10_001));
        assert_eq!(path[99].message_id, "m10000");
        writer.close().await.unwrap();
    }
    opened.sort();
    println!(
        "open at the last 100 of 10,000: {:?} (median of 5); append of one message: {short:?} in a new session, {long:?} in one of 10,000",
        opened[2]
    );
    assert!(opened[0] < Duration::from_millis(50), "{opened:?}");
    assert!(
        long < short * 4 + Duration::from_millis(2),
        "an append costs {long:?} in place of {short:?}"
    );
}
