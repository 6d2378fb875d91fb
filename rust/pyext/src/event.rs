//! Events as frozen classes, one for each `type`, so that type checkers narrow by `event.type` and `match` by class.

use crate::error::raise;
use crate::frozen::{self, Show, glimpse};
use omni_core::{Error, Event as Core};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// One typed fact of a stream. Each has its own class; `event.type` names it.
///
/// `index` counts the parts of the message, tool calls included. The last event of a stream is exactly one of
/// `DoneEvent`, `ErrorEvent` and `CancelledEvent`.
#[pyclass(frozen, subclass, module = "omni_bridge._native", name = "Event")]
pub(crate) struct Event(Core);

#[pymethods]
impl Event {
    /// Reads one from JSON text (`str` or `bytes`); the object is of the class of its `type`.
    #[staticmethod]
    fn from_json<'py>(text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        python(text.py(), frozen::parse("event", text)?)
    }

    /// Makes one from a dict, a pydantic model or an object like itself.
    #[staticmethod]
    fn from_dict<'py>(document: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        python(document.py(), frozen::parse("event", document)?)
    }

    /// The document of the contract as dicts, lists and plain values; a new one at each call.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        frozen::to_dict(py, &self.0)
    }

    /// The document of the contract as JSON text.
    fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        frozen::text(py, &self.0)
    }

    /// `to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None.
    #[pyo3(signature = (*, mode = "python", exclude_none = false))]
    fn model_dump<'py>(
        &self,
        py: Python<'py>,
        mode: &str,
        exclude_none: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = mode; // the document is the same in pydantic's two modes: it is JSON already
        let document = frozen::to_dict(py, &self.0)?;
        if exclude_none {
            frozen::without_none(&document)?;
        }
        Ok(document)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        Ok(format!("{}({})", slf.get_type().name()?, detail(&slf.get().0)))
    }

    fn __eq__(&self, other: &Bound<'_, Self>) -> bool {
        self.0 == other.get().0
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        let _ = memo; // frozen: the copy is the same object
        slf
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyString>,))> {
        let text = frozen::text(slf.py(), &slf.get().0)?;
        Ok((slf.py().get_type::<Self>().getattr("from_json")?, (text,)))
    }
}

/// A bounded line for people; never a key, never what may be a prompt.
fn detail(event: &Core) -> String {
    match event {
        Core::Start { model, provider, .. } => {
            format!("model={}, provider={}", glimpse(model), glimpse(provider))
        }
        Core::TextDelta { index, text } | Core::ReasoningDelta { index, text } => {
            format!("index={index}, text={}", glimpse(text))
        }
        Core::RefusalDelta { text } => format!("text={}", glimpse(text)),
        Core::ToolCallStart { index, id, name, .. } => {
            format!("index={index}, id={}, name={}", glimpse(id), glimpse(name))
        }
        Core::ToolCallDelta { index, arguments } => {
            format!("index={index}, arguments={}", glimpse(arguments))
        }
        Core::MediaStart { index, mime } => format!("index={index}, mime={}", glimpse(mime)),
        Core::MediaDelta { index, base64 } => format!("index={index}, base64=<{} characters>", base64.len()),
        Core::ProviderPart {
            index,
            provider,
            kind,
            ..
        } => {
            format!(
                "index={index}, provider={}, kind={}",
                glimpse(provider),
                glimpse(kind)
            )
        }
        Core::Fallback { from, to, error, .. } => {
            format!(
                "from_={}, to={}, error={}",
                glimpse(from),
                glimpse(to),
                glimpse(error.code.name())
            )
        }
        Core::Usage { usage } => format!("usage={}", frozen::Describe::describe(usage)),
        Core::Done { reply } => format!("reply={}", frozen::Describe::describe(&**reply)),
        Core::Error { error, .. } => format!("error={}", glimpse(error.code.name())),
        Core::Cancelled { closed_ms, .. } => {
            format!("closed_ms={}", frozen::or_none(*closed_ms))
        }
        Core::TextStart { index }
        | Core::TextEnd { index, .. }
        | Core::ReasoningStart { index, .. }
        | Core::ReasoningEnd { index, .. }
        | Core::ToolCallEnd { index, .. }
        | Core::MediaEnd { index, .. } => format!("index={index}"),
    }
}

macro_rules! events {
    ($(
        $(#[doc = $doc:literal])*
        $class:ident = $type:literal, $variant:ident {
            $($(#[doc = $field_doc:literal])* $name:ident $field:ident $method:ident,)*
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[pyclass(frozen, extends = Event, module = "omni_bridge._native")]
            pub(crate) struct $class;

            #[pymethods]
            impl $class {
                /// The event's type in the contract.
                #[classattr]
                #[pyo3(name = "type")]
                const TYPE: &'static str = $type;

                $(
                    $(#[doc = $field_doc])*
                    #[getter($name)]
                    fn $method<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
                        match &slf.as_super().get().0 {
                            Core::$variant { $field: value, .. } => value.show(slf.py()),
                            _ => Err(raise(&Error::internal(concat!(stringify!($class), " holds another event")))),
                        }
                    }
                )*
            }
        )*

        /// An event as the object of its class.
        pub(crate) fn python(py: Python<'_>, event: Core) -> PyResult<Bound<'_, PyAny>> {
            match &event {
                $(Core::$variant { .. } => {
                    let both = PyClassInitializer::from(Event(event)).add_subclass($class);
                    Ok(Bound::new(py, both)?.into_any())
                })*
            }
        }

        /// Adds the classes to the module.
        pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
            module.add_class::<Event>()?;
            $(module.add_class::<$class>()?;)*
            Ok(())
        }
    };
}

events! {
    /// The provider has begun to answer.
    StartEvent = "start", Start {
        /// The provider's id of the answer.
        id id id,
        /// The provider's id of the request.
        request_id request_id request_id,
        /// The model, as the provider names it.
        model model model,
        /// Who answers.
        provider provider provider,
        /// The engine that asked.
        engine engine engine,
    }
    /// A text part begins.
    TextStartEvent = "text_start", TextStart {
        /// The part's place in the message.
        index index index,
    }
    /// More of the text.
    TextDeltaEvent = "text_delta", TextDelta {
        /// The part's place in the message.
        index index index,
        /// What is added.
        text text text,
    }
    /// The text part is whole.
    TextEndEvent = "text_end", TextEnd {
        /// The part's place in the message.
        index index index,
        /// Citations and links, as the provider gives them.
        annotations annotations annotations,
        /// The provider's opaque proof.
        signature signature signature,
    }
    /// More of the refusal.
    RefusalDeltaEvent = "refusal_delta", RefusalDelta {
        /// What is added.
        text text text,
    }
    /// A reasoning part begins.
    ReasoningStartEvent = "reasoning_start", ReasoningStart {
        /// The part's place in the message.
        index index index,
        /// The provider's id of it.
        id id id,
    }
    /// More of the reasoning.
    ReasoningDeltaEvent = "reasoning_delta", ReasoningDelta {
        /// The part's place in the message.
        index index index,
        /// What is added.
        text text text,
    }
    /// The reasoning part is whole.
    ReasoningEndEvent = "reasoning_end", ReasoningEnd {
        /// The part's place in the message.
        index index index,
        /// The provider's opaque proof.
        signature signature signature,
        /// The provider's encrypted form.
        encrypted encrypted encrypted,
    }
    /// The model begins to ask for a tool.
    ToolCallStartEvent = "tool_call_start", ToolCallStart {
        /// The call's place in the message.
        index index index,
        /// The id that the tool result names.
        id id id,
        /// The tool's name.
        name name name,
        /// What kind of tool: "custom", or None for a function.
        kind kind kind,
    }
    /// More of the arguments, as the text received.
    ToolCallDeltaEvent = "tool_call_delta", ToolCallDelta {
        /// The call's place in the message.
        index index index,
        /// What is added.
        arguments arguments arguments,
    }
    /// The call is whole.
    ToolCallEndEvent = "tool_call_end", ToolCallEnd {
        /// The call's place in the message.
        index index index,
        /// The provider's opaque proof.
        signature signature signature,
        /// Per provider, what is merged into its wire object.
        extra extra extra,
    }
    /// A picture or sound that the model made begins.
    MediaStartEvent = "media_start", MediaStart {
        /// The part's place in the message.
        index index index,
        /// Its media type.
        mime mime mime,
    }
    /// More of the picture or sound.
    MediaDeltaEvent = "media_delta", MediaDelta {
        /// The part's place in the message.
        index index index,
        /// What is added, in base64.
        base64 base64 base64,
    }
    /// The picture or sound is whole.
    MediaEndEvent = "media_end", MediaEnd {
        /// The part's place in the message.
        index index index,
        /// The provider's opaque proof.
        signature signature signature,
    }
    /// What only this provider understands; kept in place in the message.
    ProviderPartEvent = "provider_part", ProviderPart {
        /// The part's place in the message.
        index index index,
        /// Whose it is.
        provider provider provider,
        /// Its type on that provider's wire.
        kind kind kind,
        /// The wire object.
        data data data,
        /// The provider's opaque proof.
        signature signature signature,
    }
    /// Another model goes on; the parts named in `discarded` do not count any more.
    FallbackEvent = "fallback", Fallback {
        /// The model id that failed (key "from").
        from_ from from,
        /// The model id that is asked now.
        to to to,
        /// Why, as an exception (not raised).
        error error error,
        /// Indexes of parts that do not count any more.
        discarded discarded discarded,
    }
    /// What the call has consumed so far; the last one counts.
    UsageEvent = "usage", Usage {
        /// The counts.
        usage usage usage,
    }
    /// The whole answer.
    DoneEvent = "done", Done {
        /// The reply.
        reply reply reply,
    }
    /// The call failed.
    ErrorEvent = "error", Error {
        /// What happened, as an exception (not raised).
        error error error,
        /// What had come.
        reply reply reply,
    }
    /// The caller cancelled.
    CancelledEvent = "cancelled", Cancelled {
        /// What had come.
        reply reply reply,
        /// Milliseconds until the provider's socket was closed; None if that is not known.
        closed_ms closed_ms closed_ms,
    }
}
