//! Whether a tool may run: pure. The most exact entry of the configuration counts; what somebody granted stands above
//! a question and never above a refusal.

use crate::config::{Approval, Policy};
use crate::tool::ToolSpec;
use std::collections::BTreeSet;

/// Tools that somebody let run for the session, or always; by the name that the model uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted(BTreeSet<String>);

impl Granted {
    pub(crate) fn new(tools: impl IntoIterator<Item = String>) -> Self {
        Self(tools.into_iter().collect())
    }

    pub(crate) fn insert(&mut self, tool: String) {
        self.0.insert(tool);
    }
}

/// As the model is told of a call that somebody would have to approve.
pub(crate) const NOBODY: &str = "this tool needs an approval, and nobody is there to give it";

/// What is to be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs.
    Run,
    /// Somebody is asked.
    Ask,
    /// It does not run; as the model is told.
    Deny(&'static str),
}

/// The policy for a tool: its own entry, its server's, the default.
fn policy(approval: &Approval, spec: &ToolSpec) -> Policy {
    let own = approval.tools.get(&spec.name);
    *own.or_else(|| approval.servers.get(&spec.server))
        .unwrap_or(&approval.default)
}

/// What is to be done with a call of `spec`.
pub(crate) fn judge(approval: &Approval, granted: &Granted, spec: &ToolSpec) -> Verdict {
    match policy(approval, spec) {
        Policy::Deny => Verdict::Deny("the configuration does not let this tool run"),
        Policy::Approve => Verdict::Run,
        Policy::ApproveReads if spec.read_only => Verdict::Run,
        Policy::ApproveReads | Policy::Ask if granted.0.contains(&spec.name) => Verdict::Run,
        Policy::ApproveReads | Policy::Ask if approval.unattended => Verdict::Deny(NOBODY),
        Policy::ApproveReads | Policy::Ask => Verdict::Ask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_core::{Object, Tool};

    fn spec(read_only: bool) -> ToolSpec {
        ToolSpec {
            name: "files_write".into(),
            own_name: "write".into(),
            server: "files".into(),
            tool: Tool::Function {
                function: Object::new(),
                other: Object::new(),
            },
            read_only,
        }
    }

    #[test]
    fn the_most_exact_entry_counts() {
        let mut approval = Approval {
            default: Policy::Deny,
            ..Approval::default()
        };
        let judged = |approval: &Approval| judge(approval, &Granted::default(), &spec(false));
        assert!(matches!(judged(&approval), Verdict::Deny(_)));
        approval.servers.insert("files".into(), Policy::Ask);
        assert_eq!(judged(&approval), Verdict::Ask);
        approval.tools.insert("files_write".into(), Policy::Approve);
        assert_eq!(judged(&approval), Verdict::Run);
        approval.tools.insert("files_write".into(), Policy::Deny);
        assert!(matches!(judged(&approval), Verdict::Deny(_)));
    }

    #[test]
    fn every_policy_meets_every_case() {
        let granted = Granted::new(["files_write".to_owned()]);
        let none = Granted::default();
        // policy, only reads, granted, unattended: what is done ('r' run, 'a' ask, 'd' deny)
        for (policy, read_only, granted, unattended, does) in [
            (Policy::Approve, false, &none, true, 'r'),
            (Policy::ApproveReads, true, &none, true, 'r'),
            (Policy::ApproveReads, false, &none, false, 'a'),
            (Policy::ApproveReads, false, &granted, false, 'r'),
            (Policy::ApproveReads, false, &none, true, 'd'),
            (Policy::Ask, true, &none, false, 'a'),
            (Policy::Ask, false, &granted, true, 'r'),
            (Policy::Ask, false, &none, true, 'd'),
            (Policy::Deny, true, &granted, false, 'd'),
        ] {
            let approval = Approval {
                default: policy,
                unattended,
                ..Approval::default()
            };
            let got = match judge(&approval, granted, &spec(read_only)) {
                Verdict::Run => 'r',
                Verdict::Ask => 'a',
                Verdict::Deny(_) => 'd',
            };
            assert_eq!(got, does, "{policy:?} {read_only} {granted:?} {unattended}");
        }
    }
}
