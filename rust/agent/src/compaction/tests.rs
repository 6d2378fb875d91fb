use super::*;
use omni_core::{Object, ToolCall};
use proptest::prelude::*;

fn message(role: char) -> Message {
    match role {
        'u' => Message::user("u"),
        't' => Message::tool("c", "t"),
        'c' => {
            let mut message = Message::assistant("");
            message.tool_calls = Some(vec![ToolCall {
                id: "c".into(),
                kind: "function".into(),
                function: None,
                custom: None,
                signature: None,
                extra: None,
                other: Object::new(),
            }]);
            message
        }
        _ => Message::assistant("a"),
    }
}

fn planned(roles: &str, keep_turns: usize, target: u64) -> Option<usize> {
    let messages: Vec<Message> = roles.chars().map(message).collect();
    let weighed: Vec<(&Message, u64)> = messages.iter().map(|message| (message, 10)).collect();
    plan(&weighed, keep_turns, target)
}

#[test]
fn what_stays_begins_with_a_turn_or_inside_one_with_a_round() {
    // roles (c: an answer with a call), turns to keep, tokens that may stay; the first that stays.
    for (roles, keep, target, cut) in [
        ("uauaua", 2, 1_000, Some(2)),
        ("uauaua", 1, 1_000, Some(2)),
        ("uauaua", 1, 20, Some(4)),
        ("uauaua", 9, 1_000, Some(2)),
        ("uctauctact", 1, 1_000, Some(4)),
        // The running turn alone is too much: its last rounds stay.
        ("uctctctct", 2, 1_000, Some(3)),
        ("uctctctct", 2, 40, Some(5)),
        ("uctctctct", 2, 1, Some(7)),
        ("uct", 2, 1, None),
        ("u", 2, 1, None),
        ("", 2, 1, None),
        ("ua", 1, 1, None),
    ] {
        assert_eq!(
            planned(roles, keep, target),
            cut,
            "{roles} keep {keep} target {target}"
        );
    }
}

#[test]
fn a_title_is_one_plain_line() {
    for (answer, plain) in [
        ("\"Sorting a list\"\n", Some("Sorting a list")),
        ("\n  # Über Äpfel.  \nand more", Some("Über Äpfel")),
        ("\"\"", None),
        ("", None),
    ] {
        assert_eq!(title(answer).as_deref(), plain, "{answer:?}");
    }
    assert_eq!(
        title(&"long ".repeat(100)).map(|title| title.chars().count()),
        Some(79)
    );
}

#[test]
fn of_too_much_the_beginning_and_the_end_are_told() {
    let messages: Vec<Message> = (0..100)
        .map(|n| Message::user(format!("message {n} {}", "x".repeat(90))))
        .collect();
    let asked = summary_messages(Some("It began."), messages.iter(), 2_000);
    let told = asked[1].text();
    assert!(told.len() < 2_200, "{}", told.len());
    for kept in ["It began.", "message 0 ", "message 99 ", "messages left out here"] {
        assert!(told.contains(kept), "{kept}");
    }
    assert!(!told.contains("message 50 "));
}

proptest! {
    #[test]
    fn no_plan_parts_a_call_from_its_result(roles in "(u(ct{1,3}|a){0,6}){0,6}", keep in 0_usize..4, target in 0_u64..200) {
        if let Some(cut) = planned(&roles, keep, target) {
            let roles: Vec<char> = roles.chars().collect();
            prop_assert!(cut > 0 && cut < roles.len());
            prop_assert!(roles[cut] != 't', "a result stays without its call");
            prop_assert!(roles[cut - 1] != 'c', "a call goes without its result");
        }
    }

    #[test]
    fn any_text_is_told_without_a_panic(texts in prop::collection::vec(".{0,200}", 0..20), most in 0_usize..500) {
        let messages: Vec<Message> = texts.iter().map(Message::user).collect();
        summary_messages(None, messages.iter(), most);
        let _ = title(&texts.join("\n"));
    }
}
