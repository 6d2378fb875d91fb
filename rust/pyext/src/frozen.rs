//! What the frozen classes share: attributes built when they are asked for, and one way to dicts, JSON, copies and
//! pickles. They hold the contract's own Rust values, so nothing is converted that nobody looks at.

use crate::{error, json};
use omni_core::{Content, Engine, FinishReason, Object, Role};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use pyo3::{IntoPyObjectExt, intern};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// A value of the contract as what Python sees of it.
pub(crate) trait Show {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

/// A bounded line for people: never a key, never a whole prompt.
pub(crate) trait Describe {
    fn describe(&self) -> String;
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.into_bound_py_any(py)
            }
        }
    )*};
}
plain!(bool, u16, u32, u64, f64, str, String);

impl<T: Show + ?Sized> Show for &T {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (**self).show(py)
    }
}

impl<T: Show> Show for Option<T> {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Some(value) => value.show(py),
            None => Ok(py.None().into_bound(py)),
        }
    }
}

impl<T: Show> Show for Box<T> {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (**self).show(py)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let items = self
            .iter()
            .map(|item| item.show(py))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, items)?.into_any())
    }
}

impl Show for Value {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json::from_value(py, self)
    }
}

impl Show for Object {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let dict = PyDict::new(py);
        for (key, value) in self {
            dict.set_item(key, json::from_value(py, value)?)?;
        }
        Ok(dict.into_any())
    }
}

impl Show for Content {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Content::Text(text) => text.show(py),
            Content::Parts(parts) => parts.show(py),
        }
    }
}

impl Show for omni_core::Error {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        error::exception(py, self)
    }
}

macro_rules! word {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                // Interned: compared by users again and again, and never many.
                Ok(PyString::intern(py, self.name()).into_any())
            }
        }
    )*};
}
word!(Role, FinishReason);

impl Show for Engine {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let name = match self {
            Engine::Native => intern!(py, "native"),
            Engine::Litellm => intern!(py, "litellm"),
        };
        Ok(name.clone().into_any())
    }
}

/// A value of the contract as dicts, lists and plain values.
pub(crate) fn to_dict<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    json::read(py, &bytes(value)?)
}

/// A value of the contract as JSON text.
pub(crate) fn bytes(value: &impl Serialize) -> PyResult<Vec<u8>> {
    serde_json::to_vec(value).map_err(|failed| {
        error::raise(&omni_core::Error::internal(format!(
            "a value could not be written as JSON: {failed}"
        )))
    })
}

/// A value of the contract as JSON text.
pub(crate) fn text<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyString>> {
    let bytes = bytes(value)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| error::raise(&omni_core::Error::internal("JSON text that is not UTF-8")))?;
    Ok(PyString::new(py, text))
}

/// Reads a value of the contract from JSON text: `str`, `bytes` or another object that JSON can be made of.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &str, source: &Bound<'_, PyAny>) -> PyResult<T> {
    let wrong = |failed: &dyn std::fmt::Display| {
        error::raise(&omni_core::Error::invalid(format!(
            "this is no {what} of the contract: {failed}"
        )))
    };
    let read = if let Ok(text) = source.cast::<PyString>() {
        omni_core::from_slice_lenient(text.to_string_lossy().as_bytes())
    } else if let Ok(bytes) = source.cast::<pyo3::types::PyBytes>() {
        omni_core::from_slice_lenient(bytes.as_bytes())
    } else {
        omni_core::from_slice_lenient(&json::to_vec(source).map_err(|failed| wrong(&failed))?)
    };
    // Serde's own words would quote the value.
    read.map_err(|failed| wrong(&omni_core::unreadable("it", &failed).message))
}

/// The dict without the contract's keys whose value is None, as pydantic's `exclude_none` does. A null inside a JSON
/// value of the provider or the user (`raw`, `data`, arguments …) is no key of the contract and stays.
pub(crate) fn without_none(document: &Bound<'_, PyAny>) -> PyResult<()> {
    // Where documents with null keys stand in others; what is left out here never writes a null.
    const INSIDE: [&str; 5] = [
        "usage",
        "cache_creation_input_tokens",
        "attempts",
        "error",
        "reply",
    ];
    if let Ok(list) = document.cast::<PyList>() {
        return list.iter().try_for_each(|item| without_none(&item));
    }
    let Ok(dict) = document.cast::<PyDict>() else {
        return Ok(());
    };
    for (key, value) in dict.copy()? {
        if value.is_none() {
            dict.del_item(key)?;
        } else if INSIDE.contains(&&*key.cast::<PyString>()?.to_string_lossy()) {
            without_none(&value)?;
        }
    }
    Ok(())
}

/// At most about 60 characters of a text, quoted as Python does, for a `repr`.
pub(crate) fn glimpse(text: &str) -> String {
    const MOST: usize = 60;
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut shown = String::from(quote);
    for letter in text.chars().take(MOST) {
        match letter {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if letter == quote => shown.extend(['\\', quote]),
            _ if letter.is_control() => shown.extend(letter.escape_unicode()),
            _ => shown.push(letter),
        }
    }
    shown.push(quote);
    if text.chars().nth(MOST).is_some() {
        // Writing to a String cannot fail.
        let _ = write!(shown, "… ({} characters)", text.chars().count());
    }
    shown
}

/// A value that may be missing, for a `repr`.
pub(crate) fn or_none(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| value.to_string())
}

/// A class that holds one value of the contract: its attributes are the value's fields.
macro_rules! frozen {
    (
        $(#[doc = $doc:literal])*
        $class:ident($core:ty) = $what:literal {
            $($(#[doc = $field_doc:literal])* $name:ident $method:ident: |$value:ident| $get:expr,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[pyclass(frozen, module = "omni_bridge._native", from_py_object)]
        #[derive(Clone)]
        pub(crate) struct $class(pub(crate) std::sync::Arc<$core>);

        impl $crate::frozen::Show for $core {
            fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(Bound::new(py, $class(std::sync::Arc::new(self.clone())))?.into_any())
            }
        }

        #[pymethods]
        impl $class {
            $(
                $(#[doc = $field_doc])*
                #[getter($name)]
                fn $method<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                    let $value: &$core = &self.0;
                    $crate::frozen::Show::show(&$get, py)
                }
            )*

            /// Reads one from JSON text (`str` or `bytes`).
            #[staticmethod]
            fn from_json(text: &Bound<'_, PyAny>) -> PyResult<Self> {
                $crate::frozen::parse($what, text).map(|value| Self(std::sync::Arc::new(value)))
            }

            /// Makes one from a dict, a pydantic model or an object like itself.
            #[staticmethod]
            fn from_dict(document: &Bound<'_, PyAny>) -> PyResult<Self> {
                $crate::frozen::parse($what, document).map(|value| Self(std::sync::Arc::new(value)))
            }

            /// The document of the contract as dicts, lists and plain values; a new one at each call.
            fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                $crate::frozen::to_dict(py, &*self.0)
            }

            /// The document of the contract as JSON text.
            fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyString>> {
                $crate::frozen::text(py, &*self.0)
            }

            /// `to_dict()` under pydantic's name; with `exclude_none`, without the keys that are None.
            #[pyo3(signature = (*, mode = "python", exclude_none = false))]
            fn model_dump<'py>(&self, py: Python<'py>, mode: &str, exclude_none: bool) -> PyResult<Bound<'py, PyAny>> {
                let _ = mode; // the document is the same in pydantic's two modes: it is JSON already
                let document = $crate::frozen::to_dict(py, &*self.0)?;
                if exclude_none {
                    $crate::frozen::without_none(&document)?;
                }
                Ok(document)
            }

            fn __repr__(&self) -> String {
                $crate::frozen::Describe::describe(&*self.0)
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

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, pyo3::types::PyString>,))> {
                let text = $crate::frozen::text(slf.py(), &*slf.get().0)?;
                Ok((slf.get_type().getattr("from_json")?, (text,)))
            }
        }
    };
}
pub(crate) use frozen;
