//! What a server's program finds in its environment, and `${NAME}` in the configuration.

use omni_core::{Error, Result};
use std::collections::BTreeMap;

/// What a program needs to run. Nothing else of ours reaches a server: keys of providers stay here.
const NEEDED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
];

/// The environment of a server's program: what it needs, and `own` from the configuration on top.
pub(super) fn of_child(server: &str, own: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut found: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| NEEDED.contains(&name.as_str()) || name.starts_with("LC_"))
        .collect();
    for (name, value) in own {
        found.insert(name.clone(), expand(value, &place(server, "env", name))?);
    }
    Ok(found)
}

/// Where a value stands in the configuration.
pub(super) fn place(server: &str, field: &str, name: &str) -> String {
    format!("mcp_servers.{server}.{field}.{name}")
}

/// `text` with each `${NAME}` replaced by that variable of our environment, `${NAME:-default}` by the default if
/// there is none. Any other `$` stays as it is.
///
/// # Errors
/// `invalid_request` naming the place and the variable that is not set.
pub(super) fn expand(text: &str, place: &str) -> Result<String> {
    expand_with(text, place, |name| std::env::var(name).ok())
}

fn expand_with(text: &str, place: &str, find: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inner, behind)) = after.split_once('}') else {
            break;
        };
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let proper = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        whole.push_str(before);
        if !proper {
            whole.push_str("${");
            rest = after;
            continue;
        }
        match (find(name), default) {
            (Some(value), _) => whole.push_str(&value),
            (None, Some(default)) => whole.push_str(default),
            (None, None) => {
                return Err(Error::invalid(format!(
                    "{place}: the environment has no variable {name}; set it, or write ${{{name}:-default}}"
                )));
            }
        }
        rest = behind;
    }
    whole.push_str(rest);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String> {
        expand_with(text, "mcp_servers.s.headers.Authorization", |name| {
            (name == "TOKEN").then(|| "t0ken".to_owned())
        })
    }

    #[test]
    fn variables_are_put_in_and_other_dollars_stay() {
        for (text, becomes) in [
            ("Bearer ${TOKEN}", "Bearer t0ken"),
            ("${TOKEN}${TOKEN}", "t0kent0ken"),
            ("${NONE:-x}", "x"),
            ("$TOKEN ${} ${a b} ${TOKEN", "$TOKEN ${} ${a b} ${TOKEN"),
            ("${a ${TOKEN}", "${a t0ken"),
            ("", ""),
        ] {
            assert_eq!(expanded(text).unwrap(), becomes, "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named_with_its_place() {
        let error = expanded("Bearer ${MISSING}").unwrap_err();
        assert!(error.message.contains("headers.Authorization") && error.message.contains("MISSING"));
    }

    #[test]
    fn a_child_gets_what_it_needs_and_no_key() {
        // Cargo sets CARGO_MANIFEST_DIR for every test: it stands for any variable that is none of a server's business.
        assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
        let own = BTreeMap::from([("OWN".to_owned(), "${CARGO_PKG_NAME}".to_owned())]);
        let found = of_child("s", &own).unwrap();
        assert!(found.contains_key("PATH"));
        assert_eq!(found["OWN"], "omni-agent");
        assert!(!found.contains_key("CARGO_MANIFEST_DIR"), "{:?}", found.keys());
    }
}
