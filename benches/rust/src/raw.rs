//! The baseline: an answer read the plain way, as somebody does who needs one provider and nothing but its text.
//! Small typed structs for serde, events split at blank lines, no errors told apart.

use crate::wire::Wire;
use memchr::memchr;
use memchr::memmem::Finder;
use serde::Deserialize;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
struct OpenaiChunk {
    choices: Vec<OpenaiChoice>,
}

#[derive(Deserialize)]
struct OpenaiChoice {
    #[serde(alias = "message")]
    delta: OpenaiText,
}

#[derive(Deserialize)]
struct OpenaiText {
    content: Option<String>,
}

#[derive(Deserialize)]
struct OpenaiReply {
    choices: Vec<OpenaiChoice>,
    usage: OpenaiUsage,
}

#[derive(Deserialize)]
struct OpenaiUsage {
    total_tokens: u64,
}

#[derive(Deserialize)]
struct AnthropicEvent {
    delta: Option<AnthropicText>,
}

#[derive(Deserialize)]
struct AnthropicText {
    text: Option<String>,
}

#[derive(Deserialize)]
struct ResponsesEvent {
    delta: Option<String>,
}

#[derive(Deserialize)]
struct GeminiChunk {
    candidates: Vec<GeminiCandidate>,
}

#[derive(Deserialize)]
struct GeminiCandidate {
    content: GeminiContent,
}

#[derive(Deserialize)]
struct GeminiContent {
    parts: Vec<GeminiPart>,
}

#[derive(Deserialize)]
struct GeminiPart {
    text: Option<String>,
}

/// The text of a chat completion that is not streamed.
pub fn openai_reply(body: &[u8]) -> Result<String, Failure> {
    let mut reply: OpenaiReply = serde_json::from_slice(body)?;
    if reply.usage.total_tokens == 0 {
        return Err("the answer has no usage".into());
    }
    let choice = reply.choices.pop().ok_or("the answer has no choice")?;
    choice
        .delta
        .content
        .ok_or_else(|| "the answer has no text".into())
}

/// The text of one chunk, if it has any.
fn chunk(wire: Wire, data: &[u8]) -> Result<Option<String>, Failure> {
    if data == b"[DONE]" {
        return Ok(None);
    }
    Ok(match wire {
        Wire::Openai => {
            let mut chunk: OpenaiChunk = serde_json::from_slice(data)?;
            chunk.choices.pop().and_then(|choice| choice.delta.content)
        }
        Wire::Responses => serde_json::from_slice::<ResponsesEvent>(data)?.delta,
        Wire::Anthropic => serde_json::from_slice::<AnthropicEvent>(data)?
            .delta
            .and_then(|delta| delta.text),
        Wire::Gemini => {
            let mut chunk: GeminiChunk = serde_json::from_slice(data)?;
            let candidate = chunk.candidates.pop();
            candidate
                .and_then(|mut candidate| candidate.content.parts.pop())
                .and_then(|part| part.text)
        }
    })
}

/// The texts of a stream whose bytes come in pieces.
pub struct Texts {
    wire: Wire,
    blank_line: Finder<'static>,
    held: Vec<u8>,
}

impl Texts {
    /// A reader at the start of a stream.
    pub fn new(wire: Wire) -> Self {
        Self {
            wire,
            blank_line: Finder::new(b"\n\n"),
            held: Vec::new(),
        }
    }

    /// Takes the next bytes and hands each text that is whole to `take`.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(String)) -> Result<(), Failure> {
        self.held.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = self.blank_line.find(&self.held[start..]) {
            let mut rest = &self.held[start..start + length];
            start += length + 2;
            while !rest.is_empty() {
                let (line, after) = match memchr(b'\n', rest) {
                    Some(end) => (&rest[..end], &rest[end + 1..]),
                    None => (rest, &[][..]),
                };
                rest = after;
                if let Some(data) = line.strip_prefix(b"data: ")
                    && let Some(text) = chunk(self.wire, data)?
                {
                    take(text);
                }
            }
        }
        self.held.drain(..start);
        Ok(())
    }
}
