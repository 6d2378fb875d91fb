//! Logs, trees, paths, forks, lists and searches.

use crate::common::{Folder, all, caches_are_right, chain, event, make, saved, texts};
use omni_agent::{CompactionReason, ForkOrigin, PathQuery, Payload, SessionStore, SqliteStore, TurnUsage};
use omni_core::{Code, Message, Usage};
use serde_json::{Value, json};

fn leaf(id: &str) -> Payload {
    Payload::LeafChanged {
        leaf: Some(id.to_owned()),
    }
}

fn to(id: &str) -> PathQuery {
    PathQuery {
        leaf: Some(id.to_owned()),
        last: None,
    }
}

#[tokio::test]
async fn events_come_back_as_they_went_in_with_their_place() {
    for store in [SqliteStore::in_memory().unwrap(), Folder::new().open()] {
        let mut first = chain(&["Hello"]);
        first[0].turn_id = Some("t1".into());
        first[0].call_id = Some("t1.1".into());
        first[0].parent = Some("p".into());
        let mut writer = store.create(None, first.clone()).await.unwrap();
        let id = writer.session_id().to_owned();
        assert_eq!(writer.last_seq(), 2);
        let log = Payload::Log {
            level: omni_agent::LogLevel::Info,
            message: "done".into(),
            server: None,
        };
        let given = writer
            .append(vec![event(7, log.clone()), event(8, log)])
            .await
            .unwrap();
        assert_eq!(
            (given[0].seq, given[1].seq, writer.last_seq()),
            (Some(3), Some(4), 4)
        );
        let read = all(&store, &id).await;
        assert_eq!(read[2..], given[..]);
        assert_eq!(
            read.iter().map(|event| event.seq.unwrap()).collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
        assert!(matches!(
            read[0].payload,
            Payload::SessionCreated { title: None, .. }
        ));
        let message = &read[1];
        assert_eq!(message.turn_id.as_deref(), Some("t1"));
        assert_eq!(message.call_id.as_deref(), Some("t1.1"));
        assert_eq!(message.parent.as_deref(), Some("p"));
        assert_eq!(message.payload, first[0].payload);
        assert_eq!(store.events(&id, 1, 2).await.unwrap(), read[1..3]);
        assert!(store.events(&id, 4, 9).await.unwrap().is_empty());
    }
}

/// What providers send: signatures, arguments as the text received, parts and keys that nobody knows, odd numbers.
pub(crate) fn odd_messages() -> Vec<Value> {
    vec![
        json!({"role": "system", "content": "Be brief.", "cache_control": {"type": "ephemeral"}}),
        json!({"role": "user", "content": [{"type": "text", "text": "Zürich \u{0000} 🦀 \"q\" \\ \u{2028}"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}),
        json!({"role": "assistant", "content": [
            {"type": "reasoning", "text": "Let me see", "encrypted": "gAAAA/+==", "id": "rs_1",
                "signature": "EqQBCkYIBxgC+/=="},
            {"type": "provider", "provider": "anthropic", "kind": "redacted_thinking",
                "data": {"z": 1, "a": [1.5, 1e22, 18_446_744_073_709_551_615_u64, -0.1, 0.1]}},
            {"type": "tool_call", "id": "c1"},
            {"type": "novel", "b": null, "a": {"signature": "s"}}],
            "tool_calls": [{"id": "c1", "type": "function",
                "function": {"name": "add", "arguments": "{ \"b\" : 2.0,\n\"a\":1 , \"a\":1}"}, "signature": "sig=="}],
            "later_field": {"y": 1, "x": 2}}),
        json!({"role": "tool", "tool_call_id": "c1", "content": "3", "is_error": false}),
        json!({"role": "assistant", "tool_calls": [{"id": "c2", "type": "function",
            "function": {"name": "broken", "arguments": "{\"cut"}}]}),
    ]
}

#[tokio::test]
async fn messages_come_back_byte_for_byte_with_signatures_and_arguments() {
    let folder = Folder::new();
    let sent: Vec<Message> = odd_messages()
        .into_iter()
        .map(|value| serde_json::from_value(value).unwrap())
        .collect();
    let texts: Vec<String> = sent
        .iter()
        .map(|message| serde_json::to_string(message).unwrap())
        .collect();
    let mut events = Vec::new();
    for (at, message) in sent.into_iter().enumerate() {
        let parent = (at > 0).then(|| format!("m{at}"));
        events.push(saved(&format!("m{}", at + 1), parent.as_deref(), message));
    }
    make(&folder.open(), "odd", events).await;
    // Another opening: nothing of it is remembered in memory.
    let store = folder.open();
    let bytes = |path: Vec<omni_agent::StoredMessage>| -> Vec<String> {
        path.iter()
            .map(|stored| serde_json::to_string(&stored.message).unwrap())
            .collect()
    };
    assert_eq!(
        bytes(store.path("odd", PathQuery::default()).await.unwrap()),
        texts
    );
    assert_eq!(bytes(store.tree("odd").await.unwrap()), texts);
    assert!(
        texts[2].contains(r#""arguments":"{ \"b\" : 2.0,\n\"a\":1 , \"a\":1}""#),
        "{}",
        texts[2]
    );
    let fork = store.fork("odd", None).await.unwrap();
    assert_eq!(
        bytes(store.path(&fork.session_id, PathQuery::default()).await.unwrap()),
        texts
    );
    caches_are_right(&folder, &store).await;
}

#[tokio::test]
async fn an_edit_and_a_regeneration_are_siblings_and_the_leaf_moves_between_them() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writer = store
        .create(Some("s".into()), chain(&["one", "two", "three"]))
        .await
        .unwrap();
    writer
        .append(vec![
            saved("m4", Some("m1"), Message::assistant("two again")),
            saved("m5", None, Message::user("one edited")),
        ])
        .await
        .unwrap();
    let path = store.path("s", PathQuery::default()).await.unwrap();
    assert_eq!(
        texts(&path),
        ["one edited"],
        "the last message saved is the active end"
    );
    assert_eq!(
        texts(&store.path("s", to("m3")).await.unwrap()),
        ["one", "two", "three"]
    );
    assert_eq!(
        texts(&store.path("s", to("m4")).await.unwrap()),
        ["one", "two again"]
    );
    writer.append(vec![event(5, leaf("m3"))]).await.unwrap();
    let last = PathQuery {
        leaf: None,
        last: Some(2),
    };
    let path = store.path("s", last).await.unwrap();
    assert_eq!(texts(&path), ["two", "three"], "only the last ones, in order");
    assert_eq!((path[0].parent_id.as_deref(), path[0].seq), (Some("m1"), 3));
    assert_eq!(
        texts(&store.tree("s").await.unwrap()),
        ["one", "two", "three", "two again", "one edited"]
    );
    let info = store.info("s").await.unwrap();
    assert_eq!(
        (info.leaf.as_deref(), info.messages, info.last_seq),
        (Some("m3"), 5, 7)
    );
    writer
        .append(vec![event(6, Payload::LeafChanged { leaf: None })])
        .await
        .unwrap();
    assert!(store.path("s", PathQuery::default()).await.unwrap().is_empty());
    let none = store.path("s", to("m9")).await.unwrap_err();
    assert_eq!(none.code, Code::NotFound);
    caches_are_right(&folder, &store).await;
}

#[tokio::test]
async fn an_append_is_stored_whole_or_not_at_all() {
    let store = SqliteStore::in_memory().unwrap();
    let mut writer = store.create(Some("s".into()), chain(&["one"])).await.unwrap();
    let orphan = writer
        .append(vec![
            saved("m2", Some("m1"), Message::user("fine")),
            saved("m3", Some("m9"), Message::user("no parent")),
        ])
        .await
        .unwrap_err();
    assert_eq!(orphan.code, Code::InvalidRequest);
    assert!(orphan.message.contains("\"m9\""), "{orphan}");
    for wrong in [
        saved("m1", None, Message::user("the id again")),
        event(1, leaf("m7")),
        event(1, Payload::ThinkingStarted { index: 0 }),
        event(
            1,
            Payload::SessionCreated {
                title: None,
                forked_from: None,
            },
        ),
    ] {
        assert!(writer.append(vec![wrong]).await.is_err());
    }
    assert_eq!(store.tree("s").await.unwrap().len(), 1);
    assert_eq!(
        (store.info("s").await.unwrap().last_seq, writer.last_seq()),
        (2, 2)
    );
    let fine = writer
        .append(vec![saved("m2", Some("m1"), Message::user("fine"))])
        .await
        .unwrap();
    assert_eq!(fine[0].seq, Some(3), "what was refused left no gap");
}

#[tokio::test]
async fn what_is_listed_is_the_fold_of_the_log() {
    let folder = Folder::new();
    let store = folder.open();
    let usage = TurnUsage {
        input_tokens: 10,
        output_tokens: 4,
        cost_usd: Some(0.25),
    };
    let created = Payload::SessionCreated {
        title: Some("given".into()),
        forked_from: None,
    };
    let first = vec![
        event(100, created),
        event(
            200,
            Payload::TurnStarted {
                model: "demo/one".into(),
                message_id: "m1".into(),
            },
        ),
        event(
            300,
            Payload::UsageUpdated {
                call: Usage::default(),
                session: usage,
            },
        ),
        event(400, Payload::TitleGenerated { title: "made".into() }),
    ];
    make(&store, "s", first).await;
    let info = store.info("s").await.unwrap();
    assert_eq!(info.title.as_deref(), Some("given"), "a person's title stays");
    assert_eq!((info.created_ms, info.updated_ms, info.turns), (100, 400, 1));
    assert_eq!(
        (info.usage, info.messages, info.leaf, info.last_seq),
        (usage, 0, None, 4)
    );
    let renamed = store.rename("s", "mine".into()).await.unwrap();
    assert_eq!((renamed.title.as_deref(), renamed.last_seq), (Some("mine"), 5));
    caches_are_right(&folder, &store).await;
}

#[tokio::test]
async fn a_fork_is_a_session_of_its_own_and_both_logs_tell_of_it() {
    let folder = Folder::new();
    let store = folder.open();
    let mut first = chain(&["one", "two"]);
    first.push(saved("m3", Some("m1"), Message::assistant("two again")));
    first.push(saved("m4", Some("m3"), Message::user("three")));
    first[0].turn_id = Some("t1".into());
    first.push(event(
        9,
        Payload::CompactionCompleted {
            summary: Some("in short".into()),
            first_kept: Some("m3".into()),
            tokens_before: 9,
            tokens_after: 2,
        },
    ));
    first.push(event(
        9,
        Payload::CompactionStarted {
            reason: CompactionReason::Asked,
            tokens: 9,
        },
    ));
    let mut writer = store.create(Some("old".into()), first).await.unwrap();
    writer
        .append(vec![event(10, Payload::TitleGenerated { title: "T".into() })])
        .await
        .unwrap();

    // The old one is being written meanwhile.
    let fork = store.fork("old", Some("m4".into())).await.unwrap();
    let origin = ForkOrigin {
        session_id: "old".into(),
        message_id: Some("m4".into()),
    };
    assert_eq!(fork.forked_from.as_ref(), Some(&origin));
    assert_eq!(
        (fork.title.as_deref(), fork.messages, fork.turns),
        (Some("T"), 3, 0)
    );
    let path = store.path(&fork.session_id, PathQuery::default()).await.unwrap();
    assert_eq!(texts(&path), ["one", "two again", "three"]);
    let ids: Vec<_> = path.iter().map(|stored| stored.message_id.as_str()).collect();
    assert_eq!(ids, ["m1", "m2", "m3"], "the ids are its own");
    assert_eq!(
        path.iter().map(|stored| stored.seq).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    assert!(path.iter().all(|stored| stored.turn_id.is_none()));
    let log = all(&store, &fork.session_id).await;
    assert!(
        matches!(&log[4].payload, Payload::CompactionCompleted { first_kept: Some(kept), .. } if kept == "m2"),
        "what the model sees of the path goes along"
    );
    assert_eq!(log.len(), 5);

    let old = all(&store, "old").await;
    let Payload::SessionForked {
        new_session_id,
        message_id,
    } = &old.last().unwrap().payload
    else {
        panic!("the old log does not tell of the fork")
    };
    assert_eq!(
        (new_session_id, message_id.as_deref()),
        (&fork.session_id, Some("m4"))
    );
    let next = writer
        .append(vec![saved("m5", Some("m2"), Message::user("on"))])
        .await
        .unwrap();
    assert_eq!(
        next[0].seq,
        Some(old.len() as u64 + 1),
        "the old writer goes on behind it"
    );

    let none = store.fork("old", Some("m2".into())).await.unwrap();
    let log = all(&store, &none.session_id).await;
    assert_eq!(
        log.len(),
        3,
        "a compaction that keeps a message of another branch does not hold here"
    );
    assert_eq!(
        store.fork("old", Some("m99".into())).await.unwrap_err().code,
        Code::NotFound
    );
    let mut writer = store.write(&fork.session_id).await.unwrap();
    writer
        .append(vec![saved("m4", Some("m3"), Message::user("mine"))])
        .await
        .unwrap();
    caches_are_right(&folder, &store).await;
}

#[tokio::test]
async fn a_list_comes_in_pages_the_newest_first() {
    let store = SqliteStore::in_memory().unwrap();
    for at in 0..7_u64 {
        let mut events = chain(&["x"]);
        events[0].timestamp_ms = 1000 + at / 2; // two share a time
        make(&store, &format!("s{at}"), events).await;
    }
    let mut seen = Vec::new();
    loop {
        let page = store.list(2, seen.last().cloned()).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        seen.extend(page.into_iter().map(|info| info.session_id));
    }
    assert_eq!(seen, ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]);
    assert!(store.list(2, Some("gone".into())).await.is_err());
}

#[tokio::test]
async fn an_unknown_session_is_an_error_with_a_near_match() {
    let store = SqliteStore::in_memory().unwrap();
    make(&store, "holiday-plans", chain(&["x"])).await;
    let error = store.info("holiday-plan").await.unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert!(
        error.message.contains("did you mean \"holiday-plans\"?"),
        "{error}"
    );
    assert_eq!(store.write("nothing").await.err().unwrap().code, Code::NotFound);
    assert_eq!(
        store.changed("nothing", 0).await.unwrap_err().code,
        Code::NotFound
    );
    let taken = store
        .create(Some("holiday-plans".into()), Vec::new())
        .await
        .err()
        .unwrap();
    assert!(taken.message.contains("already"), "{taken}");
    assert!(store.create(Some("a/../b".into()), Vec::new()).await.is_err());
}

#[tokio::test]
async fn a_search_finds_words_with_their_place() {
    let store = SqliteStore::in_memory().unwrap();
    make(
        &store,
        "a",
        chain(&["the quick brown fox", "jumps over the Zürcher dog"]),
    )
    .await;
    make(&store, "b", chain(&["a slow brown bear"])).await;
    let hits = store.search("brown", 10).await.unwrap();
    assert_eq!(hits.len(), 2);
    let hits = store.search("quick BROWN", 10).await.unwrap();
    assert_eq!(
        (
            hits.len(),
            hits[0].session_id.as_str(),
            hits[0].message_id.as_str()
        ),
        (1, "a", "m1")
    );
    assert_eq!(hits[0].excerpt, "the [quick] [brown] fox");
    assert_eq!(
        store.search("zurch", 10).await.unwrap()[0].message_id,
        "m2",
        "a word that is begun"
    );
    assert_eq!(
        store.search("zurch ", 10).await.unwrap(),
        [],
        "and one that is not"
    );
    assert_eq!(store.search("brown", 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_search_finds_words_of_scripts_without_spaces() {
    let store = SqliteStore::in_memory().unwrap();
    make(
        &store,
        "ja",
        chain(&["今日は東京の天気がいいです", "100% a_b 東京"]),
    )
    .await;
    let hits = store.search("天気", 9).await.unwrap();
    assert_eq!(hits.len(), 1, "a word inside a run");
    assert_eq!(hits[0].excerpt, "今日は東京の[天気]がいいです");
    assert_eq!(store.search("東京", 9).await.unwrap().len(), 2);
    assert_eq!(store.search("東京 天気", 9).await.unwrap().len(), 1);
    assert_eq!(store.search("東京 100%", 9).await.unwrap().len(), 1);
    assert_eq!(
        store.search("東京 1_0", 9).await.unwrap().len(),
        0,
        "_ is a letter"
    );
    assert_eq!(store.search(&"東京".repeat(60_000), 9).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_search_takes_whatever_somebody_types() {
    let store = SqliteStore::in_memory().unwrap();
    make(
        &store,
        "a",
        chain(&["say \"hello\" AND NEAR(x) text:* -- it's 100% {ok} a-b c:\\d"]),
    )
    .await;
    for odd in [
        "",
        " ",
        "\"",
        "\"\"\"",
        "'",
        "*",
        "AND",
        "a AND",
        "NOT hello",
        "NEAR(",
        "text:say",
        "{",
        "^say",
        "-x",
        "a-b",
        "(",
        ")",
        "--",
        "\0",
        "x\0y",
        "🦀",
        "^",
        "+",
        "hello\"",
        "* OR *",
        "%",
        "it's",
        "c:\\d",
        "\u{feff}",
    ] {
        let found = store.search(odd, 10).await;
        assert!(found.is_ok(), "{odd:?}: {found:?}");
    }
    assert_eq!(store.search("it's 100%", 10).await.unwrap().len(), 1);
    assert_eq!(
        store.search("text:say", 10).await.unwrap().len(),
        0,
        "no column is named by a word"
    );
    assert_eq!(
        store.search("say NOT hello", 10).await.unwrap().len(),
        0,
        "NOT is a word"
    );
    assert_eq!(
        store.search("AND hello", 10).await.unwrap().len(),
        1,
        "and so is AND"
    );
}
