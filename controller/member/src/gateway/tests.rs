#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Mutex;

use http::Response;
use kube::core::ApiResource;
use pando_api::names::ClusterName;
use pando_context::Scope;
use serde_json::json;

use super::*;

/// What the double saw: method, path with query, content type, body.
type Seen = Arc<Mutex<Vec<(String, String, String, String)>>>;

fn member(scope: &Scope, answers: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) -> (Member, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (log, answers) = (Arc::clone(&log), answers.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
            let header = parts.headers.get(http::header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
            let (code, answer) = answers(parts.method.as_str());
            log.lock().unwrap().push((
                parts.method.to_string(),
                parts.uri.to_string(),
                header.unwrap_or_default(),
                body,
            ));
            let answer = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap();
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let client = kube::Client::new(service, "default");
    (Member::new(ClusterName::parse("bj-prod").unwrap(), scope.ctx().clone(), client.clone(), client), seen)
}

fn config_map() -> Target {
    let resource = ApiResource {
        group: "".into(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
    };
    Target::new(resource, Some("shop"), "settings")
}

fn live() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop", "uid": "u-1", "resourceVersion": "41",
        "managedFields": [{"manager": "pando", "operation": "Update"}]}, "data": {"a": "1"}})
}

fn manifest() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}, "data": {"a": "1"}})
}

fn guarded() -> Value {
    let mut body = manifest();
    body["metadata"]["uid"] = json!("u-1");
    body["metadata"]["resourceVersion"] = json!("41");
    body
}

fn conversion() -> Value {
    json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": "41"},
        {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"},
    ])
}

#[pando_context::test]
async fn a_first_write_is_a_post_by_our_field_manager(root: &Scope) {
    let (member, seen) = member(root, |_| (201, live()));
    let created = Gateway::new(member).create(root.ctx(), &Term::constant(), &config_map(), &manifest()).await.unwrap();
    assert_eq!(created.uid(), "u-1");
    let (method, path, content_type, body) = seen.lock().unwrap().remove(0);
    assert_eq!(
        (method.as_str(), path.as_str(), content_type.as_str()),
        ("POST", "/api/v1/namespaces/shop/configmaps?fieldManager=pando", "application/json")
    );
    assert_eq!(body, manifest().to_string());
}

#[pando_context::test]
async fn a_conversion_is_one_guarded_json_patch(root: &Scope) {
    let (member, seen) = member(root, |_| (200, live()));
    Gateway::new(member).convert(root.ctx(), &Term::constant(), &config_map(), &conversion()).await.unwrap();
    let (method, path, content_type, body) = seen.lock().unwrap().remove(0);
    assert_eq!(
        (method.as_str(), path.as_str(), content_type.as_str()),
        ("PATCH", "/api/v1/namespaces/shop/configmaps/settings?fieldManager=pando", "application/json-patch+json")
    );
    assert_eq!(
        body,
        r#"[{"op":"test","path":"/metadata/resourceVersion","value":"41"},{"op":"replace","path":"/metadata/managedFields/0/operation","value":"Apply"}]"#
    );
}

#[pando_context::test]
async fn an_apply_carries_the_uid_and_forces(root: &Scope) {
    let (member, seen) = member(root, |_| (200, live()));
    let mut body = manifest();
    body["metadata"]["uid"] = json!("u-1");
    Gateway::new(member).apply(root.ctx(), &Term::constant(), &config_map(), &body).await.unwrap();
    let (method, path, content_type, body) = seen.lock().unwrap().remove(0);
    assert_eq!((method.as_str(), content_type.as_str()), ("PATCH", "application/apply-patch+yaml"));
    assert_eq!(path, "/api/v1/namespaces/shop/configmaps/settings?fieldManager=pando&force=true");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["metadata"]["uid"], "u-1");
    assert_eq!(body["metadata"].get("resourceVersion"), None);
}

#[pando_context::test]
async fn a_replace_and_a_strip_carry_uid_and_version(root: &Scope) {
    let (member, seen) = member(root, |_| (200, live()));
    let gateway = Gateway::new(member);
    gateway.replace(root.ctx(), &Term::constant(), &config_map(), &guarded()).await.unwrap();
    gateway.strip(root.ctx(), &Term::constant(), &config_map(), &guarded()).await.unwrap();
    for (method, _, content_type, body) in seen.lock().unwrap().iter() {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["metadata"]["uid"], &body["metadata"]["resourceVersion"]),
            (&json!("u-1"), &json!("41")),
            "{method}"
        );
        assert!(content_type == "application/json" || content_type == "application/merge-patch+json");
    }
}

#[pando_context::test]
async fn a_delete_names_the_version_that_was_read(root: &Scope) {
    let (member, seen) =
        member(root, |_| (200, json!({"kind": "Status", "status": "Success", "details": {"uid": "u-1"}})));
    let deleted = Gateway::new(member).delete(root.ctx(), &Term::constant(), &config_map(), "u-1", "41").await.unwrap();
    assert!(matches!(deleted, Deleted::Gone));
    let (method, path, _, body) = seen.lock().unwrap().remove(0);
    assert_eq!((method.as_str(), path.as_str()), ("DELETE", "/api/v1/namespaces/shop/configmaps/settings"));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["preconditions"], json!({"uid": "u-1", "resourceVersion": "41"}));
    assert_eq!(body["propagationPolicy"], "Background");
}

#[pando_context::test]
async fn an_object_that_waits_for_a_finalizer_is_not_gone(root: &Scope) {
    let mut waiting = live();
    waiting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    waiting["metadata"]["finalizers"] = json!(["example.org/hold"]);
    let (member, _) = member(root, move |_| (200, waiting.clone()));
    match Gateway::new(member).delete(root.ctx(), &Term::constant(), &config_map(), "u-1", "41").await.unwrap() {
        Deleted::Terminating(live) => {
            assert_eq!(live.meta().finalizers.as_deref(), Some(&["example.org/hold".to_owned()][..]))
        }
        Deleted::Gone => panic!("not gone"),
    }
}

#[pando_context::test]
async fn a_write_without_its_preconditions_is_never_sent(root: &Scope) {
    let (member, seen) = member(root, |_| (200, live()));
    let (gateway, term, target, ctx) = (Gateway::new(member), Term::constant(), config_map(), root.ctx());
    assert_eq!(gateway.delete(ctx, &term, &target, "u-1", "").await.unwrap_err().fault.category(), "invalid");
    assert_eq!(gateway.delete(ctx, &term, &target, "", "41").await.unwrap_err().fault.category(), "invalid");
    for body in [manifest(), json!([]), json!({"metadata": {"resourceVersion": "41"}})] {
        assert_eq!(gateway.apply(ctx, &term, &target, &body).await.unwrap_err().fault.category(), "invalid");
        assert_eq!(gateway.replace(ctx, &term, &target, &body).await.unwrap_err().fault.category(), "invalid");
        assert_eq!(gateway.strip(ctx, &term, &target, &body).await.unwrap_err().fault.category(), "invalid");
        assert_eq!(gateway.convert(ctx, &term, &target, &body).await.unwrap_err().fault.category(), "invalid");
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[pando_context::test]
async fn absence_is_only_what_the_server_said(root: &Scope) {
    let (member, _) =
        member(root, |_| (404, json!({"reason": "NotFound", "details": {"kind": "configmaps", "name": "settings"}})));
    assert!(Gateway::new(member).get(root.ctx(), &config_map()).await.unwrap().is_none());
}

#[pando_context::test(paused)]
async fn a_silent_member_costs_one_deadline(root: &Scope) {
    let service = tower::service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, std::convert::Infallible>>()
    });
    let client = kube::Client::new(service, "default");
    let member = Member::new(ClusterName::parse("bj-prod").unwrap(), root.ctx().clone(), client.clone(), client);
    let error = Gateway::new(member).get(root.ctx(), &config_map()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot get ConfigMap shop/settings in cluster bj-prod: no answer within 5s");
}

/// A member whose answers can be held back, and are all the same.
fn slow(scope: &Scope, code: u16) -> (Member, Arc<tokio::sync::Notify>) {
    let go = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&go);
    let service = tower::service_fn(move |_: Request<Body>| {
        let held = Arc::clone(&held);
        async move {
            held.notified().await;
            Ok::<_, std::convert::Infallible>(
                Response::builder().status(code).body(Body::from(live().to_string().into_bytes())).unwrap(),
            )
        }
    });
    let client = kube::Client::new(service, "default");
    (Member::new(ClusterName::parse("bj-prod").unwrap(), scope.ctx().clone(), client.clone(), client), go)
}

#[pando_context::test(paused)]
async fn a_write_without_an_answer_leaves_a_doubt_until_the_object_was_read(root: &Scope) {
    let (member, answer) = slow(root, 200);
    let (gateway, term, target, doubts) =
        (Gateway::new(member.clone()), Term::constant(), config_map(), member.doubts());
    assert!(!doubts.contains(&target));
    // Our deadline.
    let error = gateway.create(root.ctx(), &term, &target, &manifest()).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Deadline(_)), "{error}");
    assert!(doubts.contains(&target));
    answer.notify_one();
    gateway.get(root.ctx(), &target).await.unwrap().unwrap();
    assert!(!doubts.contains(&target), "it was read");
    // Whoever waited is dropped.
    let reconcile = root.ctx().with_timeout(&pando_context::Kind::new("reconcile"), Duration::from_secs(1));
    reconcile.ctx().run(gateway.create(reconcile.ctx(), &term, &target, &manifest())).await.unwrap_err();
    assert!(doubts.contains(&target));
    let other = Target { name: "other".into(), ..config_map() };
    assert!(!doubts.contains(&other));
    answer.notify_one();
    gateway.create(root.ctx(), &term, &target, &manifest()).await.unwrap();
    assert!(!doubts.contains(&target), "it was written");
}

#[pando_context::test(paused)]
async fn an_answer_or_a_call_that_was_not_sent_leaves_no_doubt(root: &Scope) {
    let (member, answer) = slow(root, 409);
    let (gateway, term, target) = (Gateway::new(member.clone()), Term::constant(), config_map());
    answer.notify_one();
    gateway.create(root.ctx(), &term, &target, &manifest()).await.unwrap_err();
    assert!(!member.doubts().contains(&target), "it was refused");
    let late = root.ctx().with_timeout(&pando_context::Kind::new("reconcile"), Duration::ZERO);
    gateway.create(late.ctx(), &term, &target, &manifest()).await.unwrap_err();
    assert!(!member.doubts().contains(&target), "nothing was sent");
    let (member, _) = slow(root, 500);
    let gateway = Gateway::new(member.clone());
    gateway.get(root.ctx(), &target).await.unwrap_err();
    assert!(!member.doubts().contains(&target), "reads change nothing");
}
