//! The races one by one. The random histories are in `tests/store_properties.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::let_underscore_must_use,
    reason = "tests; most changes are seen in what shows"
)]

use super::*;

/// A table of texts; objects are written `name uid@revision`.
#[derive(Default)]
struct Told(Table<Arc<String>>);

fn parse(text: &str) -> Observed<Arc<String>> {
    let (name, rest) = text.split_once(' ').unwrap();
    let (uid, revision) = rest.split_once('@').unwrap();
    Observed {
        key: Key::cluster(name),
        uid: Uid::from(uid),
        revision: Revision::parse(revision).unwrap(),
        value: Ok(Arc::new(text.to_owned())),
    }
}

impl Told {
    fn listed(items: &[&str]) -> Self {
        let mut told = Self::default();
        let _ = told.list(items);
        told
    }

    fn list(&mut self, items: &[&str]) -> Outcome<Arc<String>> {
        self.0.list_begins();
        self.list_goes_on(items)
    }

    fn list_goes_on(&mut self, items: &[&str]) -> Outcome<Arc<String>> {
        for item in items {
            let _ = self.0.listed(parse(item));
        }
        self.0.list_ends()
    }

    fn applied(&mut self, object: &str) -> Outcome<Arc<String>> {
        self.0.applied(parse(object))
    }

    fn deleted(&mut self, object: &str) -> Outcome<Arc<String>> {
        self.0.deleted(parse(object))
    }

    fn written(&mut self, object: &str) -> Verdict {
        let seen = parse(object);
        self.0.written(&seen.key, &seen.uid, seen.revision, seen.value.unwrap()).verdict
    }

    fn removed(&mut self, name: &str, uid: &str) -> Verdict {
        self.0.removed(&Key::cluster(name), &Uid::from(uid)).verdict
    }

    fn shown(&self) -> Vec<&str> {
        self.0.iter().map(|(_, value)| value.as_str()).collect()
    }
}

#[test]
fn an_echo_changes_nothing() {
    let mut told = Told::listed(&["a u1@5"]);
    assert_eq!(told.written("a u1@6"), Verdict::Accepted);
    let written = Arc::clone(told.0.get(&Key::cluster("a")).unwrap());
    assert!(told.applied("a u1@6").changes.is_empty());
    assert!(Arc::ptr_eq(&written, told.0.get(&Key::cluster("a")).unwrap()));
    assert_eq!(told.0.remembered(), 0);
}

#[test]
fn a_reply_that_comes_after_the_deleted_event_is_too_late() {
    let mut told = Told::listed(&["a u1@5"]);
    let _ = told.applied("a u1@6");
    let _ = told.deleted("a u1@7");
    assert_eq!(told.written("a u1@6"), Verdict::Stale);
    assert!(told.shown().is_empty());
}

#[test]
fn replies_may_overtake_each_other() {
    let mut told = Told::listed(&[]);
    assert_eq!(told.written("a u1@8"), Verdict::Accepted);
    assert_eq!(told.written("a u1@7"), Verdict::Stale);
    let _ = told.applied("a u1@7");
    assert_eq!(told.shown(), ["a u1@8"], "the feed is behind, and nothing goes back");
}

#[test]
fn a_write_newer_than_the_list_survives_it() {
    let mut told = Told::listed(&["a u1@5"]);
    told.0.list_begins();
    told.written("b u2@9");
    told.written("a u1@10");
    let _ = told.list_goes_on(&["a u1@5"]);
    assert_eq!(told.shown(), ["a u1@10", "b u2@9"]);
    let _ = told.applied("b u2@9");
    let _ = told.applied("a u1@10");
    assert_eq!(told.0.remembered(), 0);
}

#[test]
fn a_write_whose_object_was_gone_before_the_list_goes_with_the_first_event_past_it() {
    let mut told = Told::listed(&[]);
    told.0.list_begins();
    told.written("b u2@9"); // created at 9, deleted by somebody at 10, listed at 11
    let _ = told.list_goes_on(&[]);
    assert_eq!(told.shown(), ["b u2@9"], "nobody can know yet");
    let _ = told.applied("c u3@12");
    assert_eq!(told.shown(), ["c u3@12"]);
}

#[test]
fn what_was_known_before_the_list_and_is_not_in_it_is_gone_whatever_came_since() {
    let mut told = Told::listed(&[]);
    told.written("a u1@7");
    told.0.list_begins();
    told.written("a u1@8"); // deleted at 9, listed at 10
    let _ = told.list_goes_on(&[]);
    assert!(told.shown().is_empty());
    assert_eq!(told.written("a u1@8"), Verdict::Stale, "not from the dead");
    assert_eq!(told.written("a u0@6"), Verdict::Stale, "and nothing older either");
    let _ = told.applied("b u2@11");
    assert_eq!(told.0.remembered(), 0);
}

#[test]
fn a_late_reply_to_a_write_from_before_two_lists_is_stale() {
    let mut told = Told::listed(&[]);
    told.written("a u2@19");
    told.0.list_begins();
    told.removed("a", "u2");
    let _ = told.list_goes_on(&[]);
    assert_eq!(told.written("a u1@13"), Verdict::Stale, "19 was written before the list: 13 is old");
}

#[test]
fn an_object_that_was_made_and_deleted_ahead_of_the_feed_never_shows_again() {
    let mut told = Told::listed(&["a u1@5"]);
    told.written("a u2@9");
    told.removed("a", "u2");
    assert!(told.shown().is_empty(), "u1 is older than u2, and does not show through");
    for object in ["a u1@6", "a u2@8", "a u2@9"] {
        assert!(told.applied(object).changes.is_empty(), "{object}");
    }
    let _ = told.deleted("a u2@10");
    assert_eq!(told.0.remembered(), 0);
    let _ = told.applied("a u3@11");
    assert_eq!(told.shown(), ["a u3@11"]);
}

#[test]
fn a_delete_reply_after_the_deleted_event_is_forgotten_with_the_next_list() {
    let mut told = Told::listed(&["a u1@5"]);
    let _ = told.deleted("a u1@6");
    assert_eq!(told.removed("a", "u1"), Verdict::Stale);
    let _ = told.list(&[]);
    let _ = told.applied("b u2@7");
    assert_eq!(told.0.remembered(), 0);
}

#[test]
fn a_name_that_was_taken_again_is_another_object() {
    let mut told = Told::listed(&["a u1@5"]);
    let outcome = told.list(&["a u2@9"]);
    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(outcome.changes[0].old.as_deref().unwrap(), "a u1@5");
    assert_eq!(outcome.changes[0].new.as_deref().unwrap(), "a u2@9");
    assert_eq!(told.removed("a", "u1"), Verdict::Stale);
    assert_eq!(told.shown(), ["a u2@9"]);
}

#[test]
fn a_graves_name_is_dug_up_when_the_feed_has_passed_it() {
    let mut told = Told::listed(&[]);
    told.0.list_begins();
    told.written("a u1@8");
    let _ = told.list_goes_on(&[]);
    told.removed("a", "u1"); // its events lie before the list, and will never come
    assert_eq!(told.0.remembered(), 2);
    let _ = told.applied("b u2@12");
    assert_eq!(told.0.remembered(), 0);
}

#[test]
fn a_read_settles_what_no_event_decides() {
    let mut told = Told::listed(&["x u9@3"]);
    told.written("a u1@8");
    told.written("b u2@9");
    let pending = told.0.pending();
    let _ = told.0.confirm(&pending[0], Revision(10), None);
    let _ = told.0.confirm(&pending[1], Revision(10), Some(parse("b u2@9")));
    assert_eq!(told.shown(), ["b u2@9", "x u9@3"]);
    assert!(told.0.pending().is_empty());
    assert_eq!(told.written("a u1@8"), Verdict::Stale, "at 10 there was none");
    assert_eq!(told.written("a u3@11"), Verdict::Accepted, "at 11 there may be one");
}

#[test]
fn a_read_that_is_older_than_the_write_does_not_undo_it() {
    let mut told = Told::listed(&[]);
    told.written("a u1@8");
    let pending = told.0.pending();
    told.written("a u1@12");
    let _ = told.0.confirm(&pending[0], Revision(10), None);
    assert_eq!(told.shown(), ["a u1@12"]);
}

#[test]
fn an_event_out_of_order_asks_for_a_list_and_that_list_is_believed() {
    let mut told = Told::listed(&["a u1@50"]);
    let _ = told.applied("b u2@60");
    assert_eq!(told.applied("c u3@7").verdict, Verdict::Relist);
    assert_eq!(told.list(&["c u3@7"]).verdict, Verdict::Rewound);
    assert_eq!(told.shown(), ["c u3@7"]);
    assert_eq!(told.applied("d u4@8").verdict, Verdict::Accepted, "the new order counts");
}

#[test]
fn a_list_that_shows_what_a_delete_was_answered_for_comes_from_a_backup() {
    let mut told = Told::listed(&["a u1@5"]);
    told.removed("a", "u1");
    assert_eq!(told.list(&["a u1@5"]).verdict, Verdict::Rewound);
    assert_eq!(told.shown(), ["a u1@5"]);
}

#[test]
fn an_unreadable_version_is_neither_the_old_one_nor_absent() {
    let mut told = Told::listed(&["a u1@5"]);
    let unreadable = |revision| Observed { value: Err("no".to_owned()), ..parse(&format!("a u1@{revision}")) };
    assert!(told.0.applied(unreadable(6)).fault.is_some());
    assert_eq!(told.shown(), ["a u1@5"], "the last readable one, for those who only look");
    assert!(matches!(told.0.look(&Key::cluster("a")), Look::Unreadable(fault) if fault.revision == Revision(6)));
    told.0.list_begins();
    assert!(told.0.listed(unreadable(6)).fault.is_none(), "told once");
    let _ = told.0.list_ends();
    assert_eq!(told.shown(), ["a u1@5"]);
    let _ = told.applied("a u1@7");
    assert!(matches!(told.0.look(&Key::cluster("a")), Look::Found(_)));
    assert_eq!(told.0.faults().count(), 0);
}

#[test]
fn an_object_without_a_usable_version_is_a_fault_and_stays() {
    let mut told = Told::listed(&["a u1@5"]);
    told.0.list_begins();
    assert!(told.0.unplaced(Key::cluster("a"), Uid::from("u1"), "version".to_owned()).fault.is_some());
    let _ = told.0.list_ends();
    assert_eq!(told.shown(), ["a u1@5"]);
    assert!(matches!(told.0.look(&Key::cluster("a")), Look::Unreadable(_)));
}

#[test]
fn an_object_that_left_the_selection_may_come_back() {
    let mut told = Told::listed(&["a u1@5"]);
    let _ = told.list(&[]);
    assert!(told.shown().is_empty());
    let _ = told.list(&["a u1@9"]);
    assert_eq!(told.shown(), ["a u1@9"]);
    let _ = told.deleted("a u1@10");
    let _ = told.applied("a u1@11");
    assert_eq!(told.shown(), ["a u1@11"]);
}
