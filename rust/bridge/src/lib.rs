//! Two ways to the Python engine: [`embedded`] in this process, and over HTTP to a bridge service.
//! No provider logic, and no `pyo3`: the embedded way speaks to the interpreter through a table of C functions.

pub mod embedded;
pub mod http;
