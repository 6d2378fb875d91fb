//! Budgets: what the client and a call have spent, in tokens and dollars, and what they may.

use omni_core::{Budget, Code, Error, Usage};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What usage costs in dollars: provider, model (without the provider), usage, service tier. `None` if no price is
/// known.
pub(crate) type Pricing = Arc<dyn Fn(&str, &str, &Usage, Option<&str>) -> Option<f64> + Send + Sync>;

/// Tokens and dollars that were spent. Usage without a known price counts its tokens alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Input and output.
    pub tokens: u64,
    /// Dollars.
    pub usd: f64,
}

impl Spent {
    /// What `usage` says so far.
    pub(crate) fn of(usage: &Usage) -> Self {
        let sum = match (usage.input_tokens, usage.output_tokens) {
            (None, None) => usage.total_tokens.unwrap_or(0),
            (input, output) => input.unwrap_or(0).saturating_add(output.unwrap_or(0)),
        };
        Self {
            tokens: sum,
            usd: usage
                .cost_usd
                .filter(|usd| usd.is_finite() && *usd > 0.0)
                .unwrap_or(0.0),
        }
    }

    fn reaches(&self, budget: &Budget) -> bool {
        budget.tokens.is_some_and(|most| self.tokens >= most)
            || budget.usd.is_some_and(|most| self.usd >= most)
    }

    fn exceeds(&self, budget: &Budget) -> bool {
        budget.tokens.is_some_and(|most| self.tokens > most) || budget.usd.is_some_and(|most| self.usd > most)
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens and ${:.6}", self.tokens, self.usd)
    }
}

/// What all calls of a client have spent. Counted in whole numbers, so that nothing is lost between threads.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    tokens: AtomicU64,
    nano_usd: AtomicU64,
}

impl Ledger {
    pub(crate) fn spent(&self) -> Spent {
        let nano = self.nano_usd.load(Ordering::Relaxed);
        Spent {
            tokens: self.tokens.load(Ordering::Relaxed),
            usd: to_usd(nano),
        }
    }

    fn add(&self, tokens: u64, nano: u64) {
        if tokens > 0 {
            self.tokens.fetch_add(tokens, Ordering::Relaxed);
        }
        if nano > 0 {
            self.nano_usd.fetch_add(nano, Ordering::Relaxed);
        }
    }
}

/// What one call has spent, over all its tries; it tells the client's ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// Of the tries that are over.
    before: (u64, u64),
    /// Of the try that runs: usage is cumulative.
    running: (u64, u64),
}

impl Meter {
    /// The running try's usage is now `usage`. A provider that corrects itself downwards gives nothing back.
    pub(crate) fn count(&mut self, usage: &Usage, ledger: &Ledger) {
        let now = Spent::of(usage);
        let (tokens, nano) = (now.tokens, to_nano(now.usd));
        ledger.add(
            tokens.saturating_sub(self.running.0),
            nano.saturating_sub(self.running.1),
        );
        self.running = (tokens.max(self.running.0), nano.max(self.running.1));
    }

    /// Another try begins.
    pub(crate) fn next_try(&mut self) {
        self.before.0 = self.before.0.saturating_add(self.running.0);
        self.before.1 = self.before.1.saturating_add(self.running.1);
        self.running = (0, 0);
    }

    /// What the running try has used.
    pub(crate) fn tokens_of_try(&self) -> u64 {
        self.running.0
    }

    fn spent(&self) -> Spent {
        Spent {
            tokens: self.before.0.saturating_add(self.running.0),
            usd: to_usd(self.before.1.saturating_add(self.running.1)),
        }
    }
}

/// The budgets that a call must keep.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budgets {
    pub(crate) client: Option<Budget>,
    pub(crate) call: Option<Budget>,
}

impl Budgets {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.client.is_none() && self.call.is_none()
    }

    /// Why no try may begin: a budget is spent.
    pub(crate) fn refuses(&self, meter: &Meter, ledger: &Ledger) -> Option<Error> {
        self.broken(meter, ledger, Spent::reaches)
    }

    /// Why the running try may not go on: a budget is exceeded.
    pub(crate) fn stops(&self, meter: &Meter, ledger: &Ledger) -> Option<Error> {
        self.broken(meter, ledger, Spent::exceeds)
    }

    fn broken(&self, meter: &Meter, ledger: &Ledger, test: fn(&Spent, &Budget) -> bool) -> Option<Error> {
        let of_call = self
            .call
            .map(|budget| ("the call's budget", budget, meter.spent()));
        let of_client = self
            .client
            .map(|budget| ("the client's budget", budget, ledger.spent()));
        let (whose, budget, spent) = [of_call, of_client]
            .into_iter()
            .flatten()
            .find(|(_, budget, spent)| test(spent, budget))?;
        let message = format!(
            "{whose} of {} is spent: {spent} so far; raise it to go on",
            Most(budget)
        );
        Some(Error::new(Code::Budget, message))
    }
}

/// A budget in words.
struct Most(Budget);

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.tokens, self.0.usd) {
            (Some(tokens), Some(usd)) => write!(f, "{tokens} tokens and ${usd}"),
            (Some(tokens), None) => write!(f, "{tokens} tokens"),
            (None, Some(usd)) => write!(f, "${usd}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` from a float saturates, and dollars are not negative here"
)]
fn to_nano(usd: f64) -> u64 {
    (usd * 1e9).round() as u64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond nine million dollars a billionth may be lost"
)]
fn to_usd(nano: u64) -> f64 {
    nano as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, output: u64, usd: Option<f64>) -> Usage {
        Usage {
            input_tokens: Some(input),
            output_tokens: Some(output),
            cost_usd: usd,
            ..Usage::default()
        }
    }

    #[test]
    fn cumulative_usage_is_counted_once_and_tries_add_up() {
        let (ledger, mut meter) = (Ledger::default(), Meter::default());
        meter.count(&usage(10, 0, None), &ledger);
        meter.count(&usage(10, 5, Some(0.25)), &ledger);
        meter.next_try();
        meter.count(&usage(10, 2, Some(0.5)), &ledger);
        let spent = Spent {
            tokens: 27,
            usd: 0.75,
        };
        assert_eq!((ledger.spent(), meter.spent()), (spent, spent));
        assert_eq!(meter.tokens_of_try(), 12);
    }

    #[test]
    fn a_provider_that_takes_back_usage_gives_no_budget_back() {
        let (ledger, mut meter) = (Ledger::default(), Meter::default());
        meter.count(&usage(10, 10, None), &ledger);
        meter.count(&usage(10, 4, None), &ledger);
        meter.count(&usage(10, 10, None), &ledger);
        assert_eq!(ledger.spent().tokens, 20);
    }

    #[test]
    fn nonsense_costs_nothing() {
        for usd in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(Spent::of(&usage(1, 1, Some(usd))).usd.abs() < f64::EPSILON);
        }
        let total = Usage {
            total_tokens: Some(9),
            ..Usage::default()
        };
        assert_eq!(Spent::of(&total).tokens, 9);
    }

    #[test]
    fn the_error_says_whose_budget_it_is_and_what_was_spent() {
        let (ledger, mut meter) = (Ledger::default(), Meter::default());
        let budgets = Budgets {
            client: Some(Budget {
                tokens: Some(15),
                usd: Some(1.0),
            }),
            call: None,
        };
        meter.count(&usage(10, 5, Some(0.001_25)), &ledger);
        assert!(budgets.stops(&meter, &ledger).is_none(), "just within");
        let error = budgets.refuses(&meter, &ledger).unwrap();
        assert_eq!(error.code, Code::Budget);
        assert_eq!(
            error.message,
            "the client's budget of 15 tokens and $1 is spent: 15 tokens and $0.001250 so far; raise it to go on"
        );
    }
}
