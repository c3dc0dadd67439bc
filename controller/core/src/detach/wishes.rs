//! What people ask for when a cluster leaves, in annotations of the Cluster.

use std::collections::BTreeMap;

use k8s_openapi::jiff::SignedDuration;
use pando_api::annotations;

/// What the annotations of a Cluster ask for when it leaves. Those that mean nothing change nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `pando.io/detach-deadline`: how long after its deletion somebody wants to be told that it is not through.
    pub deadline: Option<SignedDuration>,
    /// `pando.io/detach-force`: who wants it gone at the price of leaving objects in the member.
    pub forced_by: Option<String>,
    /// What is wrong with them, if anything is.
    pub unreadable: Option<String>,
}

/// The longest name of somebody, in characters.
const LONGEST_NAME: usize = 100;

impl Wishes {
    /// Reads them. `true` forces without a name, as does any other value that is not empty or `false`, with it.
    pub fn of(annotations: Option<&BTreeMap<String, String>>) -> Self {
        let value = |key: &str| annotations.and_then(|all| all.get(key)).map(|value| value.trim());
        let forced_by = match value(annotations::DETACH_FORCE) {
            None | Some("" | "false") => None,
            Some("true") => Some("somebody".to_owned()),
            Some(who) => {
                Some(who.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_NAME).collect())
            }
        };
        let (deadline, unreadable) = match value(annotations::DETACH_DEADLINE).map(str::parse::<SignedDuration>) {
            None => (None, None),
            Some(Ok(deadline)) if !deadline.is_negative() => (Some(deadline), None),
            Some(_) => {
                let wrong =
                    format!("annotation {} is no duration such as 10m: it is ignored", annotations::DETACH_DEADLINE);
                (None, Some(wrong))
            }
        };
        Self { deadline, forced_by, unreadable }
    }
}
