//! Bodies that come compressed (gzip, deflate), piece by piece.
//!
//! However much a piece inflates to, no more than [`OUT`] is there at a time, and the next is made when the reader
//! asks: a small body that would fill the memory is stopped by whatever bounds its reader.

use bytes::{Buf as _, Bytes};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use omni_core::{Code, Error, Result};

/// The most that one piece inflates to.
const OUT: usize = 32 * 1024;
/// The fields of a gzip member before its data.
const MAX_FIELDS: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Gzip,
    Deflate,
}

enum At {
    /// In the bytes before the data.
    Head(Vec<u8>),
    Data,
    /// In gzip's checksum and length.
    Tail(Vec<u8>),
    /// After the end; gzip may begin anew.
    End,
}

pub(crate) struct Inflate {
    kind: Kind,
    at: At,
    input: Bytes,
    decoder: Decompress,
    crc: Crc,
    scratch: Vec<u8>,
    /// The last piece was full: there may be more without more input.
    more: bool,
    begun: bool,
}

impl Inflate {
    /// What undoes the encoding that `headers` name; they then describe the body as it is handed out.
    pub(crate) fn of(headers: &mut HeaderMap) -> Result<Option<Self>> {
        let Some(encoding) = headers.get(CONTENT_ENCODING) else {
            return Ok(None);
        };
        let encoding = encoding.to_str().unwrap_or("?").trim();
        let several = headers.get_all(CONTENT_ENCODING).iter().count() > 1;
        let kind = if encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip") {
            Kind::Gzip
        } else if encoding.eq_ignore_ascii_case("deflate") {
            Kind::Deflate
        } else if encoding.eq_ignore_ascii_case("identity") || encoding.is_empty() {
            return Ok(None);
        } else {
            return Err(unreadable(
                "its encoding was not asked for (gzip and deflate are)",
            ));
        };
        if several {
            return Err(unreadable("it has more than one encoding"));
        }
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        Ok(Some(Self {
            kind,
            at: At::Head(Vec::new()),
            input: Bytes::new(),
            decoder: Decompress::new(false),
            crc: Crc::new(),
            scratch: Vec::new(),
            more: false,
            begun: false,
        }))
    }

    /// The next piece of the compressed body. The one before is used up: `next` has said `None`.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.begun = true;
        self.input = piece;
    }

    /// The next inflated piece; `None` if more has to be pushed first.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match &mut self.at {
                At::Head(head) => {
                    if self.input.is_empty() {
                        return Ok(None);
                    }
                    // Fields are short, and parsed anew with each piece that they are cut into.
                    let before = head.len();
                    let take = self.input.len().min(MAX_FIELDS - before);
                    head.extend_from_slice(&self.input[..take]);
                    let length = match self.kind {
                        Kind::Gzip => gzip_head(head),
                        Kind::Deflate => zlib_head(head),
                    };
                    match length? {
                        Some(length) => {
                            // Raw deflate has no head: then all that was looked at is data.
                            let keep = head[length.min(before)..before].to_vec();
                            self.input.advance(length.saturating_sub(before));
                            if !keep.is_empty() {
                                self.input = [&keep, &self.input[..]].concat().into();
                            }
                            self.crc.reset();
                            self.decoder.reset(false);
                            self.at = At::Data;
                        }
                        None if head.len() >= MAX_FIELDS => {
                            return Err(unreadable("the fields before its data are too long"));
                        }
                        None => self.input.clear(),
                    }
                }
                At::Data => {
                    if self.input.is_empty() && !self.more {
                        return Ok(None);
                    }
                    if let Some(data) = self.inflate()? {
                        return Ok(Some(data));
                    }
                }
                At::Tail(tail) => {
                    let take = self.input.len().min(8 - tail.len());
                    tail.extend_from_slice(&self.input[..take]);
                    self.input.advance(take);
                    if tail.len() < 8 {
                        return Ok(None);
                    }
                    let known = [self.crc.sum().to_le_bytes(), self.crc.amount().to_le_bytes()];
                    if tail[..] != *known.as_flattened() {
                        return Err(unreadable("its checksum is wrong"));
                    }
                    self.at = At::End;
                }
                At::End => {
                    // After the data: another member, or padding that is nothing.
                    if self.kind == Kind::Gzip && self.input.first() == Some(&0x1f) {
                        self.at = At::Head(Vec::new());
                        continue;
                    }
                    self.input.clear();
                    return Ok(None);
                }
            }
        }
    }

    fn inflate(&mut self) -> Result<Option<Bytes>> {
        self.scratch.clear();
        self.scratch.reserve_exact(OUT);
        let before = self.decoder.total_in();
        let status = self
            .decoder
            .decompress_vec(&self.input, &mut self.scratch, FlushDecompress::None)
            .map_err(|_| unreadable("its data cannot be inflated"))?;
        let used = usize::try_from(self.decoder.total_in() - before).unwrap_or(usize::MAX);
        self.input.advance(used.min(self.input.len()));
        self.more = self.scratch.len() == self.scratch.capacity();
        if status == Status::StreamEnd {
            self.more = false;
            self.at = match self.kind {
                Kind::Gzip => At::Tail(Vec::with_capacity(8)),
                Kind::Deflate => At::End,
            };
        } else if used == 0 && self.scratch.is_empty() {
            self.more = false;
            if !self.input.is_empty() {
                return Err(unreadable("its data cannot be inflated"));
            }
        }
        if self.scratch.is_empty() {
            return Ok(None);
        }
        self.crc.update(&self.scratch);
        Ok(Some(Bytes::copy_from_slice(&self.scratch)))
    }

    /// The compressed body has ended; an error if the data in it has not.
    pub(crate) fn finish(&self) -> Result<()> {
        match self.at {
            At::End => Ok(()),
            // An answer without a body may still name an encoding.
            At::Head(_) if !self.begun => Ok(()),
            _ => Err(crate::fault::cut_off("its compressed data has no end")),
        }
    }
}

/// The length of a gzip member's head (RFC 1952 section 2.3), once all of it is there.
fn gzip_head(head: &[u8]) -> Result<Option<usize>> {
    let start = [0x1f, 0x8b, 8];
    let seen = head.len().min(start.len());
    if head[..seen] != start[..seen] {
        return Err(unreadable("it says gzip and is none"));
    }
    let Some(&flags) = head.get(3) else {
        return Ok(None);
    };
    let mut at = 10;
    if flags & 4 != 0 {
        let Some(&[low, high]) = head.get(at..at + 2) else {
            return Ok(None);
        };
        at += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for text in [8, 16] {
        if flags & text != 0 {
            let Some(rest) = head.get(at..) else {
                return Ok(None);
            };
            let Some(end) = rest.iter().position(|&byte| byte == 0) else {
                return Ok(None);
            };
            at += end + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    Ok((head.len() >= at).then_some(at))
}

/// The length of zlib's head (RFC 1950), or 0 where a server sends bare deflate under that name, as some do.
#[expect(clippy::unnecessary_wraps, reason = "the same shape as gzip's")]
fn zlib_head(head: &[u8]) -> Result<Option<usize>> {
    let &[first, second, ..] = head else {
        return Ok(None);
    };
    let zlib = first & 0x0f == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31);
    Ok(Some(if zlib { 2 } else { 0 }))
}

fn unreadable(why: &str) -> Error {
    Error::new(Code::Protocol, format!("the answer cannot be read: {why}"))
}

#[cfg(test)]
mod tests;
