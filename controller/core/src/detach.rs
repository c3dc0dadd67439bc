//! A cluster leaves: what still keeps it, what is done about it, and what its condition Detaching says.
//!
//! ```text
//! its bindings are scheduled elsewhere ─► its execution namespace goes ─► each Work takes its objects out of the member
//!      (or have had their time)              and with it the Works             or somebody lets go of it by force ─► the end
//! ```
//!
//! Nothing that is in a member is given up by time: a member that cannot be reached is waited for. Only a person's word
//! ([`Wishes::forced_by`]) lets go of its Works, and then of those only that would not go by themselves. A deadline changes
//! what is said, not what is done.

mod fate;
mod left_behind;
#[cfg(test)]
mod tests;
mod wishes;

use std::fmt;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Condition,
    jiff::{SignedDuration, Timestamp},
};
use pando_api::{
    conditions::{
        CONNECTED, DELETION_BLOCKED, DETACH_BLOCKED, DETACH_DEADLINE_EXCEEDED, DETACH_FORCED, DETACH_IN_PROGRESS,
        DETACH_MEMBER_UNREACHABLE, DETACHING, FALSE, READY, TRUE,
    },
    finalizers,
    work::Work,
};

pub use fate::{Fate, Fated, foresee, objects};
pub use left_behind::{CLUSTER_UID, FORCED_BY, LeftBehind, OBJECTS};
pub use wishes::Wishes;

use crate::conditions::{self, Verdict};

/// How long the scheduler has to take the cluster out of the bindings before its namespace goes all the same: then the
/// Works go through their bindings, in the order that these want. Bindings that still name it then are not waited for.
pub const HEAD_START: SignedDuration = SignedDuration::from_secs(10);
/// How long a Work of a member that answers may take to go before force lets go of it. One that says what holds it is let
/// go at once.
pub const FORCE_PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// How many bindings and how many blockers a message names. The others are counted.
const NAMED: usize = 5;
/// How the hub's namespace controller calls Works.
const WORKS: &str = "works.work.karmada.io";
/// The longest cause that a message repeats, in characters: causes are other people's words.
const LONGEST_CAUSE: usize = 300;

/// A cluster that was deleted, as it is now.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// The present.
    pub now: Timestamp,
    /// When its deletion was asked for.
    pub since: Timestamp,
    /// What its annotations ask for.
    pub wishes: Wishes,
    /// How the member can be worked with.
    pub member: Member,
    /// Bindings that name it, as `namespace/name`, or the name of a cluster-wide one.
    pub bindings: Vec<String>,
    /// Its Works.
    pub works: Vec<WorkLeft>,
    /// Its execution namespace.
    pub namespace: Space,
}

/// How a member that leaves can be worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// Its API answers.
    Reachable,
    /// Nobody has found out yet, or it was lost a moment ago.
    Unknown,
    /// It is known to be away.
    Unreachable {
        /// Since when; `None` when that is not known.
        since: Option<Timestamp>,
        /// Why, in one line.
        why: String,
    },
}

/// What is known of the connection to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It works.
    Connected,
    /// It was lost.
    Lost,
    /// Nobody has tried it yet.
    Connecting,
    /// What the Cluster or its secret says cannot be used; why.
    Refused(String),
    /// There is none from here: an agent works in the member.
    Agent,
}

impl Member {
    /// How a member is, by its connection and the conditions of its Cluster. Times and causes are those of the conditions:
    /// what is found out differs from one look to the next, and a message that did so, too, would be written each time.
    pub fn of(link: Link, of_cluster: &[Condition]) -> Self {
        let lost = conditions::find(of_cluster, CONNECTED).filter(|condition| condition.status == FALSE);
        let ready = conditions::find(of_cluster, READY);
        let is_ready = ready.is_some_and(|condition| condition.status == TRUE);
        let told = lost.or(ready.filter(|_| !is_ready));
        let away = |why: Option<String>| Self::Unreachable {
            since: told.map(|condition| condition.last_transition_time.0),
            why: why
                .or_else(|| told.map(|condition| condition.message.clone()))
                .unwrap_or_else(|| "it has never been ready".to_owned()),
        };
        match link {
            Link::Connected => Self::Reachable,
            Link::Agent if is_ready => Self::Reachable,
            Link::Agent => away(None),
            Link::Refused(why) => away(Some(why)),
            // A blip: when it lasts, the Cluster says so in a moment.
            Link::Lost if told.is_none() => Self::Unknown,
            Link::Lost => away(None),
            Link::Connecting => Self::Unknown,
        }
    }
}

/// How the execution namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// Gone.
    Absent,
    /// Deleted; what the hub says that it waits for, a sentence each.
    Terminating(Vec<String>),
    /// There.
    Active,
}

/// A Work that is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkLeft {
    /// Its name.
    pub name: String,
    /// How many objects it stands for.
    pub objects: usize,
    /// Since when it is being deleted.
    pub going_since: Option<Timestamp>,
    /// What keeps its objects in the member, in the words of its condition DeletionBlocked.
    pub held: Option<String>,
    /// Does our finalizer keep it?
    pub ours: bool,
    /// Finalizers of others that keep it on the hub.
    pub foreign: Vec<String>,
}

impl WorkLeft {
    /// What matters here of a Work.
    pub fn of(work: &Work) -> Self {
        let all = || work.metadata.finalizers.iter().flatten();
        let held = work.status.as_ref().and_then(|status| conditions::find(&status.conditions, DELETION_BLOCKED));
        Self {
            name: work.metadata.name.clone().unwrap_or_default(),
            objects: work.spec.workload.manifests.len(),
            going_since: work.metadata.deletion_timestamp.as_ref().map(|since| since.0),
            held: held.map(|condition| condition.message.clone()),
            ours: all().any(|finalizer| finalizer == finalizers::EXECUTION),
            foreign: all().filter(|finalizer| *finalizer != finalizers::EXECUTION).cloned().collect(),
        }
    }
}

/// Something that keeps a cluster from leaving and will not pass by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// The member cannot be reached.
    Member {
        /// Since when.
        since: Option<Timestamp>,
        /// Why.
        why: String,
    },
    /// A Work does not go.
    Work {
        /// Its name.
        name: String,
        /// What holds it.
        why: String,
    },
    /// The execution namespace does not go, although no Work is left in it.
    Namespace {
        /// What the hub says.
        why: String,
    },
    /// Something that was started for the cluster has not ended.
    Running,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member { since, why } => {
                f.write_str("the member cannot be reached")?;
                if let Some(since) = since {
                    write!(f, " since {since}")?;
                }
                write!(f, " ({}), so nothing is known of what is in it", short(why))
            }
            Self::Work { name, why } => write!(f, "Work {name}: {}", short(why)),
            Self::Namespace { why } => write!(f, "its execution namespace: {}", short(why)),
            Self::Running => f.write_str("something that was started for it has not ended: /debug/contexts shows it"),
        }
    }
}

/// What is done about a cluster that leaves, and what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Nothing of it is left: its life ends, then its finalizer goes.
    pub ends: bool,
    /// Its execution namespace is to be deleted.
    pub removes_namespace: bool,
    /// Names of the Works that are let go; their objects stay in the member.
    pub lets_go: Vec<String>,
    /// What keeps it.
    pub blockers: Vec<Blocker>,
    /// Its condition Detaching.
    pub condition: Verdict,
}

/// One line for each thing that is done, then what is said.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ends {
            return f.write_str("end");
        }
        if self.removes_namespace {
            writeln!(f, "remove   its execution namespace")?;
        }
        for work in &self.lets_go {
            writeln!(f, "let go   work {work}")?;
        }
        write!(f, "say      {}: {}", self.condition.reason, self.condition.message)
    }
}

/// Decides the next step of a cluster that leaves.
pub fn decide(leaving: &Leaving) -> Decision {
    let age = leaving.now.duration_since(leaving.since);
    let waited = age >= HEAD_START || leaving.wishes.forced_by.is_some();
    let free = leaving.bindings.is_empty() || waited;
    let blockers = blockers(leaving);
    Decision {
        ends: free && leaving.works.is_empty() && leaving.namespace == Space::Absent,
        removes_namespace: free && leaving.namespace == Space::Active,
        lets_go: lets_go(leaving),
        condition: condition(leaving, &blockers),
        blockers,
    }
}

/// What is said when nothing is left of a cluster on the hub, but something that was started for it has not ended.
pub fn still_running(leaving: &Leaving) -> Verdict {
    condition(leaving, &[Blocker::Running])
}

fn blockers(leaving: &Leaving) -> Vec<Blocker> {
    if leaving.works.is_empty() {
        return match &leaving.namespace {
            Space::Terminating(told) => namespace_blocker(told).into_iter().collect(),
            Space::Absent | Space::Active => Vec::new(),
        };
    }
    // What Works say of a member that is away is old.
    let away = match &leaving.member {
        Member::Unreachable { since, why } => Some(Blocker::Member { since: *since, why: why.clone() }),
        Member::Reachable | Member::Unknown => None,
    };
    let is_away = away.is_some();
    let works = leaving.works.iter().filter(|work| work.going_since.is_some()).filter_map(|work| {
        let name = work.name.clone();
        match (&work.held, work.ours) {
            (Some(why), true) if !is_away => Some(Blocker::Work { name, why: why.clone() }),
            (_, false) if !work.foreign.is_empty() => {
                let why = format!("its finalizers on the hub are somebody else's: {}", work.foreign.join(", "));
                Some(Blocker::Work { name, why })
            }
            _ => None,
        }
    });
    away.into_iter().chain(works).collect()
}

/// What keeps an execution namespace in which no Work is left. That Works are in it is what the hub found when it looked
/// last: it looks again by itself.
fn namespace_blocker(told: &[String]) -> Option<Blocker> {
    let of_works = |sentence: &&String| sentence.contains(WORKS) || sentence.contains(finalizers::EXECUTION);
    let news: Vec<&str> = told.iter().filter(|sentence| !of_works(sentence)).map(String::as_str).collect();
    (!news.is_empty()).then(|| Blocker::Namespace { why: news.join(" ") })
}

/// The Works that force lets go of: all of a member that is away; of one that answers those that do not go by themselves.
fn lets_go(leaving: &Leaving) -> Vec<String> {
    if leaving.wishes.forced_by.is_none() {
        return Vec::new();
    }
    let stuck = |work: &&WorkLeft| match (&leaving.member, work.going_since) {
        (_, None) | (Member::Unknown, _) => false,
        (Member::Unreachable { .. }, Some(_)) => true,
        (Member::Reachable, Some(since)) => work.held.is_some() || leaving.now.duration_since(since) >= FORCE_PATIENCE,
    };
    let ours = leaving.works.iter().filter(|work| work.ours);
    ours.filter(stuck).map(|work| work.name.clone()).collect()
}

fn condition(leaving: &Leaving, blockers: &[Blocker]) -> Verdict {
    let wishes = &leaving.wishes;
    let late = wishes.deadline.filter(|deadline| leaving.now.duration_since(leaving.since) >= *deadline);
    let is_away = blockers.iter().any(|blocker| matches!(blocker, Blocker::Member { .. }));
    let (reason, opening) = match (&wishes.forced_by, late) {
        (Some(who), _) => (DETACH_FORCED, format!("forced by {who}; ")),
        (None, Some(deadline)) => (DETACH_DEADLINE_EXCEEDED, format!("the deadline of {deadline:#} has passed; ")),
        (None, None) if is_away => (DETACH_MEMBER_UNREACHABLE, String::new()),
        (None, None) if !blockers.is_empty() => (DETACH_BLOCKED, String::new()),
        (None, None) => (DETACH_IN_PROGRESS, String::new()),
    };
    let mut message = format!("{opening}{}", left(leaving));
    if !blockers.is_empty() {
        let named: Vec<String> = blockers.iter().take(NAMED).map(Blocker::to_string).collect();
        message.push_str(&format!("; blocked by: {}{}", named.join("; "), others(blockers.len())));
    }
    if let Some(wrong) = &wishes.unreadable {
        message.push_str(&format!("; {wrong}"));
    }
    Verdict::holds(DETACHING, reason, message)
}

/// How much is left: `1 binding names it (prod/web), 3 Works with 3 objects are left, its execution namespace is there`.
fn left(leaving: &Leaving) -> String {
    let bindings = match leaving.bindings.as_slice() {
        [] => "no binding names it".to_owned(),
        [one] => format!("1 binding names it ({one})"),
        many => {
            let named = many.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("{} bindings name it ({named}{})", many.len(), others(many.len()))
        }
    };
    let objects: usize = leaving.works.iter().map(|work| work.objects).sum();
    let works = match leaving.works.len() {
        0 => "no Work is left".to_owned(),
        1 => format!("1 Work with {} is left", counted(objects)),
        many => format!("{many} Works with {} are left", counted(objects)),
    };
    let namespace = match leaving.namespace {
        Space::Absent => "gone",
        Space::Terminating(_) => "going",
        Space::Active => "there",
    };
    format!("{bindings}, {works}, its execution namespace is {namespace}")
}

fn counted(objects: usize) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") }
}

fn others(all: usize) -> String {
    match all.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// One line of bounded length.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_CAUSE {
        return line;
    }
    let mut cut: String = line.chars().take(LONGEST_CAUSE).collect();
    cut.push('…');
    cut
}
