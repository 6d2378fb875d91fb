//! The key file and the environment.

use super::super::*;
use super::{CANARY, Folder};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_file_and_its_folder_are_the_owners_alone() {
    let folder = Folder::new();
    let file = folder.file();
    assert!(file.get("acme").unwrap().is_none(), "no file is no key");
    file.set("acme", &Secret::from(CANARY)).unwrap();
    file.set("beta", &Secret::from("quo\"te\\ and \u{e9}")).unwrap();
    assert_eq!(mode(file.path()), 0o600);
    assert_eq!(mode(file.path().parent().unwrap()), 0o700);
    assert_eq!(file.get("acme").unwrap().unwrap().expose(), CANARY);
    assert_eq!(
        file.get("beta").unwrap().unwrap().expose(),
        "quo\"te\\ and \u{e9}"
    );
    assert_eq!(file.providers().unwrap(), ["acme", "beta"]);
    assert!(file.remove("acme").unwrap() && !file.remove("acme").unwrap());
    assert_eq!(file.providers().unwrap(), ["beta"]);
    let names: Vec<OsString> = fs::read_dir(file.path().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["credentials.json"], "nothing is left beside it");
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let folder = Folder::new();
    let file = folder.file();
    file.set("acme", &Secret::from(CANARY)).unwrap();
    for wide in [0o640, 0o604, 0o620, 0o700 | 0o001] {
        fs::set_permissions(file.path(), fs::Permissions::from_mode(wide)).unwrap();
        let error = file.get("acme").unwrap_err();
        assert_eq!(error.code, omni_core::Code::Authentication);
        let want = format!(
            "has mode {wide:04o}, so others can reach it: chmod 600 {}",
            file.path().display()
        );
        assert!(error.message.ends_with(&want), "{}", error.message);
        assert!(
            file.set("acme", &Secret::from("new")).is_err(),
            "nor is it written"
        );
    }
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(file.get("acme").unwrap().is_some());
}

#[test]
fn a_broken_file_is_told_without_what_stands_in_it() {
    let folder = Folder::new();
    let file = folder.file();
    file.set("acme", &Secret::from(CANARY)).unwrap();
    for text in [
        format!("{{\"version\": 1, \"keys\": {{\"acme\": \"{CANARY}\""),
        format!("{{\"version\": 2, \"keys\": {{\"acme\": \"{CANARY}\"}}}}"),
        format!("{{\"version\": \"{CANARY}\"}}"),
        format!("{{\"version\": 1, \"keys\": \"{CANARY}\"}}"),
        String::new(),
    ] {
        fs::write(file.path(), text).unwrap();
        let error = file.get("acme").unwrap_err();
        assert!(!error.message.contains("canary"), "{}", error.message);
        assert!(error.message.contains("move it away"), "{}", error.message);
    }
}

#[test]
fn the_file_is_where_the_environment_says() {
    let usual = |variables: &[(&str, &str)]| {
        let found = KeyFile::usual(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        });
        found.map(|file| file.path().display().to_string())
    };
    assert_eq!(
        usual(&[("OMNI_CREDENTIALS", "/a/k.json"), ("HOME", "/h")]).as_deref(),
        Some("/a/k.json")
    );
    assert_eq!(
        usual(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")]).as_deref(),
        Some("/x/omni/credentials.json")
    );
    assert_eq!(
        usual(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/h")]).as_deref(),
        Some("/h/.config/omni/credentials.json")
    );
    assert_eq!(usual(&[]), None);
}

#[test]
fn a_service_keys_addresses_are_bases_and_none_is_cut_out_of_another() {
    let environment = Environment::new([(
        "AICORE_SERVICE_KEY",
        r#" {"url": "https://one.example?next=https://inner.example", "b": 'http://two.example:81/x'}"#,
    )]);
    let bases: Vec<&str> = environment.bases_of("sap").collect();
    assert_eq!(
        bases,
        [
            "https://one.example?next=https://inner.example",
            "http://two.example:81/x"
        ]
    );
}

#[test]
fn the_environment_of_the_process_is_worked_out_once_for_each_state() {
    let environments = Environments::process();
    assert!(Arc::ptr_eq(&environments.current(), &environments.current()));
}
