//! Deleting for good.

use crate::common::{Folder, caches_are_right, event, make, saved};
use omni_agent::{NewEvent, Payload, SessionStore};
use omni_core::{Code, Message};

/// Words that stand nowhere else, of many lengths: the rows move between pages as others grow.
fn secret(at: u64, length: u64) -> String {
    let words: Vec<String> = (0..length).map(|word| format!("secretword{at}x{word}")).collect();
    words.join(" ")
}

fn messages(what: &str, from: u64, count: u64) -> Vec<NewEvent> {
    (from..from + count)
        .map(|at| {
            let parent = (at > 1).then(|| format!("m{}", at - 1));
            let text = match what {
                "secret" => secret(at, 1 + at * 37 % 400),
                _ => format!("harmless {at} ").repeat(usize::try_from(1 + at * 53 % 300).unwrap()),
            };
            saved(&format!("m{at}"), parent.as_deref(), Message::user(text))
        })
        .collect()
}

#[tokio::test]
async fn a_deleted_session_leaves_no_trace_in_any_file() {
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "keep", Vec::new()).await;
    make(&store, "gone", Vec::new()).await;
    let mut keep = store.write("keep").await.unwrap();
    let mut gone = store.write("gone").await.unwrap();
    for round in 0..40 {
        gone.append(messages("secret", 1 + round * 3, 3)).await.unwrap();
        keep.append(messages("harmless", 1 + round * 2, 2)).await.unwrap();
    }
    drop(gone);
    let fork = store.fork("gone", Some("m60".into())).await.unwrap();
    store.rename("gone", "secretword title".into()).await.unwrap();
    assert!(traces(&folder) > 100, "the test looks in the right place");
    store.delete(&fork.session_id).await.unwrap();
    store.delete("gone").await.unwrap();
    assert_eq!(
        traces(&folder),
        0,
        "the text of the deleted session stands in the files"
    );

    assert_eq!(store.info("gone").await.unwrap_err().code, Code::NotFound);
    assert!(store.search("secretword1x0", 9).await.unwrap().is_empty());
    assert_eq!(store.list(9, None).await.unwrap().len(), 1);
    keep.append(messages("harmless", 81, 1)).await.unwrap();
    assert_eq!(store.tree("keep").await.unwrap().len(), 81);
    for _ in 0..4 {
        // Each connection, whatever it remembers of the index before.
        assert_eq!(store.search("harmless", 99).await.unwrap().len(), 81);
    }
    assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
    caches_are_right(&folder, &store).await;
    assert_eq!(store.delete("gone").await.unwrap_err().code, Code::NotFound);
}

/// Rows that grow push others to other pages, and SQLite leaves copies of these in free space.
#[tokio::test]
async fn rows_that_moved_leave_no_copy_behind() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writers = Vec::new();
    for at in 0..200 {
        writers.push(store.create(Some(format!("s{at}")), Vec::new()).await.unwrap());
    }
    let mut next = 1_u64;
    for _ in 0..1000 {
        // Any order does, if it is the same each time.
        next = next
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (at, words) = (next >> 33, next >> 50);
        let at = usize::try_from(at % 200).unwrap();
        let what = if at.is_multiple_of(3) {
            "secretword"
        } else {
            "harmless"
        };
        let title = format!("{what}{at} ").repeat(1 + usize::try_from(words % 29).unwrap());
        let renamed = event(1, Payload::SessionRenamed { title });
        let message = saved(&format!("{what}{next:x}"), None, Message::user("x"));
        writers[at].append(vec![renamed, message]).await.unwrap();
    }
    drop(writers);
    for at in (0..200).step_by(3) {
        store.delete(&format!("s{at}")).await.unwrap();
    }
    assert_eq!(traces(&folder), 0);
    assert_eq!(store.list(999, None).await.unwrap().len(), 133);
}

#[tokio::test]
async fn a_reader_in_another_process_does_not_keep_what_was_deleted() {
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "gone", messages("secret", 1, 5)).await;
    let reader = folder.raw();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM events")
        .unwrap();
    let error = store.delete("gone").await.unwrap_err();
    assert!(
        error.message.contains("traces"),
        "what may be left is said: {error}"
    );
    assert_eq!(store.info("gone").await.unwrap_err().code, Code::NotFound);
    reader.execute_batch("ROLLBACK").unwrap();
    make(&store, "next", messages("secret", 1, 5)).await;
    store.delete("next").await.unwrap();
    assert_eq!(traces(&folder), 0);
}

/// How often the secret words stand in the files of the store.
fn traces(folder: &Folder) -> usize {
    let mut count = 0;
    for file in std::fs::read_dir(folder.folder()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        // The index keeps what words have in common once, so a piece is looked for as well.
        count += bytes.windows(9).filter(|window| window == b"secretwor").count();
    }
    count
}
