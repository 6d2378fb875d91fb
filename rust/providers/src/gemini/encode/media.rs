//! Pictures, sounds and files: what is inline, what the API fetches, and what it cannot take.

use super::models::Model;
use super::wire::Media;
use crate::value::{some_text, split_data_url, text};
use omni_core::{Object, Part};
use serde_json::Value;
use std::borrow::Cow;

/// Files that were uploaded to Google: only Google can fetch them, and it knows what they are.
const FILES: &str = "https://generativelanguage.googleapis.com/";
/// Videos that Google serves itself: it fetches them for every model.
const VIDEOS: &[&str] = &[
    "https://www.youtube.com/",
    "https://youtube.com/",
    "https://m.youtube.com/",
    "https://youtu.be/",
];

/// Kinds of file by the end of their names.
const ENDINGS: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("bmp", "image/bmp"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/md"),
    ("html", "text/html"),
    ("csv", "text/csv"),
    ("json", "application/json"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("m4a", "audio/m4a"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("mov", "video/mov"),
    ("avi", "video/avi"),
    ("webm", "video/webm"),
    ("wmv", "video/wmv"),
    ("flv", "video/x-flv"),
    ("3gp", "video/3gpp"),
];

/// The media of `part`: `None` for a part that is none, a sentence for one that cannot be sent.
pub(super) fn of<'a>(part: &'a Part, model: &Model, fetches_all: bool) -> Option<Result<Media<'a>, String>> {
    let fetches = fetches_all || model.fetches;
    Some(match part {
        Part::ImageUrl { image_url, .. } => match image_url {
            Value::String(url) => address(url, None, fetches).map_err(|why| format!("image_url: {why}")),
            other => address(text(other.get("url")), format(other.as_object()), fetches)
                .map_err(|why| format!("image_url.url: {why}")),
        },
        Part::InputAudio { input_audio, .. } => {
            let data = text(input_audio.get("data"));
            if let Some((mime, data)) = split_data_url(data) {
                Ok(inline(mime, data))
            } else if data.is_empty() {
                Err("input_audio.data: is empty".to_owned())
            } else {
                let format = some_text(input_audio.get("format")).unwrap_or_else(|| "wav".to_owned());
                let mime = if format.contains('/') {
                    format
                } else {
                    format!("audio/{format}")
                };
                Ok(Media::Inline {
                    mime: Cow::Owned(mime),
                    data,
                })
            }
        }
        Part::File { file, .. } => of_file(file, fetches),
        _ => return None,
    })
}

fn of_file(file: &Value, fetches: bool) -> Result<Media<'_>, String> {
    let format = format(file.as_object());
    if let Some(data) = file
        .get("file_data")
        .and_then(Value::as_str)
        .filter(|data| !data.is_empty())
    {
        if data.starts_with("data:") || data.contains("://") {
            return address(data, format, fetches).map_err(|why| format!("file.file_data: {why}"));
        }
        let named = || ending(text(file.get("filename")));
        return match format.or_else(named) {
            Some(mime) => Ok(inline(mime, data)),
            None => Err("file.file_data: give its kind, as a data URL or in \"format\"".to_owned()),
        };
    }
    let id = text(file.get("file_id"));
    if let Some(name) = id.strip_prefix("files/") {
        return Ok(Media::File {
            mime: format.map(Cow::Borrowed),
            uri: Cow::Owned(format!("{FILES}v1beta/files/{name}")),
        });
    }
    if !id.contains("://") {
        return Err("file.file_id: is no file of Google's, which is a gs:// or https:// address".to_owned());
    }
    address(id, format, fetches).map_err(|why| format!("file.file_id: {why}"))
}

/// The kind of media that the caller names.
fn format(object: Option<&Object>) -> Option<&str> {
    let object = object?;
    ["format", "mime_type", "content_type"]
        .iter()
        .find_map(|key| object.get(*key).and_then(Value::as_str))
        .filter(|format| format.contains('/'))
}

fn inline<'a>(mime: &'a str, data: &'a str) -> Media<'a> {
    Media::Inline {
        // So browsers and users call it; Gemini does not.
        mime: Cow::Borrowed(if mime == "image/jpg" { "image/jpeg" } else { mime }),
        data,
    }
}

fn address<'a>(url: &'a str, format: Option<&'a str>, fetches: bool) -> Result<Media<'a>, String> {
    if let Some((mime, data)) = split_data_url(url) {
        return Ok(inline(format.unwrap_or(mime), data));
    }
    let ours = url.starts_with(FILES);
    let video = VIDEOS.iter().any(|site| url.starts_with(site));
    if !url.starts_with("gs://") && !url.starts_with("https://") {
        return Err(
            "this protocol takes data URLs in base64 and gs:// and https:// addresses alone".to_owned(),
        );
    }
    let cloud = url.starts_with("gs://");
    if !(ours || video || cloud || fetches) {
        return Err("this model's API fetches no web addresses: give the data itself".to_owned());
    }
    let mime = match format.or_else(|| ending(url)) {
        None if video => Some("video/mp4"),
        None if !ours => {
            return Err(
                "its kind does not show: give it in \"format\", for example \"image/png\"".to_owned(),
            );
        }
        mime => mime,
    };
    Ok(Media::File {
        mime: mime.map(Cow::Borrowed),
        uri: Cow::Borrowed(url),
    })
}

/// The kind of file that an address or a name shows.
fn ending(name: &str) -> Option<&'static str> {
    let name = name.split(['?', '#']).next().unwrap_or_default();
    let (_, ending) = name.rsplit('/').next()?.rsplit_once('.')?;
    ENDINGS
        .iter()
        .find(|(end, _)| end.eq_ignore_ascii_case(ending))
        .map(|(_, mime)| *mime)
}
