//! Objects whose last write has an unknown outcome: it was in flight when it was stopped, or its answer did not come.
//!
//! Such an object is read before it is written again, whatever a watch says of it: the write may arrive later than the watch's
//! last word. A read or write that is answered ends the doubt.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::target::Target;

/// More are not told apart: from then on every object counts as doubtful, as long as the member is attached.
const MOST: usize = 10_000;

/// The doubtful objects of one member, by path.
#[derive(Debug, Default)]
pub struct Doubts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    paths: HashSet<String>,
    /// There was a doubt that found no room: nobody knows any more which objects are certain.
    overflowed: bool,
}

impl Doubts {
    /// Is the outcome of the last write of this object unknown?
    #[must_use]
    pub fn contains(&self, target: &Target) -> bool {
        let doubts = self.doubts();
        doubts.overflowed || (!doubts.paths.is_empty() && doubts.paths.contains(&target.path()))
    }

    /// Begins a write. Unless it is told otherwise ([`Write::settle`]), its end leaves a doubt.
    pub(crate) fn write<'a>(&'a self, target: &'a Target) -> Write<'a> {
        Write { doubts: self, target, known: false }
    }

    /// The member has said what there is.
    pub(crate) fn clear(&self, target: &Target) {
        let mut doubts = self.doubts();
        if !doubts.paths.is_empty() {
            doubts.paths.remove(&target.path());
        }
    }

    fn doubts(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write under way. A future that is dropped drops this, too.
pub(crate) struct Write<'a> {
    doubts: &'a Doubts,
    target: &'a Target,
    known: bool,
}

impl Write<'_> {
    /// It is known what became of it: there was an answer, or nothing was sent.
    pub(crate) fn settle(mut self) {
        self.known = true;
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.known {
            return;
        }
        let (mut doubts, path) = (self.doubts.doubts(), self.target.path());
        if doubts.paths.len() < MOST || doubts.paths.contains(&path) {
            doubts.paths.insert(path);
        } else {
            doubts.overflowed = true;
        }
    }
}
