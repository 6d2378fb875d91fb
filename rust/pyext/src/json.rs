//! JSON text from Python objects, and Python objects from JSON text: the one place where the two meet.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyNone, PyString, PyTuple};
use pyo3::{PyTypeInfo, intern};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt::Write as _;

/// How deep documents may nest. Serde stops at 128, and an op document wraps the request in two levels;
/// a cycle runs into the same bound.
const MAX_DEPTH: usize = 100;

/// What is wrong, and where: the path is gathered on the way out, so that the good case pays nothing for it.
struct Bad {
    path: Vec<String>,
    what: String,
    /// Wrong kind of object (`TypeError`) rather than a wrong value (`ValueError`).
    kind: bool,
}

type Written = Result<(), Box<Bad>>;

#[allow(
    clippy::unnecessary_box_returns,
    reason = "a small error keeps the result of every value small, and nobody waits for the bad case"
)]
impl Bad {
    fn value(what: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            path: Vec::new(),
            what: what.into(),
            kind: false,
        })
    }

    fn kind(what: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            path: Vec::new(),
            what: what.into(),
            kind: true,
        })
    }

    fn under(mut self: Box<Self>, step: String) -> Box<Self> {
        // A cycle would otherwise give a path of a hundred equal steps.
        if self.path.len() < 12 {
            self.path.push(step);
        }
        self
    }

    fn into_error(self) -> PyErr {
        let mut text = String::new();
        for (at, step) in self.path.iter().rev().enumerate() {
            let _ = match step.strip_prefix('[') {
                None if at > 0 => write!(text, ".{step}"),
                _ => write!(text, "{step}"),
            };
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&self.what);
        if self.kind {
            PyTypeError::new_err(text)
        } else {
            PyValueError::new_err(text)
        }
    }
}

/// Appends `object` to `out` as JSON; `out` is as it was if that fails.
///
/// Takes what JSON has, tuples as lists, and objects with `to_dict()` or pydantic's
/// `model_dump(mode="json", exclude_none=True)`.
/// Lone surrogates become U+FFFD, as the contract says for every door.
///
/// # Errors
/// `TypeError` for what is not JSON, `ValueError` for NaN, infinities, cycles and too deep nesting;
/// the message begins with the path.
pub(crate) fn write(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let before = out.len();
    value(object, out, 0).map_err(|bad| {
        out.truncate(before);
        bad.into_error()
    })
}

/// `object` as JSON text; see [`write`].
pub(crate) fn to_vec(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    write(object, &mut out)?;
    Ok(out)
}

fn value(object: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Written {
    // In the order in which events and requests have them.
    if let Ok(text) = object.cast::<PyString>() {
        string(text, out)
    } else if let Ok(dict) = object.cast::<PyDict>() {
        self::dict(dict, out, deeper(depth)?)
    } else if object.is_none() {
        out.extend_from_slice(b"null");
        Ok(())
    } else if let Ok(flag) = object.cast::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
        Ok(())
    } else if let Ok(number) = object.cast::<PyInt>() {
        int(number, out)
    } else if let Ok(number) = object.cast::<PyFloat>() {
        float(number.value(), out)
    } else if let Ok(list) = object.cast::<PyList>() {
        sequence(list.iter(), out, deeper(depth)?)
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        sequence(tuple.iter(), out, deeper(depth)?)
    } else {
        other(object, out, deeper(depth)?)
    }
}

fn deeper(depth: usize) -> Result<usize, Box<Bad>> {
    if depth >= MAX_DEPTH {
        return Err(Bad::value(format!(
            "nested deeper than {MAX_DEPTH} levels (does it contain itself?)"
        )));
    }
    Ok(depth + 1)
}

fn string(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> Written {
    match text.to_str() {
        Ok(text) => quoted(text, out),
        Err(_) => quoted(&mended(text).map_err(|error| Bad::value(error.to_string()))?, out),
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) -> Written {
    serde_json::to_writer(out, text).map_err(|error| Bad::value(error.to_string()))
}

/// Surrogates that stand in pairs are one character, as in JSON escapes; lone ones become U+FFFD.
fn mended(text: &Bound<'_, PyString>) -> PyResult<String> {
    let py = text.py();
    let units = text.call_method1(
        intern!(py, "encode"),
        (intern!(py, "utf-16-le"), intern!(py, "surrogatepass")),
    )?;
    let units: Vec<u8> = units.extract()?;
    let units = units
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    Ok(char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect())
}

fn int(number: &Bound<'_, PyInt>, out: &mut Vec<u8>) -> Written {
    if let Ok(small) = number.extract::<i64>() {
        return serde_json::to_writer(out, &small).map_err(|error| Bad::value(error.to_string()));
    }
    // `int.__repr__`, not `str()`: an IntEnum prints its name.
    let digits = PyInt::type_object(number.py())
        .call_method1(intern!(number.py(), "__repr__"), (number,))
        .map_err(|error| Bad::value(format!("an integer that cannot be written: {error}")))?;
    out.extend_from_slice(digits.to_string().as_bytes());
    Ok(())
}

fn float(number: f64, out: &mut Vec<u8>) -> Written {
    if !number.is_finite() {
        return Err(Bad::value(format!(
            "{number} is not JSON; give a finite number or null"
        )));
    }
    serde_json::to_writer(out, &number).map_err(|error| Bad::value(error.to_string()))
}

fn dict(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, depth: usize) -> Written {
    out.push(b'{');
    let mut first = true;
    for (key, item) in dict {
        if !first {
            out.push(b',');
        }
        first = false;
        let Ok(key) = key.cast::<PyString>() else {
            return Err(Bad::kind(format!(
                "a key is of type {}; keys of JSON objects are strings",
                type_name(&key)
            )));
        };
        string(key, out)?;
        out.push(b':');
        value(&item, out, depth).map_err(|bad| bad.under(key.to_string_lossy().into_owned()))?;
    }
    out.push(b'}');
    Ok(())
}

fn sequence<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>, out: &mut Vec<u8>, depth: usize) -> Written {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        value(&item, out, depth).map_err(|bad| bad.under(format!("[{at}]")))?;
    }
    out.push(b']');
    Ok(())
}

/// Models: our frozen classes and types have `to_dict`, pydantic's have `model_dump`. A class is not an instance.
fn other(object: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Written {
    let py = object.py();
    let failed = |error: PyErr| Bad::value(format!("{} did not convert: {error}", type_name(object)));
    // Our own messages have their JSON at hand: no dicts in between.
    if let Some(written) = crate::message::write(object, out) {
        return written.map_err(failed);
    }
    if !object.is_instance_of::<pyo3::types::PyType>() {
        if let Ok(to_dict) = object.getattr(intern!(py, "to_dict")) {
            return value(&to_dict.call0().map_err(failed)?, out, depth);
        }
        if let Ok(dump) = object.getattr(intern!(py, "model_dump")) {
            // Without the fields that nobody set: a null among a part's unknown keys would be kept and sent.
            let options = PyDict::new(py);
            let set = options
                .set_item("mode", "json")
                .and_then(|()| options.set_item("exclude_none", true));
            let document = set.and_then(|()| dump.call((), Some(&options))).map_err(failed)?;
            return value(&document, out, depth);
        }
    }
    Err(Bad::kind(format!(
        "{} is not JSON; give a dict, list, string, number, bool, None or a pydantic model",
        type_name(object)
    )))
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object
        .get_type()
        .qualname()
        .map_or_else(|_| "an object".into(), |name| name.to_string())
}

/// Reads JSON text into Python objects: dicts keep their order, integers their size.
///
/// # Errors
/// `ValueError` with line and column; the text itself is never quoted.
pub(crate) fn read<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Object(py)
        .deserialize(&mut reader)
        .and_then(|object| reader.end().map(|()| object));
    match read {
        Ok(object) => Ok(object),
        // Rare: surrogate escapes that need mending, or text that is simply wrong.
        Err(first) => match omni_core::mend_surrogates(text) {
            std::borrow::Cow::Borrowed(_) => Err(PyValueError::new_err(first.to_string())),
            std::borrow::Cow::Owned(mended) => {
                let mut reader = serde_json::Deserializer::from_slice(&mended);
                Object(py)
                    .deserialize(&mut reader)
                    .and_then(|object| reader.end().map(|()| object))
                    .map_err(|error| PyValueError::new_err(error.to_string()))
            }
        },
    }
}

/// A `serde_json::Value` as Python objects.
pub(crate) fn from_value<'py>(py: Python<'py>, value: &serde_json::Value) -> PyResult<Bound<'py, PyAny>> {
    Object(py)
        .deserialize(value)
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

#[derive(Clone, Copy)]
struct Object<'py>(Python<'py>);

/// Serde's errors carry text only; a failed allocation in Python is all that can end here.
fn python<E: serde::de::Error>(error: PyErr) -> E {
    E::custom(error)
}

impl<'de, 'py> DeserializeSeed<'de> for Object<'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Object<'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(PyNone::get(self.0).to_owned().into_any())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(PyBool::new(self.0, flag).to_owned().into_any())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        number
            .into_pyobject(self.0)
            .map(Bound::into_any)
            .map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        number
            .into_pyobject(self.0)
            .map(Bound::into_any)
            .map_err(E::custom)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(PyFloat::new(self.0, number).into_any())
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.0, text).into_any())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.0);
        while let Some(item) = items.next_element_seed(self)? {
            list.append(item).map_err(python)?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let dict = PyDict::new(self.0);
        while let Some(key) = entries.next_key::<std::borrow::Cow<'_, str>>()? {
            let item = entries.next_value_seed(self)?;
            dict.set_item(PyString::new(self.0, &key), item)
                .map_err(A::Error::custom)?;
        }
        Ok(dict.into_any())
    }
}
