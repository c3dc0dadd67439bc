//! Uids that are known to be deleted while the feed or a late reply may still speak of them.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::store::{Key, Revision, Uid};

/// How many graves without a date are kept. A delete reply often comes just after the DELETED
/// event, when the table knows the uid no more. Nothing tells such a grave from one that is dug
/// before its object was even announced, so they are kept up to the next list, and no more than
/// this many, the oldest going first.
const UNDATED: usize = 1024;
/// How many graves a list may leave behind until the next event levels them all.
const SETTLED: usize = 65_536;

#[derive(Debug, Default, Clone)]
pub(super) struct Graves {
    by_uid: HashMap<Uid, Grave>,
    /// Graves that the feed levels by passing a revision.
    dated: BTreeSet<(Revision, Uid)>,
    undated: VecDeque<Uid>,
    settled: VecDeque<Uid>,
}

#[derive(Debug, Clone)]
pub(super) struct Grave {
    pub(super) key: Key,
    /// When it was dug.
    pub(super) epoch: u64,
    /// A delete was answered. Otherwise a list did not show the object, which is its end unless it
    /// has only left the selection of the feed.
    pub(super) certain: bool,
    pub(super) waits: Waits,
}

/// What a grave waits for. In any case the DELETED event of its uid levels it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The feed shows the uid: its DELETED event is on the way.
    Deletion,
    /// The object existed at this revision: when the feed has passed that and does not show it, it
    /// is gone there too.
    Passing(Revision),
    /// Nothing is known but the uid.
    List,
    /// The last list has shown it gone: the first event after that list.
    Event,
}

impl Waits {
    /// For an object that was last known `ahead` of the feed, or is shown `in_feed`, or neither.
    pub(super) fn for_end(ahead: Option<Revision>, in_feed: bool) -> Self {
        match ahead {
            Some(revision) => Self::Passing(revision),
            None if in_feed => Self::Deletion,
            None => Self::List,
        }
    }
}

impl Graves {
    pub(super) fn holds(&self, uid: &Uid) -> bool {
        !self.by_uid.is_empty() && self.by_uid.contains_key(uid)
    }

    pub(super) fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Digs a grave.
    pub(super) fn dig(&mut self, uid: Uid, grave: Grave) {
        self.place(uid, grave);
    }

    /// Digs the grave of an object that a list has shown to be gone.
    pub(super) fn settle(&mut self, uid: Uid, key: Key, epoch: u64) {
        self.level(&uid);
        self.place(uid, Grave { key, epoch, certain: false, waits: Waits::Event });
    }

    /// Forgets a uid. (The queues may keep it a while: their entries count only while the grave
    /// says the same.)
    pub(super) fn level(&mut self, uid: &Uid) {
        if let Some(Grave { waits: Waits::Passing(revision), .. }) = self.by_uid.remove(uid) {
            self.dated.remove(&(revision, uid.clone()));
        }
    }

    /// An event has come: the progress is above the last list now.
    pub(super) fn first_event(&mut self) {
        while let Some(uid) = self.settled.pop_front() {
            self.drop_if(&uid, Waits::Event);
        }
    }

    /// The feed has told everything up to `progress`; `in_feed` says whether it shows a uid under a
    /// key.
    pub(super) fn pass(&mut self, progress: Revision, in_feed: impl Fn(&Key, &Uid) -> bool) {
        while let Some((revision, uid)) = self.dated.pop_first() {
            if revision > progress {
                self.dated.insert((revision, uid));
                return;
            }
            match self.by_uid.get_mut(&uid) {
                Some(grave) if in_feed(&grave.key, &uid) => grave.waits = Waits::Deletion,
                _ => {
                    self.by_uid.remove(&uid);
                }
            }
        }
    }

    /// True when a delete of this uid was answered before the list of this `epoch` was asked for:
    /// it must not be in that list.
    pub(super) fn forbids(&self, uid: &Uid, epoch: u64) -> bool {
        self.by_uid.get(uid).is_some_and(|grave| grave.certain && grave.epoch < epoch)
    }

    /// A list shows this uid: unless a delete of it was answered, it had only left the selection of
    /// the feed.
    pub(super) fn came_back(&mut self, uid: &Uid) {
        if self.by_uid.get(uid).is_some_and(|grave| !grave.certain) {
            self.level(uid);
        }
    }

    /// A list is complete, and everything up to `progress` (a lower bound of the list's revision)
    /// is in the feed.
    pub(super) fn listed(&mut self, epoch: u64, progress: Revision, in_feed: impl Fn(&Key, &Uid) -> bool) {
        let undecided: Vec<Uid> =
            self.by_uid.iter().filter(|(_, grave)| grave.waits != Waits::Event).map(|(uid, _)| uid.clone()).collect();
        self.dated.clear();
        self.undated.clear();
        for uid in undecided {
            let Some(mut grave) = self.by_uid.remove(&uid) else { continue };
            grave.waits = match grave.waits {
                _ if in_feed(&grave.key, &uid) => Waits::Deletion,
                _ if grave.epoch < epoch => Waits::Event,
                Waits::Passing(revision) if revision > progress => Waits::Passing(revision),
                Waits::List => Waits::List,
                Waits::Passing(_) | Waits::Deletion | Waits::Event => Waits::Event,
            };
            self.place(uid, grave);
        }
    }

    /// Forgets everything that was recorded before `epoch`.
    pub(super) fn forget_before(&mut self, epoch: u64) {
        for (uid, grave) in std::mem::take(self).by_uid {
            if grave.epoch >= epoch {
                self.place(uid, grave);
            }
        }
    }

    fn place(&mut self, uid: Uid, grave: Grave) {
        let (queue, limit) = match grave.waits {
            Waits::Deletion => {
                self.by_uid.insert(uid, grave);
                return;
            }
            Waits::Passing(revision) => {
                self.dated.insert((revision, uid.clone()));
                self.by_uid.insert(uid, grave);
                return;
            }
            Waits::List => (&mut self.undated, UNDATED),
            Waits::Event => (&mut self.settled, SETTLED),
        };
        queue.push_back(uid.clone());
        let oldest = if queue.len() > limit { queue.pop_front() } else { None };
        let waits = grave.waits;
        self.by_uid.insert(uid, grave);
        if let Some(oldest) = oldest {
            self.drop_if(&oldest, waits);
        }
    }

    fn drop_if(&mut self, uid: &Uid, waits: Waits) {
        if self.by_uid.get(uid).is_some_and(|grave| grave.waits == waits) {
            self.by_uid.remove(uid);
        }
    }
}
