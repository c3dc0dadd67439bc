//! Tells which work should be gone and is not.
//!
//! What is cancelled and does not end holds up whoever waits for it: a detach, a shutdown, the next life of a member. A
//! list of stacks would tell where something waits; this tells whose it is and why it should be gone. Each such context
//! is logged once, with everything above it; of several below each other the innermost, which holds up the rest.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use pando_context::{Counts, Ctx, Filter, Kind, State, Stop, Task};

const STUCK: Kind = Kind::new("stuck-report");

/// How long after its cancel a context is taken to be stuck. Work is dropped at its next await, and every grace of clean-up
/// is shorter: what is left after that waits for nothing that ends by itself.
pub const AFTER: Duration = Duration::from_secs(30);

/// Time between two looks. Nothing depends on being told sooner.
const LOOK: Duration = Duration::from_secs(5);

/// How many contexts are named in one look. A thousand calls of one member that are stuck have one cause; those of another
/// have their turn in a later look.
const NAMED: usize = 20;

/// How many are remembered as named. Beyond that, none is named before one of them has ended.
const REMEMBERED: usize = 1000;

/// Looks at the tree of this context for as long as it lives, and logs what is stuck.
#[track_caller]
pub fn report(ctx: &Ctx) -> Task<()> {
    let top = ctx.clone();
    ctx.spawn(&STUCK, |ctx| async move {
        let mut report = Report::default();
        if let Err(stop) = report.run(&ctx, &top).await {
            tracing::trace!(%stop, "no longer looking for stuck contexts");
        }
    })
}

/// How many contexts are stuck, of these.
pub(crate) fn count(top: &Ctx, counts: &Counts) -> usize {
    if is_any(counts) { stopping(top).stuck(AFTER).len() } else { 0 }
}

/// Counting is cheap, and nearly always says that nothing is.
fn is_any(counts: &Counts) -> bool {
    counts.kinds.values().any(|kind| kind.stopping > 0 && kind.longest_stopping >= AFTER)
}

fn stopping(top: &Ctx) -> pando_context::Tree {
    top.dump_where(&Filter { state: Some(State::Stopping), ..Filter::default() })
}

/// What was reported and is still there, by the contexts' ids.
#[derive(Default)]
struct Report {
    named: BTreeMap<u64, String>,
}

impl Report {
    async fn run(&mut self, ctx: &Ctx, top: &Ctx) -> Result<(), Stop> {
        loop {
            ctx.sleep(LOOK).await?;
            self.look(top);
        }
    }

    fn look(&mut self, top: &Ctx) {
        if self.named.is_empty() && !is_any(&top.counts()) {
            return;
        }
        let tree = stopping(top);
        let stuck = tree.stuck(AFTER);
        let ids: HashSet<u64> = tree.nodes().iter().map(|node| node.id).collect();
        self.named.retain(|id, path| {
            let is_there = ids.contains(id);
            if !is_there {
                tracing::info!(context = %path, "a context that was stuck has ended");
            }
            is_there
        });
        let (mut new, mut unnamed) = (0, 0);
        for stuck in &stuck {
            let node = stuck.node;
            let (false, Some((reason, since))) = (self.named.contains_key(&node.id), &node.cancelled) else { continue };
            if new >= NAMED || self.named.len() >= REMEMBERED {
                unnamed += 1;
                continue;
            }
            new += 1;
            let path = stuck.path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" > ");
            tracing::warn!(
                context = %path,
                reason = %reason,
                since = ?since,
                activity = node.activity.as_str(),
                made_at = %node.place,
                trace = %node.trace,
                "a context is cancelled and does not end"
            );
            self.named.insert(node.id, path);
        }
        if unnamed > 0 {
            tracing::debug!(unnamed, "more contexts are cancelled and do not end");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use pando_context::{Reason, Scope};

    use super::*;
    use crate::telemetry::captured;

    const CLUSTER: Kind = Kind::new("cluster");
    const CALL: Kind = Kind::new("call");

    #[pando_context::test(paused)]
    async fn what_does_not_end_is_reported_once_with_whose_it_is_and_why(root: &Scope) {
        let (log, _guard) = captured::start();
        report(root.ctx()).detach();
        let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
        let call = cluster.ctx().child(&CALL);
        let patient = root.ctx().child_named(&CLUSTER, "sh-prod");
        cluster.cancel(Reason::detached("asked for by alice"));
        root.ctx().sleep(AFTER - LOOK).await.unwrap();
        assert_eq!(log.saying("a context is cancelled and does not end"), [] as [serde_json::Value; 0]);

        root.ctx().sleep(10 * AFTER).await.unwrap();
        let lines = log.saying("a context is cancelled and does not end");
        assert_eq!(lines.len(), 1, "{}", log.text());
        let line = &lines[0];
        assert_eq!(line["level"], "WARN");
        let context = line["context"].as_str().unwrap();
        assert!(context.ends_with(" > cluster/bj-prod > call"), "{line}");
        assert_eq!(line["reason"], "detached at cluster/bj-prod: asked for by alice");
        assert!(line["made_at"].as_str().unwrap().contains("stuck.rs"), "{line}");
        assert_eq!(line["trace"], call.ctx().trace_id().to_string());
        assert!(line["since"].as_str().unwrap().starts_with('3'), "{line}");

        drop(call);
        drop(cluster);
        root.ctx().sleep(2 * LOOK).await.unwrap();
        assert_eq!(log.saying("a context that was stuck has ended").len(), 1, "{}", log.text());
        drop(patient);
    }

    #[pando_context::test(paused)]
    async fn many_that_are_stuck_do_not_hide_those_of_another_member(root: &Scope) {
        let (log, _guard) = captured::start();
        report(root.ctx()).detach();
        let stuck = |name: &str, calls: usize| {
            let cluster = root.ctx().child_named(&CLUSTER, name);
            let calls: Vec<Scope> = (0..calls).map(|_| cluster.ctx().child(&CALL)).collect();
            cluster.cancel(Reason::detached("asked for by alice"));
            (cluster, calls)
        };
        let _first = stuck("bj-prod", NAMED);
        root.ctx().sleep(2 * AFTER).await.unwrap();
        let _second = stuck("sh-prod", 1);
        root.ctx().sleep(2 * AFTER).await.unwrap();
        let lines = log.saying("a context is cancelled and does not end");
        let of = |name: &str| {
            lines.iter().filter(|line| line["context"].as_str().is_some_and(|path| path.contains(name))).count()
        };
        assert_eq!((of("bj-prod"), of("sh-prod")), (NAMED, 1), "{}", log.text());
    }
}
