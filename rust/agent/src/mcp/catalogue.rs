//! What a server has beside tools: resources and prompts; and how its lists are read, page by page.

use super::connection::{Connection, Trouble};
use super::content;
use super::server::McpServer;
use omni_core::{Code, Content, Error, Message, Object, Part, Result, Role};
use rmcp::model::{
    ClientRequest, GetPromptRequest, GetPromptRequestParams, ListPromptsRequest,
    ListResourceTemplatesRequest, ListResourcesRequest, ListToolsRequest, PaginatedRequestParams,
    PingRequest, ReadResourceRequest, ReadResourceRequestParams, ResourceContents, ServerResult,
};
use std::future::Future;

/// Pages and entries of one list: a server whose list has no end is told from a long one.
const MOST_PAGES: usize = 1000;
const MOST_ENTRIES: usize = 100_000;

/// A resource, or a template of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its address; of a template, with `{names}` to fill in (RFC 6570).
    pub uri: String,
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its media type.
    pub mime_type: Option<String>,
    /// Its bytes.
    pub size: Option<u64>,
}

/// The content of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceContent {
    /// Its address: that of the resource, or of one inside it.
    pub uri: String,
    /// Its media type.
    pub mime_type: Option<String>,
    /// What it holds.
    pub body: ResourceBody,
}

/// What a resource holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Anything else, in base64.
    Base64(String),
}

/// A prompt that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it takes.
    pub arguments: Vec<PromptArgument>,
}

/// What a prompt takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What it means.
    pub description: Option<String>,
    /// Whether it must be given.
    pub required: bool,
}

macro_rules! pages {
    ($(#[$meta:meta])* $vis:vis $name:ident, $request:ident, $result:ident, $field:ident, $item:ty) => {
        $(#[$meta])*
        $vis async fn $name(&self, server: &str) -> Result<Vec<$item>> {
            pages(server, |cursor| async move {
                let params = PaginatedRequestParams::default().with_cursor(cursor);
                let request = ClientRequest::$request($request::with_param(params));
                match self.ask(request, None).await {
                    Ok(ServerResult::$result(page)) => Ok((page.$field, page.next_cursor)),
                    Ok(_) => Err(another_kind()),
                    Err(trouble) => Err(trouble),
                }
            })
            .await
        }
    };
}

use rmcp::model::{Prompt as SdkPrompt, Resource as SdkResource, ResourceTemplate, Tool as SdkTool};

impl Connection {
    pages!(pub(super) list_tools, ListToolsRequest, ListToolsResult, tools, SdkTool);
    pages!(
        list_resources,
        ListResourcesRequest,
        ListResourcesResult,
        resources,
        SdkResource
    );
    pages!(
        list_templates,
        ListResourceTemplatesRequest,
        ListResourceTemplatesResult,
        resource_templates,
        ResourceTemplate
    );
    pages!(
        list_prompts,
        ListPromptsRequest,
        ListPromptsResult,
        prompts,
        SdkPrompt
    );
}

fn another_kind() -> Trouble {
    Trouble::Malformed("it answered with another kind of result".to_owned())
}

/// Every page of a list, in order.
async fn pages<T, F, P>(server: &str, mut page: F) -> Result<Vec<T>>
where
    F: FnMut(Option<String>) -> P,
    P: Future<Output = std::result::Result<(Vec<T>, Option<String>), Trouble>>,
{
    let mut all = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let before = cursor.clone();
        let (entries, next) = page(cursor).await.map_err(|trouble| trouble.of_server(server))?;
        all.extend(entries);
        if next.is_none() {
            return Ok(all);
        }
        if next == before || all.len() > MOST_ENTRIES {
            break;
        }
        cursor = next;
    }
    Err(Error::new(
        Code::Protocol,
        format!("the MCP server \"{server}\" gives a list without an end"),
    ))
}

impl McpServer {
    /// Its resources, every page. None of a server that has none.
    pub async fn resources(&self) -> Result<Vec<Resource>> {
        self.within(async |connection| {
            if !has(&connection, |capabilities| capabilities.resources.is_some()) {
                return Ok(Vec::new());
            }
            let found = connection.list_resources(&self.shared().name).await?;
            Ok(found
                .into_iter()
                .map(|one| Resource {
                    uri: one.uri,
                    name: one.name,
                    title: one.title,
                    description: one.description,
                    mime_type: one.mime_type,
                    size: one.size,
                })
                .collect())
        })
        .await
    }

    /// Its templates of resources, every page. None of a server that has none.
    pub async fn resource_templates(&self) -> Result<Vec<Resource>> {
        self.within(async |connection| {
            if !has(&connection, |capabilities| capabilities.resources.is_some()) {
                return Ok(Vec::new());
            }
            let found = connection.list_templates(&self.shared().name).await?;
            Ok(found
                .into_iter()
                .map(|one| Resource {
                    uri: one.uri_template,
                    name: one.name,
                    title: one.title,
                    description: one.description,
                    mime_type: one.mime_type,
                    size: None,
                })
                .collect())
        })
        .await
    }

    /// What a resource holds.
    pub async fn read_resource(&self, uri: &str) -> Result<Vec<ResourceContent>> {
        self.within(async |connection| {
            let request = ReadResourceRequest::new(ReadResourceRequestParams::new(uri));
            let answer = connection
                .ask(ClientRequest::ReadResourceRequest(request), None)
                .await;
            let result = match answer {
                Ok(ServerResult::ReadResourceResult(result)) => result,
                Ok(_) => return Err(another_kind().of_server(&self.shared().name)),
                Err(trouble) => return Err(trouble.of_server(&self.shared().name)),
            };
            Ok(result.contents.into_iter().filter_map(resource_content).collect())
        })
        .await
    }

    /// Its prompts, every page. None of a server that has none.
    pub async fn prompts(&self) -> Result<Vec<Prompt>> {
        self.within(async |connection| {
            if !has(&connection, |capabilities| capabilities.prompts.is_some()) {
                return Ok(Vec::new());
            }
            let found = connection.list_prompts(&self.shared().name).await?;
            Ok(found
                .into_iter()
                .map(|one| Prompt {
                    name: one.name,
                    title: one.title,
                    description: one.description,
                    arguments: one.arguments.into_iter().flatten().map(prompt_argument).collect(),
                })
                .collect())
        })
        .await
    }

    /// A prompt as messages, ready to be sent.
    pub async fn get_prompt(&self, name: &str, arguments: Object) -> Result<Vec<Message>> {
        self.within(async |connection| {
            let server = &self.shared().name;
            let params = GetPromptRequestParams::new(name).with_arguments(arguments.clone());
            let request = ClientRequest::GetPromptRequest(GetPromptRequest::new(params));
            let result = match connection.ask(request, None).await {
                Ok(ServerResult::GetPromptResult(result)) => result,
                Ok(_) => return Err(another_kind().of_server(server)),
                Err(trouble) => return Err(trouble.of_server(server)),
            };
            let mut messages: Vec<(Role, Vec<Part>)> = Vec::new();
            for message in result.messages {
                let role = match message.role {
                    rmcp::model::Role::Assistant => Role::Assistant,
                    rmcp::model::Role::User => Role::User,
                };
                let part = content::part(message.content)
                    .map_err(|why| Trouble::Malformed(why).of_server(server))?;
                // One message holds one piece of content there: pieces of one speaker are one message here.
                match messages.last_mut() {
                    Some((last, parts)) if *last == role => parts.push(part),
                    _ => messages.push((role, vec![part])),
                }
            }
            Ok(messages
                .into_iter()
                .map(|(role, parts)| message(role, content::content(parts)))
                .collect())
        })
        .await
    }

    /// Asks whether it is there.
    pub async fn ping(&self) -> Result<()> {
        self.within(async |connection| {
            let answer = connection
                .ask(ClientRequest::PingRequest(PingRequest::default()), None)
                .await;
            answer
                .map(drop)
                .map_err(|trouble| trouble.of_server(&self.shared().name))
        })
        .await
    }

    /// Runs `work` on a connection that works, within the time that a call may take.
    async fn within<T>(&self, work: impl AsyncFnOnce(std::sync::Arc<Connection>) -> Result<T>) -> Result<T> {
        let limit = self.shared().tool_timeout();
        let outcome = tokio::time::timeout(limit, async { work(self.connection().await?).await }).await;
        outcome.unwrap_or_else(|_| {
            Err(Error::new(
                Code::Timeout,
                format!(
                    "the MCP server \"{}\" gave no answer in {} s",
                    self.shared().name,
                    limit.as_secs_f64()
                ),
            ))
        })
    }
}

fn has(connection: &Connection, what: impl Fn(&rmcp::model::ServerCapabilities) -> bool) -> bool {
    connection.info().is_some_and(|info| what(&info.capabilities))
}

fn resource_content(contents: ResourceContents) -> Option<ResourceContent> {
    match contents {
        ResourceContents::TextResourceContents {
            uri, mime_type, text, ..
        } => Some(ResourceContent {
            uri,
            mime_type,
            body: ResourceBody::Text(text),
        }),
        ResourceContents::BlobResourceContents {
            uri, mime_type, blob, ..
        } => Some(ResourceContent {
            uri,
            mime_type,
            body: ResourceBody::Base64(blob),
        }),
        _ => None,
    }
}

fn prompt_argument(argument: rmcp::model::PromptArgument) -> PromptArgument {
    PromptArgument {
        name: argument.name,
        description: argument.description,
        required: argument.required.unwrap_or(false),
    }
}

fn message(role: Role, content: Content) -> Message {
    let mut message = Message::user("");
    message.role = role;
    message.content = Some(content);
    message
}
