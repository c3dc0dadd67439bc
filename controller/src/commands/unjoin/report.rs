//! The report at the end: removed, kept, left behind.

use std::collections::BTreeSet;

use pando_api::names::{ClusterName, KARMADA_CLUSTER};
use serde_json::{Value, json};

/// What came of an unjoin.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    /// Objects that were in the member and are not any more.
    pub(super) removed: usize,
    /// Objects that were removed, or kept where they were in the member before: nobody looked.
    pub(super) removed_unless_adopted: usize,
    /// Objects that stay, as they should.
    pub(super) kept: usize,
    /// What may be in the member and should not.
    pub(super) left_behind: BTreeSet<String>,
    /// How many more of those there are.
    pub(super) unnamed: usize,
    /// Why it is not known what is left behind, when it is not.
    pub(super) unknown: Option<String>,
    /// Who forced it.
    pub(super) forced_by: Option<String>,
}

impl Report {
    /// Adds something that is left behind.
    pub(super) fn leave(&mut self, what: &str, why: &str) {
        self.left_behind.insert(format!("{what}: {why}"));
    }

    /// For a person. The first line is Karmada's, which scripts look for.
    pub(super) fn text(&self, name: &ClusterName) -> String {
        let unsure = match self.removed_unless_adopted {
            0 => String::new(),
            some => format!(", removed unless they were there before {some}"),
        };
        let left = self.left_behind.len() + self.unnamed;
        let mut text = format!(
            "cluster({name}) is unjoined successfully\nremoved {}{unsure}, kept {}, left behind {left}",
            self.removed, self.kept
        );
        for object in &self.left_behind {
            text.push_str(&format!("\n  left behind  {object}"));
        }
        if self.unnamed > 0 {
            text.push_str(&format!("\n  left behind  and {} more", self.unnamed));
        }
        if let Some(why) = &self.unknown {
            text.push_str(&format!("\n{why}: what may be there is shown as left behind"));
        }
        if self.forced_by.is_some() {
            text.push_str(&format!(
                "\nthe list stays in configmap {KARMADA_CLUSTER}/{} on the hub",
                name.left_behind()
            ));
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self, name: &ClusterName) -> Value {
        json!({
            "cluster": name.as_str(),
            "unjoined": true,
            "forcedBy": self.forced_by,
            "removed": self.removed,
            "removedUnlessAdopted": self.removed_unless_adopted,
            "kept": self.kept,
            "leftBehind": self.left_behind,
            "leftBehindUnnamed": self.unnamed,
            "leftBehindUnknown": self.unknown,
        })
    }
}
