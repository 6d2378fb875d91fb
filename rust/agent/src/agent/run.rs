//! One turn as its caller sees it: what goes in, the events that come out, and the handle that stops it.

use super::lock;
use super::open::Waiting;
use crate::bus::Reader;
use crate::driver::{self, Ended, Order};
use crate::flow::{Outcome, Timer};
use crate::protocol::{AgentEvent, Decision, Op, Payload};
use futures_core::Stream;
use omni_core::{BoxFuture, Code, Content, Error, Message, Result, Role, near_match};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, watch};

/// What a turn begins with: a message, in a new session or in one that is there, at its leaf or elsewhere in its tree.
#[derive(Clone, Debug)]
pub struct RunInput {
    message: Option<Message>,
    session_id: Option<String>,
    at: At,
    new: bool,
    title: Option<String>,
    unattended: bool,
}

/// Where in the tree a turn goes on.
#[derive(Clone, Debug)]
pub(super) enum At {
    Leaf,
    After(Option<String>),
    Edit(String),
    Again(Option<String>),
}

impl From<Message> for RunInput {
    fn from(message: Message) -> Self {
        Self {
            message: Some(message),
            session_id: None,
            at: At::Leaf,
            new: true,
            title: None,
            unattended: false,
        }
    }
}

impl From<&str> for RunInput {
    fn from(text: &str) -> Self {
        Message::user(text).into()
    }
}

impl From<String> for RunInput {
    fn from(text: String) -> Self {
        Message::user(text).into()
    }
}

impl RunInput {
    /// What the user says, in a new session unless [`RunInput::session`] names one.
    pub fn new(message: impl Into<Self>) -> Self {
        message.into()
    }

    /// Goes on in this session.
    #[must_use]
    pub fn session(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into());
        self.new = false;
        self
    }

    /// Makes a session with this id.
    #[must_use]
    pub fn new_session(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into());
        self.new = true;
        self
    }

    /// The title of a new session; none is made then.
    #[must_use]
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Goes on behind this message, not behind the active leaf; `None` is the root.
    #[must_use]
    pub fn after(mut self, parent_id: Option<String>) -> Self {
        self.at = At::After(parent_id);
        self
    }

    /// The message takes the place of another one of the user's: it becomes its sibling, and the turn answers it.
    pub fn edit(
        session_id: impl Into<String>,
        message_id: impl Into<String>,
        message: impl Into<Self>,
    ) -> Self {
        let mut input = message.into().session(session_id);
        input.at = At::Edit(message_id.into());
        input
    }

    /// Answers a message of the user's again: the one at or before `message_id`, or before the active leaf.
    pub fn regenerate(session_id: impl Into<String>, message_id: Option<String>) -> Self {
        Self {
            message: None,
            session_id: Some(session_id.into()),
            at: At::Again(message_id),
            new: false,
            title: None,
            unattended: false,
        }
    }

    /// In this turn nobody is there to ask, as in the turn that is run again.
    pub(crate) const fn unattended(mut self, unattended: bool) -> Self {
        self.unattended = unattended;
        self
    }

    pub(super) const fn is_unattended(&self) -> bool {
        self.unattended
    }

    pub(super) fn check(&self) -> Result<()> {
        let Some(message) = &self.message else {
            return Ok(());
        };
        let empty = match &message.content {
            None => true,
            Some(Content::Text(text)) => text.trim().is_empty(),
            Some(Content::Parts(parts)) => parts.is_empty(),
        };
        if message.role != Role::User {
            return Err(Error::invalid("a turn begins with a message of role \"user\""));
        }
        if empty {
            return Err(Error::invalid(
                "the message is empty: say what the agent is to do",
            ));
        }
        if self.new && !matches!(self.at, At::Leaf) {
            return Err(Error::invalid("a place in the tree was named, but no session"));
        }
        Ok(())
    }

    pub(super) fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The session that must be there.
    pub(super) fn opens(&self) -> Option<&str> {
        self.session_id.as_deref().filter(|_| !self.new)
    }

    pub(super) fn title(&self) -> Option<String> {
        self.title.clone()
    }

    pub(super) const fn at(&self) -> &At {
        &self.at
    }

    pub(super) const fn at_leaf(&self) -> bool {
        matches!(self.at, At::Leaf)
    }

    pub(super) fn into_message(self) -> Option<Message> {
        self.message
    }
}

/// A turn that runs: a stream of the session's events until the turn's end. Dropping it does not stop the turn.
pub struct Run {
    reader: Reader,
    handle: RunHandle,
    finished: BoxFuture<'static, ()>,
    /// The turn, once its beginning was read.
    turn_id: Option<String>,
    /// The turn's last event was read, or there is none.
    told: bool,
    /// The turn is over.
    over: bool,
    ended: bool,
}

impl Run {
    pub(super) fn new(reader: Reader, handle: RunHandle) -> Self {
        let wait = handle.clone();
        Self {
            reader,
            handle,
            finished: Box::pin(async move { drop(wait.ended().await) }),
            turn_id: None,
            told: false,
            over: false,
            ended: false,
        }
    }

    /// The next event, or `None` after the turn's end.
    pub async fn next(&mut self) -> Option<AgentEvent> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The session.
    pub fn session_id(&self) -> &str {
        self.handle.session_id()
    }

    /// What stops the turn and approves its calls, from anywhere.
    pub fn handle(&self) -> RunHandle {
        self.handle.clone()
    }

    /// Stops the turn.
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Waits for the end, whether or not the events are read.
    pub fn outcome(&self) -> impl Future<Output = Outcome> + Send + use<> {
        // Of the handle, not of the run: so that whoever waits may do so in a task of its own.
        let handle = self.handle();
        async move { handle.outcome().await }
    }

    /// As [`Run::outcome`], with an error for a turn that was not completed.
    pub fn result(&self) -> impl Future<Output = Result<Outcome>> + Send + use<> {
        let handle = self.handle();
        async move { handle.result().await }
    }

    fn is_last(&mut self, event: &AgentEvent) -> bool {
        match &event.payload {
            Payload::TurnStarted { .. } => {
                if self.turn_id.is_none() {
                    self.turn_id.clone_from(&event.turn_id);
                }
                false
            }
            Payload::TurnCompleted { .. } | Payload::TurnFailed { .. } | Payload::TurnCancelled { .. } => {
                self.turn_id.is_some() && event.turn_id == self.turn_id
            }
            _ => false,
        }
    }
}

impl Stream for Run {
    type Item = AgentEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AgentEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // Looked at first: what a finished turn told is with the reader already, or on its way to it.
        let finished = self.over || self.finished.as_mut().poll(context).is_ready();
        self.over = finished;
        if !self.told {
            match Pin::new(&mut self.reader).poll_next(context) {
                Poll::Ready(Some(event)) => {
                    self.told = self.is_last(&event);
                    return Poll::Ready(Some(event));
                }
                Poll::Ready(None) => self.told = true,
                // A store that fails takes no last event: then there is none to wait for.
                Poll::Pending if finished && !self.handle.told_its_end() => self.told = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        // Only after the turn's end the session is free, so that whoever read to the end can begin the next one.
        if !finished {
            return Poll::Pending;
        }
        self.ended = true;
        Poll::Ready(None)
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("session_id", &self.session_id())
            .field("turn_id", &self.turn_id)
            .finish_non_exhaustive()
    }
}

/// Stops a turn, decides about its calls, and waits for its end. A clone is the same turn's.
#[derive(Clone)]
pub struct RunHandle {
    session_id: String,
    orders: mpsc::UnboundedSender<Order>,
    waiting: Waiting,
    finished: watch::Receiver<Option<Ended>>,
}

impl RunHandle {
    pub(super) fn new(
        session_id: &str,
        orders: mpsc::UnboundedSender<Order>,
        waiting: Waiting,
        finished: watch::Receiver<Option<Ended>>,
    ) -> Self {
        Self {
            session_id: session_id.to_owned(),
            orders,
            waiting,
            finished,
        }
    }

    /// The session.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Stops the turn: its session is valid, and the next turn works. Twice, or after the end, it does nothing.
    pub fn cancel(&self) {
        let _ = self.orders.send(Order::Op(Op::Cancel {}));
    }

    /// Decides about a proposed tool call.
    ///
    /// # Errors
    /// `not_found` if no call of this `call_id` waits for a decision.
    pub fn approve(&self, call_id: &str, decision: Decision) -> Result<()> {
        {
            let mut waiting = lock(&self.waiting);
            // Taken out here, so that the second of two deciders learns that it comes too late.
            if !waiting.remove(call_id) {
                let near = near_match(call_id, waiting.iter().map(String::as_str));
                let near = near
                    .map(|near| format!("; did you mean \"{near}\"?"))
                    .unwrap_or_default();
                return Err(Error::new(
                    Code::NotFound,
                    format!("no tool call \"{call_id}\" waits for a decision{near}"),
                ));
            }
        }
        let call_id = call_id.to_owned();
        let _ = self.orders.send(Order::Op(Op::Approve { call_id, decision }));
        Ok(())
    }

    /// Ends the wait for a decision about a call as its limit of time does, if it waits.
    pub(crate) fn nobody_decides(&self, call_id: &str) {
        if lock(&self.waiting).remove(call_id) {
            let _ = self
                .orders
                .send(Order::TimedOut(Timer::Approval(call_id.to_owned())));
        }
    }

    /// Does what a front end asks.
    ///
    /// # Errors
    /// As [`RunHandle::approve`].
    pub fn op(&self, op: Op) -> Result<()> {
        match op {
            Op::Cancel {} => {
                self.cancel();
                Ok(())
            }
            Op::Approve { call_id, decision } => self.approve(&call_id, decision),
        }
    }

    /// The calls that wait for a decision, by their `call_id`.
    pub fn waiting(&self) -> Vec<String> {
        let mut waiting: Vec<String> = lock(&self.waiting).iter().cloned().collect();
        waiting.sort_unstable();
        waiting
    }

    /// Waits for the turn's end.
    pub async fn outcome(&self) -> Outcome {
        self.ended().await.outcome
    }

    /// As [`RunHandle::outcome`], with an error for a turn that was not completed.
    ///
    /// # Errors
    /// As [`Outcome::into_result`].
    pub async fn result(&self) -> Result<Outcome> {
        self.outcome().await.into_result()
    }

    /// Whether the turn is over.
    pub fn is_finished(&self) -> bool {
        self.finished.borrow().is_some() || self.finished.has_changed().is_err()
    }

    async fn ended(&self) -> Ended {
        let mut finished = self.finished.clone();
        let ended = finished.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|ended| ended.clone())
            .unwrap_or_else(|| Ended {
                outcome: driver::lost(&self.session_id),
                told: false,
            })
    }

    /// Whether the turn is over and its last event was published.
    fn told_its_end(&self) -> bool {
        self.finished.borrow().as_ref().is_some_and(|ended| ended.told)
    }
}

impl std::fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunHandle")
            .field("session_id", &self.session_id)
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
