#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::json;

use super::*;

fn record() -> Record {
    Record {
        federation: "fed-1".to_owned(),
        binding: Some("binding-2".to_owned()),
        template_uid: "template-3".to_owned(),
        work_namespace: "karmada-es-bj".to_owned(),
        work_name: "web-4".to_owned(),
    }
}

fn live(record: &Record) -> Manifest {
    let mut object = Manifest::from_value(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}),
    )
    .unwrap();
    record.mark(&mut object);
    object
}

#[test]
fn what_we_mark_is_ours() {
    assert_eq!(Record::of(live(&record()).value()), Some(record()));
    assert_eq!(prove(live(&record()).value(), &record()), Proof::Owned);
}

#[test]
fn objects_of_namespace_sync_have_no_binding() {
    let record = Record { binding: None, ..record() };
    assert_eq!(prove(live(&record).value(), &record), Proof::Owned);
}

#[test]
fn the_label_alone_is_no_proof() {
    let mut stranger =
        Manifest::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})).unwrap();
    stranger.set_label("karmada.io/managed", "true");
    assert!(matches!(prove(stranger.value(), &record()), Proof::Foreign { .. }));
}

#[test]
fn a_record_without_the_label_is_no_proof() {
    let mut object = live(&record());
    object.remove_label("karmada.io/managed");
    assert_eq!(
        prove(object.value(), &record()),
        Proof::Foreign { why: "it has no label karmada.io/managed=true".to_owned() }
    );
}

#[test]
fn every_part_of_the_record_is_needed() {
    for missing in ["resourcetemplate.karmada.io/uid", "work.karmada.io/namespace", "work.karmada.io/name"] {
        let mut object = live(&record());
        object.remove_annotation(missing);
        assert!(matches!(prove(object.value(), &record()), Proof::Foreign { .. }), "without {missing}");
    }
}

#[test]
fn another_federation_is_named_even_without_the_label() {
    let mut object = live(&Record { federation: "fed-9".to_owned(), ..record() });
    object.remove_label("karmada.io/managed");
    assert_eq!(prove(object.value(), &record()), Proof::OtherFederation { federation: "fed-9".to_owned() });
}

#[test]
fn another_work_of_the_same_federation_is_foreign() {
    let other = live(&Record { work_name: "api-7".to_owned(), ..record() });
    assert_eq!(
        prove(other.value(), &record()),
        Proof::Foreign { why: "it belongs to Work karmada-es-bj/api-7".to_owned() }
    );
}

#[test]
fn an_earlier_template_or_binding_of_the_same_work_is_inherited() {
    for earlier in [
        Record { template_uid: "older".to_owned(), ..record() },
        Record { binding: Some("older".to_owned()), ..record() },
        Record { binding: None, ..record() },
    ] {
        assert!(matches!(prove(live(&earlier).value(), &record()), Proof::Inherited { .. }), "{earlier:?}");
    }
}

#[test]
fn marks_of_a_template_are_overwritten() {
    let mut copied = live(&Record { federation: "fed-9".to_owned(), binding: Some("b".to_owned()), ..record() });
    Record { binding: None, ..record() }.mark(&mut copied);
    assert_eq!(prove(copied.value(), &Record { binding: None, ..record() }), Proof::Owned);
}

#[test]
fn a_hub_that_changes_over_from_karmada_keeps_its_objects() {
    let mut object = live(&record());
    object.remove_annotation("pando.io/federation");
    object.remove_annotation("pando.io/binding");
    assert!(matches!(prove(object.value(), &record()), Proof::Inherited { .. }));
    let other_template = Record { template_uid: "theirs".to_owned(), ..record() };
    assert!(matches!(prove(object.value(), &other_template), Proof::Foreign { .. }));
}

#[test]
fn sealing_lists_what_is_managed_and_is_stable() {
    let mut object = live(&record());
    object.set_label("app", "web");
    seal(&mut object);
    assert_eq!(object.annotation("resourcetemplate.karmada.io/managed-labels"), Some("app,karmada.io/managed"));
    insta::assert_snapshot!(
        object.annotation("resourcetemplate.karmada.io/managed-annotations").unwrap().replace(',', "\n"),
        @r"
    pando.io/binding
    pando.io/federation
    pando.io/manifest-hash
    resourcetemplate.karmada.io/managed-annotations
    resourcetemplate.karmada.io/managed-labels
    resourcetemplate.karmada.io/uid
    work.karmada.io/name
    work.karmada.io/namespace
    "
    );
    let once = object.clone();
    seal(&mut object);
    assert_eq!(once, object);
}

#[test]
fn any_change_of_content_changes_the_seal() {
    let mut object = live(&record());
    seal(&mut object);
    let before = object.annotation("pando.io/manifest-hash").unwrap().to_owned();
    object.set_label("app", "web");
    seal(&mut object);
    assert_ne!(object.annotation("pando.io/manifest-hash"), Some(before.as_str()));
}

#[test]
fn stripping_removes_our_marks_and_only_those() {
    let mut object = live(&record());
    object.set_label("app", "web");
    object.set_annotation("team", "shop");
    seal(&mut object);
    let mut value = object.into_value();
    value["metadata"]["uid"] = json!("u-1");
    value["metadata"]["resourceVersion"] = json!("77");
    let patch = strip_patch(&value);
    assert_eq!((&patch["metadata"]["uid"], &patch["metadata"]["resourceVersion"]), (&json!("u-1"), &json!("77")));
    json_patch::merge(&mut value, &patch);
    assert_eq!(value["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(value["metadata"]["annotations"], json!({"team": "shop"}));
}
