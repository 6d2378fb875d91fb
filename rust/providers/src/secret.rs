//! A value that leaves no trace.

use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key. Copies share one value, which is overwritten with zeros when the last of them goes; Debug shows nothing of
/// it, not even its length.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    /// Takes the text over as it lies in memory, so no copy is left behind.
    fn from(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::ZeroizeOnDrop;

    /// Compiles only for what overwrites itself when it goes.
    fn overwrites_itself(_: &impl ZeroizeOnDrop) {}

    #[test]
    fn copies_share_one_value_which_overwrites_itself_when_it_goes() {
        let text = String::from("canary-0123456789");
        let at = text.as_ptr();
        let secret = Secret::from(text);
        let copy = secret.clone();
        assert_eq!(
            copy.expose().as_ptr(),
            at,
            "nothing was copied on the way in, or by clone"
        );
        overwrites_itself(&*copy.0);
        drop(secret);
        assert_eq!(copy.expose(), "canary-0123456789", "it stays while one holds it");
        assert_eq!(Arc::strong_count(&copy.0), 1, "and goes with this one");
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let shown = format!("{:?} {:?}", Secret::from("canary"), vec![Secret::from("")]);
        assert_eq!(shown, "Secret(…) [Secret(…)]");
    }
}
