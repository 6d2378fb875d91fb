//! A value that leaves no trace.

use std::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// A key. Copies share one value, which is overwritten with zeros when the last of them goes; Debug shows nothing of
/// it, not even its length.
#[derive(Clone)]
pub struct Secret(Arc<Kept>);

struct Kept(String);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Secret {
    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0.0
    }
}

impl From<String> for Secret {
    /// Takes the text over as it lies in memory, so no copy is left behind.
    fn from(text: String) -> Self {
        Self(Arc::new(Kept(text)))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
