//! Whether the objects of a Work can be followed in the member. What a watch knew when it broke stays in memory and looks like
//! news: only the Work can say that it is old, since the member answers everything else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use pando_api::{
    conditions::{APPLIED, FALSE, KIND_NOT_READ, STATUS_FRESH},
    work::{ResourceHealth, Work, WorkStatus},
};

use crate::conditions::{self, Verdict};

/// Whether what the member says of a Work's objects reaches us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It does.
    Clear,
    /// Nobody can say yet: what was said about it before stays.
    Unsure,
    /// It does not.
    Blind {
        /// When the watch was last known to live.
        since: Time,
        /// Kind, cluster and cause in one line.
        why: String,
    },
}

impl Sight {
    /// Puts it into a Work's status: while nothing is seen, health is unknown and the condition StatusFresh is False since the
    /// last good moment. The words of the cause are said once: other words for the same are not worth a write. Where
    /// nothing was ever shown, nothing can be old.
    pub fn show(&self, status: &mut WorkStatus) {
        let is_said = conditions::find(&status.conditions, STATUS_FRESH).is_some();
        let shows_something = !status.manifest_statuses.is_empty() || conditions::is_true(&status.conditions, APPLIED);
        match self {
            Self::Blind { since, why } if shows_something && !is_said => {
                conditions::set(&mut status.conditions, Verdict::fails(STATUS_FRESH, KIND_NOT_READ, why), since);
            }
            Self::Blind { .. } if shows_something => {}
            Self::Unsure if is_said => {}
            Self::Unsure => return,
            Self::Blind { .. } | Self::Clear => {
                conditions::remove(&mut status.conditions, STATUS_FRESH);
                return;
            }
        }
        for manifest in &mut status.manifest_statuses {
            manifest.health = Some(ResourceHealth::Unknown);
        }
    }
}

/// Why and since when a Work's objects are not read, as its status says.
pub(super) fn stale(work: &Work) -> Option<&Condition> {
    let said = conditions::find(&work.status.as_ref()?.conditions, STATUS_FRESH);
    said.filter(|condition| condition.status == FALSE)
}
