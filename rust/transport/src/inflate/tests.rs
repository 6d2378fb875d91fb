//! Compressed bodies, cut anywhere.

use super::*;
use flate2::Compression;
use flate2::GzBuilder;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write as _;

fn of(encoding: &str) -> Inflate {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
    headers.insert(CONTENT_LENGTH, "5".parse().unwrap());
    let inflate = Inflate::of(&mut headers).unwrap().unwrap();
    assert!(headers.is_empty(), "the length is not that of what is handed out");
    inflate
}

/// `body` inflated, given in pieces of `size`.
fn inflate(encoding: &str, body: &[u8], size: usize) -> Result<Vec<u8>> {
    let (mut inflate, mut whole) = (of(encoding), Vec::new());
    for piece in body.chunks(size) {
        inflate.push(Bytes::copy_from_slice(piece));
        while let Some(data) = inflate.next()? {
            assert!(!data.is_empty() && data.len() <= OUT);
            whole.extend_from_slice(&data);
        }
    }
    inflate.finish()?;
    Ok(whole)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

fn text() -> Vec<u8> {
    (0..500)
        .flat_map(|n| format!("event {n}\n").into_bytes())
        .collect()
}

#[test]
fn gzip_and_both_kinds_of_deflate_inflate_however_they_are_cut() {
    let text = text();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&text).unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(&text).unwrap();
    let cases = [
        ("gzip", gzip(&text)),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
    ];
    for (encoding, body) in cases {
        for size in [1, 2, 3, 7, 100, body.len()] {
            assert_eq!(
                inflate(encoding, &body, size).unwrap(),
                text,
                "{encoding} by {size}"
            );
        }
    }
}

#[test]
fn a_gzip_head_with_every_field_and_a_second_member_are_read() {
    let mut body = GzBuilder::new()
        .extra(*b"extra")
        .filename(*b"name")
        .comment(*b"comment")
        .write(Vec::new(), Compression::default());
    body.write_all(b"one,").unwrap();
    let mut body = body.finish().unwrap();
    body.extend(gzip(b"two"));
    assert_eq!(inflate("x-gzip", &body, 1).unwrap(), b"one,two");
}

#[test]
fn an_event_that_was_flushed_is_there_before_the_next_one_comes() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut inflate = of("gzip");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        gzip.write_all(event.as_bytes()).unwrap();
        gzip.flush().unwrap();
        inflate.push(std::mem::take(gzip.get_mut()).into());
        assert_eq!(inflate.next().unwrap().unwrap(), event);
        assert_eq!(inflate.next().unwrap(), None);
    }
}

#[test]
fn a_bomb_comes_in_pieces_that_its_reader_can_stop() {
    // 16 MiB of nothing in 16 KiB: never more than a piece of it is there.
    let bomb = gzip(&vec![0; 16 * 1024 * 1024]);
    let mut inflate = of("gzip");
    inflate.push(bomb.into());
    let mut pieces = 0;
    while let Some(piece) = inflate.next().unwrap() {
        assert!(piece.len() <= OUT && inflate.scratch.capacity() <= 2 * OUT);
        pieces += 1;
    }
    assert!(pieces >= 16 * 1024 * 1024 / OUT);
}

#[test]
fn what_is_damaged_cut_or_not_asked_for_is_an_error() {
    let whole = gzip(&text());
    assert!(inflate("gzip", &whole[..whole.len() - 1], 100).is_err());
    assert!(inflate("gzip", &whole[..whole.len() / 2], 100).is_err());
    assert!(inflate("gzip", b"{\"plain\": 1}", 100).is_err());
    let mut wrong = whole.clone();
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    assert!(inflate("gzip", &wrong, 100).is_err());
    let mut endless = whole[..10].to_vec();
    endless[3] = 8;
    endless.resize(2 * MAX_FIELDS, b'x');
    assert!(inflate("gzip", &endless, 1000).is_err());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, "br".parse().unwrap());
    assert!(Inflate::of(&mut headers).is_err());
}

#[test]
fn an_answer_without_a_body_may_name_an_encoding() {
    assert_eq!(inflate("gzip", b"", 1).unwrap(), b"");
}
