//! Requests → wire.

use super::format::{Format, format};
use super::messages::{Conversation, conversation};
use super::model::{Ability, LEAST_BUDGET, Thinking, ability_of, budget_of, effort_of};
use super::tools::{self, WireTool};
use super::{betas, media};
use super::{format as form, wire::Block};
use crate::merge;
use crate::protocol::{Context, Encoded, Protocol, Target};
use omni_core::{Code, Content, Error, Object, Request, Result, Role, Stop};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Room for the answer beside a budget of reasoning that fills all that the model is said to write.
const ROOM: u64 = 4_096;

/// Why this protocol cannot carry `request`.
///
/// Seeds, penalties and service tiers that the wire has no word for are hints: they are left out, as the Python
/// engine leaves them out.
pub(crate) fn declines(request: &Request, target: &Target) -> Option<String> {
    if request.logprobs == Some(true) || request.top_logprobs.is_some_and(|many| many > 0) {
        return Some("logprobs: this protocol gives no log probabilities".to_owned());
    }
    let spoken = |modality: &String| modality != "text";
    if let Some(other) = request.modalities.iter().flatten().find(|one| spoken(one)) {
        let shown: String = other.chars().take(20).collect();
        return Some(format!(
            "modalities: this protocol answers in text only, not in {shown:?}"
        ));
    }
    let thinking = ability(target).thinking;
    if thinking == Thinking::No
        && request
            .reasoning_effort
            .as_deref()
            .is_some_and(|effort| effort != "none")
    {
        return Some(format!("reasoning_effort: {} does not reason", target.model));
    }
    tools::declines(request)
        .or_else(|| form::declines(request))
        .or_else(|| declines_media(request))
}

fn declines_media(request: &Request) -> Option<String> {
    for (at, message) in request.messages.iter().enumerate() {
        // Media that another model made is left out: the wire has no place for it in an assistant's turn.
        let (Some(Content::Parts(parts)), false) = (&message.content, message.role == Role::Assistant) else {
            continue;
        };
        for (nth, part) in parts.iter().enumerate() {
            if let Err(why) = media::block(part) {
                let what = part.kind();
                return Some(format!("messages[{at}].content[{nth}].{what}: {why}"));
            }
        }
    }
    None
}

fn ability(target: &Target) -> Ability {
    let mut ability = ability_of(&target.model);
    if let Some(max_tokens) = target.dialect.anthropic.max_tokens {
        ability.max_tokens = max_tokens;
    }
    ability
}

/// `request` on the wire.
pub(crate) fn encode(request: &Request, target: &Target, stream: bool) -> Result<Encoded> {
    if let Some(why) = declines(request, target) {
        return Err(Error::new(Code::Unsupported, why).for_model(&request.model));
    }
    let ability = ability(target);
    let conversation = conversation(request, target, ability)?;
    let format = format(request, ability).map_err(|error| error.for_model(&request.model))?;
    let mut tools = tools::tools(request, target, ability);
    let mut context = Context {
        provider: target.provider.clone(),
        ..Context::default()
    };
    if let Format::Tool { name, tool } = &format {
        context.format_tool = Some((*name).to_owned());
        tools.push(WireTool::Merged(tool.clone()));
    }
    let options = options(request, target);
    let body = Body {
        request,
        target,
        ability,
        conversation: &conversation,
        tools: &tools,
        format: &format,
        stream,
        options: options.as_deref(),
    };
    let written = serde_json::to_vec(&body).map_err(|_| {
        Error::new(Code::Internal, "the request could not be written as JSON").for_model(&request.model)
    })?;
    let mut headers = vec![("anthropic-version", "2023-06-01".to_owned())];
    if !target.dialect.anthropic.no_betas {
        let betas = betas::betas(request, &conversation, &tools, options.as_deref(), ability);
        if !betas.is_empty() {
            headers.push(("anthropic-beta", betas));
        }
    }
    Ok(Encoded {
        path: "/v1/messages".to_owned(),
        headers,
        body: written,
        context,
    })
}

/// What the caller means for this provider's body alone.
fn options<'a>(request: &'a Request, target: &'a Target) -> Option<Cow<'a, Object>> {
    let given = target.extras(Protocol::Anthropic, request.provider_options.as_ref());
    let mut given = given.filter_map(Value::as_object);
    let first = given.next()?;
    let mut all = Cow::Borrowed(first);
    for more in given {
        let mut whole = Value::Object(all.into_owned());
        merge::deep(&mut whole, &Value::Object(more.clone()));
        let Value::Object(whole) = whole else { return None };
        all = Cow::Owned(whole);
    }
    Some(all)
}

/// The body, written field by field from what it borrows.
struct Body<'a> {
    request: &'a Request,
    target: &'a Target,
    ability: Ability,
    conversation: &'a Conversation<'a>,
    tools: &'a [WireTool<'a>],
    format: &'a Format,
    stream: bool,
    options: Option<&'a Object>,
}

/// Writes fields, each with what the caller's options lay over it.
struct Fields<'a, M> {
    map: M,
    options: Option<&'a Object>,
    written: Vec<&'static str>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn put<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), M::Error> {
        self.written.push(key);
        match self.options.and_then(|options| options.get(key)) {
            None => self.map.serialize_entry(key, value),
            Some(over @ Value::Object(_)) => {
                use serde::ser::Error as _;
                let mut whole = serde_json::to_value(value).map_err(M::Error::custom)?;
                merge::deep(&mut whole, over);
                self.map.serialize_entry(key, &whole)
            }
            Some(over) => self.map.serialize_entry(key, over),
        }
    }

    fn maybe<T: Serialize>(&mut self, key: &'static str, value: Option<T>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.put(key, &value))
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let mut fields = Fields {
            map: serializer.serialize_map(None)?,
            options: self.options,
            written: Vec::with_capacity(12),
        };
        fields.put("model", &self.target.model)?;
        let (thinking, effort) = self.thinking();
        fields.put("max_tokens", &self.max_tokens(thinking.as_ref()))?;
        fields.maybe("system", some_blocks(&self.conversation.system))?;
        fields.put("messages", &self.conversation.turns)?;
        if !self.tools.is_empty() {
            fields.put("tools", self.tools)?;
        }
        let thinks = tools::thinks(
            self.options
                .and_then(|options| options.get("thinking"))
                .or(thinking.as_ref()),
            self.ability,
        );
        let any = !self.tools.is_empty() || self.options.is_some_and(|options| options.contains_key("tools"));
        fields.maybe("tool_choice", tools::choice(request, self.format, any, thinks))?;
        fields.maybe("thinking", thinking)?;
        let mut config = Object::new();
        if let Some(effort) = effort {
            config.insert("effort".to_owned(), json!(effort));
        }
        if let Format::Native(format) = self.format {
            config.insert("format".to_owned(), format.clone());
        }
        if !config.is_empty() {
            fields.put("output_config", &config)?;
        }
        fields.maybe("temperature", request.temperature)?;
        fields.maybe("top_p", request.top_p)?;
        fields.maybe("top_k", request.top_k)?;
        match &request.stop {
            Some(Stop::One(one)) => fields.put("stop_sequences", &[one])?,
            Some(Stop::Any(any)) if !any.is_empty() => fields.put("stop_sequences", any)?,
            _ => {}
        }
        if let Some(user) = request.user.as_deref().filter(|user| is_opaque(user)) {
            fields.put("metadata", &json!({ "user_id": user }))?;
        }
        fields.maybe(
            "service_tier",
            request.service_tier.as_deref().and_then(service_tier),
        )?;
        if self.stream {
            fields.put("stream", &true)?;
        }
        let Fields { mut map, written, .. } = fields;
        for (key, value) in self.options.into_iter().flatten() {
            if !written.contains(&key.as_str()) {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

impl Body<'_> {
    /// `thinking`, and the effort for `output_config`.
    fn thinking(&self) -> (Option<Value>, Option<&str>) {
        let request = self.request;
        let effort = request.reasoning_effort.as_deref();
        let budget = request.reasoning_budget_tokens;
        let off = effort == Some("none") || (effort.is_none() && budget == Some(0));
        // Without `display` these models give reasoning parts without their text.
        let adaptive = || json!({ "type": "adaptive", "display": "summarized" });
        match (self.ability.thinking, effort, budget) {
            (_, None, None) => (None, None),
            // The least that such a model can.
            (Thinking::Always, _, _) if off => (None, Some("low")),
            (Thinking::No, _, _) if off => (None, None),
            _ if off => (Some(json!({ "type": "disabled" })), None),
            (Thinking::Adaptive | Thinking::Always, Some(effort), _)
            | (Thinking::Either, Some(effort), None) => (Some(adaptive()), Some(effort_word(effort))),
            (Thinking::Adaptive | Thinking::Always, None, Some(budget)) => {
                (Some(adaptive()), Some(effort_of(budget)))
            }
            (Thinking::Either, effort, Some(budget)) => (Some(enabled(budget)), effort.map(effort_word)),
            (_, _, Some(budget)) => (Some(enabled(budget)), None),
            (_, Some(effort), None) => (self.budget_for(effort), None),
        }
    }

    /// The budget for an effort, below the bound on the output; none where that leaves no room for the least.
    fn budget_for(&self, effort: &str) -> Option<Value> {
        let bound = self.request.max_tokens.unwrap_or(self.ability.max_tokens);
        let budget = budget_of(effort).unwrap_or(LEAST_BUDGET);
        (bound > LEAST_BUDGET).then(|| enabled(budget.min(bound - 1)))
    }

    fn max_tokens(&self, thinking: Option<&Value>) -> u64 {
        let default = || {
            let budget = thinking.and_then(|thinking| thinking.get("budget_tokens"));
            match budget.and_then(Value::as_u64) {
                Some(budget) if budget >= self.ability.max_tokens => budget.saturating_add(ROOM),
                _ => self.ability.max_tokens,
            }
        };
        self.request.max_tokens.unwrap_or_else(default)
    }
}

fn enabled(budget: u64) -> Value {
    json!({ "type": "enabled", "budget_tokens": budget })
}

/// The wire knows no "minimal".
fn effort_word(effort: &str) -> &str {
    if effort == "minimal" { "low" } else { effort }
}

fn some_blocks<'a, 'b>(blocks: &'b [Block<'a>]) -> Option<&'b [Block<'a>]> {
    (!blocks.is_empty()).then_some(blocks)
}

/// OpenAI's words and the wire's own; others are hints that it has no word for.
fn service_tier(tier: &str) -> Option<&'static str> {
    match tier {
        "auto" | "priority" => Some("auto"),
        "standard_only" | "default" | "standard" => Some("standard_only"),
        _ => None,
    }
}

/// Whether a user id names nobody: the provider refuses addresses and telephone numbers.
fn is_opaque(user: &str) -> bool {
    let number = |c: char| c.is_ascii_digit() || c.is_whitespace() || "()-+".contains(c);
    let telephone = user.chars().count() >= 7 && user.chars().all(number);
    !(user.is_empty() || user.contains('@') || telephone)
}

#[cfg(test)]
pub(super) mod tests;
