//! The chunked transfer coding (RFC 9112 section 7.1), read as it arrives.

use bytes::{Buf as _, Bytes, BytesMut};

/// What is neither data nor a length: the extensions of chunks, and what follows the last.
const MAX_ASIDE: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Chunked {
    at: At,
    /// Bytes of the present chunk that are still to come.
    left: u64,
    aside: usize,
}

#[derive(Default)]
enum At {
    /// Before the first digit of a length.
    #[default]
    Start,
    Digits,
    Extension,
    /// After the CR of a length's line.
    LengthEnd,
    Data,
    DataEnd,
    DataLf,
    /// At the start of a line after the last chunk: a field, or the end.
    Line,
    /// In a field after the last chunk.
    Field,
    LineLf,
    EndLf,
    End,
}

impl Chunked {
    pub(super) const fn ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Takes from `input` whatever it can read and gives the data in it, as one piece.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Bytes, &'static str> {
        let mut one = Bytes::new();
        // A second piece of data has to be copied to the first; a first alone has not.
        let mut many = Vec::new();
        while !input.is_empty() && !self.ended() {
            if matches!(self.at, At::Data) {
                let here = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
                self.left -= here as u64;
                if self.left == 0 {
                    self.at = At::DataEnd;
                }
                if many.is_empty() && one.is_empty() {
                    one = input.split_to(here).freeze();
                    continue;
                }
                if many.is_empty() {
                    many.reserve_exact(one.len() + input.len());
                    many.extend_from_slice(&one);
                }
                many.extend_from_slice(&input[..here]);
                input.advance(here);
                continue;
            }
            // Lines, byte by byte: they are short.
            let mut read = 0;
            for &byte in &input[..] {
                read += 1;
                self.at = self.step(byte)?;
                if matches!(self.at, At::Data | At::End) {
                    break;
                }
            }
            input.advance(read);
        }
        Ok(if many.is_empty() { one } else { many.into() })
    }

    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        Ok(match (&self.at, byte) {
            (At::Start | At::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.left >> 60 != 0 {
                    return Err("a chunk of a length that cannot be");
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                At::Digits
            }
            (At::Digits | At::Extension, b'\r') => At::LengthEnd,
            (At::Digits, b';' | b' ' | b'\t') => At::Extension,
            (At::Extension, byte) if byte != b'\n' => {
                self.count()?;
                At::Extension
            }
            (At::LengthEnd, b'\n') if self.left == 0 => At::Line,
            (At::LengthEnd, b'\n') => At::Data,
            (At::DataEnd, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Start,
            (At::Line, b'\r') => At::EndLf,
            (At::Field, b'\r') => At::LineLf,
            (At::Line | At::Field, byte) if byte != b'\n' => {
                self.count()?;
                At::Field
            }
            (At::LineLf, b'\n') => At::Line,
            (At::EndLf, b'\n') => At::End,
            _ => return Err("a chunk's length or end"),
        })
    }

    fn count(&mut self) -> Result<(), &'static str> {
        self.aside += 1;
        if self.aside > MAX_ASIDE {
            return Err("more than 16 KiB beside its chunks");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of `wire`, given in pieces of `size`, and what is left of it.
    fn decode(wire: &[u8], size: usize) -> Result<(Vec<u8>, bool, usize), &'static str> {
        let (mut chunked, mut input, mut data) = (Chunked::default(), BytesMut::new(), Vec::new());
        for piece in wire.chunks(size) {
            input.extend_from_slice(piece);
            data.extend_from_slice(&chunked.decode(&mut input)?);
        }
        Ok((data, chunked.ended(), input.len()))
    }

    #[test]
    fn chunks_cut_anywhere_give_the_same_data() {
        let wire = b"5\r\nhello\r\n1 ; x=\"y\"\r\n,\r\n00A;\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";
        for size in 1..=wire.len() {
            let whole = (b"hello,0123456789".to_vec(), true, 0);
            assert_eq!(decode(wire, size), Ok(whole), "{size}");
        }
    }

    #[test]
    fn what_follows_the_end_is_not_taken() {
        let (data, ended, left) = decode(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200", 100).unwrap();
        assert_eq!((data.as_slice(), ended, left), (b"a".as_slice(), true, 12));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wrong in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "5\nhello\n",
            "5\r\nhello!\r\n",
            "5\r\nhello\n",
            "5;a\nb\r\n",
            "11111111111111111\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
        ] {
            assert!(decode(wrong.as_bytes(), 3).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_stands_beside_the_chunks_is_bounded() {
        for start in ["1;", "0\r\n"] {
            let mut wire = start.as_bytes().to_vec();
            wire.resize(MAX_ASIDE + 100, b'x');
            assert!(decode(&wire, 1000).is_err(), "{start:?}");
        }
    }
}
