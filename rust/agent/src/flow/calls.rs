//! The tool calls of one answer: approved, run at once, each with its result, in the order of the answer.

use super::result;
use super::turn::{Made, Turn};
use super::types::{Command, Timer};
use super::{Flow, Phase};
use crate::approval::{self, Verdict};
use crate::protocol::{Decider, Decision, Payload, Scope, StoppedBy, ToolFailure};
use crate::tool::{Progress, ToolError, ToolOutput, ToolSpec};
use omni_core::{FinishReason, Message, Object, ToolCall, near_match};
use serde_json::Value;

/// Names of tools that a model is told when it asked for one that there is not.
const MAX_NAMES: usize = 40;

/// The calls of one answer.
#[derive(Debug)]
pub(super) struct Calls {
    /// The model call that they belong to.
    model_call: String,
    all: Vec<Underway>,
    /// So many results are saved.
    saved: usize,
    /// The turn ends with them.
    last: bool,
}

/// One call.
#[derive(Debug)]
struct Underway {
    call_id: String,
    /// The model's own id of it.
    id: String,
    name: String,
    server: String,
    own_name: String,
    arguments: Object,
    state: State,
    started_ms: u64,
}

/// Where a call is.
#[derive(Debug)]
enum State {
    /// Somebody must say yes.
    Waiting,
    /// It may run when there is room.
    Ready,
    Running,
    /// Its result, until it is saved.
    Ended(Option<Box<Message>>),
}

/// What becomes of a proposed call.
enum Fate {
    Runs,
    Waits,
    Fails(ToolFailure, String),
    Denied(String),
}

impl Calls {
    pub(super) fn any_runs(&self) -> bool {
        self.all.iter().any(|call| matches!(call.state, State::Running))
    }

    pub(super) fn running(&self) -> impl Iterator<Item = String> + '_ {
        let running = self
            .all
            .iter()
            .filter(|call| matches!(call.state, State::Running));
        running.map(|call| call.call_id.clone())
    }

    fn find(&self, call_id: &str, state: fn(&State) -> bool) -> Option<usize> {
        self.all
            .iter()
            .position(|call| call.call_id == call_id && state(&call.state))
    }
}

const fn runs(state: &State) -> bool {
    matches!(state, State::Running)
}

const fn waits(state: &State) -> bool {
    matches!(state, State::Waiting)
}

impl Flow {
    /// Takes the calls of an answer.
    pub(super) fn begin_calls(&mut self, asked: Vec<ToolCall>, finish: Option<FinishReason>) {
        let model_call = self.model_call();
        let refused = self.refuses_all(finish);
        let mut calls = Calls {
            model_call: model_call.clone(),
            all: Vec::with_capacity(asked.len()),
            saved: 0,
            last: refused.is_some(),
        };
        for (at, call) in asked.into_iter().enumerate() {
            let call_id = format!("{model_call}.{}", at + 1);
            let spec = self
                .turn
                .as_ref()
                .and_then(|turn| turn.spec(call.name()).cloned());
            let mut arguments = Object::new();
            // Counted before it is looked at: a call that cannot even begin is made again and again as well.
            let kept_back = match &refused {
                Some(reason) => Some(Fate::Denied(reason.clone())),
                None => self.repeated(&call),
            };
            let fate = match (kept_back, &spec) {
                (Some(fate), _) => fate,
                (None, None) => Fate::Fails(ToolFailure::Unknown, self.no_such_tool(call.name())),
                (None, Some(spec)) => match read(&call, finish) {
                    Err(wrong) => Fate::Fails(ToolFailure::InvalidArguments, wrong),
                    Ok(object) => {
                        arguments = object;
                        self.judge(spec)
                    }
                },
            };
            let (server, own_name) = spec.map_or_else(Default::default, |spec| (spec.server, spec.own_name));
            let name = call.name().to_owned();
            calls.all.push(Underway {
                call_id: call_id.clone(),
                id: call.id.clone(),
                name,
                server: server.clone(),
                own_name,
                arguments,
                state: State::Ready,
                started_ms: self.now,
            });
            let proposed = Payload::ToolProposed {
                call,
                server: (!server.is_empty()).then_some(server),
                needs_approval: matches!(fate, Fate::Waits),
            };
            self.push(Some(call_id.clone()), Some(model_call.clone()), proposed);
            match fate {
                Fate::Runs => {}
                Fate::Waits => {
                    if let Some(call) = calls.all.last_mut() {
                        call.state = State::Waiting;
                    }
                    self.set_timer(Timer::Approval(call_id), self.config.timeouts.approval);
                }
                Fate::Fails(kind, says) => self.call_failed(&mut calls, at, kind, &says),
                Fate::Denied(reason) => self.call_denied(&mut calls, at, Decider::Policy, reason),
            }
        }
        // Timers of waiting calls were set while the events were gathered; they count from the commit on all the same.
        self.go_on(calls);
    }

    /// Why no call of this answer may run, if so; the turn ends then.
    fn refuses_all(&mut self, finish: Option<FinishReason>) -> Option<String> {
        let most = self.config.max_tool_rounds;
        let turn = self.turn.as_mut()?;
        if finish == Some(FinishReason::ContentFilter) {
            return Some("the provider withheld the rest of the answer that asked for this call".to_owned());
        }
        if turn.tool_rounds >= most {
            turn.stopping = Some(StoppedBy::MaxToolRounds);
            return Some(format!(
                "the turn has had its {most} rounds of tool calls, and this call did not run; the user may ask to go on"
            ));
        }
        None
    }

    /// Notices the very same call again and again. The model is told once; if it goes on, the turn ends.
    fn repeated(&mut self, call: &ToolCall) -> Option<Fate> {
        let most = self.config.max_repeated_calls;
        let turn = self.turn.as_mut()?;
        let round = turn.rounds;
        let made: &mut Made = turn
            .made
            .entry(result::signature(call.name(), call.text()))
            .or_default();
        made.times += 1;
        if made.times <= most {
            return None;
        }
        if made.told.is_some_and(|told| told < round) {
            turn.stopping = Some(StoppedBy::RepeatedCall);
        }
        made.told.get_or_insert(round);
        Some(Fate::Fails(
            ToolFailure::Repeated,
            format!(
                "this very call was already made {most} times in this turn and does not run again; use what it gave, or do something else"
            ),
        ))
    }

    /// What the configuration and earlier approvals say of a call.
    fn judge(&self, spec: &ToolSpec) -> Fate {
        match approval::judge(&self.config.approval, &self.granted, spec) {
            Verdict::Run => Fate::Runs,
            Verdict::Ask if self.alone => Fate::Denied(approval::NOBODY.to_owned()),
            Verdict::Ask => Fate::Waits,
            Verdict::Deny(reason) => Fate::Denied(reason.to_owned()),
        }
    }

    fn no_such_tool(&self, name: &str) -> String {
        let mut names: Vec<&str> = self
            .turn
            .iter()
            .flat_map(|turn| turn.tools.iter().map(|spec| spec.name.as_str()))
            .collect();
        let says = format!("there is no tool \"{}\"", result::cut(name, 100));
        match near_match(name, names.iter().copied()) {
            Some(near) => format!("{says}; did you mean \"{near}\"?"),
            None if names.is_empty() => format!("{says}; there are no tools at all now"),
            None => {
                names.truncate(MAX_NAMES);
                format!("{says}; the tools are: {}", names.join(", "))
            }
        }
    }

    pub(super) fn decided(&mut self, call_id: &str, decision: Decision) {
        let Some(mut calls) = self.take_calls() else {
            return;
        };
        if let Some(at) = calls.find(call_id, waits) {
            self.clear(Timer::Approval(call_id.to_owned()));
            match decision {
                Decision::Approve { scope } => {
                    self.call_approved(&mut calls, at, scope);
                }
                Decision::Deny { reason } => {
                    let says = reason.map_or_else(
                        || "the user denied this call".to_owned(),
                        |reason| format!("the user denied this call: {}", result::cut(&reason, 4_000)),
                    );
                    self.call_denied(&mut calls, at, Decider::User, says);
                }
            }
        }
        self.go_on(calls);
    }

    fn call_approved(&mut self, calls: &mut Calls, at: usize, scope: Scope) {
        let tool = calls.all[at].name.clone();
        let say = |flow: &mut Self, call: &mut Underway, by| {
            call.state = State::Ready;
            let call_id = Some(call.call_id.clone());
            flow.push(
                call_id,
                Some(calls.model_call.clone()),
                Payload::ToolApproved {
                    tool: call.name.clone(),
                    by,
                    scope,
                },
            );
        };
        say(self, &mut calls.all[at], Decider::User);
        if scope == Scope::Once {
            return;
        }
        self.granted.insert(tool.clone());
        self.out.push(Command::Grant {
            tool: tool.clone(),
            scope,
        });
        // What holds for the session holds for the tool's other calls that wait.
        for call in &mut calls.all {
            if call.name == tool && waits(&call.state) {
                say(self, call, Decider::Policy);
                self.out.push(Command::ClearTimer {
                    timer: Timer::Approval(call.call_id.clone()),
                });
            }
        }
    }

    pub(super) fn nobody_decided(&mut self, call_id: &str) {
        let Some(mut calls) = self.take_calls() else {
            return;
        };
        if let Some(at) = calls.find(call_id, waits) {
            let says = "nobody approved this call in time, and it did not run".to_owned();
            self.call_denied(&mut calls, at, Decider::Timeout, says);
        }
        self.go_on(calls);
    }

    pub(super) fn progressed(&mut self, call_id: &str, progress: Progress) {
        let Some(Turn {
            phase: Phase::Calls(calls),
            ..
        }) = &self.turn
        else {
            return;
        };
        if calls.find(call_id, runs).is_some() {
            let parent = calls.model_call.clone();
            let payload = Payload::ToolProgress {
                progress: progress.progress,
                total: progress.total,
                message: progress
                    .message
                    .map(|message| result::cut(&message, 2_000).to_owned()),
            };
            self.publish(call_id.to_owned(), Some(parent), payload);
        }
    }

    pub(super) fn tool_ended(&mut self, call_id: &str, ended: Result<ToolOutput, ToolError>) {
        let Some(mut calls) = self.take_calls() else {
            return;
        };
        if let Some(at) = calls.find(call_id, runs) {
            self.clear(Timer::Tool(call_id.to_owned()));
            match ended {
                Ok(output) => {
                    let is_error = output.is_error;
                    let bounded = result::bound(output, self.config.max_result_bytes);
                    let first = at == calls.saved;
                    let call = &mut calls.all[at];
                    let message = result::message(&call.id, bounded.content, is_error);
                    let payload = Payload::ToolCompleted {
                        is_error,
                        bytes: bounded.bytes,
                        truncated: bounded.truncated,
                        duration_ms: self.now.saturating_sub(call.started_ms),
                        early: (!first).then(|| message.clone()),
                    };
                    call.state = State::Ended(Some(Box::new(message)));
                    self.push(Some(call_id.to_owned()), Some(calls.model_call.clone()), payload);
                }
                Err(error) => self.call_failed(&mut calls, at, error.kind, &error.message),
            }
        }
        self.go_on(calls);
    }

    pub(super) fn tool_timed_out(&mut self, call_id: &str) {
        let Some(mut calls) = self.take_calls() else {
            return;
        };
        if let Some(at) = calls.find(call_id, runs) {
            self.out.push(Command::StopTool {
                call_id: call_id.to_owned(),
            });
            let limit = self.tool_limit(&calls.all[at].server);
            let says = format!(
                "the tool did not answer within {limit} s and was stopped; it may have had its effect. Ask for less, or do something else."
            );
            self.call_failed(&mut calls, at, ToolFailure::Timeout, &says);
        }
        self.go_on(calls);
    }

    /// Stops all calls of a turn that is stopped; every one has a result then.
    pub(super) fn stop_calls(&mut self, mut calls: Calls) {
        for at in 0..calls.all.len() {
            let call = &calls.all[at];
            let call_id = call.call_id.clone();
            let says = match call.state {
                State::Ended(_) => continue,
                State::Running => {
                    self.out.push(Command::StopTool {
                        call_id: call_id.clone(),
                    });
                    self.clear(Timer::Tool(call_id));
                    "the turn was stopped while the tool ran; it may have had its effect"
                }
                State::Waiting => {
                    self.clear(Timer::Approval(call_id));
                    "the turn was stopped before this call was approved; it did not run"
                }
                State::Ready => "the turn was stopped before this call ran",
            };
            self.call_failed(&mut calls, at, ToolFailure::Cancelled, says);
        }
        self.save_results(&mut calls);
    }

    fn clear(&mut self, timer: Timer) {
        self.out.push(Command::ClearTimer { timer });
    }

    fn take_calls(&mut self) -> Option<Calls> {
        let turn = self.turn.as_mut()?;
        match std::mem::replace(&mut turn.phase, Phase::Listing { count: false }) {
            Phase::Calls(calls) => Some(calls),
            other => {
                turn.phase = other;
                None
            }
        }
    }

    fn call_failed(&mut self, calls: &mut Calls, at: usize, kind: ToolFailure, says: &str) {
        // What a source says of its failure is as long as what it says of its success.
        let says = result::cut(says, self.config.max_result_bytes).to_owned();
        let call = &mut calls.all[at];
        call.state = State::Ended(Some(Box::new(result::error(&call.id, &says))));
        let payload = Payload::ToolFailed {
            kind,
            message: says,
            duration_ms: self.now.saturating_sub(call.started_ms),
        };
        let call_id = call.call_id.clone();
        self.push(Some(call_id), Some(calls.model_call.clone()), payload);
    }

    fn call_denied(&mut self, calls: &mut Calls, at: usize, by: Decider, reason: String) {
        let call = &mut calls.all[at];
        call.state = State::Ended(Some(Box::new(result::error(&call.id, &reason))));
        let call_id = call.call_id.clone();
        self.push(
            Some(call_id),
            Some(calls.model_call.clone()),
            Payload::ToolDenied { by, reason },
        );
    }

    /// Saves the results that there are, as far as no earlier call is without one.
    fn save_results(&mut self, calls: &mut Calls) {
        while let Some(call) = calls.all.get_mut(calls.saved) {
            let State::Ended(result) = &mut call.state else {
                break;
            };
            calls.saved += 1;
            if let Some(result) = result.take() {
                let call_id = call.call_id.clone();
                self.save(Some(call_id), Some(calls.model_call.clone()), *result);
            }
        }
    }

    /// Starts what may run, saves what has ended, and goes on when all have.
    fn go_on(&mut self, mut calls: Calls) {
        self.save_results(&mut calls);
        if calls.saved == calls.all.len() {
            if let Some(turn) = &mut self.turn {
                turn.tool_rounds += 1;
            }
            if calls.last {
                self.complete();
            } else {
                self.next_round();
            }
            return;
        }
        let mut room = self
            .config
            .max_parallel_tools
            .max(1)
            .saturating_sub(calls.running().count());
        let mut start = Vec::new();
        for call in &mut calls.all {
            if room > 0 && matches!(call.state, State::Ready) {
                room -= 1;
                call.state = State::Running;
                call.started_ms = self.now;
                let payload = Payload::ToolStarted {
                    name: call.name.clone(),
                };
                self.push(
                    Some(call.call_id.clone()),
                    Some(calls.model_call.clone()),
                    payload,
                );
                start.push(Command::CallTool {
                    call_id: call.call_id.clone(),
                    server: call.server.clone(),
                    own_name: call.own_name.clone(),
                    arguments: std::mem::take(&mut call.arguments),
                });
            }
        }
        self.flush();
        for command in start {
            if let Command::CallTool { call_id, server, .. } = &command {
                let limit = self.tool_limit(server);
                self.set_timer(Timer::Tool(call_id.clone()), limit);
            }
            self.out.push(command);
        }
        self.phase(Phase::Calls(calls));
    }

    /// Seconds that a call of a tool of `server` may take.
    fn tool_limit(&self, server: &str) -> f64 {
        let own = self
            .config
            .mcp_servers
            .get(server)
            .and_then(|server| server.tool_timeout);
        own.unwrap_or(self.config.timeouts.tool)
    }
}

/// Reads what a call is to be made with: a function's object, or a custom tool's text.
fn read(call: &ToolCall, finish: Option<FinishReason>) -> Result<Object, String> {
    if call.function.is_none() && call.custom.is_some() {
        let mut input = Object::new();
        input.insert("input".to_owned(), Value::String(call.text().to_owned()));
        return Ok(input);
    }
    result::arguments(call.text(), finish == Some(FinishReason::Length))
}
