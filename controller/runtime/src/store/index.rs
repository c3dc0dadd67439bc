//! Finding objects by something other than their key.
//!
//! An index maps values to keys. A change costs what it changes: when an object has the same values before and after,
//! which is so for nearly every write, nothing is touched and nothing is allocated. A look-up costs what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use super::{Change, Key};

/// What an index is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The objects with this value.
    Value(&'a str),
    /// The objects with any value that starts so.
    Prefix(&'a str),
}

/// The values of one object in one index. The same value twice counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// All values, one after the other: two buffers serve a whole store.
    text: String,
    ends: Vec<usize>,
}

impl Values {
    /// Adds a value.
    pub fn add(&mut self, value: &str) {
        self.add_joined(&[value]);
    }

    /// Adds one value that is made of these parts, without building it elsewhere first.
    pub fn add_joined(&mut self, parts: &[&str]) {
        self.text.extend(parts.iter().copied());
        self.ends.push(self.text.len());
    }

    fn read<T>(&mut self, values: fn(&T, &mut Self), object: Option<&T>) {
        self.text.clear();
        self.ends.clear();
        if let Some(object) = object {
            values(object, self);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, &end)| self.text.get(start..end))
    }

    fn has(&self, value: &str) -> bool {
        self.iter().any(|own| own == value)
    }
}

/// Named indexes, kept in step change by change.
pub(super) struct Indexes<T> {
    indexes: Vec<Index<T>>,
    before: Values,
    after: Values,
}

struct Index<T> {
    name: &'static str,
    values: fn(&T, &mut Values),
    keys: BTreeMap<Box<str>, Keys>,
}

/// The keys of one value. Most values have one or a few, and a set would take several times the space.
enum Keys {
    One(Key),
    /// In order, each once, with no room to grow.
    Few(Vec<Key>),
    Many(BTreeSet<Key>),
}

/// So many keys are a few.
const FEW: usize = 8;

impl<T> Default for Indexes<T> {
    fn default() -> Self {
        Self { indexes: Vec::new(), before: Values::default(), after: Values::default() }
    }
}

impl<T> Indexes<T> {
    pub(super) fn add<'a>(
        &mut self,
        name: &'static str,
        values: fn(&T, &mut Values),
        objects: impl Iterator<Item = (&'a Key, Arc<T>)>,
    ) where
        T: 'a,
    {
        let mut index = Index { name, values, keys: BTreeMap::new() };
        for (key, object) in objects {
            self.after.read(values, Some(&object));
            self.after.iter().for_each(|value| index.insert(value, key));
        }
        self.indexes.retain(|index| index.name != name);
        self.indexes.push(index);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// All values of an index, in order.
    pub(super) fn values(&self, name: &str) -> Vec<Box<str>> {
        let index = self.indexes.iter().find(|index| index.name == name);
        index.map(|index| index.keys.keys().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn change(&mut self, change: &Change<T>) {
        let Self { indexes, before, after } = self;
        for index in indexes {
            before.read(index.values, change.old.as_deref());
            after.read(index.values, change.new.as_deref());
            if before == after {
                continue;
            }
            before.iter().filter(|value| !after.has(value)).for_each(|value| index.remove(value, &change.key));
            after.iter().filter(|value| !before.has(value)).for_each(|value| index.insert(value, &change.key));
        }
    }

    /// The keys that a look-up finds, in order, each once; `None` when there is no such index.
    pub(super) fn keys(&self, name: &str, lookup: Lookup<'_>, namespace: Option<&str>) -> Option<Vec<&Key>> {
        let index = self.indexes.iter().find(|index| index.name == name)?;
        let mut found = Vec::new();
        match lookup {
            Lookup::Value(value) => {
                if let Some(keys) = index.keys.get(value) {
                    keys.collect(namespace, &mut found);
                }
            }
            Lookup::Prefix(prefix) => {
                index.starting(prefix).for_each(|keys| keys.collect(namespace, &mut found));
                found.sort_unstable();
                found.dedup();
            }
        }
        Some(found)
    }

    /// How many keys a look-up finds in all namespaces; of an object with several values that start with a prefix, each
    /// counts.
    pub(super) fn count(&self, name: &str, lookup: Lookup<'_>) -> usize {
        let Some(index) = self.indexes.iter().find(|index| index.name == name) else { return 0 };
        match lookup {
            Lookup::Value(value) => index.keys.get(value).map_or(0, Keys::len),
            Lookup::Prefix(prefix) => index.starting(prefix).map(Keys::len).sum(),
        }
    }
}

impl<T> Index<T> {
    fn insert(&mut self, value: &str, key: &Key) {
        match self.keys.get_mut(value) {
            Some(keys) => keys.insert(key),
            None => drop(self.keys.insert(value.into(), Keys::One(key.clone()))),
        }
    }

    fn remove(&mut self, value: &str, key: &Key) {
        if self.keys.get_mut(value).is_some_and(|keys| keys.remove(key)) {
            self.keys.remove(value);
        }
    }

    fn starting<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Keys> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.keys.range::<str, _>(from).take_while(move |(value, _)| value.starts_with(prefix)).map(|(_, keys)| keys)
    }
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(keys) => keys.len(),
            Self::Many(keys) => keys.len(),
        }
    }

    fn insert(&mut self, key: &Key) {
        match self {
            Self::One(own) if own == key => {}
            Self::One(own) => {
                let mut keys = vec![own.clone(), key.clone()];
                keys.sort_unstable();
                *self = Self::Few(keys);
            }
            Self::Few(keys) => {
                let Err(place) = keys.binary_search(key) else { return };
                if keys.len() == FEW {
                    *self = Self::Many(keys.drain(..).chain([key.clone()]).collect());
                } else {
                    keys.reserve_exact(1);
                    keys.insert(place, key.clone());
                }
            }
            Self::Many(keys) => drop(keys.insert(key.clone())),
        }
    }

    /// Removes the key; true when none is left.
    fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::One(own) => own == key,
            Self::Few(keys) => {
                if let Ok(place) = keys.binary_search(key) {
                    keys.remove(place);
                    keys.shrink_to_fit();
                }
                keys.is_empty()
            }
            Self::Many(keys) => {
                keys.remove(key);
                // Not at once below the limit: what goes up and down by one would be moved each time.
                if keys.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(keys).into_iter().collect());
                }
                self.len() == 0
            }
        }
    }

    fn collect<'a>(&'a self, namespace: Option<&str>, found: &mut Vec<&'a Key>) {
        let concerns = |key: &&Key| namespace.is_none_or(|namespace| key.namespace() == Some(namespace));
        match (self, namespace) {
            (Self::One(key), _) => found.extend(Some(key).filter(concerns)),
            (Self::Few(keys), _) => found.extend(keys.iter().filter(concerns)),
            (Self::Many(keys), None) => found.extend(keys),
            (Self::Many(keys), Some(first)) => {
                // Keys of one namespace are neighbours.
                found.extend(keys.range(Key::namespaced(first, "")..).take_while(concerns));
            }
        }
    }
}
