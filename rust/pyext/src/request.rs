//! One request from Python: dicts, pydantic models and our own frozen objects, in any mix; only serde validates.

use crate::error::{guarded, raise};
use crate::frozen::Show;
use crate::json;
use omni_core::Error;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};
use std::sync::Arc;

/// A checked request, for callers that have it as JSON or want to look at a field before they pass it on.
#[pyclass(frozen, module = "omni_bridge._native")]
pub(crate) struct Request(pub(crate) Arc<omni_core::Request>);

#[pymethods]
impl Request {
    #[new]
    #[pyo3(signature = (messages, model, tools = None, params = None))]
    fn new(
        messages: &Bound<'_, PyAny>,
        model: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        params: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        guarded(|| {
            let document = PyDict::new(messages.py());
            document.set_item("model", model)?;
            document.set_item("messages", listed(messages)?)?;
            if let Some(tools) = tools {
                document.set_item("tools", listed(tools)?)?;
            }
            if let Some(params) = params {
                document.update(params.as_mapping())?;
            }
            let text = json::to_vec(&document)
                .map_err(|failed| raise(&Error::invalid(failed.value(messages.py()).to_string())))?;
            checked(&text)
        })
    }

    /// Reads a request from JSON text: `str` or `bytes`.
    #[staticmethod]
    fn from_json(text: &Bound<'_, PyAny>) -> PyResult<Self> {
        guarded(|| {
            if let Ok(bytes) = text.cast::<PyBytes>() {
                checked(bytes.as_bytes())
            } else if let Ok(text) = text.cast::<PyString>() {
                checked(text.to_string_lossy().as_bytes())
            } else {
                Err(raise(&Error::invalid(
                    "the request: give JSON text as str or bytes",
                )))
            }
        })
    }

    /// The value of a field of the contract; None if the request does not set it.
    fn get<'py>(&self, py: Python<'py>, field: &str) -> PyResult<Bound<'py, PyAny>> {
        if !omni_core::Request::FIELDS.contains(&field) {
            return Err(PyKeyError::new_err(format!(
                "{field}: no such field of a request"
            )));
        }
        let document = serde_json::to_value(&*self.0).map_err(|failed| {
            raise(&Error::internal(format!(
                "a request could not be written as JSON: {failed}"
            )))
        })?;
        document.get(field).show(py)
    }

    /// The model id that is asked for.
    #[getter]
    fn model(&self) -> &str {
        &self.0.model
    }

    /// The document of the contract as dicts, lists and plain values, keys included.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::frozen::to_dict(py, &*self.0)
    }

    /// The document of the contract as JSON text, keys included.
    fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        crate::frozen::text(py, &*self.0)
    }

    fn __repr__(&self) -> String {
        // Neither a prompt nor a key.
        format!(
            "Request(model={}, messages=<{}>)",
            crate::frozen::glimpse(&self.0.model),
            self.0.messages.len()
        )
    }
}

fn checked(text: &[u8]) -> PyResult<Request> {
    omni_core::Request::from_json(text)
        .map(|request| Request(Arc::new(request)))
        .map_err(|error| raise(&error))
}

/// Any sequence as a list; what is none, such as one message that somebody forgot to put into a list, is left to serde.
fn listed<'py>(items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let as_it_is = items.is_instance_of::<PyList>()
        || items.is_instance_of::<PyTuple>()
        || items.is_instance_of::<PyString>()
        || items.is_instance_of::<PyBytes>()
        || items.cast::<PyMapping>().is_ok();
    match items.try_iter() {
        Ok(iterator) if !as_it_is => {
            Ok(PyList::new(items.py(), iterator.collect::<PyResult<Vec<_>>>()?)?.into_any())
        }
        _ => Ok(items.clone()),
    }
}
