//! The host's own functions as tools: a Rust closure with a schema from its types, or with one written by hand.

use super::{Invocation, NoticeSink, ToolError, ToolOutput, ToolSource, ToolSpec};
use crate::protocol::ToolFailure;
use futures_util::FutureExt as _;
use omni_core::{BoxFuture, Content, Error, Object, Tool};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Run = Arc<dyn Fn(Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> + Send + Sync>;

/// The name under which the host's tools stand in policies and events.
const HOST: &str = "host";

/// Functions of the program, offered to the model.
///
/// ```
/// use omni_agent::HostTools;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Sum {
///     /// What is added up.
///     numbers: Vec<f64>,
/// }
///
/// let tools = HostTools::new().tool("sum", "Adds numbers.", |sum: Sum| async move {
///     sum.numbers.iter().sum::<f64>().to_string()
/// });
/// ```
#[derive(Clone, Default)]
pub struct HostTools {
    tools: Vec<(ToolSpec, Run)>,
}

impl std::fmt::Debug for HostTools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.tools.iter().map(|(spec, _)| &spec.name);
        f.debug_list().entries(names).finish()
    }
}

impl HostTools {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function whose arguments are `A`: its fields and their comments become the tool's schema. It answers
    /// with text, JSON, content, or a `Result` of one; an error's text is what the model reads. A second tool of the
    /// same name takes the place of the first.
    #[must_use]
    pub fn tool<A, F, Fut>(self, name: &str, description: &str, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutput> + Send + 'static,
    {
        let run = Arc::new(run);
        self.raw(name, description, schema_of::<A>(), move |invocation| {
            let run = Arc::clone(&run);
            async move {
                let arguments =
                    serde_json::from_value::<A>(Value::Object(invocation.arguments)).map_err(|error| {
                        let says = format!("the arguments do not fit the tool's schema: {error}");
                        ToolError::new(ToolFailure::InvalidArguments, says)
                    })?;
                run(arguments).await.into_output()
            }
        })
    }

    /// Adds a function with a JSON schema of its own. It gets the whole invocation: arguments as they came, progress.
    #[must_use]
    pub fn raw<F, Fut>(mut self, name: &str, description: &str, parameters: Value, run: F) -> Self
    where
        F: Fn(Invocation) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutput> + Send + 'static,
    {
        let mut function = Object::new();
        function.insert("name".to_owned(), Value::String(name.to_owned()));
        function.insert("description".to_owned(), Value::String(description.to_owned()));
        function.insert("parameters".to_owned(), parameters);
        let spec = ToolSpec {
            name: name.to_owned(),
            own_name: name.to_owned(),
            server: HOST.to_owned(),
            tool: Tool::Function {
                function,
                other: Object::new(),
            },
            read_only: false,
        };
        let run: Run = Arc::new(move |invocation| {
            // The closure itself may panic before there is a future.
            match catch_unwind(AssertUnwindSafe(|| run(invocation))) {
                Ok(future) => Box::pin(async move { future.await.into_output() }),
                Err(panic) => {
                    let error = panicked(panic.as_ref());
                    Box::pin(async move { Err(error) })
                }
            }
        });
        self.tools.retain(|(old, _)| old.name != name);
        self.tools.push((spec, run));
        self
    }

    /// Says of the tool added last that it only reads: `approve_reads` lets it run without asking.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        if let Some((spec, _)) = self.tools.last_mut() {
            spec.read_only = true;
        }
        self
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }
}

impl ToolSource for HostTools {
    fn name(&self) -> &str {
        HOST
    }

    fn tools(&self) -> BoxFuture<'_, Result<Vec<ToolSpec>, Error>> {
        let specs = self.tools.iter().map(|(spec, _)| spec.clone()).collect();
        Box::pin(async move { Ok(specs) })
    }

    fn call(&self, invocation: Invocation) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        let found = self
            .tools
            .iter()
            .find(|(spec, _)| spec.own_name == invocation.own_name);
        let Some((_, run)) = found else {
            let says = format!("the program has no tool \"{}\"", invocation.own_name);
            return Box::pin(async move { Err(ToolError::new(ToolFailure::Unknown, says)) });
        };
        let running = AssertUnwindSafe(run(invocation)).catch_unwind();
        Box::pin(async move {
            running
                .await
                .unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
        })
    }

    fn watch(&self, _: NoticeSink) {}

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What the model is told of a panic: that it was one, and its message, which is the program's own text.
fn panicked(panic: &(dyn std::any::Any + Send)) -> ToolError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let says = text.map_or_else(
        || "the tool panicked".to_owned(),
        |text| format!("the tool panicked: {text}"),
    );
    ToolError::new(ToolFailure::Failed, says)
}

/// The JSON schema of a type, in one piece: not every provider follows references.
fn schema_of<A: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<A>();
    schema.remove("title");
    schema.ensure_object();
    schema.to_value()
}

/// What a function may answer with.
pub trait IntoOutput: Send {
    /// The answer, or why there is none.
    fn into_output(self) -> Result<ToolOutput, ToolError>;
}

impl IntoOutput for ToolOutput {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        Ok(self)
    }
}

impl IntoOutput for Content {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        Ok(ToolOutput {
            content: self,
            is_error: false,
            structured: None,
        })
    }
}

impl IntoOutput for String {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        Content::Text(self).into_output()
    }
}

impl IntoOutput for &str {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        self.to_owned().into_output()
    }
}

impl IntoOutput for () {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        "done".into_output()
    }
}

impl IntoOutput for Value {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        Ok(ToolOutput {
            content: Content::Text(self.to_string()),
            is_error: false,
            structured: Some(self),
        })
    }
}

impl IntoOutput for ToolError {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        Err(self)
    }
}

/// An error is an answer too: the model reads it and may try something else. A [`ToolError`] keeps its kind.
impl<T: IntoOutput, E: IntoToolError> IntoOutput for Result<T, E> {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        self.map_or_else(|error| Err(error.into_tool_error()), IntoOutput::into_output)
    }
}

/// An error of a function, as the model is told.
pub trait IntoToolError: Send {
    /// The same as a tool's error.
    fn into_tool_error(self) -> ToolError;
}

impl IntoToolError for ToolError {
    fn into_tool_error(self) -> ToolError {
        self
    }
}

impl IntoToolError for String {
    fn into_tool_error(self) -> ToolError {
        ToolError::new(ToolFailure::Failed, self)
    }
}

impl IntoToolError for &str {
    fn into_tool_error(self) -> ToolError {
        self.to_owned().into_tool_error()
    }
}

impl IntoToolError for Error {
    fn into_tool_error(self) -> ToolError {
        self.to_string().into_tool_error()
    }
}

impl IntoToolError for std::io::Error {
    fn into_tool_error(self) -> ToolError {
        self.to_string().into_tool_error()
    }
}

impl IntoToolError for Box<dyn std::error::Error + Send + Sync> {
    fn into_tool_error(self) -> ToolError {
        self.to_string().into_tool_error()
    }
}
