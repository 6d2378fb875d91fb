//! Out of a store and into another.

use crate::common::{Folder, all, caches_are_right, chain, event, make, saved, texts};
use crate::tree::odd_messages;
use omni_agent::{
    PathQuery, Payload, SessionStore, SqliteStore, export_log, export_messages, import_log, import_messages,
};
use omni_core::{Code, Error, Message};
use serde_json::{Value, json};

async fn odd_session(store: &SqliteStore) {
    let mut events = Vec::new();
    for (at, value) in odd_messages().into_iter().enumerate() {
        let parent = (at > 0).then(|| format!("m{at}"));
        let message = serde_json::from_value(value).unwrap();
        let mut event = saved(&format!("m{}", at + 1), parent.as_deref(), message);
        event.turn_id = Some("t1".into());
        events.push(event);
    }
    events.push(saved("m6", Some("m2"), Message::assistant("a sibling")));
    events.push(event(
        5,
        Payload::TurnFailed {
            error: Error::invalid("x").for_model("a/b"),
            usage: omni_agent::TurnUsage::default(),
            duration_ms: 3,
        },
    ));
    make(store, "odd", events).await;
}

#[tokio::test]
async fn a_log_goes_to_another_store_and_comes_back_the_same() {
    let from = SqliteStore::in_memory().unwrap();
    odd_session(&from).await;
    let lines = export_log(&from, "odd").await.unwrap();
    assert_eq!(lines.lines().count(), 8);
    let folder = Folder::new();
    let to = folder.open();
    let info = import_log(&to, &lines).await.unwrap();
    assert_eq!(info, from.info("odd").await.unwrap());
    assert_eq!(all(&to, "odd").await, all(&from, "odd").await);
    assert_eq!(export_log(&to, "odd").await.unwrap(), lines, "byte for byte");
    caches_are_right(&folder, &to).await;
    drop(to.write("odd").await.expect("an import holds no lease"));
    // Again: the id is taken now.
    let again = import_log(&to, &lines).await.unwrap();
    assert_ne!(again.session_id, "odd");
    let renamed = export_log(&to, &again.session_id).await.unwrap();
    assert_eq!(renamed.replace(&again.session_id, "odd"), lines);
}

#[tokio::test]
async fn a_long_log_is_exported_whole() {
    let store = SqliteStore::in_memory().unwrap();
    make(&store, "s", chain(&vec!["x"; 2500])).await;
    assert_eq!(export_log(&store, "s").await.unwrap().lines().count(), 2501);
}

type Edit = fn(Vec<String>) -> Vec<String>;

#[tokio::test]
async fn a_damaged_line_is_named_and_nothing_is_imported() {
    let from = SqliteStore::in_memory().unwrap();
    odd_session(&from).await;
    let lines = export_log(&from, "odd").await.unwrap();
    let to = SqliteStore::in_memory().unwrap();
    let edits: [(&str, Edit); 8] = [
        ("line 3", |mut lines| {
            let half = lines[2].chars().take(40).collect();
            lines[2] = half;
            lines
        }),
        ("line 4", |mut lines| {
            lines.remove(3);
            lines
        }),
        ("line 5", |mut lines| {
            lines.insert(4, lines[3].clone());
            lines
        }),
        ("line 7", |mut lines| {
            lines[6] = lines[6].replace("\"parent_id\":\"m2\"", "\"parent_id\":\"m8\"");
            lines
        }),
        ("line 8", |mut lines| {
            lines[7] = lines[7].replace("agent.turn.failed", "agent.turn.novel");
            lines
        }),
        ("line 2", |mut lines| {
            lines[1] = lines[1].replace("\"odd\"", "\"another\"");
            lines
        }),
        ("line 1", |mut lines| {
            lines[0] = lines[0].replace("\"v\":1", "\"v\":2");
            lines
        }),
        ("line 1", |mut lines| {
            lines.remove(0);
            lines
        }),
    ];
    for (named, edit) in edits {
        let edited = edit(lines.lines().map(str::to_owned).collect()).join("\n");
        assert_ne!(edited, lines.trim_end());
        let error = import_log(&to, &edited).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidRequest);
        assert!(
            error.message.starts_with(&format!("{named} of the log")),
            "{named}: {error}"
        );
        assert!(!error.message.contains("Let me"), "no content in errors: {error}");
    }
    assert!(import_log(&to, " \n").await.is_err());
    assert!(to.list(9, None).await.unwrap().is_empty(), "nothing was imported");
    let spaced = lines.replace('\n', "\r\n\n");
    import_log(&to, &spaced)
        .await
        .expect("empty lines and other line ends do not matter");
}

#[tokio::test]
async fn the_active_path_is_exported_as_openai_messages() {
    let store = SqliteStore::in_memory().unwrap();
    odd_session(&store).await;
    let leaf = Some("m5".to_owned());
    let messages = export_messages(&store, "odd", leaf).await.unwrap();
    assert_eq!(
        Value::Array(messages),
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Zürich \u{0} 🦀 \"q\" \\ \u{2028}"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            {"role": "assistant", "content": [{"type": "novel", "b": null, "a": {"signature": "s"}}],
                "tool_calls": [{"id": "c1", "type": "function",
                    "function": {"name": "add", "arguments": "{ \"b\" : 2.0,\n\"a\":1 , \"a\":1}"}}]},
            {"role": "tool", "content": "3", "tool_call_id": "c1"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c2", "type": "function",
                "function": {"name": "broken", "arguments": "{\"cut"}}]},
        ])
    );
    let active = export_messages(&store, "odd", None).await.unwrap();
    assert_eq!(active.last().unwrap()["content"], "a sibling");
    assert_eq!(active.len(), 3);
}

#[tokio::test]
async fn openai_messages_become_a_session() {
    let store = SqliteStore::in_memory().unwrap();
    let list = json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]);
    for document in [
        list.to_string(),
        json!({"model": "x", "messages": list}).to_string(),
    ] {
        let info = import_messages(&store, &document, Some("T".into()))
            .await
            .unwrap();
        assert_eq!((info.messages, info.title.as_deref()), (2, Some("T")));
        let path = store.path(&info.session_id, PathQuery::default()).await.unwrap();
        assert_eq!(texts(&path), ["one", "two"]);
        let back = export_messages(&store, &info.session_id, None).await.unwrap();
        assert_eq!(Value::Array(back), list);
    }
    for (wrong, named) in [
        (
            "[{\"role\": \"user\", \"content\": \"one\"}, {\"role\": \"hero\"}]",
            "messages[1]",
        ),
        ("[{\"role\": \"user\"", "line 1"),
        ("{\"message\": []}", "\"messages\""),
        ("[]", "empty"),
        ("7", "no list"),
    ] {
        let error = import_messages(&store, wrong, None).await.unwrap_err();
        assert!(error.message.contains(named), "{named}: {error}");
    }
    assert_eq!(store.list(9, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_conversation_that_no_provider_takes_is_refused_at_its_place() {
    let store = SqliteStore::in_memory().unwrap();
    let user = || json!({"role": "user", "content": "x"});
    let call = |ids: &[&str]| {
        let calls: Vec<Value> = ids
            .iter()
            .map(|id| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}))
            .collect();
        json!({"role": "assistant", "tool_calls": calls})
    };
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "3"});
    let nameless = json!({"role": "tool", "content": "3"});
    // What is wrong as a list and as a log; nothing is where nothing is wrong.
    for (messages, as_list, as_log) in [
        (
            vec![user(), call(&["q"]), user()],
            "messages[2]: the call \"q\" of messages[1] has no result before it",
            "line 4 of the log: the call \"q\" of message \"m2\" has no result before it",
        ),
        (
            vec![user(), call(&["q", "r"]), result("q"), call(&["s"])],
            "messages[3]: the call \"r\" of messages[1]",
            "line 5 of the log: the call \"r\" of message \"m2\"",
        ),
        (
            vec![user(), result("q")],
            "messages[1]: the result of \"q\" has no call",
            "line 3 of the log: the result of \"q\" has no call",
        ),
        (
            vec![user(), call(&["q"]), result("q"), result("q")],
            "messages[3]: the result of \"q\"",
            "line 5 of the log: the result of \"q\"",
        ),
        (
            vec![user(), call(&["q"]), nameless],
            "messages[2]: a tool's result needs",
            "line 4 of the log: a tool's result needs",
        ),
        // In another order than the calls', and open at the end: the loop gives those their results.
        (
            vec![user(), call(&["q", "r"]), result("r"), result("q"), user()],
            "",
            "",
        ),
        (vec![user(), call(&["q", "r"]), result("q")], "", ""),
    ] {
        let from = SqliteStore::in_memory().unwrap();
        let mut events = Vec::new();
        for (at, value) in messages.iter().enumerate() {
            let parent = (at > 0).then(|| format!("m{at}"));
            let message = serde_json::from_value(value.clone()).unwrap();
            events.push(saved(&format!("m{}", at + 1), parent.as_deref(), message));
        }
        make(&from, "s", events).await;
        let lines = export_log(&from, "s").await.unwrap();
        let list = Value::Array(messages).to_string();
        for (imported, says) in [
            (import_messages(&store, &list, None).await, as_list),
            (import_log(&store, &lines).await, as_log),
        ] {
            match imported {
                Ok(_) => assert_eq!(says, "", "{list}"),
                Err(error) => {
                    assert!(
                        !says.is_empty() && error.message.starts_with(says),
                        "{list}: {error}"
                    );
                    assert!(error.message.ends_with("Nothing was imported"), "{error}");
                }
            }
        }
    }
    assert_eq!(store.list(9, None).await.unwrap().len(), 4, "only what is whole");
}
