//! The preview: what becomes of everything that the federation has in a member.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use pando_api::cluster::Cluster;
use pando_api::work::Work;
use pando_core::detach::{self, Fate, Fated, LeftBehind, Link};
use pando_core::manifest::Identity;
use pando_core::seen::Seen;
use serde_json::{Value, json};

use super::super::connection::{Hub, Member, RequestError};
use super::super::join::ClusterId;
use super::report::Report;
use crate::args::UnjoinArgs;

/// How many objects of a kind of fate are printed one by one. JSON has all of them.
const PRINTED: usize = 50;

/// What becomes of each object.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) cluster: String,
    /// Whether it is joined at all.
    pub(super) joined: bool,
    /// As it is when the member can be worked with.
    pub(super) objects: Vec<Fated>,
    /// Why the member cannot be worked with, in the words of its Cluster.
    pub(super) away: Option<String>,
    pub(super) force: bool,
    /// Whether this command cleans up after `join` in the member.
    pub(super) cleans: bool,
}

impl Plan {
    /// Reads the Works of the cluster, and of the member what only it can tell.
    pub(super) async fn observe(
        hub: &Hub,
        member: Option<&Member>,
        args: &UnjoinArgs,
        federation: &ClusterId,
        cluster: Option<&Cluster>,
    ) -> Result<Self, RequestError> {
        let execution = args.name.execution_namespace().to_string();
        let works: Vec<Work> = match cluster {
            Some(_) => hub.list(&hub.within(&execution)).await?,
            None => Vec::new(),
        };
        let mut objects = Vec::new();
        for work in &works {
            let looks = match member {
                Some(member) => looks(member, &federation.0, work).await,
                None => BTreeMap::new(),
            };
            objects.extend(detach::foresee(&federation.0, work, |identity| looks.get(identity).map(Seen::as_ref)));
        }
        objects.sort_by(|a, b| a.object.cmp(&b.object));
        let status = cluster.and_then(|cluster| cluster.status.as_ref());
        // By what is known of it, not by trying: the controller reaches it in its own way.
        let away = match detach::Member::of(Link::Lost, status.map_or(&[], |status| &status.conditions)) {
            detach::Member::Unreachable { why, .. } => Some(why),
            detach::Member::Reachable | detach::Member::Unknown => None,
        };
        let (joined, force, cleans) = (cluster.is_some(), args.force, member.is_some());
        Ok(Self { cluster: args.name.to_string(), joined, objects, away, force, cleans })
    }

    /// What becomes of each object as things are now.
    fn fated(&self) -> impl Iterator<Item = Fated> {
        let away = self.away.as_ref().filter(|_| self.force);
        self.objects.iter().map(move |fated| match away {
            Some(_) => Fated {
                object: fated.object.clone(),
                fate: fated.fate.clone().without_the_member("the member cannot be reached"),
            },
            None => fated.clone(),
        })
    }

    /// For a person: a line for each object, grouped, then what else there is to know.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.joined {
            lines.push(format!("cluster {} leaves the federation; of what was propagated to it:", self.cluster));
        } else {
            lines.push(format!("cluster {} is not joined", self.cluster));
        }
        let all: Vec<Fated> = self.fated().collect();
        for kind in ["remove", "keep", "leave behind"] {
            let group: Vec<&Fated> = all.iter().filter(|fated| fated.fate.to_string() == kind).collect();
            lines.extend(group.iter().take(PRINTED).map(|fated| match fated.fate.why() {
                Some(why) => format!("  {kind:<13}{}: {why}", fated.object),
                None => format!("  {kind:<13}{}", fated.object),
            }));
            if group.len() > PRINTED {
                lines.push(format!("  {kind:<13}and {} more (-o json lists them)", group.len() - PRINTED));
            }
        }
        if all.is_empty() && self.joined {
            lines.push("  nothing".to_owned());
        }
        if let Some(why) = &self.away {
            let how = match self.force {
                true => "it is not waited for",
                false => "it is waited for, until it is back or --force lets go of what is in it",
            };
            lines.push(format!("  the member cannot be reached ({why}): {how}"));
        }
        lines.push(match self.cleans {
            true => "  remove       accounts, role and namespace that join made, where they are this federation's"
                .to_owned(),
            false => {
                "  keep         accounts and role that join made: --cluster-kubeconfig removes them, too".to_owned()
            }
        });
        lines
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let objects: Vec<Value> = self
            .fated()
            .map(|fated| match fated.fate.why() {
                Some(why) => json!({"object": fated.object, "fate": word(&fated.fate), "why": why}),
                None => json!({"object": fated.object, "fate": word(&fated.fate)}),
            })
            .collect();
        json!({
            "cluster": self.cluster,
            "joined": self.joined,
            "dryRun": true,
            "memberReachable": self.away.is_none(),
            "objects": objects,
        })
    }

    /// What came of it, once the Cluster is gone, by the list of what is left behind, if there is one, or why it cannot be
    /// read. Without a list nobody says that something is gone from a member that could not be reached, or that
    /// was forced.
    pub(super) fn report(&self, left: Result<Option<LeftBehind>, String>) -> Report {
        let mut report = Report::default();
        let unknown = match &left {
            Err(why) => Some(format!("the list of what is left behind cannot be read ({why})")),
            Ok(None) if self.away.is_some() => Some("nothing was written down of what is left behind".to_owned()),
            Ok(_) => None,
        };
        let unknown = unknown.filter(|_| self.force);
        let left = left.unwrap_or_default().unwrap_or_default();
        for fated in &self.objects {
            match &fated.fate {
                _ if left.objects.contains(&fated.object) => {}
                fate if fate.is_removal() && unknown.is_some() => report.leave(&fated.object, "it may still be there"),
                Fate::Removed => report.removed += 1,
                Fate::RemovedUnlessAdopted => report.removed_unless_adopted += 1,
                Fate::Kept { .. } => report.kept += 1,
                Fate::LeftBehind { why } => report.leave(&fated.object, why),
                Fate::Gone => {}
            }
        }
        report.forced_by = Some(left.forced_by).filter(|who| !who.is_empty());
        report.left_behind.extend(left.objects);
        report.unnamed = left.unnamed;
        report.unknown = unknown;
        report
    }
}

fn word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Removed => "removed",
        Fate::RemovedUnlessAdopted => "removedUnlessAdopted",
        Fate::Kept { .. } => "kept",
        Fate::LeftBehind { .. } => "leftBehind",
        Fate::Gone => "gone",
    }
}

/// The member's objects of a Work, where only the member can tell what becomes of them.
async fn looks(member: &Member, federation: &str, work: &Work) -> BTreeMap<Identity, Seen<Value>> {
    let unsure =
        detach::foresee(federation, work, |_| None).iter().any(|fated| fated.fate == Fate::RemovedUnlessAdopted);
    let objects = detach::objects(federation, work).unwrap_or_default();
    let mut looks = BTreeMap::new();
    for desired in objects.iter().filter(|_| unsure) {
        let identity = desired.identity();
        let seen = match member.look(&identity).await {
            Ok(found) => found.map_or(Seen::Absent, |found: DynamicObject| match serde_json::to_value(found) {
                Ok(value) => Seen::Found(value),
                Err(error) => unread(&identity, &error),
            }),
            Err(error) => unread(&identity, &error),
        };
        looks.insert(identity, seen);
    }
    looks
}

fn unread(identity: &Identity, error: &dyn std::error::Error) -> Seen<Value> {
    Seen::Unreadable(pando_core::seen::ReadFailure::new(identity.to_string(), error.to_string()))
}
