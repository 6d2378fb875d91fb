//! Handles: numbers behind a pointer type. A handle names a slot of a table and the slot's generation, so one that
//! was freed is known for what it is for as long as the process lives, and nothing is ever read through it.

use crate::door::{Answer, Fault};
use crate::runtime;
use std::ptr::without_provenance_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The lowest bits: what kind of handle it is. Always odd, so no address of an object is ever taken for one.
const KIND_BITS: u32 = 2;
const SLOT_BITS: u32 = usize::BITS * 3 / 8;
const MAX_SLOTS: usize = 1 << SLOT_BITS;
const MAX_GENERATION: usize = usize::MAX >> (KIND_BITS + SLOT_BITS);

/// What a handle may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Client = 0b01,
    Stream = 0b11,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Stream => "stream",
        }
    }

    const fn maker(self) -> &'static str {
        match self {
            Self::Client => "omni_init",
            Self::Stream => "omni_stream_open or omni_stream_start",
        }
    }

    const fn ender(self) -> &'static str {
        match self {
            Self::Client => "shut down",
            Self::Stream => "freed",
        }
    }
}

struct Entry<T> {
    generation: usize,
    value: Option<Arc<T>>,
}

struct Entries<T> {
    all: Vec<Entry<T>>,
    vacant: Vec<usize>,
}

/// All living handles of one kind.
pub(crate) struct Table<T> {
    kind: Kind,
    entries: Mutex<Entries<T>>,
}

impl<T> Table<T> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            entries: Mutex::new(Entries {
                all: Vec::new(),
                vacant: Vec::new(),
            }),
        }
    }

    /// A handle for `value`.
    pub(crate) fn insert<H>(&self, value: Arc<T>) -> Answer<*mut H> {
        let mut entries = self.lock()?;
        let slot = match entries.vacant.pop() {
            Some(slot) => slot,
            None if entries.all.len() < MAX_SLOTS => {
                entries.all.push(Entry {
                    generation: 0,
                    value: None,
                });
                entries.all.len() - 1
            }
            None => {
                let (name, ender) = (self.kind.name(), self.kind.ender());
                return Err(Fault::Misuse(format!(
                    "{MAX_SLOTS} handles of kind {name} are open; some must be {ender}"
                )));
            }
        };
        let entry = &mut entries.all[slot];
        entry.value = Some(value);
        Ok(without_provenance_mut(
            (entry.generation << (KIND_BITS + SLOT_BITS)) | (slot << KIND_BITS) | self.kind as usize,
        ))
    }

    /// What `handle` stands for.
    pub(crate) fn get<H>(&self, handle: *mut H) -> Answer<Arc<T>> {
        let entries = self.lock()?;
        let slot = self.find(&entries, handle.addr())?;
        entries.all[slot].value.clone().ok_or_else(|| self.dead())
    }

    /// What `handle` stood for; from now on it stands for nothing.
    pub(crate) fn remove<H>(&self, handle: *mut H) -> Answer<Arc<T>> {
        let mut entries = self.lock()?;
        let slot = self.find(&entries, handle.addr())?;
        let entry = &mut entries.all[slot];
        let value = entry.value.take().ok_or_else(|| self.dead())?;
        // A slot whose generations are used up is never used again, so that no old handle comes to life.
        if entry.generation < MAX_GENERATION {
            entry.generation += 1;
            entries.vacant.push(slot);
        }
        Ok(value)
    }

    /// What all living handles stand for.
    pub(crate) fn all(&self) -> Answer<Vec<Arc<T>>> {
        Ok(self
            .lock()?
            .all
            .iter()
            .filter_map(|entry| entry.value.clone())
            .collect())
    }

    /// A forked child must not touch a lock that a thread of its parent may have held.
    fn lock(&self) -> Answer<MutexGuard<'_, Entries<T>>> {
        runtime::refuse_forked()?;
        Ok(self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, entries: &Entries<T>, handle: usize) -> Answer<usize> {
        let (name, maker) = (self.kind.name(), self.kind.maker());
        if handle == 0 {
            return Err(Fault::BadHandle(format!(
                "the {name} is NULL; {maker} gives one, or NULL and the reason in omni_last_error"
            )));
        }
        let kind = handle & ((1 << KIND_BITS) - 1);
        let slot = (handle >> KIND_BITS) & (MAX_SLOTS - 1);
        let other = [Kind::Client, Kind::Stream]
            .into_iter()
            .find(|other| *other as usize == kind);
        match entries.all.get(slot) {
            _ if other.is_some_and(|other| other != self.kind) => {
                let other = other.map_or("", Kind::name);
                Err(Fault::BadHandle(format!("the {name} is a {other} handle")))
            }
            Some(entry) if other.is_some() && entry.generation == handle >> (KIND_BITS + SLOT_BITS) => {
                Ok(slot)
            }
            Some(entry) if other.is_some() && entry.generation > handle >> (KIND_BITS + SLOT_BITS) => {
                Err(self.dead())
            }
            _ => Err(Fault::BadHandle(format!(
                "the {name} is no handle of this library; {maker} gives one"
            ))),
        }
    }

    fn dead(&self) -> Fault {
        let (name, ender) = (self.kind.name(), self.kind.ender());
        Fault::BadHandle(format!("the {name} was {ender} already; do not use it again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pointer type is only a mark: nothing is read through it.
    type Handle = *mut u8;

    #[test]
    fn a_freed_handle_is_refused_even_when_its_slot_lives_again() {
        let table = Table::new(Kind::Stream);
        let old: Handle = table.insert(Arc::new(1)).unwrap();
        assert_eq!(*table.remove(old).unwrap(), 1);
        let new: Handle = table.insert(Arc::new(2)).unwrap();
        assert_ne!(old, new);
        assert!(matches!(table.get(old), Err(Fault::BadHandle(why)) if why.contains("freed already")));
        assert!(matches!(table.remove(old), Err(Fault::BadHandle(why)) if why.contains("freed already")));
        assert_eq!(*table.get(new).unwrap(), 2);
        assert_eq!(table.all().unwrap().len(), 1);
    }

    #[test]
    fn null_another_kind_and_made_up_numbers_are_refused_by_name() {
        let table = Table::new(Kind::Client);
        let _: Handle = table.insert(Arc::new(1)).unwrap();
        let streams = Table::new(Kind::Stream);
        let stream: Handle = streams.insert(Arc::new(1)).unwrap();
        for (handle, why) in [
            (std::ptr::null_mut(), "is NULL"),
            (stream, "is a stream handle"),
            (
                without_provenance_mut(0x7f00_1234_5678),
                "no handle of this library",
            ),
            (
                without_provenance_mut(usize::MAX & !0b10),
                "no handle of this library",
            ),
        ] {
            assert!(
                matches!(table.get::<u8>(handle), Err(Fault::BadHandle(text)) if text.contains(why)),
                "{why}"
            );
        }
    }

    #[test]
    fn a_slot_with_no_generation_left_is_retired() {
        let table = Table::new(Kind::Stream);
        let first: Handle = table.insert(Arc::new(1)).unwrap();
        table.remove(first).unwrap();
        table.entries.lock().unwrap().all[0].generation = MAX_GENERATION;
        let last: Handle = table.insert(Arc::new(2)).unwrap();
        table.remove(last).unwrap();
        let next: Handle = table.insert(Arc::new(3)).unwrap();
        assert_eq!(
            table.entries.lock().unwrap().all.len(),
            2,
            "the used-up slot was used again"
        );
        assert!(table.get(last).is_err());
        assert_eq!(*table.get(next).unwrap(), 3);
    }
}
