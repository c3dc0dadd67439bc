//! What of the templates was carried out, to tell an edit from everything else.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pando_core::policy_match::Cause;
use pando_runtime::store::Key;

use super::TemplateKey;

/// The content of each template when it was last carried out. A template that was not seen before counts as edited, as in
/// Karmada; so does one whose kind was not followed for a while. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Contents(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// By apiVersion and kind; of each template the hash of the hash of its content.
    kinds: HashMap<(String, String), HashMap<Key, u64>>,
    hasher: RandomState,
}

impl Contents {
    /// Whether the template changed since it was last carried out.
    #[must_use]
    pub fn cause(&self, key: &TemplateKey, hash: &str) -> Cause {
        let seen = self.seen();
        let before = seen.kinds.get(&kind(key)).and_then(|contents| contents.get(&key.key));
        if before == Some(&seen.hasher.hash_one(hash)) { Cause::Federation } else { Cause::Template }
    }

    /// Remembers what was carried out.
    pub fn carried_out(&self, key: &TemplateKey, hash: &str) {
        let mut seen = self.seen();
        let hash = seen.hasher.hash_one(hash);
        seen.kinds.entry(kind(key)).or_default().insert(key.key.clone(), hash);
    }

    /// Forgets a template that is gone.
    pub fn forget(&self, key: &TemplateKey) {
        if let Some(contents) = self.seen().kinds.get_mut(&kind(key)) {
            contents.remove(&key.key);
        }
    }

    /// Forgets a kind that is followed no longer.
    pub(super) fn forget_kind(&self, api_version: &str, kind: &str) {
        self.seen().kinds.remove(&(api_version.to_owned(), kind.to_owned()));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind(key: &TemplateKey) -> (String, String) {
    (key.api_version.clone(), key.kind.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_told_from_a_look_until_the_template_or_its_kind_is_forgotten() {
        let contents = Contents::default();
        let key =
            TemplateKey { api_version: "v1".into(), kind: "ConfigMap".into(), key: Key::namespaced("shop", "one") };
        let is_edit = |hash| matches!(contents.cause(&key, hash), Cause::Template);
        assert!(is_edit("a"), "never seen");
        let forgets: [fn(&Contents, &TemplateKey); 2] =
            [|contents, key| contents.forget(key), |contents, _| contents.forget_kind("v1", "ConfigMap")];
        for forget in forgets {
            contents.carried_out(&key, "a");
            assert!(!is_edit("a"));
            assert!(is_edit("b"));
            contents.forget_kind("v1", "Secret");
            assert!(!is_edit("a"));
            forget(&contents, &key);
            assert!(is_edit("a"));
        }
        contents.forget_kind("v1", "ConfigMap");
        assert!(contents.seen().kinds.is_empty());
    }
}
