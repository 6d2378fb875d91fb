//! `omni models` without Python, a network, or anything of the user's.
#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Runs `omni models` with `words` in an empty folder; `config` is what `OMNI_CONFIG` names.
fn models(words: &[&str], config: Option<&str>) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.arg("models").args(words).env_clear();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    if let Some(text) = config {
        // One file for each text: tests run side by side.
        let path = folder.join(format!("omni-{}-{}.toml", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        command.env("OMNI_CONFIG", path);
    }
    let output = command.current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap(),
    )
}

fn ids(words: &[&str], config: Option<&str>) -> Vec<String> {
    let (out, error, code) = models(&[words, &["--json"]].concat(), config);
    assert_eq!((error.as_str(), code), ("", 0));
    let found: Vec<Value> = serde_json::from_str(&out).unwrap();
    found
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_options_choose() {
    let all = ids(&["--provider", "openai"], None);
    assert!(all.len() > 20 && all.contains(&"openai/gpt-5".to_owned()) && all.is_sorted());
    let cheap = ids(&["--provider", "openai", "--max-price", "1"], None);
    assert!(cheap.contains(&"openai/gpt-5-nano".to_owned()) && !cheap.contains(&"openai/gpt-5".to_owned()));
    let reasoning = ids(&["--provider", "openai", "--reasoning"], None);
    assert!(
        reasoning.contains(&"openai/gpt-5".to_owned()) && !reasoning.contains(&"openai/gpt-4o".to_owned())
    );
    let dated = ids(&["gpt-5-nano-2025", "--tools", "--vision"], None);
    assert!(dated.contains(&"azure/gpt-5-nano-2025-08-07".to_owned()));
    assert!(dated.iter().all(|id| id.contains("gpt-5-nano-2025")));
}

#[test]
fn an_unknown_provider_gives_what_was_meant() {
    let (out, error, code) = models(&["--provider", "antropic"], None);
    assert_eq!(
        (out.as_str(), code),
        ("", omni_cli::exit_code(omni_core::Code::InvalidRequest))
    );
    assert!(error.contains("did you mean \"anthropic\"?"), "{error}");
}

#[test]
fn what_only_litellm_can_ask_has_no_live_list() {
    let (_, error, code) = models(&["--live", "--provider", "bedrock"], None);
    assert_eq!(code, omni_cli::exit_code(omni_core::Code::Unsupported));
    assert!(error.contains("bedrock"), "{error}");
    let (_, error, code) = models(&["--live"], None);
    assert!(error.contains("--provider") && code == 2, "{error}");
}

#[test]
fn a_file_adds_models_and_its_mistakes_are_named() {
    let acme = "[providers.acme]\nprotocol = \"openai_chat\"\nbase_url = \"http://127.0.0.1:9\"\n\
        [models.\"acme/fast\"]\ncontext = 5\n";
    assert_eq!(ids(&["--provider", "acme"], Some(acme)), ["acme/fast"]);
    let (_, error, code) = models(&[], Some(&acme.replace("context", "contxt")));
    assert_eq!(code, omni_cli::exit_code(omni_core::Code::InvalidRequest));
    assert!(
        error.contains(".toml:5: models.\"acme/fast\".contxt: no such field; did you mean \"context\"?"),
        "{error}"
    );
}
