//! The store around the table: order of callbacks, indexes, what a reply may be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::discovery::ApiResource;
use proptest::prelude::*;
use serde_json::json;

use super::table::Observed;
use super::*;

fn config_map(name: &str, revision: u64, color: &str) -> ConfigMap {
    let object = json!({
        "metadata": {"namespace": "n", "name": name, "uid": format!("uid-{name}"), "resourceVersion": revision.to_string(),
            "labels": {"color": color}, "managedFields": [{"manager": "m"}]},
    });
    serde_json::from_value(object).unwrap()
}

fn store() -> Store<ConfigMap> {
    Store::new(ApiResource::erase::<ConfigMap>(&()))
}

fn by_color(object: &ConfigMap, values: &mut Values) {
    object.metadata.labels.iter().flat_map(|labels| labels.values()).for_each(|color| values.add(color));
}

fn key(name: &str) -> Key {
    Key::namespaced("n", name)
}

fn names(objects: &[Arc<ConfigMap>]) -> Vec<&str> {
    objects.iter().filter_map(|object| object.metadata.name.as_deref()).collect()
}

#[test]
fn a_written_object_shows_at_once_without_its_managed_fields() {
    let store = store();
    store.written(config_map("a", 7, "red"));
    let shown = store.get(&key("a")).unwrap();
    assert!(shown.metadata.managed_fields.is_none());
    assert_eq!(shown.metadata.resource_version.as_deref(), Some("7"));
    store.written(config_map("a", 6, "red"));
    assert!(Arc::ptr_eq(&shown, &store.get(&key("a")).unwrap()), "an older reply changes nothing");
}

#[test]
fn the_answer_to_the_last_finalizers_removal_is_the_end_of_the_object() {
    let store = store();
    store.written(config_map("a", 7, "red"));
    let mut last = config_map("a", 8, "red");
    last.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    last.metadata.finalizers = Some(vec!["karmada.io/hold".to_owned()]);
    store.written(last.clone());
    assert_eq!(store.len(), 1, "a finalizer holds it");
    last.metadata.finalizers = Some(Vec::new());
    last.metadata.resource_version = Some("9".to_owned());
    store.written(last);
    assert_eq!(store.len(), 0);
}

#[test]
fn indexes_follow_every_change() {
    let store = store();
    store.written(config_map("a", 1, "red"));
    let store = store.with_index("color", by_color);
    store.written(config_map("b", 2, "red"));
    store.written(config_map("c", 3, "blue"));
    assert_eq!(names(&store.by_index("color", "red")), ["a", "b"]);
    store.written(config_map("a", 4, "blue"));
    store.removed(&key("c"), "uid-c");
    assert_eq!(names(&store.by_index("color", "red")), ["b"]);
    assert_eq!(names(&store.by_index("color", "blue")), ["a"]);
    assert!(store.by_index("size", "red").is_empty());
}

#[test]
fn subscribers_see_every_change_in_order_and_may_write_themselves() {
    let store = store();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (writer, log) = (store.clone(), Arc::clone(&seen));
    store.subscribe(move |change| {
        log.lock().unwrap().push(change.key.to_string());
        if change.key == key("a") && change.old.is_none() {
            writer.written(config_map("b", 2, "red"));
            assert!(writer.get(&key("b")).is_some(), "the table has changed, only the callback waits");
        }
    });
    store.written(config_map("a", 1, "red"));
    store.removed(&key("a"), "uid-a");
    assert_eq!(*seen.lock().unwrap(), ["n/a", "n/b", "n/a"]);
}

#[test]
fn a_subscriber_that_panics_does_not_silence_the_store() {
    let store = store();
    let seen = Arc::new(Mutex::new(0));
    let log = Arc::clone(&seen);
    store.subscribe(move |change| {
        *log.lock().unwrap() += 1;
        assert!(change.key != key("a"), "this one hurts");
    });
    let writer = store.clone();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.written(config_map("a", 1, "red")))).unwrap_err();
    store.written(config_map("b", 2, "red"));
    assert_eq!(*seen.lock().unwrap(), 2);
}

#[test]
fn changes_of_one_key_arrive_in_order_from_many_threads() {
    let store = store();
    let last = Arc::new(Mutex::new(0));
    let log = Arc::clone(&last);
    store.subscribe(move |change| {
        let revision = Revision::of(&change.new.as_ref().unwrap().metadata).unwrap().0;
        let mut last = log.lock().unwrap();
        assert!(revision > *last, "{revision} after {last}");
        *last = revision;
    });
    #[expect(clippy::disallowed_methods, reason = "threads against a lock, there is no context here")]
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            scope.spawn(move || (1..500).for_each(|number| store.written(config_map("a", number * 4 + thread, "red"))));
        }
    });
    assert_eq!(*last.lock().unwrap(), 499 * 4 + 3);
}

#[test]
fn a_namespace_lists_its_own_objects_only() {
    let store = store();
    for (namespace, name) in [("m", "z"), ("n", "a"), ("n", "b"), ("n-1", "c"), ("o", "d")] {
        let mut object = config_map(name, 1 + name.as_bytes()[0] as u64, "red");
        object.metadata.namespace = Some(namespace.to_owned());
        store.written(object);
    }
    assert_eq!(names(&store.list(Some("n"))), ["a", "b"]);
    assert_eq!(store.list(None).len(), 5);
}

#[test]
fn versions_are_numbers_or_faults() {
    assert_eq!(Revision::parse("18446744073709551615"), Ok(Revision(u64::MAX)));
    for text in ["", "+1", "-1", "1.0", "18446744073709551616", "0x1", " 1"] {
        assert!(Revision::parse(text).is_err(), "{text:?}");
    }
    let store = store();
    let mut object = config_map("a", 1, "red");
    object.metadata.resource_version = Some("one".to_owned());
    store.written(object);
    assert!(store.is_empty());
}

#[test]
fn a_decision_over_all_objects_waits_for_the_first_list_and_for_readable_objects() {
    let observed = |name: &str, revision, value: Result<ConfigMap, String>| Observed {
        key: key(name),
        uid: Uid::from(name),
        revision: Revision(revision),
        value: value.map(Arc::new),
    };
    let store = store();
    store.written(config_map("a", 1, "red"));
    assert!(store.complete(None).is_err(), "there may be more");
    store.list_begins();
    store.listed(observed("a", 1, Ok(config_map("a", 1, "red"))));
    store.listed(observed("b", 2, Err("not a config map".to_owned())));
    store.list_ends();
    assert_eq!(names(&store.list(None)), ["a"]);
    let refused = store.complete(Some("n")).unwrap_err();
    assert!(refused.to_string().ends_with("ConfigMap n/b: not a config map"), "{refused}");
    assert_eq!(names(&store.complete(Some("m")).unwrap()), [] as [&str; 0], "another namespace is not concerned");
    store.applied(observed("b", 3, Ok(config_map("b", 3, "red"))));
    assert_eq!(names(&store.complete(Some("n")).unwrap()), ["a", "b"]);
}

#[test]
fn a_decision_by_index_waits_for_every_object_of_its_namespace() {
    let store = store().with_index("color", by_color);
    let refused = store.complete_by_index("color", &["red"], None).unwrap_err();
    assert!(refused.to_string().contains("not complete yet"), "{refused}");
    store.list_begins();
    let observed = |name: &str, value| Observed { key: key(name), uid: Uid::from(name), revision: Revision(2), value };
    store.listed(observed("a", Ok(Arc::new(config_map("a", 2, "red")))));
    store.listed(observed("b", Err("not a config map".to_owned())));
    store.list_ends();
    assert!(store.complete_by_index("color", &["red"], Some("n")).is_err(), "b may be red");
    assert!(store.complete_by_index("color", &["blue"], None).is_err(), "or blue");
    assert!(store.complete_by_index("color", &["red"], Some("m")).unwrap().is_empty(), "b is not in m");
    store.applied(Observed { revision: Revision(3), ..observed("b", Ok(Arc::new(config_map("b", 3, "blue")))) });
    assert_eq!(names(&store.complete_by_index("color", &["red"], Some("n")).unwrap()), ["a"]);
    let both = store.complete_by_index("color", &["red", "blue", "red"], Some("n")).unwrap();
    assert_eq!(names(&both), ["a", "b"], "each once");
    assert!(store.complete_by_index("size", &["red"], Some("n")).is_err(), "what no index knows is not absent");
}

/// One step in the life of a store.
#[derive(Clone, Debug)]
enum Step {
    Write { namespace: u8, name: u8, colors: Vec<u8> },
    Remove { namespace: u8, name: u8 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, 0..4u8, prop::collection::vec(0..4u8, 0..3))
            .prop_map(|(namespace, name, colors)| Step::Write { namespace, name, colors }),
        1 => (0..3u8, 0..4u8).prop_map(|(namespace, name)| Step::Remove { namespace, name }),
    ]
}

/// Namespace 0 stands for cluster-scoped objects.
fn place(namespace: u8, name: u8) -> Key {
    let namespace = (namespace > 0).then(|| format!("n{namespace}"));
    Key::new(namespace.as_deref(), &format!("o{name}"))
}

/// The colours of an object with their positions, so that some values are prefixes of others.
fn colors_of(object: &ConfigMap, values: &mut Values) {
    for color in object.metadata.labels.iter().flat_map(|labels| labels.keys()) {
        values.add_joined(&["c", color]);
        values.add("c");
    }
}

fn scan(store: &Store<ConfigMap>, lookup: Lookup<'_>, namespace: Option<&str>) -> Vec<Key> {
    let matches = |value: &str| match lookup {
        Lookup::Value(wanted) => value == wanted,
        Lookup::Prefix(prefix) => value.starts_with(prefix),
    };
    let has = |object: &ConfigMap| {
        let colors: Vec<_> = object.metadata.labels.iter().flat_map(|labels| labels.keys()).collect();
        colors.iter().any(|color| matches(&format!("c{color}"))) || (!colors.is_empty() && matches("c"))
    };
    store.list(namespace).iter().filter(|object| has(object)).map(|object| Key::of(&object.metadata)).collect()
}

proptest! {
    /// Whatever is written and removed: an index finds what a scan of the whole store would.
    #[test]
    fn an_index_finds_what_a_scan_finds(steps in prop::collection::vec(any_step(), 0..40)) {
        let store = store().with_index("colors", colors_of);
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Write { namespace, name, colors } => {
                    let key = place(*namespace, *name);
                    let labels: BTreeMap<_, _> = colors.iter().map(|color| (color.to_string(), String::new())).collect();
                    let meta = ObjectMeta {
                        namespace: key.namespace().map(str::to_owned),
                        name: Some(key.name.to_string()),
                        uid: Some(format!("{key}-{}", colors.len() / 2)),
                        resource_version: Some((number + 1).to_string()),
                        labels: Some(labels),
                        ..ObjectMeta::default()
                    };
                    store.written(ConfigMap { metadata: meta, ..ConfigMap::default() });
                }
                Step::Remove { namespace, name } => {
                    let key = place(*namespace, *name);
                    (0..2).for_each(|uid| store.removed(&key, &format!("{key}-{uid}")));
                }
            }
            for lookup in [Lookup::Value("c"), Lookup::Value("c1"), Lookup::Value("x"), Lookup::Prefix("c"), Lookup::Prefix("c2")] {
                for namespace in [None, Some("n1"), Some("n2"), Some("n")] {
                    let found: Vec<_> =
                        store.find("colors", lookup, namespace).iter().map(|object| Key::of(&object.metadata)).collect();
                    prop_assert_eq!(found, scan(&store, lookup, namespace), "{:?} in {:?} after {:?}", lookup, namespace, step);
                }
            }
            for name in ["o0", "o1", "o", "p"] {
                let named: Vec<_> = store.named(name).iter().map(|object| Key::of(&object.metadata)).collect();
                let scanned = store.keys().into_iter().filter(|key| &*key.name == name);
                prop_assert_eq!(named, scanned.collect::<Vec<_>>(), "{} after {:?}", name, step);
            }
            prop_assert_eq!(store.count("colors", Lookup::Value("c1")), scan(&store, Lookup::Value("c1"), None).len());
        }
    }
}

/// A store that packs, each name a family.
fn packed(role: Role) -> Store<ConfigMap> {
    let family = |object: &ConfigMap| object.metadata.name.as_deref().map(Key::cluster);
    Store::packed(ApiResource::erase::<ConfigMap>(&()), &Packer::default(), role, family)
}

#[test]
fn an_object_that_would_not_read_as_it_is_is_kept_as_it_is() {
    let store = packed(Role::Root);
    let mut object = config_map("a", 1, "red");
    object.metadata.managed_fields = None;
    // Written as text it is no fraction any more.
    object.metadata.creation_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    if let Some(time) = &mut object.metadata.creation_timestamp {
        time.0 = time.0.checked_add(std::time::Duration::from_nanos(1)).unwrap();
    }
    store.written(object.clone());
    assert_eq!(*store.get(&key("a")).unwrap(), object);
}

#[test]
fn the_echo_of_a_version_that_is_there_changes_nothing_in_a_packed_store_either() {
    let (store, changes) = (packed(Role::Lead), Arc::new(Mutex::new(0)));
    let count = Arc::clone(&changes);
    store.subscribe(move |_| *count.lock().unwrap() += 1);
    store.written(config_map("a", 7, "red"));
    let object = Arc::new(config_map("a", 7, "red"));
    store.applied(Observed { key: key("a"), uid: Uid::from("uid-a"), revision: Revision(7), value: Ok(object) });
    assert_eq!(*changes.lock().unwrap(), 1);
}

/// What a store can be told.
#[derive(Clone, Debug)]
enum Word {
    Written(u8, u64, u8),
    Removed(u8),
    Applied(u8, u64, u8),
    Deleted(u8, u64),
    Listed(Vec<(u8, u64, u8)>),
}

fn any_word() -> impl Strategy<Value = Word> {
    let (name, revision, color) = (0..5_u8, 1..30_u64, 0..3_u8);
    prop_oneof![
        3 => (name.clone(), revision.clone(), color.clone()).prop_map(|(name, at, color)| Word::Written(name, at, color)),
        1 => name.clone().prop_map(Word::Removed),
        3 => (name.clone(), revision.clone(), color.clone()).prop_map(|(name, at, color)| Word::Applied(name, at, color)),
        1 => (name.clone(), revision.clone()).prop_map(|(name, at)| Word::Deleted(name, at)),
        1 => prop::collection::vec((name, revision, color), 0..24).prop_map(Word::Listed),
    ]
}

fn tell(store: &Store<ConfigMap>, word: &Word) {
    let object = |name: &u8, at: &u64, color: &u8| config_map(&format!("m{name}"), *at, &color.to_string());
    let seen = |name: &u8, at: &u64, value: Option<ConfigMap>| Observed {
        key: key(&format!("m{name}")),
        uid: Uid::from(&*format!("uid-m{name}")),
        revision: Revision(*at),
        value: value.map(Arc::new).ok_or_else(|| "unreadable".to_owned()),
    };
    // Every third colour stands for an object that cannot be read.
    let content = |name: &u8, at: &u64, color: &u8| (*color > 0).then(|| object(name, at, color));
    match word {
        Word::Written(name, at, color) => store.written(object(name, at, color)),
        Word::Removed(name) => store.removed(&key(&format!("m{name}")), &format!("uid-m{name}")),
        Word::Applied(name, at, color) => drop(store.applied(seen(name, at, content(name, at, color)))),
        Word::Deleted(name, at) => assert!(store.deleted(seen(name, at, None)) != Verdict::Rewound),
        Word::Listed(items) => {
            store.list_begins();
            for (name, at, color) in items {
                drop(store.listed(seen(name, at, content(name, at, color))));
            }
            store.list_ends();
        }
    }
}

type Log = Arc<Mutex<Vec<(Key, Option<ConfigMap>, Option<ConfigMap>)>>>;

fn logged(store: Store<ConfigMap>) -> (Store<ConfigMap>, Log) {
    let (store, log) = (store.with_index("color", by_color), Log::default());
    let lines = Arc::clone(&log);
    let whole = |object: &Option<Arc<ConfigMap>>| object.as_deref().cloned();
    store.subscribe(move |change| {
        lines.lock().unwrap().push((change.key.clone(), whole(&change.old), whole(&change.new)));
    });
    (store, log)
}

proptest! {
    /// Whatever two stores are told: that one of them packs cannot be seen.
    #[test]
    fn a_packed_store_shows_what_any_other_shows(words in prop::collection::vec(any_word(), 0..40)) {
        let [plain, packed] = [store(), packed(Role::Lead)].map(logged);
        for word in &words {
            [&plain, &packed].into_iter().for_each(|(store, _)| tell(store, word));
            let [(plain, _), (packed, _)] = [&plain, &packed];
            prop_assert_eq!(plain.list(None), packed.list(None), "after {:?}", word);
            prop_assert_eq!(plain.counts(), packed.counts(), "after {:?}", word);
            for color in ["1", "2"] {
                prop_assert_eq!(plain.by_index("color", color), packed.by_index("color", color), "after {:?}", word);
            }
            for name in 0..5_u8 {
                let name = key(&format!("m{name}"));
                prop_assert_eq!(format!("{:?}", plain.read(&name)), format!("{:?}", packed.read(&name)), "after {:?}", word);
            }
        }
        prop_assert_eq!(&*plain.1.lock().unwrap(), &*packed.1.lock().unwrap());
    }
}
