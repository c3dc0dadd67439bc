//! The record of what a forced detach left in a member: data of the ConfigMap `detached-<cluster>` on the hub.

use std::collections::{BTreeMap, BTreeSet};

/// Key: uid of the Cluster that left.
pub const CLUSTER_UID: &str = "clusterUid";
/// Key: who forced it.
pub const FORCED_BY: &str = "forcedBy";
/// Key: one object a line.
pub const OBJECTS: &str = "objects";
/// Key: how many objects are not named for want of room.
const UNNAMED: &str = "unnamed";

/// The most that the names may take, in bytes: a ConfigMap holds a mebibyte, and a report of that size helps nobody.
const ROOM: usize = 512 * 1024;

/// What a forced detach left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// uid of the Cluster.
    pub cluster_uid: String,
    /// Who forced it.
    pub forced_by: String,
    /// The objects, as `Deployment prod/web`.
    pub objects: BTreeSet<String>,
    /// How many more there are.
    pub unnamed: usize,
}

impl LeftBehind {
    /// Reads what was recorded of this Cluster. A record of an earlier Cluster of its name is not about it.
    pub fn of(cluster_uid: &str, data: Option<&BTreeMap<String, String>>) -> Option<Self> {
        let value = |key: &str| data.and_then(|data| data.get(key)).map(String::as_str);
        (value(CLUSTER_UID) == Some(cluster_uid)).then(|| Self {
            cluster_uid: cluster_uid.to_owned(),
            forced_by: value(FORCED_BY).unwrap_or_default().to_owned(),
            objects: value(OBJECTS).unwrap_or_default().lines().map(str::to_owned).collect(),
            unnamed: value(UNNAMED).and_then(|count| count.parse().ok()).unwrap_or_default(),
        })
    }

    /// Takes more objects in. Repeating it changes nothing, as long as there is room for the names.
    pub fn add(&mut self, objects: impl IntoIterator<Item = String>) {
        let mut used: usize = self.objects.iter().map(|object| object.len() + 1).sum();
        for object in objects {
            if self.objects.contains(&object) {
                continue;
            }
            used += object.len() + 1;
            if used > ROOM {
                self.unnamed += 1;
            } else {
                self.objects.insert(object);
            }
        }
    }

    /// How many objects it is about.
    pub fn count(&self) -> usize {
        self.objects.len() + self.unnamed
    }

    /// The data of its ConfigMap.
    pub fn data(&self) -> BTreeMap<String, String> {
        let objects = self.objects.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        // Every key, every time: a merge patch over the record of an earlier Cluster leaves nothing of it.
        [
            (CLUSTER_UID, self.cluster_uid.clone()),
            (FORCED_BY, self.forced_by.clone()),
            (OBJECTS, objects),
            (UNNAMED, self.unnamed.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}
