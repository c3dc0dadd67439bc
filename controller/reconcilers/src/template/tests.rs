#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;

fn widgets(version: &str) -> TemplateKind {
    let resource = ApiResource {
        group: "example.io".to_owned(),
        version: version.to_owned(),
        api_version: format!("example.io/{version}"),
        kind: "Widget".to_owned(),
        plural: "widgets".to_owned(),
    };
    TemplateKind { resource, namespaced: true, has_status: true }
}

fn decoded(kind: &TemplateKind, object: &Value) -> Template {
    let raw = RawValue::from_string(object.to_string()).unwrap();
    Template::decode(&kind.resource, &raw).unwrap()
}

fn widget(kind: &TemplateKind) -> Template {
    decoded(
        kind,
        &json!({"metadata": {"namespace": "shop", "name": "one", "uid": "u", "resourceVersion": "1"}, "spec": {"size": 3}}),
    )
}

fn key() -> TemplateKey {
    TemplateKey {
        api_version: "example.io/v1".to_owned(),
        kind: "Widget".to_owned(),
        key: Key::namespaced("shop", "one"),
    }
}

#[test]
fn a_kind_that_is_not_followed_or_not_listed_is_unreadable_and_never_absent() {
    let (templates, kind) = (Templates::new(), widgets("v1"));
    assert!(matches!(templates.read(&key()), Read::Unreadable(why) if why.contains("not followed")));
    let followed = templates.follow(kind.clone());
    assert!(matches!(templates.read(&key()), Read::Unreadable(why) if why.contains("first list")));
    followed.store.written(widget(&kind));
    assert!(matches!(templates.read(&key()), Read::Found(_)));
    templates.forget("example.io/v1", "Widget");
    assert!(matches!(templates.read(&key()), Read::Unreadable(_)), "what was known of it is not known any more");
    assert!(templates.all().is_empty());
}

#[test]
fn who_subscribes_hears_of_kinds_that_come_earlier_and_later() {
    let (templates, heard) = (Templates::new(), Arc::new(AtomicUsize::new(0)));
    let earlier = templates.follow(widgets("v1"));
    let count = Arc::clone(&heard);
    templates.subscribe(move |kind, change| {
        assert_eq!((kind.resource.kind.as_str(), change.key.to_string()), ("Widget", "shop/one".to_owned()));
        count.fetch_add(1, Ordering::Relaxed);
    });
    let later = templates.follow(widgets("v2"));
    earlier.store.written(widget(&earlier.kind));
    later.store.written(widget(&later.kind));
    assert_eq!(heard.load(Ordering::Relaxed), 2);
}

#[test]
fn a_kind_that_is_followed_anew_begins_with_nothing() {
    let (templates, kind) = (Templates::new(), widgets("v1"));
    templates.follow(kind.clone()).store.written(widget(&kind));
    let again = templates.follow(kind);
    assert!(again.store.is_empty());
    assert_eq!(templates.all().len(), 1);
    assert!(matches!(templates.read(&key()), Read::Unreadable(_)));
}

#[test]
fn a_claim_moves_the_content_and_not_what_was_authored() {
    let kind = widgets("v1");
    let object = |labels: Value, annotations: Value, size: i64| {
        json!({
            "metadata": {"namespace": "shop", "name": "one", "resourceVersion": "1", "labels": labels, "annotations": annotations,
                "managedFields": [{"manager": "somebody"}]},
            "spec": {"size": size}, "status": {"phase": "Round"},
        })
    };
    let free = decoded(&kind, &object(json!({"app": "one"}), json!({"note": "x"}), 3));
    let claimed = decoded(
        &kind,
        &object(
            json!({"app": "one", "propagationpolicy.karmada.io/permanent-id": "p-1"}),
            json!({"note": "x", "propagationpolicy.karmada.io/name": "all", "propagationpolicy.karmada.io/namespace": "shop"}),
            3,
        ),
    );
    let edited = decoded(&kind, &object(json!({"app": "one"}), json!({"note": "x"}), 4));
    assert_eq!(free.authored_hash, claimed.authored_hash);
    assert_ne!(free.content_hash, claimed.content_hash);
    assert_ne!(free.authored_hash, edited.authored_hash);
    assert_eq!(
        free.content_hash,
        Manifest::from_template(&free.content).unwrap().hash(),
        "the hash is that of the bytes"
    );
    assert_eq!(free.status.unwrap().get(), r#"{"phase":"Round"}"#);
    assert_eq!(free.meta.managed_fields, None);
    assert!(!std::str::from_utf8(&free.content).unwrap().contains("Round"), "the status does not travel");
}

#[test]
fn the_marks_of_policies_stay_in_the_metadata_and_kubectls_copy_of_the_object_does_not() {
    let kind = TemplateKind::namespaces();
    let text = r#"{"metadata": {"name": "shop", "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{\"large\": true}",
        "clusterpropagationpolicy.karmada.io/name": "everything"}}}"#;
    let template = Template::decode(&kind.resource, &serde_json::from_str::<Box<RawValue>>(text).unwrap()).unwrap();
    let annotations: Vec<_> = template.meta.annotations.iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(annotations, ["clusterpropagationpolicy.karmada.io/name"]);
}
