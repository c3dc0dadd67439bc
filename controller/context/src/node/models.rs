//! Two or three threads at a few nodes, in every order in which they can meet (loom).
//!
//! The orders are all those with at most [`PREEMPTIONS`] moments at which a thread is stopped although
//! it could go on, and every value that weak memory lets a load see. `LOOM_MAX_PREEMPTIONS` asks for
//! more. Run with `cargo test -p pando-context --features loom --lib node::models` (and with
//! `--no-default-features` for the implementation without `unsafe`).
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::disallowed_methods, reason = "tests")]

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize as Count, Ordering::SeqCst};
use std::task::{Wake, Waker};
use std::time::Instant;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{Birth, Children, For, Handle, Node, Role, Value, Waiter};
use crate::reason::{Kind, Label, Reason, ReasonKind, TraceId};

/// All models together take some seconds with three, and a minute with eight. With three, each of nine
/// bugs put in on purpose was found: a missing ordering, a cursor left behind, a look before the lock.
const PREEMPTIONS: usize = 3;

const NODE: Kind = Kind::new("node");

/// Runs a model in all orders and says how many there were.
fn in_every_order(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.max_branches = 100_000;
    let (start, runs) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&runs);
    builder.check(move || {
        count.fetch_add(1, SeqCst);
        model();
    });
    eprintln!("{name}: {} orders in {:.1?}", runs.load(SeqCst), start.elapsed());
}

#[track_caller]
fn root() -> Handle {
    Node::root(Label::new(NODE, None), TraceId::from_u128(1), None, Location::caller())
}

#[track_caller]
fn birth() -> Birth {
    Birth {
        label: Label::new(NODE, None),
        deadline: None,
        now: None,
        trace: None,
        shielded: false,
        role: Role::Context,
        value: None,
        place: Location::caller(),
    }
}

/// A value that counts when its node is freed.
struct Freed(Arc<Count>);

impl Drop for Freed {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn counted(freed: &Arc<Count>) -> Birth {
    Birth { value: Some(Value::new(Freed(Arc::clone(freed)))), ..birth() }
}

/// The owner goes, with its handle.
fn end(node: Handle) {
    node.end();
    drop(node);
}

fn cancel(node: &Handle, text: &'static str) -> bool {
    node.cancel(Reason::requested(text))
}

fn why(node: &Handle) -> String {
    node.marked().map(|reason| reason.text().to_owned()).unwrap_or_else(|| "active".to_owned())
}

fn children(of: &Handle) -> Vec<Handle> {
    let (mut walk, mut all) = (Children::of(of), Vec::new());
    loop {
        match walk.next_few() {
            few if few.is_empty() => return all,
            few => all.extend(few),
        }
    }
}

fn has(list: &[Handle], node: &Handle) -> usize {
    list.iter().filter(|one| one.is(node)).count()
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

fn flag() -> (Arc<Flag>, Waker) {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    (Arc::clone(&flag), Waker::from(flag))
}

impl Flag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[test]
fn a_child_made_during_a_cancel_is_cancelled_with_what_is_below_it() {
    in_every_order("create x cancel", || {
        let root = root();
        let other = root.clone();
        let canceller = thread::spawn(move || cancel(&other, "a"));
        let child = root.child(birth());
        let below = child.child(birth());
        assert!(canceller.join().unwrap());
        assert_eq!((why(&child), why(&below)), ("a".to_owned(), "a".to_owned()));
        assert_eq!(has(&children(&root), &child), 1);
        end(below);
        end(child);
        assert!(root.is_empty());
        end(root);
    });
}

#[test]
fn a_child_that_goes_during_a_cancel_takes_nobody_along() {
    in_every_order("drop x cancel", || {
        let freed = Arc::new(Count::new(0));
        let root = root();
        let (a, b, c) = (root.child(birth()), root.child(counted(&freed)), root.child(birth()));
        let other = root.clone();
        let canceller = thread::spawn(move || cancel(&other, "a"));
        end(b);
        assert!(canceller.join().unwrap());
        assert_eq!(freed.load(SeqCst), 1);
        assert_eq!((why(&a), why(&c)), ("a".to_owned(), "a".to_owned()));
        let left = children(&root);
        assert_eq!((has(&left, &a), has(&left, &c), left.len()), (1, 1, 2));
        drop(left);
        end(a);
        end(c);
        assert!(root.is_empty());
        end(root);
    });
}

#[test]
fn all_children_may_go_during_a_cancel() {
    in_every_order("drop x drop x cancel", || {
        let freed = Arc::new(Count::new(0));
        let root = root();
        let (a, b) = (root.child(counted(&freed)), root.child(counted(&freed)));
        let other = root.clone();
        let threads = [
            thread::spawn(move || {
                cancel(&other, "a");
            }),
            thread::spawn(move || end(b)),
        ];
        end(a);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(freed.load(SeqCst), 2);
        assert!(root.is_empty() && children(&root).is_empty());
        end(root);
    });
}

#[test]
fn a_node_ends_once_whether_its_owner_or_its_last_child_goes_last() {
    in_every_order("last handle x last child", || {
        let freed = Arc::new(Count::new(0));
        let root = root();
        let middle = root.child(counted(&freed));
        let leaf = middle.child(counted(&freed));
        let other = thread::spawn(move || end(leaf));
        end(middle);
        other.join().unwrap();
        assert_eq!(freed.load(SeqCst), 2);
        assert!(root.is_empty() && children(&root).is_empty());
        end(root);
    });
}

#[test]
fn a_handle_that_outlives_its_node_is_the_last_to_free_it() {
    in_every_order("last handle x last child, observed", || {
        let freed = Arc::new(Count::new(0));
        let root = root();
        let middle = root.child(counted(&freed));
        let observer = middle.clone();
        let leaf = middle.child(birth());
        let other = thread::spawn(move || {
            assert!(observer.value::<Freed>().is_some());
            drop(observer);
        });
        end(middle);
        assert!(leaf.is_marked());
        end(leaf);
        other.join().unwrap();
        assert_eq!(freed.load(SeqCst), 1);
        assert!(root.is_empty());
        end(root);
    });
}

#[test]
fn a_waiter_is_woken_or_sees_the_cancel_itself() {
    in_every_order("waiter x cancel", || {
        let root = root();
        let child = root.child(birth());
        let canceller = thread::spawn(move || {
            cancel(&root, "a");
            root
        });
        let (flag, waker) = flag();
        let mut waiter = Waiter::new(child.clone(), For::Cancel);
        let waits = waiter.wait(&waker);
        assert!(waits || child.is_marked());
        let root = canceller.join().unwrap();
        assert!(child.is_marked());
        assert_eq!(flag.is_set(), waits);
        drop(waiter);
        end(child);
        end(root);
    });
}

#[test]
fn a_waiter_may_change_its_waker_and_go_during_a_cancel() {
    in_every_order("waiter goes x cancel", || {
        let root = root();
        let (first, second) = (flag(), flag());
        let mut waiter = Waiter::new(root.clone(), For::Cancel);
        assert!(waiter.wait(&first.1));
        let other = root.clone();
        let canceller = thread::spawn(move || cancel(&other, "a"));
        if waiter.wait(&second.1) {
            drop(waiter);
            assert!(!first.0.is_set());
        } else {
            assert!(root.is_marked());
        }
        assert!(canceller.join().unwrap());
        end(root);
    });
}

#[test]
fn a_join_is_woken_or_sees_the_end_of_the_last_child_itself() {
    in_every_order("join x last child", || {
        let root = root();
        let child = root.child(birth());
        let other = thread::spawn(move || end(child));
        let (flag, waker) = flag();
        let mut joiner = Waiter::new(root.clone(), For::Empty);
        let waits = joiner.wait(&waker);
        assert!(waits || root.is_empty());
        other.join().unwrap();
        assert!(root.is_empty());
        assert!(flag.is_set() || !waits);
        drop(joiner);
        end(root);
    });
}

#[test]
fn a_join_is_woken_or_sees_the_end_of_the_last_future_itself() {
    in_every_order("join x last future", || {
        let root = root();
        assert!(root.hold());
        let runs = root.clone();
        let other = thread::spawn(move || runs.release());
        let (flag, waker) = flag();
        let mut joiner = Waiter::new(root.clone(), For::Empty);
        let waits = joiner.wait(&waker);
        other.join().unwrap();
        assert!(root.is_empty());
        assert!(flag.is_set() || !waits);
        drop(joiner);
        end(root);
    });
}

#[test]
fn of_two_cancels_one_wins_and_everybody_below_says_so() {
    in_every_order("cancel x cancel", || {
        let root = root();
        let middle = root.child(birth());
        let leaf = middle.child(birth());
        let above = root.clone();
        let canceller = thread::spawn(move || cancel(&above, "above"));
        let won = cancel(&middle, "own");
        // However it went, the node on which cancel was called is cancelled now.
        assert_eq!(why(&middle), if won { "own" } else { "above" });
        assert!(canceller.join().unwrap());
        assert_eq!(why(&root), "above");
        assert_eq!(why(&leaf), why(&middle));
        for node in [leaf, middle, root] {
            end(node);
        }
    });
}

#[test]
fn of_two_cancels_of_one_node_the_loser_finds_it_cancelled() {
    in_every_order("cancel x cancel of one node", || {
        let root = root();
        let leaf = root.child(birth());
        let other = root.clone();
        let canceller = thread::spawn(move || cancel(&other, "one"));
        let won = cancel(&root, "two");
        assert_eq!(why(&root), if won { "two" } else { "one" });
        assert_eq!(canceller.join().unwrap(), !won);
        assert_eq!(why(&leaf), why(&root));
        end(leaf);
        end(root);
    });
}

#[test]
fn a_child_made_while_the_owner_goes_is_cancelled_and_waited_for_or_in_no_list() {
    in_every_order("create x end", || {
        let root = root();
        let middle = root.child(birth());
        let observer = middle.clone();
        let other = thread::spawn(move || end(middle));
        let child = observer.child(birth());
        other.join().unwrap();
        assert_eq!(child.marked().map(|reason| reason.kind()), Some(ReasonKind::OwnerDropped));
        assert_eq!(has(&children(&observer), &child) == 1, !root.is_empty());
        end(child);
        assert!(root.is_empty());
        drop(observer);
        end(root);
    });
}

#[test]
fn clean_up_started_while_the_owner_goes_is_waited_for_and_not_cancelled() {
    in_every_order("create shielded x end", || {
        let root = root();
        let middle = root.child(birth());
        let observer = middle.clone();
        let other = thread::spawn(move || end(middle));
        let clean_up = observer.child(Birth { shielded: true, ..birth() });
        other.join().unwrap();
        assert!(!clean_up.is_marked() && !root.is_empty());
        assert_eq!(clean_up.trace(), observer.trace());
        end(clean_up);
        assert!(root.is_empty());
        drop(observer);
        end(root);
    });
}

#[test]
fn a_list_that_empties_and_fills_at_once_keeps_one_hold() {
    in_every_order("create x drop of the only sibling", || {
        let root = root();
        let a = root.child(birth());
        let other = thread::spawn(move || end(a));
        let b = root.child(birth());
        other.join().unwrap();
        assert!(!root.is_empty());
        let held = root.held();
        assert_eq!((held.owned, held.futures, held.children), (true, 0, 1));
        end(b);
        assert!(root.is_empty());
        end(root);
    });
}

#[test]
fn a_walk_sees_those_who_stay_once_whoever_goes_beside_them() {
    in_every_order("walk x drop", || {
        let root = root();
        let (a, b, c) = (root.child(birth()), root.child(birth()), root.child(birth()));
        let other = thread::spawn(move || end(b));
        let seen = children(&root);
        other.join().unwrap();
        assert_eq!((has(&seen, &a), has(&seen, &c)), (1, 1));
        drop(seen);
        end(a);
        end(c);
        end(root);
    });
}

#[test]
fn an_abort_reaches_what_a_cancel_leaves_alone_while_that_ends() {
    in_every_order("abort x drop", || {
        let root = root();
        let shield = root.child(Birth { shielded: true, ..birth() });
        let below = shield.child(birth());
        assert!(cancel(&root, "a") && !below.is_marked());
        let other = root.clone();
        let aborter = thread::spawn(move || other.abort(Reason::requested("b")).len());
        end(below);
        assert_eq!(aborter.join().unwrap(), 1);
        assert_eq!(why(&shield), "b");
        end(shield);
        assert!(root.is_empty());
        end(root);
    });
}
