//! What a call spends: its cost, and what that does to the budgets.

use super::Call;
use crate::spend::{Budgets, Ledger, Meter};
use omni_core::{Budget, Error, ModelId, Reply, Usage};

/// What a call may spend, and what it has spent.
pub(super) struct Spending {
    pub(super) budgets: Budgets,
    pub(super) meter: Meter,
    /// A budget was exceeded: the answer is stopped if there is more of it.
    pub(super) over: Option<Error>,
    /// The cost that was told last is ours, not the provider's.
    priced: bool,
}

impl Spending {
    pub(super) fn new(client: Option<Budget>) -> Self {
        Self {
            budgets: Budgets { client, call: None },
            meter: Meter::default(),
            over: None,
            priced: false,
        }
    }

    /// Why no try may begin: a budget is spent.
    pub(super) fn refuses(&self, ledger: &Ledger) -> Option<Error> {
        if self.budgets.is_empty() {
            return None;
        }
        self.budgets.refuses(&self.meter, ledger)
    }
}

impl Call {
    /// Usage came in the middle of an answer: puts its cost in, counts it, and sees whether a budget is exceeded.
    pub(super) fn spend(&mut self, usage: &mut Usage) {
        if usage.cost_usd.is_none() {
            usage.cost_usd = self.cost(usage, None);
            self.spending.priced = usage.cost_usd.is_some();
        } else {
            self.spending.priced = false;
        }
        self.spending.meter.count(usage, &self.client.ledger);
        // What is not streamed is whole when it comes, whatever the order in which it is told.
        if self.streamed && !self.spending.budgets.is_empty() {
            let stops = self
                .spending
                .budgets
                .stops(&self.spending.meter, &self.client.ledger);
            // An answer that is whole is given: it has been paid for. What is stopped is one that goes on.
            self.spending.over = stops.map(|error| error.for_model(&self.request.model));
        }
    }

    /// The answer is whole: its usage is what the call cost.
    pub(super) fn settle_usage(&mut self, reply: &mut Reply) {
        let unknown = reply.usage == Usage::default();
        if unknown {
            return;
        }
        // The tier that the provider says it used may differ from the one that was asked for.
        if reply.usage.cost_usd.is_none() || (self.spending.priced && reply.service_tier.is_some()) {
            let cost = self.cost(&reply.usage, reply.service_tier.as_deref());
            reply.usage.cost_usd = cost.or(reply.usage.cost_usd);
        }
        self.spending.meter.count(&reply.usage, &self.client.ledger);
    }

    fn cost(&self, usage: &Usage, tier: Option<&str>) -> Option<f64> {
        let tier = tier.or(self.request.service_tier.as_deref());
        let Some(pricing) = self.client.pricing.as_ref() else {
            let native = self.client.native.as_ref()?;
            return native.catalogue.cost(&self.request.model, usage, tier);
        };
        let id = ModelId::parse(&self.request.model);
        pricing(id.provider.unwrap_or_default(), id.model, usage, tier)
    }
}
