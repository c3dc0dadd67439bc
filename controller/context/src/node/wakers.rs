//! Wakers that can be taken back.

use std::task::Waker;

use slab::Slab;

/// Wakers in the order in which they came.
///
/// They live here and not inside the futures that wait: those would have to be pinned, and streams
/// and selects over contexts would have to say so. Most nodes have one waiter, which has its place
/// without an allocation of its own.
#[derive(Default)]
pub(super) struct Wakers {
    first: Option<(u64, Waker)>,
    more: Option<Box<Slab<(u64, Waker)>>>,
    tickets: u64,
}

/// The way back to a waker. Lists are emptied when they are woken and places are used again, so the
/// place alone does not say whose it is: the number does.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    /// `None`: the first place.
    slot: Option<usize>,
    number: u64,
}

impl Wakers {
    pub(super) fn add(&mut self, waker: Waker) -> Ticket {
        self.tickets += 1;
        let entry = (self.tickets, waker);
        let slot = if self.first.is_none() {
            self.first = Some(entry);
            None
        } else {
            Some(self.more.get_or_insert_default().insert(entry))
        };
        Ticket { slot, number: self.tickets }
    }

    fn get(&self, ticket: Ticket) -> Option<&Waker> {
        let entry = match ticket.slot {
            None => self.first.as_ref(),
            Some(slot) => self.more.as_ref()?.get(slot),
        };
        entry.filter(|(number, _)| *number == ticket.number).map(|(_, waker)| waker)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waker> {
        self.get(ticket)?;
        let entry = match ticket.slot {
            None => self.first.take(),
            Some(slot) => self.more.as_mut()?.try_remove(slot),
        };
        entry.map(|(_, waker)| waker)
    }

    pub(super) fn wakes(&self, ticket: Ticket, waker: &Waker) -> bool {
        self.get(ticket).is_some_and(|known| known.will_wake(waker))
    }

    /// Takes them all out, the oldest first.
    pub(super) fn take(&mut self, into: &mut Vec<Waker>) {
        let first = self.first.take();
        let Some(more) = self.more.take() else {
            into.extend(first.map(|(_, waker)| waker));
            return;
        };
        let mut all: Vec<_> = first.into_iter().chain(more.into_iter().map(|(_, entry)| entry)).collect();
        all.sort_by_key(|(number, _)| *number);
        into.extend(all.into_iter().map(|(_, waker)| waker));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::Wakers;

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counters(count: usize) -> Vec<Arc<Counter>> {
        Vec::from_iter((0..count).map(|_| Arc::new(Counter(AtomicUsize::new(0)))))
    }

    fn waker(counter: &Arc<Counter>) -> Waker {
        Waker::from(Arc::clone(counter))
    }

    #[test]
    fn they_come_out_in_the_order_in_which_they_came_whatever_left_in_between() {
        let all = counters(5);
        let mut wakers = Wakers::default();
        let tickets = Vec::from_iter(all[..4].iter().map(|counter| wakers.add(waker(counter))));
        assert!(wakers.remove(tickets[0]).is_some());
        assert!(wakers.remove(tickets[2]).is_some());
        let fifth = wakers.add(waker(&all[4]));
        let mut taken = Vec::new();
        wakers.take(&mut taken);
        let expected = [&all[1], &all[3], &all[4]];
        assert_eq!(taken.len(), 3);
        assert!(taken.iter().zip(expected).all(|(taken, counter)| taken.will_wake(&waker(counter))));
        assert!(!wakers.wakes(fifth, &waker(&all[4])));
    }

    #[test]
    fn an_old_ticket_does_not_take_the_place_s_new_owner_out() {
        let all = counters(4);
        let mut wakers = Wakers::default();
        let old = Vec::from_iter(all[..2].iter().map(|counter| wakers.add(waker(counter))));
        wakers.take(&mut Vec::new());
        let new = Vec::from_iter(all[2..].iter().map(|counter| wakers.add(waker(counter))));
        assert!(old.into_iter().all(|ticket| wakers.remove(ticket).is_none()));
        assert!(new.iter().zip(&all[2..]).all(|(ticket, counter)| wakers.wakes(*ticket, &waker(counter))));
    }
}
