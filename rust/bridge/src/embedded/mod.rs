//! The Python engine in this process.
//!
//! In a Python process the extension module [`install`]s its table of functions; in any other host
//! [`Embedded::connect`] finds an interpreter, opens it and takes the same table from the module.
#![allow(
    unsafe_code,
    reason = "the embedding: every block carries its safety argument"
)]

pub mod abi;
mod boot;
mod call;
mod fork;
mod interpreter;
mod python;
mod steps;

pub use call::RawCall;
pub use fork::forked;
pub use interpreter::Interpreter;

use abi::{ABI, EngineApi};
use omni_core::{
    BoxFuture, CONTRACT, Canceller, ChatEngine, Code, Engine as EngineName, Error, ModelInfo, Request,
    Result, Steps,
};
use serde::Serialize;
use serde_json::Value;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

static TABLE: OnceLock<&'static EngineApi> = OnceLock::new();

/// Makes `table` the engine of this process. The first one stays.
pub fn install(table: &'static EngineApi) {
    fork::watch();
    let _ = TABLE.set(table);
}

/// Whether the engine is known already, so that [`Embedded::connect`] does not block.
pub fn installed() -> bool {
    TABLE.get().is_some()
}

/// What the embedded engine may do.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The interpreter or the venv to use; otherwise `OMNI_BRIDGE_PYTHON`, `VIRTUAL_ENV`, then `python3` on the path.
    /// A process has one interpreter: the first that works stays, and one that is there already is used as it is.
    pub python: Option<PathBuf>,
    /// Whether requests may name `api_base`, `api_key` and `headers`.
    pub allow_endpoints: bool,
    /// Hosts to which keys of the environment may go, beside those of their own provider.
    pub allowed_hosts: Vec<String>,
    /// Whether images may be fetched from private addresses.
    pub allow_private_images: bool,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            python: None,
            allow_endpoints: true,
            allowed_hosts: Vec::new(),
            allow_private_images: false,
        }
    }
}

/// The part of the configuration that every op document carries.
#[derive(Clone, Debug, Serialize)]
struct OpConfig {
    allow_endpoints: bool,
    allowed_hosts: Vec<String>,
    allow_private_images: bool,
}

/// The Python engine of this process. Cheap to clone; all clones share the one loop.
///
/// ```no_run
/// use omni_bridge_py::embedded::{Embedded, EmbeddedConfig};
///
/// # async fn example() -> omni_core::Result<()> {
/// let engine = Embedded::connect(&EmbeddedConfig::default())?;
/// let answer = engine.op("echo", serde_json::json!({ "data": "hello" })).await?;
/// assert_eq!(answer, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Embedded {
    table: &'static EngineApi,
    config: OpConfig,
}

impl Embedded {
    /// Connects to the engine: the one installed in this process, or that of the interpreter which is found and
    /// opened now. Blocks (an interpreter takes some 50 ms to start); may be called from any thread, any number
    /// of times. Starts no loop: the first call does.
    ///
    /// # Errors
    /// `engine_unavailable`, naming the interpreter and what to do.
    pub fn connect(config: &EmbeddedConfig) -> Result<Self> {
        if forked() {
            return Err(fork::error());
        }
        let table = installed_or(|| boot::table(config.python.as_deref()))?;
        let EmbeddedConfig {
            python: _,
            allow_endpoints,
            allowed_hosts,
            allow_private_images,
        } = config.clone();
        Ok(Self {
            table,
            config: OpConfig {
                allow_endpoints,
                allowed_hosts,
                allow_private_images,
            },
        })
    }

    /// Starts a call with the op document `op` as it is.
    pub fn raw(&self, op: &[u8]) -> RawCall {
        RawCall::start(self.table, op)
    }

    /// Runs an op that answers with one `result`. `document` is an object; `op` and `config` are added.
    ///
    /// # Errors
    /// What the op's `error` event says; `cancelled` if the engine was shut down meanwhile.
    pub fn op(&self, op: &str, document: Value) -> impl Future<Output = Result<Value>> + Send + 'static {
        let call = match document {
            Value::Object(mut object) => {
                object.insert("op".into(), op.into());
                match serde_json::to_value(&self.config) {
                    Ok(config) => drop(object.insert("config".into(), config)),
                    Err(error) => return steps::Answer::failed(Error::internal(error.to_string())),
                }
                match serde_json::to_vec(&object) {
                    Ok(document) => self.raw(&document),
                    Err(error) => return steps::Answer::failed(Error::internal(error.to_string())),
                }
            }
            _ => return steps::Answer::failed(Error::internal("an op document is an object")),
        };
        steps::Answer::of(call)
    }

    /// Loads LiteLLM, so that the first call need not.
    ///
    /// # Errors
    /// `engine_unavailable` if it is not there.
    pub async fn warm_up(&self) -> Result<()> {
        self.op("warm_up", Value::Object(omni_core::Object::new()))
            .await
            .map(drop)
    }

    /// Cancels every call and stops the loop; true if it stopped in time. A later call starts a new one.
    /// Blocks at most `timeout`.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        (self.table.shutdown)(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)) == 0
    }

    /// Calls that have not ended.
    pub fn open_calls(&self) -> u64 {
        (self.table.open_calls)()
    }

    /// The package's version.
    pub fn version(&self) -> String {
        version(self.table)
    }
}

impl ChatEngine for Embedded {
    fn name(&self) -> EngineName {
        EngineName::Litellm
    }

    fn call(&self, request: &Request, stream: bool) -> Steps {
        #[derive(Serialize)]
        struct Op<'a> {
            #[serde(rename = "op")]
            name: &'static str,
            stream: bool,
            request: &'a Request,
            config: &'a OpConfig,
        }
        let document = match serde_json::to_vec(&Op {
            name: "chat",
            stream,
            request,
            config: &self.config,
        }) {
            Ok(document) => document,
            Err(error) => {
                return Steps::failed(Error::internal(format!("the request cannot be written: {error}")));
            }
        };
        let call = self.raw(&document);
        let canceller = call.canceller();
        Steps::new(steps::Reader::new(call, &request.model), canceller)
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let answer = self.op("model_info", serde_json::json!({ "model": model }));
        Box::pin(async move {
            serde_json::from_value(answer.await?).map_err(|error| {
                Error::internal(format!("model_info is not what the contract says: {error}"))
            })
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        Box::pin(self.op("models", Value::Object(omni_core::Object::new())))
    }

    fn count_tokens(&self, request: Request) -> BoxFuture<'_, Result<u64>> {
        let answer = match serde_json::to_value(&request) {
            Ok(request) => self.op("count_tokens", serde_json::json!({ "request": request })),
            Err(error) => return Box::pin(std::future::ready(Err(Error::internal(error.to_string())))),
        };
        Box::pin(async move {
            let data = answer.await?;
            data.as_u64()
                .or_else(|| data.get("input_tokens").and_then(Value::as_u64))
                .ok_or_else(|| Error::internal("count_tokens gave no number"))
        })
    }
}

/// The table of this process, which `find` looks for if there is none yet; one thread at a time.
fn installed_or(find: impl FnOnce() -> Result<&'static EngineApi>) -> Result<&'static EngineApi> {
    static FINDING: Mutex<()> = Mutex::new(());
    if let Some(table) = TABLE.get() {
        return Ok(table);
    }
    let _one = FINDING.lock().unwrap_or_else(PoisonError::into_inner);
    // Another thread may have found it meanwhile; or importing the module may have installed its own, the same.
    if TABLE.get().is_none() {
        install(find()?);
    }
    TABLE
        .get()
        .copied()
        .ok_or_else(|| Error::internal("the engine's table got lost"))
}

/// Whether the table is one that this build understands.
fn check(table: &EngineApi, place: &str) -> Result<()> {
    let unavailable = |message: String| Err(Error::new(Code::EngineUnavailable, message));
    // The first two fields are where they are in every version; the others only in this one.
    if table.abi != ABI {
        return unavailable(format!(
            "omni_bridge in {place} speaks version {} of the crossing, this program version {ABI}: install the package of \
             this program's version there (pip install omni-bridge=={})",
            table.abi,
            env!("CARGO_PKG_VERSION")
        ));
    }
    if table.contract != CONTRACT {
        return unavailable(format!(
            "omni_bridge in {place} speaks contract {}, this program contract {CONTRACT}: install the package of this \
             program's version there (pip install omni-bridge=={})",
            table.contract,
            env!("CARGO_PKG_VERSION")
        ));
    }
    let (theirs, ours) = (version(table), env!("CARGO_PKG_VERSION"));
    // What the two halves say to each other beside the contract may change with the minor version.
    let minor = |version: &str| {
        version
            .splitn(3, '.')
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if table.size != size_of::<EngineApi>() || minor(&theirs) != minor(ours) {
        return unavailable(format!(
            "omni_bridge in {place} is version {theirs}, this program was built for {ours}: pip install omni-bridge=={ours}"
        ));
    }
    Ok(())
}

fn version(table: &EngineApi) -> String {
    // SAFETY: the table's contract: a static, NUL-terminated string.
    unsafe { CStr::from_ptr(table.version) }
        .to_string_lossy()
        .into_owned()
}

fn canceller(table: &'static EngineApi, id: u64) -> Canceller {
    Canceller::new(move || (table.cancel)(id))
}
