//! Finding objects by something other than their key.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Change, Key};

/// Named indexes, kept in step change by change.
pub(super) struct Indexes<T> {
    indexes: Vec<Index<T>>,
}

struct Index<T> {
    name: &'static str,
    values: fn(&T) -> Vec<String>,
    keys: HashMap<String, BTreeSet<Key>>,
}

impl<T> Default for Indexes<T> {
    fn default() -> Self {
        Self { indexes: Vec::new() }
    }
}

impl<T> Indexes<T> {
    pub(super) fn add<'a>(
        &mut self,
        name: &'static str,
        values: fn(&T) -> Vec<String>,
        objects: impl Iterator<Item = (&'a Key, &'a Arc<T>)>,
    ) where
        T: 'a,
    {
        let mut index = Index { name, values, keys: HashMap::new() };
        for (key, object) in objects {
            index.insert(key, object);
        }
        self.indexes.retain(|index| index.name != name);
        self.indexes.push(index);
    }

    pub(super) fn change(&mut self, change: &Change<T>) {
        for index in &mut self.indexes {
            if let Some(old) = &change.old {
                index.remove(&change.key, old);
            }
            if let Some(new) = &change.new {
                index.insert(&change.key, new);
            }
        }
    }

    pub(super) fn keys(&self, name: &str, value: &str) -> impl Iterator<Item = &Key> {
        let index = self.indexes.iter().find(|index| index.name == name);
        index.and_then(|index| index.keys.get(value)).into_iter().flatten()
    }
}

impl<T> Index<T> {
    fn insert(&mut self, key: &Key, object: &T) {
        for value in (self.values)(object) {
            self.keys.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &Key, object: &T) {
        for value in (self.values)(object) {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }
}
