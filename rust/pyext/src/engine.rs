//! The engine's half of the crossing: the table of functions, and the calls and the loop behind it.
//!
//! Nothing here waits for Python or attaches to it but the keeper, a thread of ours that starts the loop and sees to
//! it that cancelled calls end even when the loop is blocked.
#![allow(
    unsafe_code,
    reason = "the table is C: every block carries its safety argument"
)]

use crate::engine_call::{Call, Sink};
use crate::engine_exit::{self, attach, attached};
use crate::engine_hub::{Command, Hub, Wake};
use omni_bridge_py::embedded::abi::{ABI, CAPSULE, EngineApi, OnEvents};
use omni_core::{CONTRACT, Code};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// How long a cancelled call may take to end before the keeper ends it: longer than the loop's own patience with a
/// handler (`_engine.CANCEL_GRACE`), so that this happens only when the loop itself does not answer.
const KEEPER_GRACE: Duration = Duration::from_secs(7);

/// The table that every host uses.
pub(crate) static API: EngineApi = EngineApi {
    abi: ABI,
    contract: CONTRACT,
    size: size_of::<EngineApi>(),
    version: VERSION.as_ptr(),
    call,
    resume,
    cancel,
    shutdown,
    open_calls,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No loop.
    Idle,
    /// The keeper is starting one; commands gather.
    Starting,
    Running,
    /// The loop was told to end; no new calls.
    Stopping,
}

struct State {
    phase: Phase,
    queue: VecDeque<Command>,
    calls: BTreeMap<u64, Arc<Call>>,
    last_id: u64,
    wake: Option<Arc<Wake>>,
    loop_thread: Option<ThreadId>,
    /// How many loops have ended: the next may begin before whoever waits for the end of one has looked.
    loops: u64,
    /// When the keeper ends cancelled calls itself; in the order of time, as the grace is always the same.
    deadlines: VecDeque<(Instant, u64)>,
}

static STATE: Mutex<State> = Mutex::new(State {
    phase: Phase::Idle,
    queue: VecDeque::new(),
    calls: BTreeMap::new(),
    last_id: 0,
    wake: None,
    loop_thread: None,
    loops: 0,
    deadlines: VecDeque::new(),
});
static CHANGED: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An `error` event as one line of JSON.
pub(crate) fn error_document(code: &str, message: &str) -> String {
    let code = Code::ALL
        .iter()
        .copied()
        .find(|have| have.name() == code)
        .unwrap_or(Code::Internal);
    let error = omni_core::Error::new(code, message);
    format!("{}\n", serde_json::json!({ "type": "error", "error": error }))
}

const FORKED_TEXT: &str = "this process was forked after the engine had started, and threads do not survive a fork: \
    start processes with the \"spawn\" or \"forkserver\" method, or fork before the first call";
const EXITING_TEXT: &str = "the process is exiting: no new calls are taken";
const STOPPING_TEXT: &str = "the engine is shutting down: wait for shutdown() to return before the next call";

unsafe extern "C" fn call(op: *const u8, len: usize, on_events: OnEvents, user_data: *mut c_void) -> u64 {
    let refuse = |message: &str| {
        let document = error_document("engine_unavailable", message);
        // SAFETY: the caller promises that `on_events` takes `user_data` until the last batch, and this is it.
        unsafe { on_events(user_data, document.as_ptr(), document.len(), 1) };
        0
    };
    if engine_exit::forked() {
        return refuse(FORKED_TEXT);
    }
    if engine_exit::exiting() {
        return refuse(EXITING_TEXT);
    }
    // SAFETY: the caller promises `len` readable bytes at `op`; they are copied here.
    let document = if len == 0 {
        Vec::new()
    } else {
        unsafe { std::slice::from_raw_parts(op, len) }.to_vec()
    };
    // Nothing below can panic short of memory running out; if it does, the call is refused, not lost.
    let submitted = catch_unwind(AssertUnwindSafe(|| submit(document, on_events, user_data)));
    match submitted {
        Ok(Ok(id)) => id,
        Ok(Err(message)) => refuse(message),
        Err(_) => refuse("the call could not be submitted: a bug in the engine"),
    }
}

fn submit(document: Vec<u8>, on_events: OnEvents, user_data: *mut c_void) -> Result<u64, &'static str> {
    engine_exit::use_now();
    let mut state = state();
    if state.phase == Phase::Stopping {
        return Err(STOPPING_TEXT);
    }
    if state.phase == Phase::Idle {
        if std::thread::Builder::new()
            .name("omni-keeper".into())
            .spawn(keep)
            .is_err()
        {
            return Err(
                "the engine's thread cannot be started: the limit of threads or of memory is reached",
            );
        }
        state.phase = Phase::Starting;
    }
    state.last_id += 1;
    let id = state.last_id;
    let call = Call::new(id, on_events, user_data);
    state.calls.insert(id, Arc::clone(&call));
    push(state, Command::Start(call, document));
    Ok(id)
}

fn push(mut state: MutexGuard<'_, State>, command: Command) {
    state.queue.push_back(command);
    let wake = state.wake.clone();
    drop(state);
    if let Some(wake) = wake {
        wake.signal();
    }
}

extern "C" fn resume(id: u64) {
    if engine_exit::forked() {
        return;
    }
    let state = state();
    if let Some(call) = state.calls.get(&id) {
        call.resumed();
        push(state, Command::Resume(id));
    }
}

extern "C" fn cancel(id: u64) {
    if engine_exit::forked() {
        return;
    }
    let mut state = state();
    if state.calls.contains_key(&id) {
        if state.deadlines.is_empty() {
            CHANGED.notify_all();
        }
        state.deadlines.push_back((Instant::now() + KEEPER_GRACE, id));
        push(state, Command::Cancel(id));
    }
}

extern "C" fn open_calls() -> u64 {
    if engine_exit::forked() {
        0
    } else {
        state().calls.len() as u64
    }
}

extern "C" fn shutdown(timeout_ms: u64) -> i32 {
    if engine_exit::forked() || !engine_exit::used() {
        return 0;
    }
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    // Whoever waits here attached would keep the loop from ending.
    let stopped = if attached() {
        Python::try_attach(|py| py.detach(|| stop(deadline))).unwrap_or_else(|| stop(deadline))
    } else {
        stop(deadline)
    };
    i32::from(!stopped)
}

/// Tells the loop to end and waits until it has; false if time ran out, and then every call has been ended here.
pub(crate) fn stop(deadline: Instant) -> bool {
    let mut guard = state();
    let this = guard.loops;
    let own = guard.loop_thread == Some(std::thread::current().id());
    if matches!(guard.phase, Phase::Starting | Phase::Running) {
        guard.phase = Phase::Stopping;
        push(guard, Command::Stop);
        guard = state();
    }
    while guard.phase != Phase::Idle && guard.loops == this {
        let left = deadline.saturating_duration_since(Instant::now());
        if own || left.is_zero() {
            break;
        }
        guard = CHANGED
            .wait_timeout(guard, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    if guard.phase == Phase::Idle || guard.loops != this {
        return true;
    }
    let calls = if own {
        BTreeMap::new()
    } else {
        std::mem::take(&mut guard.calls)
    };
    drop(guard);
    abandon(
        calls.into_values(),
        "the engine was shut down, and its loop did not answer in time: a callback in it blocks",
    );
    false
}

/// Ends calls whose loop does not.
fn abandon(calls: impl Iterator<Item = Arc<Call>>, message: &str) {
    let document = error_document("engine_unavailable", message);
    for call in calls {
        call.deliver(document.as_bytes(), true);
    }
}

/// The keeper's life: starts the loop, then watches over cancelled calls until the loop has ended.
fn keep() {
    let this = state().loops;
    let started = attach(|py| {
        let (hub, wake) = Hub::new().map_err(PyErr::from)?;
        state().wake = Some(wake);
        py.import("omni_bridge._engine")?
            .call_method1("start", (Bound::new(py, hub)?,))?;
        Ok::<_, PyErr>(())
    });
    let failure = match started {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(format!("the engine could not start: {error}")),
        None => Some(EXITING_TEXT.to_owned()),
    };
    if let Some(message) = failure {
        let calls = over();
        return abandon(calls.into_values(), &message);
    }
    let mut guard = state();
    while guard.loops == this {
        let now = Instant::now();
        let mut due = Vec::new();
        while guard.deadlines.front().is_some_and(|(when, _)| *when <= now) {
            if let Some((_, id)) = guard.deadlines.pop_front() {
                due.extend(guard.calls.remove(&id));
            }
        }
        if !due.is_empty() {
            drop(guard);
            abandon(
                due.into_iter(),
                "the call was cancelled, but the engine's loop does not answer: a callback in it blocks",
            );
            guard = state();
            continue;
        }
        guard = match guard
            .deadlines
            .front()
            .map(|(when, _)| when.saturating_duration_since(now))
        {
            Some(wait) => {
                CHANGED
                    .wait_timeout(guard, wait)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => CHANGED.wait(guard).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

// ------------------------------------------------------------------------------------- what the loop calls

pub(crate) fn take_commands() -> VecDeque<Command> {
    std::mem::take(&mut state().queue)
}

pub(crate) fn loop_began() {
    let mut state = state();
    state.loop_thread = Some(std::thread::current().id());
    if state.phase == Phase::Starting {
        state.phase = Phase::Running;
    }
}

pub(crate) fn ended(id: u64) {
    state().calls.remove(&id);
}

pub(crate) fn loop_over(reason: Option<&str>) {
    let calls = over();
    abandon(
        calls.into_values(),
        &format!(
            "the engine's loop has ended: {}",
            reason.unwrap_or("it was shut down")
        ),
    );
}

/// Back to the beginning; gives the calls that nobody has ended.
fn over() -> BTreeMap<u64, Arc<Call>> {
    let mut state = state();
    state.phase = Phase::Idle;
    state.loops += 1;
    state.wake = None;
    state.loop_thread = None;
    state.queue.clear();
    state.deadlines.clear();
    CHANGED.notify_all();
    std::mem::take(&mut state.calls)
}

/// Whether this thread is the loop's: a blocking call on it would wait for itself.
pub(crate) fn on_engine_thread() -> bool {
    !engine_exit::forked() && engine_exit::used() && state().loop_thread == Some(std::thread::current().id())
}

/// Cancels every call and stops the loop; True if it stopped in time. A later call starts a new one.
#[pyfunction]
fn engine_shutdown(py: Python<'_>, timeout: f64) -> bool {
    let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
    py.detach(|| shutdown(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)) == 0)
}

/// How many calls have not ended.
#[pyfunction]
fn engine_open_calls() -> u64 {
    open_calls()
}

/// Whether this is the engine's own thread.
#[pyfunction]
fn engine_on_thread() -> bool {
    on_engine_thread()
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // SAFETY: the table is static, so the pointer stays good, and nobody writes through it.
    let capsule = unsafe { PyCapsule::new_with_pointer(py, NonNull::from(&API).cast::<c_void>(), CAPSULE)? };
    module.add("engine_api", capsule)?;
    module.add_class::<Hub>()?;
    module.add_class::<Sink>()?;
    module.add_function(wrap_pyfunction!(engine_shutdown, module)?)?;
    module.add_function(wrap_pyfunction!(engine_open_calls, module)?)?;
    module.add_function(wrap_pyfunction!(engine_on_thread, module)?)?;
    omni_bridge_py::embedded::install(&API);
    Ok(())
}
