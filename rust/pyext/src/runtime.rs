//! The one tokio runtime of the process and the client that the doors share.

use crate::error::raise;
use omni_bridge::Client;
use omni_bridge::catalogue::Catalogue;
use omni_core::{Code, Error};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use tokio::runtime::{Builder, Handle, Runtime};

/// Never dropped: at exit its threads simply stop, and none of them ever attaches to Python.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// This process is a child of one that had a runtime: the threads are gone, and any lock may be held for ever.
static FORKED: AtomicBool = AtomicBool::new(false);
/// `None` until the first call or `configure`.
static CLIENT: RwLock<Option<Client>> = RwLock::new(None);

/// What is known of providers and models: one for the process, so that a provider that was registered stays known
/// whatever is configured later.
static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();

/// The catalogue, with what `omni.toml` adds; read at first use.
pub(crate) fn catalogue() -> PyResult<Catalogue> {
    if let Some(catalogue) = CATALOGUE.get() {
        return Ok(catalogue.clone());
    }
    let loaded = Catalogue::load().map_err(|error| raise(&error))?;
    Ok(CATALOGUE.get_or_init(|| loaded).clone())
}

/// Whether nothing that threads share may be touched any more.
pub(crate) fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Raises in a child that was forked after first use.
pub(crate) fn check_fork() -> PyResult<()> {
    if forked() {
        return Err(raise(&Error::new(
            Code::EngineUnavailable,
            "this process was forked after omni_bridge had been used, and threads do not survive a fork: start \
             processes with multiprocessing's \"spawn\" or \"forkserver\" method, or fork before the first call",
        )));
    }
    Ok(())
}

/// The runtime; started at first use.
pub(crate) fn handle(py: Python<'_>) -> PyResult<&'static Handle> {
    check_fork()?;
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle());
    }
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4));
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("omni-doors")
        .enable_all()
        .build()
        .map_err(|failed| {
            raise(&Error::new(
                Code::EngineUnavailable,
                format!(
                    "no threads for omni_bridge: {failed}; the limit of threads or of open files is reached"
                ),
            ))
        })?;
    // Another thread may have been quicker; then ours goes, without waiting for it.
    if let Err(second) = RUNTIME.set(runtime) {
        second.shutdown_background();
    } else {
        let hook = PyDict::new(py);
        hook.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
        py.import("os")?
            .call_method("register_at_fork", (), Some(&hook))?;
    }
    match RUNTIME.get() {
        Some(runtime) => Ok(runtime.handle()),
        None => Err(raise(&Error::internal("the runtime is gone"))),
    }
}

#[pyfunction]
fn after_fork_in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

/// The client of the defaults that are in force now.
pub(crate) fn client() -> PyResult<Client> {
    check_fork()?;
    if let Some(client) = &*CLIENT.read().unwrap_or_else(PoisonError::into_inner) {
        return Ok(client.clone());
    }
    let fresh = Client::builder()
        .catalogue(catalogue()?)
        .build()
        .map_err(|error| raise(&error))?;
    Ok(CLIENT
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(fresh)
        .clone())
}

/// From now on calls use `client`; those that run go on with theirs.
pub(crate) fn set_client(client: Client) {
    *CLIENT.write().unwrap_or_else(PoisonError::into_inner) = Some(client);
}
