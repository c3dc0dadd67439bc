//! The rows: one for each key that anything is known of.

use super::{Change, Kept, Key, Revision, Row, Table, Uid};

impl<V: Kept> Table<V> {
    /// What the table keeps of this very version, if it has it: whoever brings it again need not make it anew. Nothing of a
    /// version that could not be read: what is shown in its place is an older one.
    pub fn version(&self, key: &Key, uid: &Uid, revision: Revision) -> Option<&V> {
        if self.faults.get(key).is_some_and(|fault| fault.revision == revision) {
            return None;
        }
        let row = self.rows.get(key)?;
        let ahead = row.ahead.as_ref().filter(|ahead| ahead.uid == *uid && ahead.revision == revision);
        let slot = || row.feed.as_ref().filter(|slot| slot.uid == *uid && slot.revision == revision);
        ahead.and_then(|ahead| ahead.value.as_ref()).or_else(|| slot()?.value.as_ref())
    }

    /// The table's own copy of a key that it has a row for.
    pub fn own(&self, key: &Key) -> Option<&Key> {
        self.rows.get_key_value(key).map(|(own, _)| own)
    }

    pub(super) fn view_of(&self, key: &Key) -> Option<V> {
        self.get(key).cloned()
    }

    /// Changes a row and keeps the index of `ahead`, the count and the changes in step with it.
    pub(super) fn edit(&mut self, key: &Key, changes: &mut Vec<Change<V>>, edit: impl FnOnce(&mut Row<V>)) {
        let before = self.view_of(key);
        self.edit_from(key, before, changes, edit);
    }

    pub(super) fn edit_from(
        &mut self,
        key: &Key,
        before: Option<V>,
        changes: &mut Vec<Change<V>>,
        edit: impl FnOnce(&mut Row<V>),
    ) {
        let key = &self.place(key);
        let Some(row) = self.rows.get_mut(key) else { return };
        let was_ahead = row.ahead_at();
        edit(row);
        let is_ahead = row.ahead_at();
        let after = row.view(&self.graves).cloned();
        if row.is_empty() {
            self.rows.remove(key);
        }
        self.reindex(key, was_ahead, is_ahead);
        self.report(key, before, after, changes);
    }

    /// The key of the row, which is made if there is none. What is told of the row is told with this very key, so that
    /// there is one copy of its text; a namespace has one among neighbours.
    fn place(&mut self, key: &Key) -> Key {
        if let Some((known, _)) = self.rows.get_key_value(key) {
            return known.clone();
        }
        let mut key = key.clone();
        let (before, after) = (self.rows.range(..&key).next_back(), self.rows.range(&key..).next());
        for (neighbour, _) in [before, after].into_iter().flatten() {
            key.share_namespace(neighbour);
        }
        self.rows.insert(key.clone(), Row::default());
        key
    }

    pub(super) fn reindex(&mut self, key: &Key, was_ahead: Option<Revision>, is_ahead: Option<Revision>) {
        if was_ahead != is_ahead {
            was_ahead.map(|revision| self.ahead.remove(&(revision, key.clone())));
            is_ahead.map(|revision| self.ahead.insert((revision, key.clone())));
        }
    }

    pub(super) fn report(&mut self, key: &Key, old: Option<V>, new: Option<V>, changes: &mut Vec<Change<V>>) {
        match (&old, &new) {
            (None, None) => return,
            (Some(old), Some(new)) if old.is(new) => return,
            (None, Some(_)) => self.shown += 1,
            (Some(_), None) => self.shown -= 1,
            (Some(_), Some(_)) => {}
        }
        changes.push(Change { key: key.clone(), old, new });
    }
}
