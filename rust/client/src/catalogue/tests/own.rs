//! Providers and models of the user's own.

use crate::catalogue::{Ability, Auth, Catalogue, Definition, Meter, Protocol};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("omni-catalogue-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(name: &str, text: &str) -> Result<Catalogue, String> {
    let folder = Folder::new(name);
    let catalogue = Catalogue::builtin();
    let path = folder.file("omni.toml", text);
    catalogue
        .read_config(&path)
        .map_err(|error| error.message.replace(&path.display().to_string(), "omni.toml"))?;
    Ok(catalogue)
}

const ACME: &str = r#"# Ours.
[providers.acme]
protocol = "openai_chat"
base_url = "https://llm.acme.example/v1/"
key_env = "ACME_API_KEY"
headers = { X-Team = "blue" }

[models."acme/fast"]
context = 32_000
tools = true
price = { input = 0.5, output = 1.5, search = 0.01 }

[aliases]
quick = "acme/fast"
"#;

#[test]
fn a_file_adds_providers_models_and_aliases() {
    let catalogue = read("adds", ACME).unwrap();
    let found = catalogue.resolve("quick").unwrap();
    assert_eq!(
        (found.provider.name.as_str(), found.model.as_str()),
        ("acme", "fast")
    );
    assert_eq!(found.provider.base_url, "https://llm.acme.example/v1");
    assert_eq!(found.provider.headers, [("x-team".to_owned(), "blue".to_owned())]);
    assert!(found.provider.custom && found.provider.auth == Auth::Bearer);
    let model = found.info.unwrap();
    assert_eq!(model.max_input_tokens, Some(32_000));
    assert_eq!(model.abilities.get(Ability::Tools), Some(true));
    assert_eq!(model.prices.base(Meter::Input), Some(5e-7));
    assert_eq!(model.prices.base(Meter::SearchMedium), Some(0.01));
    // A model that it does not name passes through.
    assert_eq!(catalogue.resolve("acme/other").unwrap().info, None);
    assert!(catalogue.provider_names().contains(&"acme".to_owned()));
    assert!(catalogue.models().iter().any(|model| model.id() == "acme/fast"));
}

#[test]
fn an_error_names_file_line_field_and_what_was_meant() {
    for (broken, by, message) in [
        (
            "base_url",
            "base_ulr",
            "omni.toml:4: providers.acme.base_ulr: no such field; did you mean \"base_url\"?",
        ),
        (
            "\"openai_chat\"",
            "\"openai_chats\"",
            "omni.toml:3: providers.acme.protocol: expected one of openai_chat, \
            openai_responses, anthropic, gemini, found \"openai_chats\"; did you mean \"openai_chat\"?",
        ),
        (
            "32_000",
            "\"many\"",
            "omni.toml:9: models.\"acme/fast\".context: expected a number of tokens, found \"many\"",
        ),
        (
            "input =",
            "inptu =",
            "omni.toml:11: models.\"acme/fast\".price.inptu: no such field; did you mean \"input\"?",
        ),
        (
            "[aliases]",
            "[alias]",
            "omni.toml:13: alias: no such section; did you mean \"aliases\"?",
        ),
        (
            "\"acme/fast\"\n",
            "\"acne/fast\"\n",
            "omni.toml:14: aliases.quick: there is no provider \"acne\"; did you mean \
            \"acme/fast\"?",
        ),
        (
            "protocol = \"openai_chat\"\n",
            "",
            "omni.toml:2: providers.acme: the field \"protocol\" is missing: one of \
            openai_chat, openai_responses, anthropic, gemini",
        ),
        (
            "\"ACME_API_KEY\"",
            "\"sk-canary-123456\"",
            "omni.toml:5: providers.acme.key_env: \"sk-c…\" cannot be the name of an \
            environment variable",
        ),
        (
            "https://",
            "https://user:canary@",
            "omni.toml:4: providers.acme.base_url: an address must not hold a user or a \
            password; name the key in key_env",
        ),
        (
            "llm.acme",
            "{HOME}.acme",
            "omni.toml:4: providers.acme.base_url: expected an address such as \
            \"https://llm.example/v1\", found another text",
        ),
    ] {
        let text = ACME.replacen(broken, by, 1);
        let found = read("errors", &text).unwrap_err();
        assert_eq!(found, message, "{by}");
        assert!(!found.contains("canary"));
    }
    let found = read("errors", "[providers.acme\n").unwrap_err();
    assert!(found.starts_with("omni.toml:1: this is not TOML"), "{found}");
}

#[test]
fn a_built_in_provider_is_replaced_only_when_asked() {
    let mine = |replace: bool| json!({"name": "groq", "protocol": "openai_chat", "base_url": "http://127.0.0.1:9/v1", "replace": replace});
    let catalogue = Catalogue::builtin();
    let refused = catalogue
        .register_provider_json(&mine(false).to_string())
        .unwrap_err();
    assert!(
        refused
            .message
            .starts_with("providers.groq: a provider of this name is built in"),
        "{refused}"
    );
    assert_eq!(
        catalogue.resolve("groq/x").unwrap().provider.base_url,
        "https://api.groq.com/openai/v1"
    );
    catalogue.register_provider_json(&mine(true).to_string()).unwrap();
    let now = catalogue.resolve("groq/x").unwrap().provider;
    assert_eq!(now.base_url, "http://127.0.0.1:9/v1");
    // None of the built-in one's hosts: what was its key does not go there by itself.
    assert!(now.hosts.is_empty() && now.key_env.is_empty() && now.auth == Auth::None);
}

#[test]
fn another_providers_key_is_sent_elsewhere_only_when_asked() {
    let taking =
        |key: &str| Definition::new("acme", Protocol::OpenaiChat, "https://llm.acme.example").key_env(key);
    for key in ["OPENAI_API_KEY", "HF_TOKEN", "COHERE_API_KEY"] {
        let catalogue = Catalogue::builtin();
        let refused = catalogue.register_provider(taking(key)).unwrap_err();
        let message = refused.message;
        assert!(
            message.contains(key) && message.contains("llm.acme.example say allow_key = true"),
            "{message}"
        );
        catalogue
            .register_provider(taking(key).field("allow_key", true))
            .unwrap();
    }
    // At the owner's own host it is no news.
    let again =
        Definition::new("mine", Protocol::OpenaiChat, "https://api.openai.com/v1").key_env("OPENAI_API_KEY");
    Catalogue::builtin().register_provider(again).unwrap();
}

#[test]
fn a_file_that_lies_around_may_name_no_strange_key() {
    let folder = Folder::new("here");
    let load = |text: &str, config: Option<&str>| {
        folder.file("omni.toml", text);
        let config = config.map(OsString::from);
        let home = folder.0.join("home").into_os_string();
        let variable = move |name: &str| match name {
            "OMNI_CONFIG" => config.clone(),
            "HOME" => Some(home.clone()),
            _ => None,
        };
        Catalogue::load_with(variable, &folder.0).map_err(|error| error.message)
    };
    assert!(load(ACME, None).unwrap().provider("acme").is_some());
    let named = folder.0.join("omni.toml").display().to_string();
    for (broken, by) in [
        ("\"ACME_API_KEY\"", "\"AWS_SECRET_ACCESS_KEY\""),
        (
            "key_env = \"ACME_API_KEY\"",
            "key_env = \"OPENAI_API_KEY\"\nallow_key = true",
        ),
    ] {
        let text = ACME.replace(broken, by);
        let refused = load(&text, None).unwrap_err();
        assert!(refused.contains("current folder"), "{refused}");
        // Named by the user, it is the user's.
        assert!(load(&text, Some(&named)).is_ok());
    }
    let only_alias = |name: &str| ACME.replace("\nquick =", &format!("\n{name:?} ="));
    for known in ["openai/gpt-4o", "gpt-4o", "claude-sonnet-4-5", "bedrock/anything"] {
        let refused = load(&only_alias(known), None).unwrap_err();
        assert!(refused.contains(known), "{refused}");
        assert!(refused.contains("current folder"), "{refused}");
        assert!(load(&only_alias(known), Some(&named)).is_ok());
    }
    assert!(load(ACME, None).unwrap().resolve("quick").is_ok());
    let replacing = "[providers.openai]\nprotocol = \"openai_chat\"\nbase_url = \"https://evil.example\"\nreplace = true\n";
    assert!(load(replacing, None).unwrap_err().contains("current folder"));
    assert!(
        load(replacing, Some(""))
            .unwrap()
            .provider("openai")
            .is_some_and(|openai| !openai.custom)
    );
    assert!(
        load(ACME, Some("absent.toml"))
            .unwrap_err()
            .contains("absent.toml cannot be read")
    );
}

#[test]
fn a_registered_provider_is_written_without_touching_the_rest() {
    let folder = Folder::new("persist");
    let path = folder.file("sub/omni.toml", ACME);
    let catalogue = Catalogue::builtin();
    let document = json!({"name": "beta", "protocol": "anthropic", "base_url": "http://127.0.0.1:8/", "local": true,
        "headers": {"x-a": "b"}, "models": {"big": {"context": 10, "price": {"input": 2.0}}}});
    catalogue.register_provider_json(&document.to_string()).unwrap();
    for _ in 0..2 {
        catalogue.persist("beta", Some(&path)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(ACME.split("[models").next().unwrap()), "{text}");
    assert_eq!(text.matches("[providers.beta]").count(), 1, "{text}");
    let again = Catalogue::builtin();
    again.read_config(&path).unwrap();
    assert_eq!(again.provider("beta"), catalogue.provider("beta"));
    assert_eq!(again.model("beta/big"), catalogue.model("beta/big"));
    assert!(again.resolve("quick").is_ok());
    assert!(
        catalogue
            .persist("bta", Some(&path))
            .unwrap_err()
            .message
            .contains("did you mean \"beta\"")
    );
    // A file that does not exist is made, with its folder.
    let new = folder.0.join("new/omni.toml");
    catalogue.persist("beta", Some(&new)).unwrap();
    assert!(
        std::fs::read_to_string(new)
            .unwrap()
            .contains("[models.\"beta/big\"]")
    );
}

#[test]
fn what_is_registered_counts_for_clones_and_ids_asked_before() {
    let catalogue = Catalogue::builtin();
    let clone = catalogue.clone();
    assert!(
        clone
            .resolve("openai/gpt-5")
            .unwrap()
            .info
            .unwrap()
            .max_input_tokens
            != Some(7)
    );
    let mine = Definition::new("openai", Protocol::OpenaiResponses, "http://127.0.0.1:7")
        .field("replace", true)
        .model("gpt-5", json!({"context": 7}));
    catalogue.register_provider(mine).unwrap();
    let now = clone.resolve("openai/gpt-5").unwrap();
    assert_eq!(
        (now.protocol, now.info.unwrap().max_input_tokens),
        (Protocol::OpenaiResponses, Some(7))
    );
}

#[test]
fn nothing_is_added_when_something_is_wrong() {
    let catalogue = Catalogue::builtin();
    let bad =
        Definition::new("acme", Protocol::OpenaiChat, "http://127.0.0.1:7").model("x", json!({"contxt": 1}));
    let message = catalogue.register_provider(bad).unwrap_err().message;
    assert_eq!(
        message,
        "models.\"acme/x\".contxt: no such field; did you mean \"context\"?"
    );
    assert!(catalogue.provider("acme").is_none());
    for (text, said) in [
        ("[", "is not JSON"),
        ("[]", "is an object"),
        ("{}", "\"name\" is missing"),
        (r#"{"name": 5}"#, "name: expected"),
        (
            r#"{"name": "a/b", "protocol": "gemini", "base_url": "http://x"}"#,
            "letters, digits",
        ),
        (
            r#"{"name": "a", "protocol": "openai_chat", "base_url": "http://x", "dialect": "deepseak"}"#,
            "dialect: no deviations of \"deepseak\" are known; did you mean \"deepseek\"?",
        ),
    ] {
        let message = catalogue.register_provider_json(text).unwrap_err().message;
        assert!(message.contains(said), "{text}: {message}");
    }
}

#[test]
fn a_newer_snapshot_of_the_user_counts_and_an_older_one_does_not() {
    let folder = Folder::new("updated");
    let home = folder.0.clone().into_os_string();
    let load = |version: &str| {
        folder.file(".config/omni/catalogue/version.txt", version);
        folder.file(".config/omni/catalogue/models.tsv", "new-model\topenai\t\tc\t5\n");
        folder.file(
            ".config/omni/catalogue/providers.json",
            "{\n\"openai\":{\"protocol\":\"openai_chat\"}\n}\n",
        );
        let home = home.clone();
        let variable = move |name: &str| (name == "HOME").then(|| home.clone());
        Catalogue::load_with(variable, &folder.0).unwrap()
    };
    assert_eq!(
        load("999.0.0\n")
            .resolve("new-model")
            .unwrap()
            .info
            .unwrap()
            .max_input_tokens,
        Some(5)
    );
    assert!(load("0.1.0\n").resolve("new-model").is_err());
}

#[test]
fn a_key_of_several_is_said_to_be_whose_name_it_has() {
    for (variable, owner) in [("OPENAI_API_KEY", "openai"), ("DASHSCOPE_API_KEY", "dashscope")] {
        let thief =
            Definition::new("thief", Protocol::OpenaiChat, "https://thief.example/v1").key_env(variable);
        let error = Catalogue::builtin().register_provider(thief).unwrap_err();
        let said =
            format!("{variable} is the key of {owner}; to send it to thief.example say allow_key = true");
        assert!(error.message.contains(&said), "{error}");
    }
}
