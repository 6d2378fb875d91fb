//! Searching in the text of messages.

use super::SearchHit;
use super::fault::Inner;
use super::log::bound;
use rusqlite::{Connection, params, params_from_iter};

/// Where all of `words` stand, the best first.
pub(super) fn search(connection: &Connection, words: &str, limit: usize) -> Inner<Vec<SearchHit>> {
    if words.chars().any(unspaced) {
        return scan(connection, words, limit);
    }
    let Some(asked) = quoted(words) else {
        return Ok(Vec::new());
    };
    let mut statement = connection.prepare_cached(
        "SELECT search.session_id, sessions.title, search.message_id,
                snippet(search, 0, '[', ']', '…', 16) AS excerpt
             FROM search LEFT JOIN sessions ON sessions.session_id = search.session_id
             WHERE search MATCH ?1 ORDER BY search.rank, search.rowid DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![asked, bound(limit)], |found| {
        Ok(SearchHit {
            session_id: found.get("session_id")?,
            title: found.get("title")?,
            message_id: found.get("message_id")?,
            excerpt: found.get("excerpt")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What somebody typed, as a query that means these words and nothing else; the last may be begun only.
/// `None` if no word is in it.
fn quoted(words: &str) -> Option<String> {
    let mut asked = words
        .split(|c: char| c.is_whitespace() || c == '\0')
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
        .collect::<Vec<_>>()
        .join(" ");
    (!asked.is_empty()).then(|| {
        if words.ends_with(char::is_alphanumeric) {
            asked.push('*');
        }
        asked
    })
}

/// Letters of scripts that are written without spaces: the index holds whole runs of them as one word.
fn unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Burmese
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{2e80}'..='\u{a4cf}' // Chinese, Japanese, Yi
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// As [`search`], by looking at every text: for words that the index cannot find. The newest first.
fn scan(connection: &Connection, words: &str, limit: usize) -> Inner<Vec<SearchHit>> {
    // More words than anybody types would only make the statement long.
    let words: Vec<&str> = words.split_whitespace().take(16).collect();
    let all = vec!["search.text LIKE ? ESCAPE '\\'"; words.len()].join(" AND ");
    let mut statement = connection.prepare(&format!(
        "SELECT search.session_id, sessions.title, search.message_id, search.text
             FROM search LEFT JOIN sessions ON sessions.session_id = search.session_id
             WHERE {all} ORDER BY search.rowid DESC LIMIT {}",
        bound(limit)
    ))?;
    let patterns = words.iter().map(|word| {
        // SQLite takes patterns up to 50,000 bytes.
        let escaped: String = word
            .chars()
            .take(1000)
            .flat_map(|c| {
                matches!(c, '%' | '_' | '\\')
                    .then_some('\\')
                    .into_iter()
                    .chain([c])
            })
            .collect();
        format!("%{escaped}%")
    });
    let rows = statement.query_map(params_from_iter(patterns), |found| {
        let text: String = found.get("text")?;
        Ok(SearchHit {
            session_id: found.get("session_id")?,
            title: found.get("title")?,
            message_id: found.get("message_id")?,
            excerpt: excerpt(&text, words.first().copied().unwrap_or_default()),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Some letters around the first place of `word`.
fn excerpt(text: &str, word: &str) -> String {
    const AROUND: usize = 30;
    let Some((before, after)) = text.split_once(word) else {
        return text.chars().take(2 * AROUND).collect();
    };
    let from = before
        .char_indices()
        .rev()
        .nth(AROUND - 1)
        .map_or(0, |(at, _)| at);
    let to = after.char_indices().nth(AROUND).map_or(after.len(), |(at, _)| at);
    let mark = |cut| if cut { "…" } else { "" };
    format!(
        "{}{}[{word}]{}{}",
        mark(from > 0),
        before.get(from..).unwrap_or_default(),
        after.get(..to).unwrap_or_default(),
        mark(to < after.len())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_types_is_words_and_never_an_operator() {
        assert_eq!(quoted("one two").as_deref(), Some("\"one\" \"two\"*"));
        assert_eq!(
            quoted("say \"hi\" OR *").as_deref(),
            Some("\"say\" \"\"\"hi\"\"\" \"OR\"")
        );
        assert_eq!(quoted("done. ").as_deref(), Some("\"done.\""));
        assert_eq!(quoted(" \t\0 -- \"\" "), None);
        assert_eq!(quoted(""), None);
    }

    #[test]
    fn an_excerpt_is_cut_between_letters_and_says_so() {
        assert_eq!(excerpt("今日は天気がいい", "天気"), "今日は[天気]がいい");
        let long = format!("{}東京{}", "あ".repeat(40), "い".repeat(40));
        let (before, after) = ("あ".repeat(30), "い".repeat(30));
        assert_eq!(excerpt(&long, "東京"), format!("…{before}[東京]{after}…"));
        assert_eq!(excerpt("ABC 天", "abc"), "ABC 天");
    }
}
