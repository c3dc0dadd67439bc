//! One name in all namespaces.

use std::iter;

use super::{Kept, Key, Table};

impl<V: Kept> Table<V> {
    /// The objects of one name in all namespaces, in key order. Costs a look-up for each namespace that holds anything,
    /// whatever it holds, and no memory.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &V> {
        let mut next = Some(Key::cluster(name));
        iter::from_fn(move || {
            loop {
                let wanted = next.take()?;
                let (found, row) = self.rows.range(&wanted..).next()?;
                if *found == wanted {
                    next = Some(after(found.namespace(), name));
                    if let Some(value) = row.view(&self.graves) {
                        return Some(value);
                    }
                } else if found.namespace == wanted.namespace {
                    next = Some(after(found.namespace(), name)); // it is not in this one
                } else {
                    next = Some(Key::new(found.namespace(), name));
                }
            }
        })
    }
}

/// Where `name` could be next: in the first namespace after this one.
fn after(namespace: Option<&str>, name: &str) -> Key {
    Key {
        namespace: Some(namespace.map_or_else(String::new, |namespace| format!("{namespace}\0")).into()),
        name: name.into(),
    }
}
