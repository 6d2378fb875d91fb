//! Contract events, with every part bracketed and counted in the order of the message.

use omni_core::{Event, Object, Usage};
use serde_json::Value;
use std::collections::VecDeque;

/// The kind of the part that is open: only parts that come one after the other are; calls may interleave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    Text,
    Reasoning,
}

/// Writes events for a decoder. Text and reasoning parts open when their first piece comes and close when another
/// part begins; calls are open until they are ended by their index.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    events: VecDeque<Event>,
    next: u32,
    open: Option<(Open, u32)>,
    /// Calls that began.
    pub(crate) calls: u32,
    /// Documents of a type that nobody knows, which were left out.
    pub(crate) ignored: u32,
}

/// What stands at the end of a text or reasoning part.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Of text.
    pub(crate) annotations: Option<Vec<Value>>,
    /// Of either.
    pub(crate) signature: Option<String>,
    /// Of reasoning.
    pub(crate) encrypted: Option<String>,
}

impl Parts {
    /// The oldest event that has not been taken.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether an event waits to be taken.
    pub(crate) fn any(&self) -> bool {
        !self.events.is_empty()
    }

    /// The kind of the open part.
    pub(crate) fn open(&self) -> Option<Open> {
        self.open.map(|(kind, _)| kind)
    }

    fn begin(&mut self, kind: Open) -> u32 {
        self.close();
        let index = self.take_index();
        self.open = Some((kind, index));
        index
    }

    fn take_index(&mut self) -> u32 {
        let index = self.next;
        self.next += 1;
        index
    }

    /// Begins a text part, whatever is open.
    pub(crate) fn begin_text(&mut self) {
        let index = self.begin(Open::Text);
        self.events.push_back(Event::TextStart { index });
    }

    /// Begins a reasoning part, whatever is open.
    pub(crate) fn begin_reasoning(&mut self, id: Option<String>) {
        let index = self.begin(Open::Reasoning);
        self.events.push_back(Event::ReasoningStart { index, id });
    }

    /// More text; begins a part if none is open.
    pub(crate) fn text(&mut self, text: impl Into<String>) {
        let index = if let Some((Open::Text, index)) = self.open {
            index
        } else {
            self.begin_text();
            self.next - 1
        };
        let text = text.into();
        if !text.is_empty() {
            self.events.push_back(Event::TextDelta { index, text });
        }
    }

    /// More reasoning; begins a part if none is open.
    pub(crate) fn reasoning(&mut self, text: impl Into<String>) {
        let index = if let Some((Open::Reasoning, index)) = self.open {
            index
        } else {
            self.begin_reasoning(None);
            self.next - 1
        };
        let text = text.into();
        if !text.is_empty() {
            self.events.push_back(Event::ReasoningDelta { index, text });
        }
    }

    /// Ends the open part, if there is one.
    pub(crate) fn close(&mut self) {
        self.close_with(Ending::default());
    }

    /// Ends the open part, if there is one, with what stands at its end.
    pub(crate) fn close_with(&mut self, ending: Ending) {
        let Ending {
            annotations,
            signature,
            encrypted,
        } = ending;
        match self.open.take() {
            None => {}
            Some((Open::Text, index)) => self.events.push_back(Event::TextEnd {
                index,
                annotations: annotations.filter(|all| !all.is_empty()),
                signature,
            }),
            Some((Open::Reasoning, index)) => self.events.push_back(Event::ReasoningEnd {
                index,
                signature,
                encrypted,
            }),
        }
    }

    /// Takes the open part out without ending it: its provider tells another one before it is whole.
    pub(crate) fn park(&mut self) -> Option<(Open, u32)> {
        self.open.take()
    }

    /// Opens a parked part again, to go on with it or to end it.
    pub(crate) fn resume(&mut self, parked: (Open, u32)) {
        self.close();
        self.open = Some(parked);
    }

    /// A place in the message for a part that will come later, with [`provider_at`](Self::provider_at).
    pub(crate) fn reserve(&mut self) -> u32 {
        self.take_index()
    }

    /// What only this provider understands, at a place that was kept for it.
    pub(crate) fn provider_at(&mut self, index: u32, provider: &str, kind: &str, data: Value) {
        self.events.push_back(Event::ProviderPart {
            index,
            provider: provider.to_owned(),
            kind: kind.to_owned(),
            data,
            signature: None,
        });
    }

    /// Sound or a picture that came in one piece.
    pub(crate) fn media(&mut self, mime: String, base64: String, signature: Option<String>) {
        self.close();
        let index = self.take_index();
        self.events.push_back(Event::MediaStart { index, mime });
        self.events.push_back(Event::MediaDelta { index, base64 });
        self.events.push_back(Event::MediaEnd { index, signature });
    }

    /// More of the refusal.
    pub(crate) fn refusal(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.events.push_back(Event::RefusalDelta { text });
        }
    }

    /// What only this provider understands, whole and in place.
    pub(crate) fn provider(&mut self, provider: &str, kind: &str, data: Value, signature: Option<String>) {
        self.close();
        let index = self.take_index();
        self.events.push_back(Event::ProviderPart {
            index,
            provider: provider.to_owned(),
            kind: kind.to_owned(),
            data,
            signature,
        });
    }

    /// Begins a call and gives its index.
    pub(crate) fn call_start(&mut self, id: String, name: String, custom: bool) -> u32 {
        self.close();
        let index = self.take_index();
        self.calls += 1;
        let kind = custom.then(|| "custom".to_owned());
        self.events.push_back(Event::ToolCallStart {
            index,
            id,
            name,
            kind,
        });
        index
    }

    /// More of a call's arguments.
    pub(crate) fn call_delta(&mut self, index: u32, arguments: impl Into<String>) {
        let arguments = arguments.into();
        if !arguments.is_empty() {
            self.events.push_back(Event::ToolCallDelta { index, arguments });
        }
    }

    /// Ends a call.
    pub(crate) fn call_end(&mut self, index: u32, signature: Option<String>, extra: Option<Object>) {
        self.events.push_back(Event::ToolCallEnd {
            index,
            signature: signature.filter(|signature| !signature.is_empty()),
            extra: extra.filter(|extra| !extra.is_empty()),
        });
    }

    /// What was consumed so far.
    pub(crate) fn usage(&mut self, usage: Usage) {
        self.events.push_back(Event::Usage { usage });
    }
}
