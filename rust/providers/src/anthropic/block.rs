//! One block of an answer while it is open.

use super::FORMAT_VALUES;
use crate::parts::{Ending, Parts};
use crate::value::text;
use omni_core::Object;
use serde_json::Value;

/// What must be remembered of an open block until it ends.
pub(super) enum Block {
    /// Of a kind that cannot be told: deltas came and never its start.
    None,
    Text {
        citations: Vec<Value>,
    },
    Thinking {
        signature: String,
    },
    Redacted {
        data: String,
    },
    Call {
        /// The part.
        call: u32,
        /// Whether arguments were streamed.
        said: bool,
        /// The input in the block's start: the arguments if none are streamed.
        given: Option<Value>,
        extra: Object,
    },
    /// A call of the tool that stands for `response_format`: its input is the answer's text.
    Format {
        /// Whether the answer stands under "values", for what is no object.
        wrapped: bool,
        said: bool,
        given: Option<Value>,
        /// The streamed input of a wrapped answer.
        held: String,
    },
    /// Kept whole.
    Other {
        block: Object,
        json: String,
    },
}

impl Block {
    pub(super) fn text(citations: Option<Value>) -> Self {
        Block::Text {
            citations: match citations {
                Some(Value::Array(citations)) => citations,
                _ => Vec::new(),
            },
        }
    }

    pub(super) fn format(name: &str, given: Option<Value>) -> Self {
        Block::Format {
            wrapped: name == FORMAT_VALUES,
            said: false,
            given,
            held: String::new(),
        }
    }

    /// Writes the end of the block. `open` says that its text or reasoning part is the open one. Gives whether
    /// another part was closed by it.
    pub(super) fn end(self, open: bool, provider: &str, parts: &mut Parts) -> bool {
        match self {
            Block::None => false,
            Block::Text { citations } => {
                if open {
                    parts.close_with(Ending {
                        annotations: Some(citations),
                        ..Ending::default()
                    });
                }
                false
            }
            Block::Thinking { signature } => {
                if open {
                    parts.close_with(Ending {
                        signature: Some(signature).filter(|signature| !signature.is_empty()),
                        ..Ending::default()
                    });
                }
                false
            }
            Block::Redacted { data } => {
                if open {
                    parts.close_with(Ending {
                        encrypted: Some(data).filter(|data| !data.is_empty()),
                        ..Ending::default()
                    });
                }
                false
            }
            Block::Call {
                call,
                said,
                given,
                extra,
            } => {
                if !said {
                    let input = given.unwrap_or_else(|| Value::Object(Object::new()));
                    parts.call_delta(call, input.to_string());
                }
                let extra = (!extra.is_empty())
                    .then(|| Object::from_iter([(provider.to_owned(), Value::Object(extra))]));
                parts.call_end(call, None, extra);
                false
            }
            Block::Format {
                wrapped,
                said,
                given,
                held,
            } => {
                if !said {
                    parts.text(answer(wrapped, given, &held));
                }
                parts.close();
                true
            }
            Block::Other { mut block, json } => {
                if !json.is_empty() {
                    let input =
                        serde_json::from_str(&json).unwrap_or_else(|_| serde_json::json!({ "_raw": json }));
                    block.insert("input".to_owned(), input);
                }
                let kind = text(block.get("type")).to_owned();
                parts.provider(provider, &kind, Value::Object(block), None);
                true
            }
        }
    }
}

/// The text of an answer that came as a tool's input.
fn answer(wrapped: bool, given: Option<Value>, held: &str) -> String {
    let whole = if held.is_empty() {
        given.unwrap_or_else(|| Value::Object(Object::new()))
    } else {
        match serde_json::from_str(held) {
            Ok(whole) => whole,
            // Cut off by a limit: what came is all there is.
            Err(_) => return held.to_owned(),
        }
    };
    match whole {
        Value::Object(mut object) if wrapped && object.len() == 1 && object.contains_key("values") => {
            object.shift_remove("values").unwrap_or_default().to_string()
        }
        whole => whole.to_string(),
    }
}
