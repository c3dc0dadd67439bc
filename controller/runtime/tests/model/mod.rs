//! A model of an API server, of the ways its words take to the table, and of what the table may say
//! at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_runtime::store::table::{Look, Observed, Outcome, Table};
use pando_runtime::store::{Key, Pending, Revision, Uid, Verdict};

/// What else there is besides lateness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Plain,
    /// Objects enter and leave the selection that the feed shows.
    Selector,
    /// Some versions cannot be read.
    Faults,
}

type Name = u8;
type Serial = u32;

/// The content of an object: who it is.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Content {
    name: Name,
    uid: Serial,
    revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Object {
    uid: Serial,
    revision: u64,
    selected: bool,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    name: Name,
    uid: Serial,
    revision: u64,
    deleted: bool,
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Written(Content),
    Removed(Name, Serial),
}

/// A question about a pending write: sent, then answered by the server at a revision, then
/// received.
#[derive(Debug, Clone)]
struct Get {
    pending: Pending,
    answer: Option<(u64, Option<Content>)>,
}

#[derive(Debug)]
enum Feed {
    /// Nothing was asked for yet.
    Idle,
    /// A list was asked for, and the server has not answered it.
    Asked,
    /// The list, a snapshot, is being read.
    Listing { items: Vec<Content>, next: usize, at: u64 },
    /// Everything up to and including this index of the log was delivered.
    Watching { next: usize },
}

pub(crate) struct World {
    mode: Mode,
    loud: bool,
    revision: u64,
    serial: Serial,
    objects: BTreeMap<Name, Object>,
    log: Vec<Event>,
    replies: Vec<Reply>,
    gets: Vec<Get>,
    feed: Feed,
    /// What the feed has said, taken alone.
    told: BTreeMap<Name, Content>,
    table: Table<Arc<Content>>,
    /// What the changes add up to.
    mirror: BTreeMap<Name, Content>,
    /// The newest revision ever shown of a name.
    newest: BTreeMap<Name, u64>,
    /// Uids that were shown.
    shown: BTreeSet<Serial>,
    /// Uids of which the table has been told that they are gone for ever.
    gone: BTreeSet<Serial>,
    /// Uids that have left the selection at some time. They may come back, and a table cannot tell
    /// their leaving from their end.
    left: BTreeSet<Serial>,
    /// At which revision the table has been told that there is no object of this name.
    absent: BTreeMap<Name, u64>,
    /// The newest reply that was delivered for each uid.
    answered: BTreeMap<Serial, u64>,
    /// Uids that the table showed when the present list was asked for.
    at_init: BTreeSet<Serial>,
    removals: usize,
}

const NAMES: u32 = 3;

fn key(name: Name) -> Key {
    Key::namespaced("n", ["a", "b", "c", "d"][usize::from(name)])
}

fn name_of(key: &Key) -> Name {
    key.name.as_bytes()[0] - b'a'
}

fn uid(serial: Serial) -> Uid {
    Uid::from(format!("u{serial}").as_str())
}

impl World {
    pub(crate) fn new(mode: Mode, loud: bool) -> Self {
        Self {
            mode,
            loud,
            revision: 1,
            serial: 0,
            objects: BTreeMap::new(),
            log: Vec::new(),
            replies: Vec::new(),
            gets: Vec::new(),
            feed: Feed::Idle,
            told: BTreeMap::new(),
            table: Table::new(),
            mirror: BTreeMap::new(),
            newest: BTreeMap::new(),
            shown: BTreeSet::new(),
            gone: BTreeSet::new(),
            left: BTreeSet::new(),
            absent: BTreeMap::new(),
            answered: BTreeMap::new(),
            at_init: BTreeSet::new(),
            removals: 0,
        }
    }

    /// One thing happens. The choice decides which.
    pub(crate) fn step(&mut self, choice: u32) {
        let detail = choice / 32;
        match choice % 32 {
            0..=6 => self.write(detail, true),
            7..=9 => self.write(detail, false),
            10..=15 => self.reply(detail),
            16..=26 => self.feed(detail),
            27 => self.relist(),
            28..=29 => self.ask(detail),
            _ => self.get(detail),
        }
        self.check();
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.loud {
            eprintln!("{what}");
        }
    }

    /// Somebody writes an object: we (and get a reply, some time), or somebody else.
    fn write(&mut self, detail: u32, ours: bool) {
        let name = (detail % NAMES) as Name;
        let action = detail / NAMES % 8;
        let object = self.objects.get(&name).copied();
        self.revision += 1 + u64::from((detail / 64).is_multiple_of(3)); // other kinds use up revisions too
        let revision = self.revision;
        match object {
            None => {
                self.serial += 1;
                let object = Object { uid: self.serial, revision, selected: true };
                self.put(name, object, object.selected, ours);
            }
            Some(object) if action <= 1 => {
                self.say(format_args!("server: delete {name} u{} at {revision}, ours: {ours}", object.uid));
                self.objects.remove(&name);
                if object.selected {
                    self.log.push(Event { name, uid: object.uid, revision, deleted: true });
                }
                if ours {
                    self.replies.push(Reply::Removed(name, object.uid));
                }
            }
            Some(object) if action == 2 && ours => {
                // A write that changes nothing is answered with the version that is there.
                self.answer(Content { name, uid: object.uid, revision: object.revision }, object.selected);
            }
            Some(object) => {
                let selected =
                    if self.mode == Mode::Selector && action == 3 { !object.selected } else { object.selected };
                if !selected {
                    self.left.insert(object.uid);
                }
                self.put(name, Object { revision, selected, ..object }, object.selected || selected, ours);
            }
        }
    }

    fn put(&mut self, name: Name, object: Object, event: bool, ours: bool) {
        let Object { uid, revision, selected, .. } = object;
        self.say(format_args!("server: write {name} u{uid} at {revision}, ours: {ours}, selected: {selected}"));
        self.objects.insert(name, object);
        if event {
            self.log.push(Event { name, uid, revision, deleted: !selected });
        }
        if ours {
            self.answer(Content { name, uid, revision }, selected);
        }
    }

    fn answer(&mut self, content: Content, selected: bool) {
        // A reply that cannot be read, or that the feed would not select, is not written through.
        if selected && self.readable(content.revision) {
            self.replies.push(Reply::Written(content));
        }
    }

    fn readable(&self, revision: u64) -> bool {
        self.mode != Mode::Faults || !revision.is_multiple_of(5)
    }

    /// One of the replies under way arrives.
    fn reply(&mut self, detail: u32) {
        if self.replies.is_empty() {
            return;
        }
        let reply = self.replies.swap_remove(detail as usize % self.replies.len());
        self.say(format_args!("reply: {reply:?}"));
        match reply {
            Reply::Written(content) => {
                let value = Arc::new(content);
                let outcome =
                    self.table.written(&key(content.name), &uid(content.uid), Revision(content.revision), value);
                self.take(outcome);
                let answered = self.answered.entry(content.uid).or_default();
                *answered = (*answered).max(content.revision);
            }
            Reply::Removed(name, serial) => {
                self.removals += 1;
                let outcome = self.table.removed(&key(name), &uid(serial));
                self.gone.insert(serial);
                self.take(outcome);
            }
        }
    }

    /// The feed goes on by one step.
    fn feed(&mut self, detail: u32) {
        match &mut self.feed {
            Feed::Idle => self.relist(),
            Feed::Asked => {
                let items = self.objects.iter().filter(|(_, object)| object.selected);
                let items = items
                    .map(|(name, object)| Content { name: *name, uid: object.uid, revision: object.revision })
                    .collect();
                self.say(format_args!("list: snapshot at {}: {items:?}", self.revision));
                self.feed = Feed::Listing { items, next: 0, at: self.revision };
            }
            Feed::Listing { items, next, at } => {
                if detail.is_multiple_of(16) {
                    return self.relist(); // the next page could not be read
                }
                if let Some(item) = items.get(*next).copied() {
                    *next += 1;
                    let seen = self.observe(item);
                    let outcome = self.table.listed(seen);
                    self.take(outcome);
                } else {
                    let (items, at) = (std::mem::take(items), *at);
                    self.list_ends(&items, at);
                }
            }
            Feed::Watching { next } => {
                let Some(event) = self.log.get(*next).copied() else { return };
                *next += 1;
                self.event(event);
            }
        }
    }

    fn list_ends(&mut self, items: &[Content], at: u64) {
        self.say(format_args!("list ends"));
        let listed: BTreeSet<Serial> = items.iter().map(|item| item.uid).collect();
        self.gone.extend(self.at_init.difference(&listed));
        self.feed = Feed::Watching { next: self.log.partition_point(|event| event.revision <= at) };
        self.told = items.iter().map(|item| (item.name, *item)).collect();
        let outcome = self.table.list_ends();
        assert_eq!(outcome.verdict, Verdict::Accepted, "a server that never went back is taken for one that did");
        self.take(outcome);
        for item in items {
            let shown = self.newest.get(&item.name).copied().unwrap_or_default();
            assert!(
                shown >= item.revision
                    || !self.readable(item.revision)
                    || self.gone.contains(&item.uid)
                    || self.absent.get(&item.name).is_some_and(|absent| *absent >= item.revision),
                "the list had {item:?}, {shown} is shown"
            );
        }
    }

    fn event(&mut self, event: Event) {
        self.say(format_args!("watch: {event:?}"));
        let content = Content { name: event.name, uid: event.uid, revision: event.revision };
        let seen = self.observe(content);
        if event.deleted {
            self.gone.insert(event.uid);
        }
        let outcome = if event.deleted { self.table.deleted(seen) } else { self.table.applied(seen) };
        assert_eq!(outcome.verdict, Verdict::Accepted, "an event in its order is news: {event:?}");
        self.take(outcome);
        assert_eq!(self.table.progress(), Revision(event.revision));
        if event.deleted {
            self.told.remove(&event.name);
        } else {
            self.told.insert(event.name, content);
        }
        for (name, shown) in self.mirror.iter().filter(|(_, shown)| shown.revision <= event.revision) {
            let told = self.told.get(name);
            let unreadable = told.is_some_and(|told| told.uid == shown.uid && !self.readable(told.revision));
            assert!(unreadable || told == Some(shown), "the feed has passed {shown:?} and has told {told:?}");
        }
    }

    fn relist(&mut self) {
        self.say(format_args!("list begins"));
        self.table.list_begins();
        self.at_init = self.mirror.values().map(|content| content.uid).collect();
        self.feed = Feed::Asked;
    }

    /// Somebody looks for writes without an echo, and asks for one of them.
    fn ask(&mut self, detail: u32) {
        let pending = self.table.pending();
        if !pending.is_empty() && self.gets.len() < 4 {
            let pending = pending[detail as usize % pending.len()].clone();
            self.say(format_args!("get: {pending:?}"));
            self.gets.push(Get { pending, answer: None });
        }
    }

    /// A GET reaches the server, or its answer comes back.
    fn get(&mut self, detail: u32) {
        if self.gets.is_empty() {
            return;
        }
        let index = detail as usize % self.gets.len();
        let name = name_of(&self.gets[index].pending.key);
        if self.gets[index].answer.is_none() {
            let object = self.objects.get(&name).filter(|object| object.selected);
            let found = object.map(|object| Content { name, uid: object.uid, revision: object.revision });
            self.gets[index].answer = Some((self.revision, found));
            return;
        }
        let get = self.gets.swap_remove(index);
        let Some((at, found)) = get.answer else { return };
        self.say(format_args!("got: {found:?} at {at} for {:?}", get.pending));
        let seen = found.map(|content| self.observe(content));
        let outcome = self.table.confirm(&get.pending, Revision(at), seen);
        if found.is_none() && outcome.verdict == Verdict::Accepted {
            let absent = self.absent.entry(name).or_default();
            *absent = (*absent).max(at);
        }
        self.take(outcome);
    }

    fn observe(&self, content: Content) -> Observed<Arc<Content>> {
        let value = if self.readable(content.revision) { Ok(Arc::new(content)) } else { Err("unreadable".to_owned()) };
        Observed { key: key(content.name), uid: uid(content.uid), revision: Revision(content.revision), value }
    }

    /// Applies the changes to the mirror: they must fit one after the other.
    fn take(&mut self, outcome: Outcome<Arc<Content>>) {
        for change in outcome.changes {
            self.say(format_args!("  change: {:?} {:?} -> {:?}", change.key, change.old, change.new));
            let name = name_of(&change.key);
            assert_eq!(self.mirror.get(&name), change.old.as_deref(), "a change begins where the one before ended");
            match change.new.as_deref() {
                None => {
                    self.mirror.remove(&name);
                }
                Some(new) => {
                    let gone = self.gone.contains(&new.uid) && !self.left.contains(&new.uid);
                    assert!(!gone, "u{} was known to be gone, and shows again", new.uid);
                    let newest = self.newest.entry(name).or_default();
                    let left = self.left.contains(&new.uid);
                    assert!(left || new.revision >= *newest, "{} shows after {newest}", new.revision);
                    *newest = new.revision.max(*newest);
                    let absent = self.absent.get(&name).copied().unwrap_or_default();
                    assert!(new.revision > absent, "{} shows, and at {absent} there was none", new.revision);
                    self.shown.insert(new.uid);
                    self.mirror.insert(name, *new);
                }
            }
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let view: BTreeMap<Name, Content> = self.table.iter().map(|(key, content)| (name_of(key), **content)).collect();
        assert_eq!(view, self.mirror, "the changes add up to the view");
        assert_eq!(self.table.len(), view.len());
        for (name, object) in &self.objects {
            if !object.selected {
                continue;
            }
            let content = view.get(name).filter(|content| content.uid == object.uid);
            let watched = !self.left.contains(&object.uid);
            if watched && self.shown.contains(&object.uid) {
                assert!(content.is_some(), "u{} exists and was shown, and does not show", object.uid);
            }
            let unreadable = matches!(self.table.look(&key(*name)), Look::Unreadable(_));
            if let Some(answered) = self.answered.get(&object.uid).filter(|_| watched && !unreadable) {
                let content = content.expect("we wrote it and it exists");
                assert!(content.revision >= *answered, "we were told of {answered}, and {} shows", content.revision);
            }
        }
    }

    /// Everything under way arrives: now the table and the server must agree.
    pub(crate) fn settle(&mut self) {
        self.say(format_args!("settling"));
        while !self.replies.is_empty() {
            self.reply(self.replies.len() as u32 - 1);
        }
        loop {
            match &self.feed {
                Feed::Watching { next } if *next == self.log.len() => break,
                _ => self.feed(1),
            }
            self.check();
        }
        // Two rounds at most: what the first GETs bring needs no further ones.
        for round in 0.. {
            for pending in self.table.pending() {
                self.gets.push(Get { pending, answer: None });
            }
            if self.gets.is_empty() {
                break;
            }
            assert!(round < 3, "reading the pending writes does not come to an end");
            while !self.gets.is_empty() {
                self.get(0);
                self.check();
            }
        }
        self.agree();
        self.forget();
    }

    fn agree(&self) {
        for name in 0..NAMES as Name {
            let object = self.objects.get(&name).filter(|object| object.selected);
            let look = self.table.look(&key(name));
            match (object, look) {
                (None, Look::Absent) => {}
                (Some(object), Look::Found(content)) => {
                    assert_eq!((content.uid, content.revision), (object.uid, object.revision), "{name} is out of date");
                }
                (Some(object), Look::Unreadable(fault)) => {
                    assert!(!self.readable(object.revision));
                    assert_eq!(fault.revision, Revision(object.revision));
                }
                (object, look) => panic!("the server has {object:?} as {name}, the table says {look:?}"),
            }
        }
    }

    /// After another event, a list and one more event nothing is remembered that is not needed.
    fn forget(&mut self) {
        assert!(self.table.remembered() <= self.removals + self.log.len() + 8);
        for _ in 0..2 {
            self.revision += 1;
            self.serial += 1;
            let object = self.objects.get(&3).copied();
            let object = object.unwrap_or(Object { uid: self.serial, revision: 0, selected: true });
            self.put(3, Object { revision: self.revision, ..object }, true, false);
            if self.revision.is_multiple_of(2) || self.table.remembered() > 0 {
                self.relist();
            }
            loop {
                match &self.feed {
                    Feed::Watching { next } if *next == self.log.len() => break,
                    _ => self.feed(1),
                }
            }
            self.check();
        }
        self.revision += 1;
        let object = self.objects[&3];
        self.put(3, Object { revision: self.revision, ..object }, true, false);
        self.feed(1);
        self.agree();
        assert_eq!(self.table.remembered(), 0, "something is remembered for ever");
    }
}
