#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use clap::Parser as _;
use pando_api::cluster::{ClusterSpec, SyncMode};
use pando_api::names::ClusterName;
use serde_json::{Value, json};

use super::admission::{Admission, Refusal, decide};
use super::*;
use crate::args::{Cli, Command};

fn id(text: &str) -> ClusterId {
    ClusterId(text.to_owned())
}

fn joined(name: &str, id: &str, mode: SyncMode) -> Cluster {
    let mut cluster = Cluster::new(name, ClusterSpec::default());
    cluster.spec.id = id.to_owned();
    cluster.spec.sync_mode = mode;
    cluster
}

fn name(text: &str) -> ClusterName {
    ClusterName::parse(text).unwrap()
}

fn decided(text: &str, member: &str, joined: &[Cluster]) -> Result<Admission, Refusal> {
    decide(&name(text), &id(member), &id("hub"), joined)
}

#[test]
fn an_unknown_cluster_under_a_free_name_is_new() {
    let others = [joined("sh-prod", "b", SyncMode::Push)];
    assert_eq!(decided("bj-prod", "a", &others).unwrap(), Admission::New);
}

#[test]
fn joining_again_refreshes() {
    let others = [joined("bj-prod", "a", SyncMode::Push)];
    assert!(matches!(decided("bj-prod", "a", &others), Ok(Admission::Refresh(known)) if *known == others[0]));
}

#[test]
fn one_cluster_has_one_name_and_one_name_one_cluster() {
    let others = [joined("bj-prod", "a", SyncMode::Push)];
    assert_eq!(decided("beijing", "a", &others).unwrap_err(), Refusal::OtherName { name: "bj-prod".into() });
    assert_eq!(
        decided("bj-prod", "z", &others).unwrap_err(),
        Refusal::NameTaken { name: "bj-prod".into(), id: "a".into() }
    );
}

#[test]
fn the_hub_does_not_join_itself() {
    assert_eq!(decided("self", "hub", &[]).unwrap_err(), Refusal::Hub);
}

#[test]
fn a_leaving_or_pulled_cluster_is_left_alone() {
    let pulled = [joined("edge", "a", SyncMode::Pull)];
    assert!(matches!(decided("edge", "a", &pulled), Err(Refusal::Pull { .. })));
    let mut leaving = joined("bj-prod", "a", SyncMode::Push);
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-11-23T12:00:00Z".parse().unwrap()));
    assert!(matches!(decided("bj-prod", "a", &[leaving]), Err(Refusal::Leaving { .. })));
}

fn args(line: &str) -> JoinArgs {
    match Cli::parse_from(line.split(' ')).command {
        Command::Join(args) => args,
        other => panic!("{other:?}"),
    }
}

fn address() -> Address {
    Address {
        endpoint: "https://10.0.0.1:6443".parse().unwrap(),
        ca_bundle: Some("PEM".into()),
        insecure: false,
        proxy_url: None,
    }
}

#[test]
fn a_new_cluster_is_described_as_karmada_does() {
    let mut spec = ClusterSpec::default();
    let args = args("pando join bj-prod --cluster-kubeconfig f --cluster-region north --cluster-zones z1,z2");
    register::describe(&mut spec, &args, &address(), &id("a"));
    assert_eq!(
        serde_json::to_value(&spec).unwrap(),
        json!({
            "id": "a",
            "syncMode": "Push",
            "apiEndpoint": "https://10.0.0.1:6443",
            "secretRef": {"namespace": "karmada-cluster", "name": "bj-prod"},
            "impersonatorSecretRef": {"namespace": "karmada-cluster", "name": "bj-prod-impersonator"},
            "region": "north",
            "zones": ["z1", "z2"],
        })
    );
}

#[test]
fn a_refresh_keeps_what_others_decided() {
    let mut spec: ClusterSpec = serde_json::from_value(json!({
        "syncMode": "Push", "id": "a", "apiEndpoint": "https://old", "region": "north", "provider": "own",
        "taints": [{"key": "k", "effect": "NoSchedule"}],
    }))
    .unwrap();
    let args = args("pando join bj-prod --cluster-kubeconfig f --cluster-provider other");
    register::describe(&mut spec, &args, &address(), &id("a"));
    let spec = serde_json::to_value(&spec).unwrap();
    assert_eq!(spec["taints"][0]["key"], "k");
    assert_eq!((&spec["region"], &spec["provider"]), (&json!("north"), &json!("other")));
    assert_eq!(spec["apiEndpoint"], "https://10.0.0.1:6443");
}

#[test]
fn a_secret_says_when_its_token_ends_and_goes_with_its_cluster() {
    let token = member::Token {
        secret: "s3cret".into(),
        issued: "2026-11-23T12:00:00Z".parse().unwrap(),
        expires: "2026-11-24T12:00:00Z".parse().unwrap(),
    };
    let mut owner = joined("bj-prod", "a", SyncMode::Push);
    owner.metadata.uid = Some("u".into());
    let secret = register::secret("bj-prod".into(), "karmada-cluster", &token, Some("PEM"), Some(&owner));
    let secret: Value = serde_json::to_value(&secret).unwrap();
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["data"], json!({"caBundle": "UEVN", "token": "czNjcmV0"}));
    assert_eq!(secret["metadata"]["annotations"]["pando.io/token-expires"], "2026-11-24T12:00:00Z");
    assert_eq!(secret["metadata"]["annotations"]["pando.io/token-issued"], "2026-11-23T12:00:00Z");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "u");
}

#[test]
fn certificates_are_written_as_pem() {
    let text = pem(&[vec![7; 60]]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "-----BEGIN CERTIFICATE-----");
    assert_eq!((lines[1].len(), lines[2].len()), (64, 16));
    assert_eq!(lines[3], "-----END CERTIFICATE-----");
}

fn held(object: &str, record: Option<&str>) -> admission::Held {
    let meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        annotations: record.map(|record| [("pando.io/federation".to_owned(), record.to_owned())].into()),
        ..Default::default()
    };
    admission::Held { object: object.into(), found: Some(meta) }
}

fn refresh() -> Admission {
    Admission::Refresh(Box::new(joined("bj", "a", SyncMode::Push)))
}

fn claimed(held: &[admission::Held], admission: &Admission) -> Result<(), Refusal> {
    admission::claim(held, &id("hub"), admission)
}

#[test]
fn absent_objects_and_those_with_our_record_are_ours_to_write() {
    let absent = admission::Held { object: "clusterrole r".into(), found: None };
    let ours = held("serviceaccount n/karmada-bj", Some("hub"));
    assert_eq!(claimed(&[absent.clone(), ours.clone()], &Admission::New), Ok(()));
    assert_eq!(claimed(&[absent, ours], &refresh()), Ok(()));
}

#[test]
fn accounts_and_roles_of_a_karmada_hub_are_not_taken_over() {
    let ours = held("serviceaccount n/karmada-bj", Some("hub"));
    let role = held("clusterrole r", None);
    let refusal = claimed(&[ours, role], &Admission::New).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "the member holds clusterrole r of an unknown owner, such as a Karmada hub, not made by this federation: \
         join under another name, or delete in the member what is left over from a hub that is gone"
    );
    assert!(claimed(&[held("clusterrolebinding r", Some(""))], &Admission::New).is_err());
}

#[test]
fn a_refusal_names_every_object_in_the_way() {
    let all = [held("serviceaccount n/karmada-bj", Some("x")), held("clusterrole r", None)];
    let Err(Refusal::Foreign { objects }) = claimed(&all, &Admission::New) else { panic!("not refused") };
    assert_eq!(objects[0], "serviceaccount n/karmada-bj of federation x");
    assert!(objects[1].starts_with("clusterrole r of an unknown owner"), "{objects:?}");
}

#[test]
fn a_refresh_adopts_what_has_no_record_but_never_what_is_of_another_federation() {
    assert_eq!(claimed(&[held("clusterrole r", None)], &refresh()), Ok(()));
    let other = claimed(&[held("clusterrole r", Some("other-hub"))], &refresh());
    assert_eq!(other, Err(Refusal::Foreign { objects: vec!["clusterrole r of federation other-hub".into()] }));
}

#[test]
fn a_cluster_read_again_must_be_the_one_that_was_admitted() {
    let mut known = joined("bj-prod", "a", SyncMode::Push);
    known.metadata.uid = Some("u1".into());
    let mut written = known.clone();
    written.metadata.resource_version = Some("2".into());
    assert_eq!(admission::still(&known, Some(written.clone()), &id("a")), Ok(written.clone()));

    let leaving = Err(Refusal::Leaving { name: "bj-prod".into() });
    assert_eq!(admission::still(&known, None, &id("a")), leaving);
    let mut another = written.clone();
    another.metadata.uid = Some("u2".into());
    assert_eq!(admission::still(&known, Some(another), &id("a")), leaving);
    written.spec.sync_mode = SyncMode::Pull;
    assert!(matches!(admission::still(&known, Some(written), &id("a")), Err(Refusal::Pull { .. })));
}

fn refused(code: u16) -> Error {
    let text = String::new;
    RequestError::Refused { side: "hub", endpoint: text(), what: text(), why: text(), code }.into()
}

/// How many attempts were made when the first `conflicts` of them met someone else's write.
fn attempts(conflicts: usize, then: impl Fn() -> Result<(), Error>) -> (usize, Result<(), Error>) {
    let made = std::cell::Cell::new(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let done = runtime.block_on(undisturbed(async || {
        made.set(made.get() + 1);
        if made.get() <= conflicts { Err(refused(409)) } else { then() }
    }));
    (made.get(), done)
}

#[test]
fn writes_of_others_are_met_with_another_look_but_not_for_ever() {
    assert!(matches!(attempts(0, || Ok(())), (1, Ok(()))));
    assert!(matches!(attempts(4, || Ok(())), (5, Ok(()))));
    let (made, done) = attempts(usize::MAX, || Ok(()));
    assert!(made == 5 && matches!(done, Err(Error::Request(RequestError::Refused { code: 409, .. }))));
}

#[test]
fn any_other_failure_ends_the_attempts() {
    let (made, done) = attempts(1, || Err(refused(403)));
    assert!(made == 2 && matches!(done, Err(Error::Request(RequestError::Refused { code: 403, .. }))));
}
