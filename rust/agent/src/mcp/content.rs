//! What MCP calls content, as parts of the contract.

use crate::tool::ToolOutput;
use omni_core::{Content, Object, Part};
use rmcp::model::{CallToolResult, ContentBlock, Resource, ResourceContents};
use serde_json::{Value, json};

/// A tool's result as what goes into its tool message.
///
/// # Errors
/// What is wrong with the result, for the model: a provider would refuse every later turn of a session that holds it.
pub(super) fn output(result: CallToolResult) -> Result<ToolOutput, String> {
    let is_error = result.is_error.unwrap_or(false);
    let mut parts = Vec::with_capacity(result.content.len());
    for block in result.content {
        parts.push(part(block)?);
    }
    if let (true, Some(structured)) = (parts.is_empty(), &result.structured_content) {
        parts.push(Part::text(structured.to_string()));
    }
    Ok(ToolOutput {
        content: content(parts),
        is_error,
        structured: result.structured_content,
    })
}

/// One text is a string, as every provider takes it; anything else is a list of parts.
pub(super) fn content(mut parts: Vec<Part>) -> Content {
    match parts.pop() {
        None => Content::default(),
        Some(Part::Text { text, other, .. }) if parts.is_empty() && other.is_empty() => Content::Text(text),
        Some(last) => {
            parts.push(last);
            Content::Parts(parts)
        }
    }
}

/// A block as a part.
pub(super) fn part(block: ContentBlock) -> Result<Part, String> {
    match block {
        ContentBlock::Text(text) => Ok(Part::text(text.text)),
        ContentBlock::Image(image) => media(&image.mime_type, &image.data, "an image", None),
        ContentBlock::Audio(audio) => media(&audio.mime_type, &audio.data, "a sound", None),
        ContentBlock::Resource(embedded) => resource(embedded.resource),
        ContentBlock::ResourceLink(link) => Ok(Part::text(link_text(&link))),
        _ => Err("a kind of content that is not known here".to_owned()),
    }
}

/// A resource's content as a part: its address stands before a text, so that the model can name it.
pub(super) fn resource(contents: ResourceContents) -> Result<Part, String> {
    match contents {
        ResourceContents::TextResourceContents { uri, text, .. } => {
            Ok(Part::text(format!("[{uri}]\n{text}")))
        }
        ResourceContents::BlobResourceContents {
            uri, mime_type, blob, ..
        } => media(
            mime_type.as_deref().unwrap_or("application/octet-stream"),
            &blob,
            "a resource",
            Some(&uri),
        ),
        _ => Err("a kind of resource that is not known here".to_owned()),
    }
}

fn link_text(link: &Resource) -> String {
    let mut text = format!(
        "[resource {}] {}",
        link.uri,
        link.title.as_ref().unwrap_or(&link.name)
    );
    if let Some(mime) = &link.mime_type {
        text.extend([" (", mime, ")"]);
    }
    if let Some(description) = &link.description {
        text.extend([": ", description]);
    }
    text
}

/// Data in base64 as the part that its type asks for.
fn media(mime: &str, data: &str, what: &str, uri: Option<&str>) -> Result<Part, String> {
    let proper =
        |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'+' | b'-' | b'.' | b';' | b'=' | b'_');
    if !mime.contains('/') || !mime.bytes().all(proper) {
        return Err(format!("{what} whose mimeType is none"));
    }
    if !is_base64(data) {
        return Err(format!("{what} whose data is not base64"));
    }
    let other = Object::new();
    let (kind, name) = mime.split_once('/').unwrap_or(("", mime));
    Ok(match kind {
        "image" => Part::ImageUrl {
            image_url: json!({"url": format!("data:{mime};base64,{data}")}),
            other,
        },
        "audio" => Part::InputAudio {
            input_audio: json!({"data": data, "format": sound_format(name)}),
            other,
        },
        _ => {
            let mut file = json!({"file_data": format!("data:{mime};base64,{data}"), "format": mime});
            let name = uri.and_then(|uri| uri.rsplit('/').find(|piece| !piece.is_empty()));
            if let (Some(name), Value::Object(file)) = (name, &mut file) {
                file.insert("filename".to_owned(), Value::String(name.to_owned()));
            }
            Part::File { file, other }
        }
    })
}

/// The contract's `format` of a sound, from the second half of its type.
fn sound_format(name: &str) -> &str {
    match name.split(';').next().unwrap_or(name) {
        "mpeg" | "mp3" => "mp3",
        "wav" | "x-wav" | "wave" | "vnd.wave" => "wav",
        "x-flac" => "flac",
        "mp4" | "x-m4a" => "m4a",
        other => other,
    }
}

/// Whether `text` is base64 in its usual letters, with its padding.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: &Value) -> Result<Value, String> {
        let result: CallToolResult = serde_json::from_value(result.clone()).unwrap();
        output(result).map(|output| {
            json!({
                "content": output.content,
                "is_error": output.is_error,
                "structured": output.structured,
            })
        })
    }

    #[test]
    fn every_kind_of_content_becomes_its_part() {
        let found = read(&json!({"content": [
            {"type": "text", "text": "hello"},
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/mpeg"},
            {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "file:///d/a.pdf", "mimeType": "application/pdf", "blob": "AAA="}},
            {"type": "resource_link", "uri": "file:///b", "name": "b", "description": "more"},
        ]}))
        .unwrap();
        assert_eq!(
            found["content"],
            json!([
                {"type": "text", "text": "hello"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                {"type": "text", "text": "[file:///a.txt]\ninside"},
                {"type": "file", "file": {
                    "file_data": "data:application/pdf;base64,AAA=", "format": "application/pdf", "filename": "a.pdf",
                }},
                {"type": "text", "text": "[resource file:///b] b: more"},
            ])
        );
    }

    #[test]
    fn one_text_is_a_string_and_a_failure_is_said() {
        let found = read(&json!({"content": [{"type": "text", "text": "no"}], "isError": true})).unwrap();
        assert_eq!(
            found,
            json!({"content": "no", "is_error": true, "structured": null})
        );
    }

    #[test]
    fn a_structured_result_without_content_is_shown_as_json() {
        let found = read(&json!({"structuredContent": {"n": 1}})).unwrap();
        assert_eq!(found["content"], "{\"n\":1}");
        assert_eq!(found["structured"], json!({"n": 1}));
    }

    #[test]
    fn media_that_a_provider_would_refuse_for_ever_is_an_error() {
        for (data, mime) in [("###", "image/png"), ("AAAA", "image"), ("AAA", "image/png")] {
            let block = json!({"content": [{"type": "image", "data": data, "mimeType": mime}]});
            assert!(read(&block).unwrap_err().contains("image"), "{block}");
        }
    }
}
