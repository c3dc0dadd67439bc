#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Mutex;

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

#[tokio::test]
async fn a_first_write_is_a_post_by_our_field_manager() {
    let root = Scope::root("test");
    let (member, seen) = member(&root, |_| (201, live()));
    let created = Gateway::new(member).create(root.ctx(), &Term::constant(), &config_map(), &manifest()).await.unwrap();
    assert_eq!(created.uid(), "u-1");
    let (method, path, content_type, body) = seen.lock().unwrap().remove(0);
    assert_eq!(
        (method.as_str(), path.as_str(), content_type.as_str()),
        ("POST", "/api/v1/namespaces/shop/configmaps?fieldManager=pando", "application/json")
    );
    assert_eq!(body, manifest().to_string());
}

#[tokio::test]
async fn a_conversion_is_one_guarded_json_patch() {
    let root = Scope::root("test");
    let (member, seen) = member(&root, |_| (200, live()));
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

#[tokio::test]
async fn an_apply_carries_the_uid_and_forces() {
    let root = Scope::root("test");
    let (member, seen) = member(&root, |_| (200, live()));
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

#[tokio::test]
async fn a_replace_and_a_strip_carry_uid_and_version() {
    let root = Scope::root("test");
    let (member, seen) = member(&root, |_| (200, live()));
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

#[tokio::test]
async fn a_delete_names_the_version_that_was_read() {
    let root = Scope::root("test");
    let (member, seen) =
        member(&root, |_| (200, json!({"kind": "Status", "status": "Success", "details": {"uid": "u-1"}})));
    let deleted = Gateway::new(member).delete(root.ctx(), &Term::constant(), &config_map(), "u-1", "41").await.unwrap();
    assert!(matches!(deleted, Deleted::Gone));
    let (method, path, _, body) = seen.lock().unwrap().remove(0);
    assert_eq!((method.as_str(), path.as_str()), ("DELETE", "/api/v1/namespaces/shop/configmaps/settings"));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["preconditions"], json!({"uid": "u-1", "resourceVersion": "41"}));
    assert_eq!(body["propagationPolicy"], "Background");
}

#[tokio::test]
async fn an_object_that_waits_for_a_finalizer_is_not_gone() {
    let root = Scope::root("test");
    let mut waiting = live();
    waiting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    waiting["metadata"]["finalizers"] = json!(["example.org/hold"]);
    let (member, _) = member(&root, move |_| (200, waiting.clone()));
    match Gateway::new(member).delete(root.ctx(), &Term::constant(), &config_map(), "u-1", "41").await.unwrap() {
        Deleted::Terminating(live) => {
            assert_eq!(live.meta().finalizers.as_deref(), Some(&["example.org/hold".to_owned()][..]))
        }
        Deleted::Gone => panic!("not gone"),
    }
}

#[tokio::test]
async fn a_write_without_its_preconditions_is_never_sent() {
    let root = Scope::root("test");
    let (member, seen) = member(&root, |_| (200, live()));
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

#[tokio::test]
async fn absence_is_only_what_the_server_said() {
    let root = Scope::root("test");
    let (member, _) =
        member(&root, |_| (404, json!({"reason": "NotFound", "details": {"kind": "configmaps", "name": "settings"}})));
    assert!(Gateway::new(member).get(root.ctx(), &config_map()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_costs_one_deadline() {
    let root = Scope::root("test");
    let service = tower::service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, std::convert::Infallible>>()
    });
    let client = kube::Client::new(service, "default");
    let member = Member::new(ClusterName::parse("bj-prod").unwrap(), root.ctx().clone(), client.clone(), client);
    let error = Gateway::new(member).get(root.ctx(), &config_map()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot get ConfigMap shop/settings in cluster bj-prod: no answer within 5s");
}
