//! A hundred readers at once on one run of an agent: what they have seen in the end is the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use omni_agent::{AgentEvent, HostTools, Payload, Reader};
use omni_core::{Event, FinishReason};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// What a front end shows: durable events, and the text of each part.
#[derive(Default, PartialEq, Debug)]
struct Screen {
    durable: Vec<AgentEvent>,
    texts: BTreeMap<(String, u32), String>,
}

impl Screen {
    /// Says whether it was the turn's end.
    fn show(&mut self, event: AgentEvent) -> bool {
        let call_id = event.call_id.clone().unwrap_or_default();
        match &event.payload {
            Payload::StreamChunk {
                index, offset, text, ..
            }
            | Payload::ThinkingDelta { index, offset, text } => {
                let shown = self.texts.entry((call_id, *index)).or_default();
                // One that came back without saying what it has is told a part from its beginning.
                assert!(
                    *offset == 0 || *offset == shown.len() as u64,
                    "a piece is missing"
                );
                shown.truncate(usize::try_from(*offset).unwrap());
                shown.push_str(text);
            }
            _ => {}
        }
        let end = matches!(event.payload, Payload::TurnCompleted { .. });
        if event.seq.is_some() {
            self.durable.push(event);
        }
        end
    }
}

async fn watch_it(mut reader: Reader, mut screen: Screen) -> Screen {
    while let Some(event) = reader.next().await {
        if screen.show(event) {
            break;
        }
    }
    assert_eq!(reader.failure(), None);
    screen
}

/// Thinks, talks and asks for a tool, with a pause after each piece.
fn script(round: u32) -> Vec<Act> {
    let pause = || Act::Wait(Duration::from_millis(3));
    let mut acts = Vec::new();
    for at in 0..30 {
        let text = format!("thought {at} of {round}; ");
        acts.extend([Act::Event(Event::ReasoningDelta { index: 0, text }), pause()]);
    }
    for at in 0..120 {
        let text = format!("wörd{at} ");
        acts.extend([Act::Event(Event::TextDelta { index: 1, text }), pause()]);
    }
    if round < 3 {
        acts.push(Act::Event(Event::ToolCallStart {
            index: 2,
            id: format!("c{round}"),
            name: "echo".into(),
            kind: None,
        }));
        let arguments = "{}".to_owned();
        acts.push(Act::Event(Event::ToolCallDelta { index: 2, arguments }));
    }
    acts.push(Act::Finish(FinishReason::Stop));
    acts
}

#[tokio::test(start_paused = true)]
async fn a_hundred_readers_of_one_run_see_the_same() {
    let tools = HostTools::new().raw("echo", "", json!({"type": "object"}), |_| async { "done" });
    let model = Script::new([script(1), script(2), script(3)]);
    let (agent, store) = agent(config(), &model, tools);
    let mut run = agent.run("Go").await.unwrap();
    let id = run.session_id().to_owned();
    let subscribe = |after| agent.subscribe(&id, Some(after)).unwrap();
    let (go, gate) = watch::channel(false);

    let mut readers = Vec::new();
    for _ in 0..98 {
        readers.push(tokio::spawn(watch_it(subscribe(0), Screen::default())));
    }
    // One is stopped inside a part, until all is over.
    let (mut slow, mut gate) = (subscribe(0), gate);
    readers.push(tokio::spawn(async move {
        let mut screen = Screen::default();
        while screen.texts.len() < 2 {
            screen.show(slow.next().await.unwrap());
        }
        gate.wait_for(|go| *go).await.unwrap();
        watch_it(slow, screen).await
    }));
    // And one breaks off inside a part of the second answer, and comes back to where its durable events end.
    let (mut broken, again) = (subscribe(0), agent.clone());
    let session = id.clone();
    readers.push(tokio::spawn(async move {
        let mut screen = Screen::default();
        while screen.texts.len() < 5 {
            screen.show(broken.next().await.unwrap());
        }
        drop(broken);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let after = screen.durable.last().unwrap().seq;
        watch_it(again.subscribe(&session, after).unwrap(), screen).await
    }));

    all(&mut run).await;
    go.send_replace(true);
    let log = store.log(&id);
    for reader in readers {
        let screen = reader.await.unwrap();
        assert_eq!(screen.durable, log);
        assert_eq!(screen.texts.len(), 8);
        for ((call_id, index), text) in &screen.texts {
            let saved = log.iter().find_map(|event| match &event.payload {
                Payload::MessageSaved { message, .. } if event.call_id.as_ref() == Some(call_id) => {
                    Some(message)
                }
                _ => None,
            });
            match index {
                1 => assert_eq!(*text, saved.unwrap().text()),
                2 => assert_eq!(text, "{}"),
                _ => {
                    let round = call_id.trim_start_matches("t1.");
                    let thoughts = (0..30).map(|at| format!("thought {at} of {round}; "));
                    assert_eq!(*text, thoughts.collect::<String>());
                }
            }
        }
    }
}
