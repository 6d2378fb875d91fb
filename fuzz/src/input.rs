//! One input of the fuzzer: a head that says what varies, then the bytes of a provider or of a caller.

/// Bytes of the head: one of flags, then the sizes of the pieces, which are taken in turns.
pub const HEAD: usize = 5;

/// An input, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What else varies; each target says which bit is what.
    pub flags: u8,
    sizes: [u8; HEAD - 1],
    /// What the target reads.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// `None` for an input that is too short to have a head.
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (&[flags, ref sizes @ ..], bytes) = data.split_first_chunk::<HEAD>()?;
        Some(Self {
            flags,
            sizes: *sizes,
            bytes,
        })
    }

    /// Whether a flag is set.
    pub fn flag(&self, bit: u8) -> bool {
        self.flags >> bit & 1 == 1
    }

    /// The bytes in one piece.
    pub fn whole(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.bytes)
    }

    /// The bytes in pieces, empty ones among them.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut sizes = self.sizes;
        if sizes == [0; HEAD - 1] {
            sizes = [1; HEAD - 1]; // a cut that never comes to an end is none
        }
        let mut rest = self.bytes;
        let mut sizes = sizes.into_iter().cycle();
        std::iter::from_fn(move || {
            let size = sizes.next()?;
            let (piece, more) = rest.split_at_checked(size.into()).unwrap_or((rest, &[]));
            (!rest.is_empty()).then(|| {
                rest = more;
                piece
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole_however_it_is_cut() {
        for head in [[0; HEAD], [0, 1, 0, 3, 200], [255; HEAD]] {
            let data: Vec<u8> = head.into_iter().chain(0..=255).collect();
            let input = Input::new(&data).unwrap();
            assert_eq!(input.pieces().collect::<Vec<_>>().concat(), &data[HEAD..]);
        }
        assert!(Input::new(&[1, 2, 3, 4]).is_none());
    }
}
