//! The next chunk of a stream, where it differs from the last one in its text alone.
//!
//! Nearly all of a chunk is the same in all chunks of an answer: ids, names, nulls. What was understood of it once is
//! compared and not read again.

use super::typed::{Document, Word};
use std::borrow::Cow;

/// Which text differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Content,
    Reasoning,
}

/// The last chunk, if it said nothing but a text.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    field: Option<Field>,
    /// Without the text.
    chunk: String,
    /// Where in it the text stood: after its opening quote, before its closing one.
    at: usize,
}

impl Repeat {
    /// Forgets the last chunk: another one came that says more than a text.
    pub(super) fn forget(&mut self) {
        self.field = None;
    }

    /// Takes a chunk that was read: `data` is its text.
    pub(super) fn learn(&mut self, data: &str, document: &Document<'_>) {
        self.field = None;
        if !document.is_plain() {
            return;
        }
        let texts = [
            (Field::Content, &document.content),
            (Field::Reasoning, &document.reasoning_content),
            (Field::Reasoning, &document.reasoning),
        ];
        let mut said = texts
            .into_iter()
            .filter_map(|(field, word)| Some((field, word.as_ref()?)))
            .filter(|(_, Word(text))| !text.is_empty());
        // Of several texts it would have to be known which one counts.
        if let (Some((field, Word(Cow::Borrowed(text)))), None) = (said.next(), said.next())
            && let Some(start) = (text.as_ptr() as usize).checked_sub(data.as_ptr() as usize)
            && let (Some(before), Some(after)) = (data.get(..start), data.get(start + text.len()..))
            && before.ends_with('"')
            && after.starts_with('"')
        {
            self.field = Some(field);
            before.clone_into(&mut self.chunk);
            self.chunk.push_str(after);
            self.at = start;
        }
    }

    /// The text of a chunk that differs from the last one in it alone.
    pub(super) fn read<'a>(&self, data: &'a str) -> Option<(Field, Cow<'a, str>)> {
        let field = self.field?;
        let (before, after) = self.chunk.split_at_checked(self.at)?;
        let text = data.strip_prefix(before)?.strip_suffix(after)?;
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.bytes().all(plain) {
            return Some((field, Cow::Borrowed(text)));
        }
        // With its quotes it must be one string and nothing else: then the rest of the chunk is what it was.
        let quoted = data.get(before.len() - 1..=data.len() - after.len())?;
        let Word(text) = serde_json::from_str(quoted).ok()?;
        Some((field, text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::remembered::Remembered;
    use super::*;

    fn learned(data: &str) -> Repeat {
        let mut repeat = Repeat::default();
        repeat.learn(data, &Document::read(data, &Remembered::default()).unwrap());
        repeat
    }

    fn chunk(text: &str) -> String {
        format!(
            r#"{{"id":"a","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
        )
    }

    #[test]
    fn only_a_string_may_differ() {
        let repeat = learned(&chunk("one"));
        for (text, want) in [
            ("two", Some("two")),
            ("", Some("")),
            ("\u{fc}\u{1f600}", Some("\u{fc}\u{1f600}")),
            (r"a\n\u00e9\\", Some("a\n\u{e9}\\")),
            (r#"a\"b"#, Some("a\"b")),
            // Another field, a string without an end, and what is no string in JSON.
            (r#"a","refusal":"b"#, None),
            ("a\\", None),
            ("a\nb", None),
            (r"\x", None),
            (r"\ud800", None),
        ] {
            let data = chunk(text);
            let read = repeat.read(&data);
            assert_eq!(read.as_ref().map(|(_, text)| &**text), want, "{text}");
        }
        for other in [
            chunk("x").replace("null", "\"stop\""),
            chunk("x").replace("\"a\"", "\"b\""),
            chunk("x") + " ",
            String::new(),
            "{}".to_owned(),
        ] {
            assert_eq!(repeat.read(&other), None, "{other}");
        }
    }

    #[test]
    fn what_says_more_than_a_text_is_not_repeated() {
        for data in [
            chunk("x").replace("null", "\"stop\""),
            chunk("x").replace("\"id\"", "\"usage\":{},\"id\""),
            chunk("x").replace("\"id\"", "\"new\":1,\"id\""),
            chunk("x").replace("\"content\"", "\"refusal\":\"no\",\"content\""),
            chunk("x").replace("\"content\"", "\"reasoning\":\"so\",\"content\""),
            chunk("x").replace("\"content\"", "\"tool_calls\":[{\"index\":0}],\"content\""),
            chunk(r"\n"),
            chunk(""),
        ] {
            assert_eq!(learned(&data).read(&data), None, "{data}");
        }
    }
}
