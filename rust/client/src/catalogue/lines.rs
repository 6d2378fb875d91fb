//! Sorted lines of a text that is never read as a whole: a line is found by bisection.

use memchr::{memchr, memrchr};
use std::cmp::Ordering;

/// The line of `text` that `compare` calls equal. The lines must be sorted by what `compare` looks at, and end in
/// `\n`. At most one line is looked at for each halving of the text.
pub(super) fn bisect(text: &str, mut compare: impl FnMut(&str) -> Ordering) -> Option<&str> {
    let bytes = text.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low + (high - low) / 2;
        // Both ends of a line are ends of characters, for `\n` is one byte in UTF-8.
        let start = memrchr(b'\n', &bytes[low..middle]).map_or(low, |at| low + at + 1);
        let end = memchr(b'\n', &bytes[middle..high]).map_or(high, |at| middle + at);
        let line = text.get(start..end)?;
        match compare(line) {
            Ordering::Equal => return Some(line),
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(count: usize) -> String {
        (0..count).fold(String::new(), |text, at| {
            text + &format!("key-{at:06}\tvalue {at} {}\n", "x".repeat(at % 37))
        })
    }

    fn find<'a>(text: &'a str, key: &str, looked_at: &mut usize) -> Option<&'a str> {
        bisect(text, |line| {
            *looked_at += 1;
            line.split('\t').next().unwrap_or_default().cmp(key)
        })
    }

    #[test]
    fn every_line_is_found_and_no_other() {
        let text = text(500);
        for at in 0..500 {
            let line = find(&text, &format!("key-{at:06}"), &mut 0).unwrap();
            assert!(line.contains(&format!("value {at} ")), "{line}");
        }
        for absent in ["", "key", "key-000499x", "key-000500", "zzz", "key-000100a"] {
            assert_eq!(find(&text, absent, &mut 0), None, "{absent}");
        }
        assert_eq!(find("", "x", &mut 0), None);
        assert_eq!(find("\n", "x", &mut 0), None);
    }

    #[test]
    fn a_look_up_touches_few_lines_however_many_there_are() {
        for count in [10, 1_000, 100_000] {
            let text = text(count);
            let bound = text.len().ilog2() as usize + 1;
            for key in ["key-000000", "key-000007", "key-099999", "absent"] {
                let mut looked_at = 0;
                find(&text, key, &mut looked_at);
                assert!(looked_at <= bound, "{looked_at} lines of {count} for {key}");
            }
        }
    }
}
