//! Images and documents of the contract as the blocks that the wire has for them.

use super::wire::{Block, Body, Source};
use crate::value::{split_data_url, text};
use omni_core::Part;
use serde_json::Value;

const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];
const PDF: &str = "application/pdf";

/// What a part holds, whichever of the contract's shapes it has.
struct Holder<'a> {
    url: Option<&'a str>,
    data: Option<&'a str>,
    file_id: Option<&'a str>,
    name: Option<&'a str>,
    format: &'a str,
}

impl<'a> Holder<'a> {
    fn of(value: &'a Value) -> Self {
        let of = |key: &str| Some(text(value.get(key))).filter(|text| !text.is_empty());
        let id = of("file_id");
        let address = id.filter(|id| id.starts_with("http://") || id.starts_with("https://"));
        Self {
            url: value.as_str().or(of("url")).or(address),
            data: of("file_data"),
            file_id: id.filter(|_| address.is_none()),
            name: of("filename"),
            format: of("format").or(of("mime_type")).unwrap_or_default(),
        }
    }
}

/// The block of an image or a file; says why there is none.
pub(super) fn block(part: &Part) -> Result<Option<Block<'_>>, &'static str> {
    let (value, image) = match part {
        Part::ImageUrl { image_url, .. } => (image_url, true),
        Part::File { file, .. } => (file, false),
        Part::InputAudio { .. } => return Err("this protocol carries no sound; send its transcript"),
        _ => return Ok(None),
    };
    let holder = Holder::of(value);
    if let Some(file_id) = holder.file_id {
        let source = Source::File(file_id);
        return Ok(Some(if image || IMAGES.contains(&holder.format) {
            media("image", source, None)
        } else if holder.format == PDF || holder.format == "text/plain" {
            media("document", source, holder.name)
        } else {
            Block::new(Body::Upload { file_id })
        }));
    }
    let Some(address) = holder.data.or(holder.url) else {
        return Err("neither an address nor data nor a file id is given");
    };
    if address.starts_with("https://") {
        let document = !image && !holder.format.starts_with("image/") || holder.format == PDF;
        return Ok(Some(if document {
            media("document", Source::Url(address), holder.name)
        } else {
            media("image", Source::Url(address), None)
        }));
    }
    let (media_type, data) = match split_data_url(address) {
        Some((mime, data)) if mime == "application/octet-stream" => (known(&holder, mime), data),
        Some(split) => split,
        // What OpenAI's SDK gives is a data URL; plain base64 is what people write.
        None if holder.data.is_some() && !address.starts_with("data:") => (known(&holder, PDF), address),
        None => return Err("the provider takes https:// addresses and base64 data: URLs"),
    };
    if media_type == PDF {
        let source = Source::Base64 { media_type, data };
        return Ok(Some(media("document", source, holder.name)));
    }
    if media_type.starts_with("image/") {
        return Ok(Some(media("image", Source::Base64 { media_type, data }, None)));
    }
    if let Some(text) = media_type.starts_with("text/").then(|| decoded(data)).flatten() {
        return Ok(Some(media("document", Source::Text(text), holder.name)));
    }
    Err("the provider takes images, PDF and text; send other files by their id, or their text")
}

/// The type that the caller names, or that the name of the file shows.
fn known<'a>(holder: &Holder<'a>, otherwise: &'a str) -> &'a str {
    let pdf = holder
        .name
        .is_some_and(|name| name.to_ascii_lowercase().ends_with(".pdf"));
    match holder.format {
        "" if pdf => PDF,
        "" => otherwise,
        format => format,
    }
}

fn media<'a>(kind: &'static str, source: Source<'a>, title: Option<&'a str>) -> Block<'a> {
    Block::new(Body::Media { kind, source, title })
}

/// The text that stands in base64; `None` if it is none.
fn decoded(base64: &str) -> Option<String> {
    let mut out = Vec::with_capacity(base64.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in base64
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=')
    {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xFF).ok()?);
        }
    }
    String::from_utf8(out).ok()
}
