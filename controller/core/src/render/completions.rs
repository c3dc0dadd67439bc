//! The completions of a Job that runs divided: every member does its share.

use std::collections::BTreeMap;

use super::RenderInput;
use crate::{
    interpreter,
    scheduler::{
        self, Strategy,
        divide::{Division, Ties, divide},
    },
};

/// The completions of each cluster, when the binding divides a Job that counts its completions; `None` for anything else.
///
/// The completions are divided by the replicas that the scheduler assigned, by the same method and with the same ties
/// (Karmada 1.19). The replicas of a Job are never more than its completions, so no cluster with pods gets nothing to do.
/// An API server does not let `spec.completions` of a running Job change: a later division that gives other shares is
/// refused by the member and reported.
pub(super) fn divided<'a>(input: &RenderInput<'a>) -> Option<Division<&'a str>> {
    let spec = input.binding.spec;
    if spec.replicas <= 0 || scheduler::strategy_of(spec.placement.as_ref()?) == Strategy::Duplicated {
        return None;
    }
    let completions = interpreter::completions(&input.template.manifest)?;
    let weight = |replicas: i32| u64::try_from(replicas).unwrap_or_default();
    let weights: BTreeMap<&str, u64> =
        spec.clusters.iter().map(|target| (target.name.as_str(), weight(target.replicas))).collect();
    divide(completions, &weights, Ties::of_template(&input.template.uid)).ok()
}
