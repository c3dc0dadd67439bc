//! The labels and annotations that say which policy has claimed an object: the same on a template and on its binding.

use pando_api::{annotations, labels};

use crate::selector::Labels;

use super::PolicyRef;

const LABELS: [&str; 2] = [labels::PROPAGATION_POLICY_PERMANENT_ID, labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID];
const ANNOTATIONS: [&str; 3] = [
    annotations::PROPAGATION_POLICY_NAMESPACE,
    annotations::PROPAGATION_POLICY_NAME,
    annotations::CLUSTER_PROPAGATION_POLICY_NAME,
];

/// What an object must carry, and what it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Labels to set.
    pub labels: Vec<(&'static str, String)>,
    /// Annotations to set.
    pub annotations: Vec<(&'static str, String)>,
    /// Labels to remove.
    pub stale_labels: Vec<&'static str>,
    /// Annotations to remove.
    pub stale_annotations: Vec<&'static str>,
}

impl Marks {
    /// The marks of a claim by a policy with this permanent id. They replace every other policy's.
    #[must_use]
    pub fn of(policy: &PolicyRef, permanent_id: &str) -> Self {
        let id = permanent_id.to_owned();
        let (labels, annotations) = match policy.clone() {
            PolicyRef::Namespaced { namespace, name } => (
                vec![(labels::PROPAGATION_POLICY_PERMANENT_ID, id)],
                vec![
                    (annotations::PROPAGATION_POLICY_NAMESPACE, namespace),
                    (annotations::PROPAGATION_POLICY_NAME, name),
                ],
            ),
            PolicyRef::Cluster { name } => (
                vec![(labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID, id)],
                vec![(annotations::CLUSTER_PROPAGATION_POLICY_NAME, name)],
            ),
        };
        let stale = |all: &[&'static str], set: &[(&str, String)]| {
            all.iter().copied().filter(|key| set.iter().all(|(used, _)| used != key)).collect()
        };
        Self {
            stale_labels: stale(&LABELS, &labels),
            stale_annotations: stale(&ANNOTATIONS, &annotations),
            labels,
            annotations,
        }
    }

    /// No marks at all: what a released object carries.
    #[must_use]
    pub fn none() -> Self {
        Self {
            labels: Vec::new(),
            annotations: Vec::new(),
            stale_labels: LABELS.to_vec(),
            stale_annotations: ANNOTATIONS.to_vec(),
        }
    }

    /// Whether an object carries exactly these marks already.
    #[must_use]
    pub fn are_on(&self, labels: &Labels, annotations: &Labels) -> bool {
        let set =
            |wanted: &[(&str, String)], have: &Labels| wanted.iter().all(|(key, value)| have.get(*key) == Some(value));
        let clean = |stale: &[&str], have: &Labels| stale.iter().all(|key| !have.contains_key(*key));
        set(&self.labels, labels)
            && set(&self.annotations, annotations)
            && clean(&self.stale_labels, labels)
            && clean(&self.stale_annotations, annotations)
    }

    /// Puts the marks on an object; other labels and annotations stay.
    pub fn put_on(&self, labels: &mut Labels, annotations: &mut Labels) {
        for (set, stale, on) in
            [(&self.labels, &self.stale_labels, labels), (&self.annotations, &self.stale_annotations, annotations)]
        {
            on.extend(set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
            on.retain(|key, _| !stale.contains(&key.as_str()));
        }
    }
}
