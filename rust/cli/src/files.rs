//! Files that are sent along, as parts of a message.

use crate::exit::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use omni_core::{Object, Part};
use serde_json::json;
use std::path::Path;

/// No provider takes more in one message.
const MAX: u64 = 100 * 1024 * 1024;

/// The file at `path` as the part that its kind asks for.
pub(crate) fn part(path: &Path) -> Result<Part, Failure> {
    let name = path.display();
    let size = std::fs::metadata(path)
        .map_err(|error| Failure::Io(format!("--file {name}: {error}")))?
        .len();
    if size > MAX {
        return Err(Failure::Usage(format!(
            "--file {name}: {size} bytes are more than any provider takes ({MAX})"
        )));
    }
    let bytes = std::fs::read(path).map_err(|error| Failure::Io(format!("--file {name}: {error}")))?;
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let file_name = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    of(&file_name, &extension, bytes).ok_or_else(|| {
        Failure::Usage(format!(
            "--file {name}: neither text nor a picture, a sound or a PDF of a known kind"
        ))
    })
}

fn of(name: &str, extension: &str, bytes: Vec<u8>) -> Option<Part> {
    let other = Object::new();
    let mime = match extension {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => {
            let data = format!("data:application/pdf;base64,{}", STANDARD.encode(bytes));
            return Some(Part::File {
                file: json!({"filename": name, "file_data": data}),
                other,
            });
        }
        "wav" | "mp3" => {
            let input_audio = json!({"data": STANDARD.encode(bytes), "format": extension});
            return Some(Part::InputAudio { input_audio, other });
        }
        _ => {
            let text = String::from_utf8(bytes)
                .ok()
                .filter(|text| !text.contains('\0'))?;
            return Some(Part::text(format!("{name}:\n\n{text}")));
        }
    };
    let url = format!("data:{mime};base64,{}", STANDARD.encode(bytes));
    Some(Part::ImageUrl {
        image_url: json!({ "url": url }),
        other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_is_its_own_part() {
        let part = |name: &str, bytes: &[u8]| {
            let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
            of(name, extension, bytes.to_vec()).map(|part| serde_json::to_value(part).unwrap())
        };
        assert_eq!(
            part("a.rs", b"fn"),
            Some(json!({"type": "text", "text": "a.rs:\n\nfn"}))
        );
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAE="}});
        assert_eq!(part("a.png", &[0, 1]), Some(image));
        let sound = json!({"type": "input_audio", "input_audio": {"data": "AAE=", "format": "wav"}});
        assert_eq!(part("a.wav", &[0, 1]), Some(sound));
        let file = json!({"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAE="});
        assert_eq!(
            part("a.pdf", &[0, 1]),
            Some(json!({"type": "file", "file": file}))
        );
        assert_eq!(part("a.bin", &[0, 159]), None);
    }
}
