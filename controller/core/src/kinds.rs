//! Which kinds of the hub are followed: exactly those that policies select and bindings ship.
//!
//! ```text
//! selectors of policies ─┐                        ┌─► follow    its objects become readable
//! templates of bindings ─┼─ judged by discovery ──┼─► end       nobody wants it, or the hub serves it no longer
//! kinds followed now    ─┘                        └─► findings  selectors that reach nothing, and why
//! ```
//!
//! Ending is never urgent and following never harms: a kind in doubt stays as it is. What a kind that is not followed
//! holds is unknown, so nothing is deleted because of it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use pando_api::events;
use pando_api::labels::NAMESPACE_SKIP_AUTO_PROPAGATION;
use pando_api::policy::ResourceSelector;

use crate::next::Next;
use crate::policy_match::{PolicyRef, Skipped};

/// How often discovery is asked again when nothing hints at a change (Karmada 1.19).
pub const RECHECK: Duration = Duration::from_secs(30);
/// How soon it is asked again when a CRD says that a wanted kind is served and discovery does not: it lags behind.
pub const LAGGING: Duration = Duration::from_secs(1);

/// The name of a kind in one version. Prints as `Widget of example.io/v1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindName {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Deployment`, …
    pub kind: String,
}

impl KindName {
    /// The kind `kind` of `api_version`.
    #[must_use]
    pub fn new(api_version: &str, kind: &str) -> Self {
        Self { api_version: api_version.to_owned(), kind: kind.to_owned() }
    }

    /// API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether this is the kind of namespaces, which exist in every member without a policy.
    #[must_use]
    pub fn is_namespace(&self) -> bool {
        self.group().is_empty() && self.kind == "Namespace"
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.api_version)
    }
}

/// A kind as the hub's discovery lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its name.
    pub name: KindName,
    /// Plural, as in paths.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether its status has a path of its own.
    pub has_status: bool,
    /// Place of the version in its group's order of preference; 0 is the preferred one.
    pub preference: usize,
    /// A verb that propagation needs and the hub does not offer.
    pub lacks: Option<&'static str>,
}

/// A policy, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Selecting<'a> {
    /// Which policy.
    pub policy: PolicyRef,
    /// What it selects.
    pub selectors: &'a [ResourceSelector],
    /// Whether it is being deleted: it selects nothing any more, but what it claimed has yet to be released.
    pub is_deleting: bool,
}

/// A CRD that is established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// The versions that it serves.
    pub versions: Vec<String>,
}

/// A kind that is followed now.
#[derive(Clone, Debug)]
pub struct Followed {
    /// As it was served when its watch began.
    pub kind: Served,
    /// Whether an object of it carries the mark of a policy, which has yet to be taken off when nobody selects it.
    pub is_claimed: bool,
}

/// Everything the decision needs.
#[derive(Debug)]
pub struct Input<'a> {
    /// All policies of both kinds.
    pub policies: &'a [Selecting<'a>],
    /// The kinds of the templates of all bindings.
    pub bound: &'a BTreeSet<KindName>,
    /// What the hub serves, as far as known.
    pub served: &'a [Served],
    /// The group versions that did not answer: what is known of them stays valid, what is not known is in doubt.
    pub unread: &'a BTreeSet<String>,
    /// The CRDs that were established a moment ago: what they define will be served, whatever discovery says yet.
    pub definitions: &'a [Definition],
    /// What is never propagated.
    pub skipped: &'a Skipped,
    /// What is followed now, without namespaces.
    pub followed: &'a [Followed],
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The kinds to follow from now on.
    pub follow: Vec<Served>,
    /// The kinds to follow no longer. One that is also in `follow` begins anew.
    pub end: BTreeMap<KindName, End>,
    /// The selectors that reach nothing.
    pub findings: BTreeSet<Finding>,
    /// The kinds of bindings that are not followed: what they ship stays as it is.
    pub out_of_reach: BTreeMap<KindName, Problem>,
    /// When to look again without a change.
    pub next: Next,
}

/// Why a kind is followed no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No policy selects it, no binding ships it, and no object of it is claimed. It may wait: a policy may come back.
    Unwanted,
    /// The hub serves it no longer.
    Unserved,
    /// The hub serves it in another way: as another plural, in another scope, or with another status.
    Changed,
}

/// A selector that reaches nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whose selector.
    pub policy: PolicyRef,
    /// The kind that it selects.
    pub kind: KindName,
    /// Why.
    pub problem: Problem,
}

/// Why objects of a kind cannot be selected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// The hub does not know it.
    NotServed,
    /// The hub prefers another version, and only that one is followed.
    OtherVersion {
        /// The preferred apiVersion.
        preferred: String,
    },
    /// The hub does not offer what propagation needs.
    Without {
        /// The missing verb.
        verb: &'static str,
    },
    /// Nobody can say: its group did not answer.
    Unread,
    /// It is on the list of kinds that are never propagated.
    Skipped,
    /// Namespaces are propagated without a policy.
    Namespace,
    /// It has no namespace, and the policy has one.
    ClusterWide,
}

impl Problem {
    /// The reason of the event that says so.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotServed | Self::Without { .. } | Self::Unread => events::KIND_NOT_SERVED,
            Self::OtherVersion { .. } | Self::Skipped | Self::Namespace | Self::ClusterWide => {
                events::KIND_NOT_SELECTABLE
            }
        }
    }

    /// What is wrong with a selector of `kind`, and what to do.
    #[must_use]
    pub fn explain(&self, kind: &KindName) -> String {
        match self {
            Self::NotServed => format!(
                "the hub does not serve {kind}: install its CRD; it is looked for every {} s",
                RECHECK.as_secs()
            ),
            Self::OtherVersion { preferred } => format!(
                "the hub prefers {} in {preferred} and only that version is followed: write apiVersion {preferred} in place of {}",
                kind.kind, kind.api_version
            ),
            Self::Without { verb } => format!("the hub serves {kind} without {verb}: it cannot be propagated"),
            Self::Unread => format!(
                "the hub cannot say whether it serves {kind}: its API group does not answer; it is asked again every {} s",
                RECHECK.as_secs()
            ),
            Self::Skipped => {
                format!(
                    "{kind} is never propagated, as its group, --skipped-propagating-apis or Kubernetes' own use of it demand: remove the selector"
                )
            }
            Self::Namespace => {
                format!(
                    "namespaces are propagated to every member without a policy, but those labelled {NAMESPACE_SKIP_AUTO_PROPAGATION}=true, which no policy can place in this release: remove the selector, and such a label where what is inside is propagated"
                )
            }
            Self::ClusterWide => format!(
                "{kind} has no namespace, and a PropagationPolicy reaches its own namespace only: use a ClusterPropagationPolicy"
            ),
        }
    }
}

/// Decides which kinds to follow.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let catalog = Catalog::of(input);
    let mut wanted: BTreeMap<&KindName, &Served> = BTreeMap::new();
    let mut findings = BTreeSet::new();
    for policy in input.policies {
        for selector in policy.selectors {
            let name = KindName::new(&selector.api_version, &selector.kind);
            match catalog.judge(&name).and_then(|served| in_reach(policy, served)) {
                Ok(served) => drop(wanted.insert(&served.name, served)),
                Err(_) if policy.is_deleting => {}
                Err(problem) => {
                    findings.insert(Finding { policy: policy.policy.clone(), kind: name, problem });
                }
            }
        }
    }
    let mut out_of_reach = BTreeMap::new();
    for name in input.bound.iter().filter(|name| !name.is_namespace()) {
        match catalog.judge(name) {
            Ok(served) => drop(wanted.insert(&served.name, served)),
            Err(problem) => drop(out_of_reach.insert(name.clone(), problem)),
        }
    }
    let end: BTreeMap<_, _> = input
        .followed
        .iter()
        .filter_map(|followed| Some((followed.kind.name.clone(), catalog.ends(followed, &wanted)?)))
        .collect();
    let stays =
        |name: &KindName| input.followed.iter().any(|followed| followed.kind.name == *name) && !end.contains_key(name);
    let follow = wanted.into_values().filter(|served| !stays(&served.name)).cloned().collect();
    let missing = findings.iter().map(|finding| (&finding.kind, &finding.problem)).chain(&out_of_reach);
    let is_lagging = missing
        .filter(|(_, problem)| matches!(problem, Problem::NotServed))
        .any(|(kind, _)| input.definitions.iter().any(|definition| definition.defines(kind)));
    let next = Next::after(if is_lagging { LAGGING } else { RECHECK });
    Plan { follow, end, findings, out_of_reach, next }
}

fn in_reach<'s>(policy: &Selecting<'_>, served: &'s Served) -> Result<&'s Served, Problem> {
    match policy.policy {
        PolicyRef::Namespaced { .. } if !served.namespaced => Err(Problem::ClusterWide),
        _ => Ok(served),
    }
}

impl Definition {
    fn defines(&self, kind: &KindName) -> bool {
        let version = kind.api_version.split_once('/').map_or(kind.api_version.as_str(), |(_, version)| version);
        self.group == kind.group() && self.kind == kind.kind && self.versions.iter().any(|served| served == version)
    }
}

/// What the hub serves, by name.
struct Catalog<'a> {
    input: &'a Input<'a>,
    served: BTreeMap<&'a KindName, &'a Served>,
}

impl<'a> Catalog<'a> {
    fn of(input: &'a Input<'a>) -> Self {
        Self { input, served: input.served.iter().map(|served| (&served.name, served)).collect() }
    }

    /// The kind as it can be followed, or why it cannot.
    fn judge(&self, name: &KindName) -> Result<&'a Served, Problem> {
        if name.is_namespace() {
            return Err(Problem::Namespace);
        }
        if self.input.skipped.skips_kind(&name.api_version, &name.kind) {
            return Err(Problem::Skipped);
        }
        let preferred = self.preferred(name.group(), &name.kind);
        match (self.served.get(name), preferred) {
            (Some(served), Some(preferred)) if preferred.name == served.name => Ok(served),
            (_, Some(preferred)) => Err(Problem::OtherVersion { preferred: preferred.name.api_version.clone() }),
            (Some(served), None) => Err(Problem::Without { verb: served.lacks.unwrap_or_default() }),
            (None, None) if self.input.unread.contains(&name.api_version) => Err(Problem::Unread),
            (None, None) => Err(Problem::NotServed),
        }
    }

    /// The version in which a kind is followed: the most preferred one that offers what is needed.
    fn preferred(&self, group: &str, kind: &str) -> Option<&'a Served> {
        let versions = self
            .input
            .served
            .iter()
            .filter(|served| served.name.kind == kind && served.name.group() == group && served.lacks.is_none());
        versions.min_by_key(|served| served.preference)
    }

    /// Whether and why a kind that is followed is followed no longer.
    fn ends(&self, followed: &Followed, wanted: &BTreeMap<&KindName, &Served>) -> Option<End> {
        let name = &followed.kind.name;
        let Some(now) = self.served.get(name) else {
            return (!self.input.unread.contains(&name.api_version)).then_some(End::Unserved);
        };
        let is_same = now.plural == followed.kind.plural
            && now.namespaced == followed.kind.namespaced
            && now.has_status == followed.kind.has_status;
        match is_same {
            false => Some(End::Changed),
            true if wanted.contains_key(name) || followed.is_claimed => None,
            true => Some(End::Unwanted),
        }
    }
}

/// One line for each step and finding.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, why) in &self.end {
            writeln!(f, "end      {name}: {why:?}")?;
        }
        for served in &self.follow {
            writeln!(f, "follow   {} as {}", served.name, served.plural)?;
        }
        for Finding { policy, kind, problem } in &self.findings {
            writeln!(f, "warn     {policy}: {}", problem.explain(kind))?;
        }
        for (kind, problem) in &self.out_of_reach {
            writeln!(f, "leave    bindings: {}", problem.explain(kind))?;
        }
        if let Some(delay) = self.next.delay() {
            writeln!(f, "again    in {} s", delay.as_secs())?;
        }
        Ok(())
    }
}
