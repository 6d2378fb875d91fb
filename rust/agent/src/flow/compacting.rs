//! The history is shortened: a summary is asked for, what it stands for goes out of the model's sight, and the tokens
//! are counted again. The log keeps everything.

use super::types::{Command, Timer};
use super::{Flow, Phase};
use crate::compaction;
use crate::protocol::{CompactionReason, Payload};
use omni_core::{Code, Error, Message, Reply, Request, Result};

/// Seconds that a count or a summary may take.
pub(super) const LIMIT: f64 = 180.0;
/// Bytes of conversation that go into a summary when the window is not known.
const UNKNOWN_WINDOW_BYTES: u64 = 200_000;

/// A compaction that runs.
#[derive(Debug)]
pub(super) struct Compacting {
    before: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The summary is asked for; the message at `cut` is the first that stays.
    Summarising { cut: usize },
    /// It is there, and the tokens are counted again.
    Recounting(Shortened),
}

#[derive(Debug)]
struct Shortened {
    summary: Option<String>,
    first_kept: Option<String>,
}

impl Flow {
    fn plan(&self, reason: CompactionReason) -> Option<usize> {
        let messages: Vec<(&Message, u64)> = self
            .history
            .iter()
            .map(|seen| (&seen.entry.message, seen.tokens))
            .collect();
        // What stays must leave room for what comes.
        let whole = || self.history.iter().map(|seen| seen.tokens).sum::<u64>();
        let target = match (self.threshold(), reason) {
            // The provider's word counts more than what the catalogue says of the window.
            (Some(threshold), CompactionReason::ContextLength) => threshold.min(whole()) / 2,
            (Some(threshold), _) => threshold / 2,
            (None, _) => whole() / 2,
        };
        compaction::plan(&messages, self.config.compaction.keep_turns, target)
    }

    /// Whether there is something that can go.
    pub(super) fn can_compact(&self, reason: CompactionReason) -> bool {
        self.plan(reason).is_some()
    }

    /// Begins to shorten the history; says whether it does.
    pub(super) fn compact(&mut self, reason: CompactionReason, tokens: u64) -> bool {
        let Some(cut) = self.plan(reason) else {
            return false;
        };
        let Some(request) = self.summary_request(cut, tokens) else {
            return false;
        };
        self.push(None, None, Payload::CompactionStarted { reason, tokens });
        self.flush();
        self.phase(Phase::Compacting(Compacting {
            before: tokens,
            stage: Stage::Summarising { cut },
        }));
        self.set_timer(Timer::Preparing, LIMIT);
        self.out.push(Command::Summarise {
            request: Box::new(request),
        });
        true
    }

    fn summary_request(&self, cut: usize, tokens: u64) -> Option<Request> {
        // Two bytes a token is far below what a token takes, so that the summary's own request fits.
        let window = self.window.unwrap_or(tokens / 2).saturating_mul(2);
        let most = window.clamp(4_000, self.window.map_or(UNKNOWN_WINDOW_BYTES, |_| u64::MAX));
        let gone = self.history[..cut].iter().map(|seen| &seen.entry.message);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut request =
            self.side_request(compaction::summary_messages(self.summary.as_deref(), gone, most))?;
        request.budget = self.budget_left();
        Some(request)
    }

    /// A request for a text beside the conversation, to the small model if there is one. What the configuration asks
    /// of the answers to the user is not asked of it.
    pub(super) fn side_request(&self, messages: Vec<Message>) -> Option<Request> {
        let Some(small) = &self.config.small_model else {
            let mut request = self.template.clone().ok()?;
            request.messages = messages;
            request.tool_choice = None;
            request.parallel_tool_calls = None;
            request.response_format = None;
            request.modalities = None;
            request.stop = None;
            request.logprobs = None;
            request.top_logprobs = None;
            return Some(request);
        };
        let mut request = Request::new(small.clone(), messages);
        request.engine = Some(self.config.engine.choice(small));
        Some(request)
    }

    pub(super) fn summarised(&mut self, reply: Result<Reply>) {
        let Some(turn) = &mut self.turn else { return };
        let Phase::Compacting(Compacting {
            before,
            stage: Stage::Summarising { cut },
        }) = turn.phase
        else {
            return;
        };
        self.clear_preparing();
        let text = reply.ok().and_then(|reply| {
            self.spent(None, None, reply.usage);
            (!reply.content.trim().is_empty()).then_some(reply.content)
        });
        let shortened = self.shorten(cut, text.as_deref());
        self.phase(Phase::Compacting(Compacting {
            before,
            stage: Stage::Recounting(shortened),
        }));
        let Ok(request) = self.request() else {
            return self.counted(None);
        };
        self.set_timer(Timer::Preparing, LIMIT);
        self.out.push(Command::Count {
            request: Box::new(request),
        });
    }

    /// Takes what is before `cut` away for a summary of it. Without one, only the results of its tools are blanked.
    fn shorten(&mut self, cut: usize, summary: Option<&str>) -> Shortened {
        let first_kept = self.history.get(cut).map(|seen| seen.entry.message_id.clone());
        if let Some(turn) = &mut self.turn {
            // It counted what is not there any more.
            turn.in_window = None;
            turn.compacted = Some(turn.tool_rounds);
        }
        let Some(summary) = summary else {
            self.blank(cut);
            return Shortened {
                summary: None,
                first_kept,
            };
        };
        self.history.drain(..cut);
        // Inside a turn the user's own words go with the summary, however often it is made anew.
        let task = self.turn.as_ref().and_then(|turn| turn.task.as_ref());
        let gone = |id: &str| !self.history.iter().any(|seen| seen.entry.message_id == id);
        let task = task.filter(|(id, _)| gone(id)).map(|(_, task)| task.as_str());
        let summary = compaction::with_task(summary, task);
        self.summary = Some(summary.clone());
        Shortened {
            summary: Some(summary),
            first_kept,
        }
    }

    /// Blanks the results of tools before `cut`.
    pub(super) fn blank(&mut self, cut: usize) {
        for seen in self.history.iter_mut().take(cut) {
            compaction::blank(&mut seen.entry.message);
            seen.tokens = compaction::estimate(&seen.entry.message);
        }
    }

    /// The tokens after are known: the model is asked.
    pub(super) fn compacted(&mut self, compacting: Compacting, tokens: Option<u64>) {
        let before = compacting.before;
        let Stage::Recounting(shortened) = compacting.stage else {
            // A count that nobody asked for.
            return self.phase(Phase::Compacting(compacting));
        };
        self.clear_preparing();
        self.compaction_completed(shortened, before, tokens);
        self.stream_started();
        self.ask();
    }

    fn compaction_completed(&mut self, shortened: Shortened, tokens_before: u64, tokens: Option<u64>) {
        let payload = Payload::CompactionCompleted {
            summary: shortened.summary,
            first_kept: shortened.first_kept,
            tokens_before,
            tokens_after: tokens.unwrap_or_else(|| self.estimate()),
        };
        self.push(None, None, payload);
    }

    /// The turn is stopped meanwhile. What has been taken away is told; the rest was only planned.
    pub(super) fn give_up_compacting(&mut self, compacting: Compacting) {
        self.out.push(Command::StopPreparing);
        self.clear_preparing();
        if let Stage::Recounting(shortened) = compacting.stage {
            self.compaction_completed(shortened, compacting.before, None);
        }
    }

    pub(super) fn preparing_timed_out(&mut self) {
        let Some(turn) = &self.turn else { return };
        match &turn.phase {
            Phase::Counting { .. }
            | Phase::Compacting(Compacting {
                stage: Stage::Recounting(_),
                ..
            }) => {
                self.out.push(Command::StopPreparing);
                self.counted(None);
            }
            Phase::Compacting(_) => {
                self.out.push(Command::StopPreparing);
                let error = Error::new(Code::Timeout, "the summary took too long");
                self.summarised(Err(error));
            }
            _ => {}
        }
    }

    fn clear_preparing(&mut self) {
        self.out.push(Command::ClearTimer {
            timer: Timer::Preparing,
        });
    }
}
