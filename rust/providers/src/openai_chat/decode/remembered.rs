//! Unknown values that were seen last, as they stood in the text: those that come with every chunk then cost one
//! comparison.

use super::typed::Place;

/// As many as are worth it.
const MOST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Remembered {
    list: Vec<(Place, String, String)>,
}

impl Remembered {
    /// Whether this is the value that the key had last.
    pub(super) fn has(&self, place: Place, key: &str, value: &str) -> bool {
        self.list
            .iter()
            .any(|(at, name, last)| *at == place && name == key && last == value)
    }

    /// Takes the last value of a key.
    pub(super) fn set(&mut self, place: Place, key: &str, value: &str) {
        let room = self.list.len() < MOST;
        match self
            .list
            .iter_mut()
            .find(|(at, name, _)| *at == place && name == key)
        {
            Some((_, _, last)) => value.clone_into(last),
            None if room => self.list.push((place, key.to_owned(), value.to_owned())),
            None => {}
        }
    }

    /// Forgets a key whose value came in another way.
    pub(super) fn forget(&mut self, place: Place, key: &str) {
        self.list.retain(|(at, name, _)| !(*at == place && name == key));
    }
}
