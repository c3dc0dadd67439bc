//! Namespace sync.

use super::*;
use crate::drift::{Desired, ReleaseStep, release};

fn namespace() -> Template {
    Template::from_value(json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "prod", "uid": "ns-1", "labels": {"team": "shop", "kubernetes.io/metadata.name": "prod"}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    }))
    .unwrap()
}

fn step(namespace: &Template, existing: Option<&Arc<Work>>) -> Result<WorkStep, Fault> {
    let cluster = facts("bj");
    namespace_work(&NamespaceInput {
        federation: "fed-1",
        namespace,
        overrides: &Selected::default(),
        cluster: &cluster,
        existing,
    })
}

fn created() -> Arc<Work> {
    let Action::Create(work) = step(&namespace(), None).unwrap().action else { panic!() };
    let mut work = through_a_server(*work);
    work.metadata.uid = Some("w-1".to_owned());
    work.metadata.resource_version = Some("5".to_owned());
    Arc::new(work)
}

#[test]
fn a_namespaces_work_is_owned_by_the_namespace() {
    let work = created();
    assert_eq!(work.metadata.namespace.as_deref(), Some("karmada-es-bj"));
    assert_eq!(work.metadata.name, Some(pando_api::names::work_name(None, "Namespace", "prod")));
    let owner = &work.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("Namespace", "ns-1", Some(true)));
    let manifest = manifest(&work);
    assert_eq!(manifest.get("spec"), None, "a member finalizes its namespaces itself");
    assert_eq!(manifest["metadata"]["labels"]["team"], "shop");
    assert_eq!(manifest["metadata"]["annotations"].get("pando.io/binding"), None);
}

#[test]
fn planning_again_keeps() {
    let found = created();
    assert_eq!(step(&namespace(), Some(&found)).unwrap().action, Action::Keep(Arc::clone(&found)));
}

#[test]
fn a_new_label_reaches_the_members() {
    let mut changed = namespace();
    changed.manifest.set_label("team", "web");
    let found = created();
    let step = step(&changed, Some(&found)).unwrap();
    assert_eq!((step.action.verb(), step.why.as_str()), ("replace", "manifest changed"));
}

#[test]
fn the_work_of_a_policy_for_the_same_namespace_is_left_to_it() {
    let mut theirs = (*created()).clone();
    theirs.metadata.owner_references = None;
    assert_eq!(step(&namespace(), Some(&Arc::new(theirs))).unwrap_err().reason(), "NameCollision");
}

#[test]
fn the_members_namespace_outlives_its_work() {
    let work = created();
    let desired = Desired::of_work("fed-1", &work).unwrap().remove(0);
    let mut live = desired.manifest.value().clone();
    live["metadata"]["uid"] = json!("m-1");
    live["metadata"]["resourceVersion"] = json!("9");
    assert!(matches!(release(&desired, crate::seen::Seen::Found(&live), false), ReleaseStep::Strip { .. }));
}
