//! One future's place among those who wait for a node.

use std::task::Waker;

use super::wakers::Ticket;
use super::{For, Handle};

/// A place in one of a node's two lists of wakers. Dropping it gives the place up.
pub(crate) struct Waiter {
    node: Handle,
    what: For,
    ticket: Option<Ticket>,
}

impl Waiter {
    pub(crate) fn new(node: Handle, what: For) -> Self {
        Self { node, what, ticket: None }
    }

    pub(crate) fn node(&self) -> &Handle {
        &self.node
    }

    fn is_over(&self) -> bool {
        match self.what {
            For::Cancel => self.node.is_marked(),
            For::Empty => self.node.is_empty(),
        }
    }

    /// Leaves a waker, in place of the one left before. Returns false, and leaves nothing behind, if
    /// there is nothing to wait for any more.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        if let Some(ticket) = self.ticket
            && self.node.wakers(self.what, |wakers| wakers.wakes(ticket, waker))
            && !self.is_over()
        {
            return true; // polled again by the same task, as most futures are
        }
        let fresh = waker.clone(); // foreign code: before the lock
        let ticket = self.ticket.take();
        let (old, ticket, unused) = self.node.wakers(self.what, |wakers| {
            let old = ticket.and_then(|ticket| wakers.remove(ticket));
            // Asked under the lock: whoever ends the wait has not taken the wakers yet, or has said so.
            match self.is_over() {
                true => (old, None, Some(fresh)),
                false => (old, Some(wakers.add(fresh)), None),
            }
        });
        self.ticket = ticket;
        drop((old, unused)); // foreign code: after the lock
        ticket.is_some()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let old = self.node.wakers(self.what, |wakers| wakers.remove(ticket));
            drop(old); // foreign code: after the lock
        }
    }
}
