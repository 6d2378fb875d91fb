//! What a server tells beside its answers: kept until somebody listens, and never a flood.

use crate::protocol::LogLevel;
use crate::tool::{Notice, NoticeSink};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Notices that are kept while nobody listens; the oldest go first.
const KEPT: usize = 200;
/// Log notices that may come at once, and then one every `REFILL`.
const BURST: u32 = 100;
const REFILL: Duration = Duration::from_millis(500);
/// Bytes of one log notice.
const LONGEST: usize = 2000;
/// A value shorter than this is no secret worth hiding, and hiding it would garble every text.
const SHORTEST_SECRET: usize = 6;

pub(super) struct Notices {
    server: String,
    inner: Mutex<Inner>,
}

struct Inner {
    sink: Option<NoticeSink>,
    kept: VecDeque<Notice>,
    tokens: u32,
    filled: Instant,
    left_out: u64,
    /// Values from the configuration that no text may show.
    secrets: Vec<String>,
}

impl Notices {
    pub(super) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            inner: Mutex::new(Inner {
                sink: None,
                kept: VecDeque::new(),
                tokens: BURST,
                filled: Instant::now(),
                left_out: 0,
                secrets: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `sink` gets them; first those that were kept.
    pub(super) fn watch(&self, sink: NoticeSink) {
        let mut inner = self.lock();
        for notice in inner.kept.drain(..) {
            sink(&self.server, notice);
        }
        inner.sink = Some(sink);
    }

    /// Values that `hide` and every log notice leave out from now on.
    pub(super) fn add_secrets<'a>(&self, values: impl IntoIterator<Item = &'a str>) {
        let mut inner = self.lock();
        for value in values {
            // "Bearer abc" is as secret as "abc" alone.
            for value in [value, value.rsplit(' ').next().unwrap_or(value)] {
                if value.len() >= SHORTEST_SECRET && !inner.secrets.iter().any(|known| known == value) {
                    inner.secrets.push(value.to_owned());
                }
            }
        }
    }

    /// `text` without the values that came from the configuration.
    pub(super) fn hide(&self, text: &str) -> String {
        hide(&self.lock().secrets, text)
    }

    pub(super) fn tell(&self, notice: Notice) {
        let mut inner = self.lock();
        self.hand_over(&mut inner, notice);
    }

    pub(super) fn log(&self, level: LogLevel, text: &str) {
        let mut inner = self.lock();
        let since = inner.filled.elapsed();
        let refill = u32::try_from(since.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        if refill > 0 {
            inner.tokens = inner.tokens.saturating_add(refill).min(BURST);
            inner.filled = Instant::now();
        }
        if inner.tokens == 0 {
            inner.left_out += 1;
            return;
        }
        inner.tokens -= 1;
        if inner.left_out > 0 {
            let many = std::mem::take(&mut inner.left_out);
            let notice = Notice::Log(
                LogLevel::Warning,
                format!("{many} log lines of this server were left out: it logs too much"),
            );
            self.hand_over(&mut inner, notice);
        }
        let text = hide(&inner.secrets, cut(text, LONGEST));
        self.hand_over(&mut inner, Notice::Log(level, text));
    }

    fn hand_over(&self, inner: &mut Inner, notice: Notice) {
        if let Some(sink) = &inner.sink {
            sink(&self.server, notice);
            return;
        }
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(notice);
    }
}

fn hide(secrets: &[String], text: &str) -> String {
    secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
}

/// The first `longest` bytes of `text`, or a few fewer: never inside a letter.
pub(super) fn cut(text: &str, longest: usize) -> &str {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn collected(notices: &Notices) -> Arc<Mutex<Vec<Notice>>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        notices.watch(Arc::new(move |_, notice| into.lock().unwrap().push(notice)));
        seen
    }

    #[test]
    fn what_came_before_somebody_listens_is_told_first() {
        let notices = Notices::new("s");
        notices.log(LogLevel::Info, "one");
        let seen = collected(&notices);
        notices.log(LogLevel::Info, "two");
        let expected = ["one", "two"].map(|text| Notice::Log(LogLevel::Info, text.to_owned()));
        assert_eq!(*seen.lock().unwrap(), expected);
    }

    #[test]
    fn a_flood_of_lines_is_cut_and_a_secret_is_hidden() {
        let notices = Notices::new("s");
        notices.add_secrets(["Bearer sk-secret"]);
        let seen = collected(&notices);
        for _ in 0..10_000 {
            notices.log(LogLevel::Info, &format!("with sk-secret {}", "x".repeat(5000)));
        }
        let seen = seen.lock().unwrap();
        assert!(seen.len() < 2 * BURST as usize, "{}", seen.len());
        for notice in seen.iter() {
            let Notice::Log(_, text) = notice else {
                panic!("{notice:?}")
            };
            assert!(text.len() <= LONGEST && !text.contains("secret"), "{text}");
        }
    }
}
