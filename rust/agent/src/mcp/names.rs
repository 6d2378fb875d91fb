//! The names that the model uses: `server__tool`, in the letters and the length that every provider takes.

use std::collections::HashSet;

/// The longest name that every provider takes.
const LONGEST: usize = 64;
/// Hex digits of the hash that tells two names apart.
const DIGITS: usize = 8;

/// The names of one server's tools, in the order of `tools`: each unique, and none that another server can have.
///
/// The first `__` ends the server's name. A server whose own name would blur that gets a hash behind each tool.
pub(super) fn offered(server: &str, tools: &[String]) -> Vec<String> {
    let blurred = server.contains("__") || server.ends_with('_');
    let plain: Vec<String> = tools
        .iter()
        .map(|tool| format!("{server}__{}", proper(tool)))
        .collect();
    // Tools whose name needs no change keep it, whatever stands before them in the list.
    let as_they_are: HashSet<&str> = plain
        .iter()
        .zip(tools)
        .filter(|(name, tool)| !blurred && name.len() <= LONGEST && proper(tool) == **tool)
        .map(|(name, _)| name.as_str())
        .collect();
    let mut taken: HashSet<String> = as_they_are.iter().map(|name| (*name).to_owned()).collect();
    plain
        .iter()
        .zip(tools)
        .map(|(name, tool)| {
            if !blurred && proper(tool) == **tool && as_they_are.contains(name.as_str()) {
                return name.clone();
            }
            if !blurred && name.len() <= LONGEST && taken.insert(name.clone()) {
                return name.clone();
            }
            let mut salt = 0_u32;
            loop {
                let hash = hash(&[server, tool, &salt.to_string()]);
                let mut cut = name.clone();
                cut.truncate(LONGEST - DIGITS - 1); // all ASCII: never inside a letter
                let name = format!("{cut}_{hash:08x}");
                if taken.insert(name.clone()) {
                    return name;
                }
                salt += 1;
            }
        })
        .collect()
}

/// `text` with `_` for what a name may not hold; an empty one becomes `_`.
fn proper(text: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name: String = text.chars().map(|c| if kept(c) { c } else { '_' }).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

/// FNV-1a: stable from run to run and from version to version, which the standard hasher is not; sessions hold the names.
fn hash(parts: &[&str]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(server: &str, tools: &[&str]) -> Vec<String> {
        let tools: Vec<String> = tools.iter().map(|tool| (*tool).to_owned()).collect();
        offered(server, &tools)
    }

    #[test]
    fn a_plain_name_stays_readable() {
        assert_eq!(
            names("time", &["get_time", "convert-time"]),
            ["time__get_time", "time__convert-time"]
        );
    }

    #[test]
    fn two_servers_never_share_a_name() {
        let first = names("a", &["b__c", "_b"]);
        let second = names("a__b", &["c"]);
        let third = names("a_", &["b"]);
        for name in second.iter().chain(&third) {
            assert!(!first.contains(name), "{name}");
        }
    }

    #[test]
    fn names_that_fall_together_are_told_apart_and_the_plain_one_keeps_its_name() {
        let found = names("s", &["a.b", "a/b", "a_b", "ä"]);
        assert_eq!(found[2], "s__a_b");
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), 4, "{found:?}");
        assert_eq!(found, names("s", &["a.b", "a/b", "a_b", "ä"]), "stable");
    }

    #[test]
    fn a_long_name_is_cut_and_told_apart() {
        let (one, two) = (format!("{}1", "x".repeat(80)), format!("{}2", "x".repeat(80)));
        let found = names("server", &[&one, &two, ""]);
        assert_ne!(found[0], found[1]);
        for name in &found {
            assert!(name.len() <= LONGEST, "{name}");
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            );
        }
    }
}
