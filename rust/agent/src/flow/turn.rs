//! A turn: how it begins, on what it ends, and what it leaves in the session when it is stopped.

use super::result;
use super::types::{Command, Ending, Outcome, Timer};
use super::{Flow, Phase};
use crate::compaction;
use crate::protocol::{Activity, LogLevel, Payload, StoppedBy, TurnUsage};
use crate::tool::{Notice, ToolSpec};
use omni_core::{Code, Error, FinishReason, Message, Role, Usage};
use std::collections::{BTreeSet, HashMap};

/// Entries of a source's log that one turn keeps, and the bytes of each: a source that floods fills no store.
const MAX_LOGS: u32 = 200;
const MAX_LOG_BYTES: usize = 2_000;

/// A turn that runs.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) id: String,
    started_ms: u64,
    pub(super) usage: TurnUsage,
    /// Dollars that are known to be spent, whatever else is not known.
    known_usd: f64,
    /// Model calls made.
    pub(super) rounds: u32,
    /// Of them, those whose tools ran.
    pub(super) tool_rounds: u32,
    pub(super) phase: Phase,
    pub(super) tools: Vec<ToolSpec>,
    /// How often each call was made.
    pub(super) made: HashMap<String, Made>,
    /// Why the turn ends when its tools have ended.
    pub(super) stopping: Option<StoppedBy>,
    /// What the last answer left in the model's window.
    pub(super) in_window: Option<InWindow>,
    /// A provider said that the window is full, and the history was shortened for it.
    pub(super) overflowed: bool,
    /// What the user wants: the message's id and its text.
    pub(super) task: Option<(String, String)>,
    /// The round for which the history was shortened.
    pub(super) compacted: Option<u32>,
    answer: Option<Answer>,
    complained: BTreeSet<String>,
    logs: u32,
}

/// What the provider itself counted, and up to where.
#[derive(Clone, Copy, Debug)]
pub(super) struct InWindow {
    pub(super) tokens: u64,
    /// Messages of the history that are counted in.
    pub(super) messages: usize,
}

/// How often one call was made in the turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    pub(super) times: u32,
    /// The round whose result told the model that it is too often.
    pub(super) told: Option<u32>,
}

/// The last answer of the model.
#[derive(Debug)]
struct Answer {
    message_id: String,
    text: String,
    finish_reason: Option<FinishReason>,
}

impl Turn {
    pub(super) fn outcome(&self, session_id: &str, now: u64, ending: Ending) -> Outcome {
        let answer = self.answer.as_ref();
        Outcome {
            session_id: session_id.to_owned(),
            turn_id: self.id.clone(),
            ending,
            message_id: answer.map(|answer| answer.message_id.clone()),
            text: answer.map(|answer| answer.text.clone()).unwrap_or_default(),
            finish_reason: answer.and_then(|answer| answer.finish_reason),
            stopped_by: None,
            rounds: self.rounds,
            usage: self.usage,
            duration_ms: self.lasted(now),
        }
    }

    /// The tool that the model knows by `name`.
    pub(super) fn spec(&self, name: &str) -> Option<&ToolSpec> {
        self.tools.iter().find(|spec| spec.name == name)
    }

    fn lasted(&self, now: u64) -> u64 {
        now.saturating_sub(self.started_ms)
    }

    /// Notes the model's answer.
    pub(super) fn answered(&mut self, message_id: &str, message: &Message, finish: Option<FinishReason>) {
        self.answer = Some(Answer {
            message_id: message_id.to_owned(),
            text: message.text().into_owned(),
            finish_reason: finish,
        });
    }

    fn activity(&self) -> Activity {
        match &self.phase {
            Phase::Compacting(_) => Activity::Compacting,
            Phase::Asking(asking) if asking.heard => Activity::Streaming,
            Phase::Listing { .. } | Phase::Counting { .. } | Phase::Asking(_) => Activity::Asking,
            Phase::Calls(calls) if calls.any_runs() => Activity::RunningTools,
            Phase::Calls(_) => Activity::WaitingForApproval,
        }
    }
}

impl Flow {
    pub(super) fn begin(&mut self, message: Option<Message>) {
        if self.turn.is_some() {
            return;
        }
        self.ended = None;
        self.turns += 1;
        self.turn = Some(Turn {
            id: format!("t{}", self.turns),
            started_ms: self.now,
            usage: TurnUsage {
                cost_usd: Some(0.0),
                ..TurnUsage::default()
            },
            known_usd: 0.0,
            rounds: 0,
            tool_rounds: 0,
            phase: Phase::Listing { count: false },
            tools: Vec::new(),
            made: HashMap::new(),
            stopping: None,
            in_window: None,
            overflowed: false,
            task: None,
            compacted: None,
            answer: None,
            complained: BTreeSet::new(),
            logs: 0,
        });
        self.close_open_turn();
        // The turn's first event names the message that it answers: its id is known before it is saved.
        let unanswered = self.unanswered();
        let saved = u64::from(message.is_some());
        let message_id = match &message {
            Some(_) => Some(format!("m{}", self.messages + unanswered.len() as u64 + saved)),
            None => self.leaf.clone(),
        };
        self.push(
            None,
            None,
            Payload::TurnStarted {
                model: self.config.model.clone(),
                message_id: message_id.unwrap_or_default(),
            },
        );
        if message.is_none() && self.active != self.leaf {
            self.active.clone_from(&self.leaf);
            self.push(
                None,
                None,
                Payload::LeafChanged {
                    leaf: self.leaf.clone(),
                },
            );
        }
        for call_id in unanswered {
            let of_call = |message: &Message| message.tool_call_id.as_ref() == Some(&call_id);
            let early = self
                .early
                .iter()
                .position(of_call)
                .map(|at| self.early.remove(at));
            self.save(None, None, early.unwrap_or_else(|| result::lost(&call_id)));
        }
        if let Some(message) = message {
            self.save(None, None, message);
        }
        let task = self.history.last().map(|seen| &seen.entry);
        let task = task.map(|entry| (entry.message_id.clone(), entry.message.text().into_owned()));
        if let Some(turn) = &mut self.turn {
            turn.task = task;
        }
        if let Some(turn) = self.config.timeouts.turn {
            self.set_timer(Timer::Turn, turn);
        }
        self.next_round();
    }

    /// A turn whose process was killed has no end in the log: it gets one, so that no reader waits for it.
    fn close_open_turn(&mut self) {
        let Some(turn_id) = self.open_turn.take() else {
            return;
        };
        let error =
            Error::internal("the program that ran this turn ended before the turn did; the session goes on");
        let payload = Payload::TurnFailed {
            error,
            usage: TurnUsage::default(),
            duration_ms: 0,
        };
        let mut event = self.event(None, None, payload);
        event.turn_id = Some(turn_id);
        self.pending.push(event);
    }

    /// Calls at the end of the path that have no result: their process ended before they did.
    fn unanswered(&self) -> Vec<String> {
        let messages = || self.history.iter().rev().map(|seen| &seen.entry.message);
        let answered: BTreeSet<&str> = messages()
            .take_while(|message| message.role == Role::Tool)
            .filter_map(|message| message.tool_call_id.as_deref())
            .collect();
        let last = messages().find(|message| message.role != Role::Tool);
        let calls = last
            .iter()
            .flat_map(|message| message.tool_calls.iter().flatten());
        calls
            .map(|call| call.id.clone())
            .filter(|id| !answered.contains(id.as_str()))
            .collect()
    }

    /// Goes on to the next model call, if the budget has something left for it.
    pub(super) fn next_round(&mut self) {
        let Some(turn) = &self.turn else { return };
        if turn.stopping.is_some() {
            return self.complete();
        }
        if let Some(spent) = self.budget_spent() {
            return self.out_of_budget(spent);
        }
        let count = self.needs_count();
        if !count {
            self.stream_started();
        }
        self.phase(Phase::Listing { count });
        self.flush();
        self.out.push(Command::ListTools);
    }

    /// Notes where the turn is.
    pub(super) fn phase(&mut self, phase: Phase) {
        if let Some(turn) = &mut self.turn {
            turn.phase = phase;
        }
    }

    /// Ends the turn because there is no money for it, with what it has.
    pub(super) fn out_of_budget(&mut self, error: Error) {
        let Some(turn) = &mut self.turn else { return };
        if turn.answer.is_some() {
            turn.stopping = Some(StoppedBy::Budget);
            self.complete();
        } else {
            self.fail(error);
        }
    }

    /// The error of a budget that is spent.
    fn budget_spent(&self) -> Option<Error> {
        let budget = self.config.budget;
        let turn = self.turn.as_ref()?;
        let tokens = turn.usage.input_tokens.saturating_add(turn.usage.output_tokens);
        let spent = budget.tokens.is_some_and(|most| tokens >= most)
            || budget.usd.is_some_and(|most| turn.known_usd >= most);
        spent.then(|| {
            let said = "the turn's budget is spent; raise \"budget\" in the agent's configuration to go on";
            Error::new(Code::Budget, said).for_model(&self.config.model)
        })
    }

    /// What of the budget is left.
    pub(super) fn budget_left(&self) -> Option<omni_core::Budget> {
        let turn = self.turn.as_ref()?;
        let tokens = turn.usage.input_tokens.saturating_add(turn.usage.output_tokens);
        let budget = self.config.budget;
        let left = omni_core::Budget {
            tokens: budget.tokens.map(|most| most.saturating_sub(tokens)),
            usd: budget.usd.map(|most| (most - turn.known_usd).max(0.0)),
        };
        (left.tokens.is_some() || left.usd.is_some()).then_some(left)
    }

    /// Adds what a call consumed to the turn and to the session.
    pub(super) fn spent(&mut self, call_id: Option<String>, parent: Option<String>, usage: Usage) {
        if let Some(turn) = &mut self.turn {
            add(&mut turn.usage, &usage);
            turn.known_usd += usage.cost_usd.unwrap_or(0.0);
        }
        add(&mut self.usage, &usage);
        let session = self.usage;
        self.push(call_id, parent, Payload::UsageUpdated { call: usage, session });
    }

    /// Ends the turn with the answer that it has.
    pub(super) fn complete(&mut self) {
        let Some(turn) = &self.turn else { return };
        let Some(answer) = &turn.answer else {
            return self.fail(Error::internal("a turn cannot end well without an answer"));
        };
        let payload = Payload::TurnCompleted {
            message_id: answer.message_id.clone(),
            rounds: turn.rounds,
            finish_reason: answer.finish_reason,
            stopped_by: turn.stopping,
            usage: turn.usage,
            duration_ms: turn.lasted(self.now),
        };
        let title = self.title_request();
        self.end(payload, Ending::Completed);
        if let Some(request) = title {
            // One try in the life of this loop: a model that cannot say a title is not asked after every turn.
            self.titled = true;
            self.out.push(Command::Title {
                request: Box::new(request),
            });
        }
    }

    pub(super) fn fail(&mut self, error: Error) {
        let Some(turn) = &self.turn else { return };
        let payload = Payload::TurnFailed {
            error: error.clone(),
            usage: turn.usage,
            duration_ms: turn.lasted(self.now),
        };
        self.end(payload, Ending::Failed { error });
    }

    fn end(&mut self, payload: Payload, ending: Ending) {
        self.push(None, None, payload);
        self.flush();
        let Some(turn) = self.turn.take() else { return };
        if self.config.timeouts.turn.is_some() {
            self.out.push(Command::ClearTimer { timer: Timer::Turn });
        }
        let stopped_by = turn.stopping;
        let mut outcome = turn.outcome(&self.session_id, self.now, ending);
        outcome.stopped_by = stopped_by;
        self.ended = Some(outcome.clone());
        self.out.push(Command::Done {
            outcome: Box::new(outcome),
        });
    }

    /// A person, or a limit of time, stops the turn: what runs is stopped and every call gets its result, so that
    /// the session is whole before anybody hears of the end.
    pub(super) fn cancel(&mut self) {
        let Some(turn) = &self.turn else { return };
        let during = turn.activity();
        self.stop_all_kept(None);
        let Some(turn) = &self.turn else { return };
        let payload = Payload::TurnCancelled {
            during,
            usage: turn.usage,
            duration_ms: turn.lasted(self.now),
        };
        self.end(payload, Ending::Cancelled { during });
    }

    pub(super) fn timed_out(&mut self, timer: &Timer) {
        let seconds = |limit: Option<f64>| limit.unwrap_or_default();
        let late = |what: String| Error::new(Code::Timeout, what).for_model(&self.config.model);
        match timer {
            Timer::Turn if self.turn.is_some() => {
                let limit = seconds(self.config.timeouts.turn);
                let error = late(format!(
                    "the turn was stopped after {limit} s, its limit; raise \"timeouts.turn\" to give it more time"
                ));
                self.stop_all_kept(Some(&error));
                self.fail(error);
            }
            Timer::FirstEvent => {
                let limit = seconds(self.config.timeouts.first_event);
                let error = late(format!(
                    "the model said nothing for {limit} s; raise \"timeouts.first_event\" to wait longer"
                ));
                self.silent(error);
            }
            Timer::Preparing => self.preparing_timed_out(),
            Timer::Tool(call_id) => self.tool_timed_out(call_id),
            Timer::Approval(call_id) => self.nobody_decided(call_id),
            Timer::Turn => {}
        }
    }

    /// Stops what runs, and saves what can be kept of it. With an `error`, the model call failed by it; without, it
    /// was cancelled.
    fn stop_all_kept(&mut self, error: Option<&Error>) {
        let Some(turn) = &mut self.turn else { return };
        let phase = std::mem::replace(&mut turn.phase, Phase::Listing { count: false });
        match phase {
            Phase::Listing { .. } => self.out.push(Command::StopPreparing),
            Phase::Counting { .. } => {
                self.out.push(Command::StopPreparing);
                self.out.push(Command::ClearTimer {
                    timer: Timer::Preparing,
                });
            }
            Phase::Compacting(compacting) => self.give_up_compacting(compacting),
            Phase::Asking(asking) => self.stop_asking(*asking, error),
            Phase::Calls(calls) => self.stop_calls(calls),
        }
    }

    /// Stops what runs, and keeps nothing: the store takes nothing more.
    pub(super) fn stop_all(&mut self, turn: &Turn) {
        self.out.push(Command::StopPreparing);
        self.out.push(Command::StopAsking);
        if let Phase::Calls(calls) = &turn.phase {
            for call_id in calls.running() {
                self.out.push(Command::StopTool { call_id });
            }
        }
    }

    pub(super) fn set_timer(&mut self, timer: Timer, seconds: f64) {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a limit of time is above 0 by the configuration's check, and what is too long for ever saturates"
        )]
        let after_ms = (seconds * 1000.0).ceil() as u64;
        self.out.push(Command::SetTimer { timer, after_ms });
    }

    /// What a source of tools tells goes into the log of the session whose turn runs.
    pub(super) fn noticed(&mut self, server: String, notice: Notice) {
        let Some(turn) = &mut self.turn else { return };
        let payload = match notice {
            Notice::Connected(tools) => Payload::ServerConnected { server, tools },
            Notice::Failed { error, will_retry } => Payload::ServerFailed {
                server,
                error,
                will_retry,
            },
            Notice::ToolsChanged(tools) => Payload::ServerToolsChanged { server, tools },
            Notice::Log(level, message) => {
                turn.logs += 1;
                if turn.logs > MAX_LOGS {
                    return;
                }
                let message = if turn.logs == MAX_LOGS {
                    "more log entries of this turn are left out".to_owned()
                } else {
                    result::cut(&message, MAX_LOG_BYTES).to_owned()
                };
                Payload::Log {
                    level,
                    message,
                    server: Some(server),
                }
            }
        };
        self.push(None, None, payload);
        self.flush();
    }

    /// Says once in a turn that a source does not list its tools; the turn goes on without them.
    pub(super) fn complain(&mut self, failed: Vec<(String, Error)>) {
        for (server, error) in failed {
            let Some(turn) = &mut self.turn else { return };
            if turn.complained.insert(server.clone()) {
                let message = format!(
                    "its tools are not known, and the turn goes on without them: {}",
                    error.message
                );
                let payload = Payload::Log {
                    level: LogLevel::Warning,
                    message: result::cut(&message, MAX_LOG_BYTES).to_owned(),
                    server: Some(server),
                };
                self.push(None, None, payload);
            }
        }
    }

    fn title_request(&self) -> Option<omni_core::Request> {
        if !self.config.titles || self.titled || self.turns != 1 {
            return None;
        }
        let first = |role| {
            let messages = self.history.iter().map(|seen| &seen.entry.message);
            messages
                .filter(|message| message.role == role)
                .map(Message::text)
                .find(|text| !text.trim().is_empty())
        };
        self.side_request(compaction::title_messages(
            &first(Role::User)?,
            &first(Role::Assistant)?,
        ))
    }
}

/// Adds a call to a sum. A sum with an unknown price in it is unknown.
fn add(sum: &mut TurnUsage, call: &Usage) {
    sum.input_tokens = sum.input_tokens.saturating_add(call.input_tokens.unwrap_or(0));
    sum.output_tokens = sum.output_tokens.saturating_add(call.output_tokens.unwrap_or(0));
    sum.cost_usd = sum.cost_usd.zip(call.cost_usd).map(|(sum, call)| sum + call);
}
