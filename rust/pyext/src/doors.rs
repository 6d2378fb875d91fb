//! What the doors ask beside calls: configuration, models, warming up, the command line.

use crate::call::Call;
use crate::error::{guarded, raise};
use crate::frozen;
use crate::runtime;
use omni_bridge::{Bridge, Budget, Client, EngineChoice, Limit, Retry, RetryPolicy, Timeout, Timeouts};
use omni_core::{CONTRACT, Code, Event, FinishReason, Role};
use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What `configure` takes; absent and null are the default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    timeout: Option<Timeout>,
    retry: Option<Retry>,
    fallbacks: Option<Vec<Value>>,
    fallback_mid_stream: Option<bool>,
    limits: Option<BTreeMap<String, Limit>>,
    budget: Option<Budget>,
    allow_endpoints: Option<bool>,
    allowed_hosts: Option<Vec<String>>,
    allow_private_images: Option<bool>,
    engine: Option<EngineChoice>,
    bridge_url: Option<String>,
    bridge_token: Option<String>,
}

/// Sets the defaults of all calls that begin from now on.
#[pyfunction]
fn configure(document: &Bound<'_, PyAny>) -> PyResult<()> {
    guarded(|| {
        runtime::check_fork()?;
        let config: Config = frozen::parse("configuration", document)?;
        let mut builder = Client::builder().catalogue(runtime::catalogue()?);
        if let Some(timeout) = config.timeout {
            builder = builder.timeout(match timeout {
                Timeout::Total(total) => Timeouts {
                    total: Some(total),
                    ..Timeouts::default()
                },
                Timeout::Each(each) => each,
            });
        }
        if let Some(retry) = config.retry {
            builder = builder.retry(match retry {
                Retry::Count(count) => RetryPolicy {
                    max_retries: Some(count),
                    max_wait: None,
                },
                Retry::Policy(policy) => policy,
            });
        }
        if let Some(fallbacks) = config.fallbacks {
            builder = builder.fallbacks(fallbacks);
        }
        if let Some(mid_stream) = config.fallback_mid_stream {
            builder = builder.fallback_mid_stream(mid_stream);
        }
        for (provider, limit) in config.limits.into_iter().flatten() {
            builder = builder.limits(provider, limit);
        }
        if let Some(budget) = config.budget {
            builder = builder.budget(budget);
        }
        if let Some(allow) = config.allow_endpoints {
            builder = builder.allow_endpoints(allow);
        }
        if let Some(hosts) = config.allowed_hosts {
            builder = builder.allowed_hosts(hosts);
        }
        if let Some(allow) = config.allow_private_images {
            builder = builder.allow_private_images(allow);
        }
        if let Some(choice) = config.engine {
            builder = builder.engine_choice(choice);
        }
        if let Some(url) = config.bridge_url {
            builder = builder.bridge(Bridge::Url {
                url,
                token: config.bridge_token,
            });
        }
        runtime::set_client(builder.build().map_err(|error| raise(&error))?);
        Ok(())
    })
}

/// Adds a provider that the native engine can ask.
#[pyfunction]
fn register_provider(definition: &Bound<'_, PyAny>) -> PyResult<()> {
    guarded(|| {
        runtime::check_fork()?;
        let definition: Value = frozen::parse("provider", definition)?;
        runtime::catalogue()?
            .register_provider_json(&definition.to_string())
            .map_err(|error| raise(&error))
    })
}

/// The call behind `models()`.
#[pyfunction]
fn models_call() -> PyResult<Call> {
    let client = runtime::client()?;
    Ok(Call::op(async move { client.models().await }))
}

/// The call behind `warm_up()`.
#[pyfunction]
fn warm_up_call() -> PyResult<Call> {
    let client = runtime::client()?;
    Ok(Call::op(async move {
        client.warm_up().await.map(|()| Value::Bool(true))
    }))
}

/// An operation of the engine, as a document.
#[pyfunction]
fn op_call(name: String, document: &Bound<'_, PyAny>) -> PyResult<Call> {
    let document: Value = frozen::parse("op document", document)?;
    let client = runtime::client()?;
    Ok(Call::op(async move { client.op(&name, document).await }))
}

/// Runs the `omni` command line: `argv` with the program's name first. Gives the exit code.
///
/// Detached all the while. The command line listens for Ctrl-C itself and
/// ends its call; afterwards Python's own handler is in its place again.
#[pyfunction]
fn cli_main(py: Python<'_>, argv: Vec<std::ffi::OsString>) -> PyResult<i32> {
    guarded(|| {
        runtime::check_fork()?;
        let signal = py.import("signal")?;
        let interrupt = signal.getattr("SIGINT")?;
        let before = signal.call_method1("getsignal", (&interrupt,))?;
        let code = py.detach(|| omni_cli::main_from(argv));
        // Only the main thread may set handlers; and None is one that was not set from Python.
        if !before.is_none() {
            let _ = signal.call_method1("signal", (&interrupt, &before));
        }
        // A Ctrl-C that the command line has dealt with is not to be raised once more.
        Ok(code)
    })
}

/// A call that panics in our Rust, "here" or on the runtime: for the test that a panic is an `internal` error.
#[pyfunction]
fn panicking_call(place: &str) -> PyResult<Call> {
    if place == "here" {
        return guarded(deliberate);
    }
    Ok(Call::op(async { deliberate() }))
}

#[allow(clippy::panic, reason = "this is what the test asks for")]
fn deliberate<T>() -> T {
    panic!("a deliberate panic, for a test")
}

/// The words of the closed sets, for the test that compares them with `types.py`.
#[pyfunction]
fn closed_sets() -> [(&'static str, Vec<&'static str>); 5] {
    [
        ("codes", Code::ALL.iter().map(|code| code.name()).collect()),
        ("event_types", Event::TYPES.to_vec()),
        (
            "finish_reasons",
            FinishReason::ALL.iter().map(|reason| reason.name()).collect(),
        ),
        ("request_fields", omni_core::Request::FIELDS.to_vec()),
        ("roles", Role::ALL.iter().map(|role| role.name()).collect()),
    ]
}

/// Adds the functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("CONTRACT", CONTRACT)?;
    module.add_function(wrap_pyfunction!(configure, module)?)?;
    module.add_function(wrap_pyfunction!(register_provider, module)?)?;
    module.add_function(wrap_pyfunction!(models_call, module)?)?;
    module.add_function(wrap_pyfunction!(warm_up_call, module)?)?;
    module.add_function(wrap_pyfunction!(op_call, module)?)?;
    module.add_function(wrap_pyfunction!(cli_main, module)?)?;
    module.add_function(wrap_pyfunction!(panicking_call, module)?)?;
    module.add_function(wrap_pyfunction!(closed_sets, module)?)
}
