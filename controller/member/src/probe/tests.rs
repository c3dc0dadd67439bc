#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use http::Response;
use pando_api::names::ClusterName;
use pando_context::Scope;
use serde_json::{Value, json};

use super::*;

fn member(scope: &Scope, answers: impl Fn(&str, &str) -> (u16, String) + Clone + Send + 'static) -> Member {
    let service = tower::service_fn(move |request: Request<Body>| {
        let accept =
            request.headers().get(header::ACCEPT).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let (code, answer) = answers(request.uri().path(), &accept);
        let answer = Response::builder().status(code).body(Body::from(answer.into_bytes())).unwrap();
        std::future::ready(Ok::<_, std::convert::Infallible>(answer))
    });
    let client = kube::Client::new(service, "default");
    Member::new(ClusterName::parse("bj-prod").unwrap(), scope.ctx().clone(), client.clone(), client)
}

async fn health_of_server(code: u16, body: &'static str) -> Health {
    let root = Scope::root("test");
    let member = member(&root, move |_, _| (code, body.to_owned()));
    probe(root.ctx(), &member, false, DEADLINE).await.health
}

#[pando_context::test]
async fn a_rejected_token_is_not_a_dead_cluster() {
    assert_eq!(health_of_server(200, "ok").await, Health::Healthy);
    assert_eq!(health_of_server(401, r#"{"reason":"Unauthorized"}"#).await, Health::Unauthorized);
    assert!(matches!(health_of_server(403, r#"{"reason":"Forbidden","message":"no"}"#).await, Health::Forbidden(_)));
    assert_eq!(health_of_server(429, "{}").await, Health::Healthy);
    assert!(matches!(health_of_server(302, "").await, Health::NotKubernetes(_)));
    match health_of_server(500, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed").await {
        Health::Unhealthy(text) => assert!(text.contains("[-]etcd failed"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[pando_context::test]
async fn a_web_page_is_no_health_and_a_login_that_fails_later_counts() {
    assert!(matches!(health_of_server(200, "<!DOCTYPE html><title>Log in</title>").await, Health::NotKubernetes(_)));
    let root = Scope::root("test");
    for (code, page, expected) in [
        (401, r#"{"kind":"Status","reason":"Unauthorized","code":401}"#, Health::Unauthorized),
        (200, "<html>Log in</html>", Health::NotKubernetes("it answers with a web page".into())),
    ] {
        let member =
            member(&root, move |path, _| if path == "/readyz" { (200, "ok".into()) } else { (code, page.into()) });
        let found = probe(root.ctx(), &member, true, DEADLINE).await;
        assert_eq!((found.health, found.discovered), (expected, None));
    }
}

#[pando_context::test]
async fn a_server_without_readyz_is_asked_for_healthz(root: &Scope) {
    let member = member(
        root,
        |path, _| {
            if path == "/healthz" { (200, "ok".into()) } else { (404, "404 page not found".into()) }
        },
    );
    assert_eq!(probe(root.ctx(), &member, false, DEADLINE).await.health, Health::Healthy);
}

fn aggregated(path: &str) -> Value {
    let apps = json!([{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
        {"resource": "deployments", "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "scope": "Namespaced"}]}]},
        {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale", "resources": []}]}]);
    let core = json!([{"metadata": {}, "versions": [{"version": "v1", "resources": [
        {"resource": "namespaces", "responseKind": {"version": "v1", "kind": "Namespace"}, "scope": "Cluster"}]}]}]);
    json!({"kind": "APIGroupDiscoveryList", "items": if path == "/api" { core } else { apps }})
}

#[pando_context::test]
async fn a_thorough_probe_learns_version_identity_and_kinds(root: &Scope) {
    let member = member(root, |path, _| match path {
        "/readyz" => (200, "ok".into()),
        "/version" => (200, r#"{"gitVersion":"v1.36.4"}"#.into()),
        "/api/v1/namespaces/kube-system" => (200, r#"{"metadata":{"name":"kube-system","uid":"cluster-7"}}"#.into()),
        path => (200, aggregated(path).to_string()),
    });
    let found = probe(root.ctx(), &member, true, DEADLINE).await;
    assert_eq!(found.kubernetes_version.as_deref(), Some("v1.36.4"));
    assert_eq!(found.identity, Identity::Uid("cluster-7".into()));
    let discovered = found.discovered.unwrap();
    assert_eq!(discovered.missing, ["metrics.k8s.io/v1beta1"]);
    let (resource, namespaced) = discovered.resource("apps/v1", "Deployment").unwrap();
    assert_eq!((resource.plural.as_str(), namespaced), ("deployments", true));
    assert!(!discovered.resource("v1", "Namespace").unwrap().1);
}

#[pando_context::test]
async fn an_identity_that_cannot_be_read_is_not_an_answer() {
    let root = Scope::root("test");
    let asked = |code: u16, body: &'static str| {
        let root = &root;
        async move {
            let member = member(root, move |path, _| match path {
                "/readyz" => (200, "ok".into()),
                "/api/v1/namespaces/kube-system" => (code, body.into()),
                _ => (404, "404 page not found".into()),
            });
            probe(root.ctx(), &member, true, DEADLINE).await.identity
        }
    };
    assert!(matches!(asked(403, r#"{"reason":"Forbidden","message":"no"}"#).await, Identity::Untold(_)));
    assert!(matches!(asked(503, "{}").await, Identity::Unread(_)));
    assert!(matches!(asked(200, "hello").await, Identity::Unread(_)));
    assert!(matches!(asked(200, r#"{"metadata":{"name":"kube-system","uid":""}}"#).await, Identity::Unread(_)));
}

#[pando_context::test]
async fn a_member_that_hides_its_health_is_asked_who_it_is(root: &Scope) {
    let member = member(root, |path, _| match path {
        "/readyz" => (403, r#"{"reason":"Forbidden","message":"no"}"#.into()),
        "/api/v1/namespaces/kube-system" => (200, r#"{"metadata":{"name":"kube-system","uid":"cluster-7"}}"#.into()),
        path => (200, aggregated(path).to_string()),
    });
    let found = probe(root.ctx(), &member, true, DEADLINE).await;
    assert!(matches!(found.health, Health::Forbidden(_)));
    assert_eq!(found.identity, Identity::Uid("cluster-7".into()));
    assert!(found.discovered.is_some());
    assert_eq!(probe(root.ctx(), &member, false, DEADLINE).await.identity, Identity::Unasked);
}

#[pando_context::test]
async fn a_root_that_does_not_answer_leaves_all_below_it_unread(root: &Scope) {
    let member = member(root, |path, _| match path {
        "/readyz" => (200, "ok".into()),
        "/apis" => (503, "{}".into()),
        "/api/v1/namespaces/kube-system" => {
            (200, json!({"metadata": {"name": "kube-system", "uid": "u-1"}}).to_string())
        }
        path => (200, aggregated(path).to_string()),
    });
    let found = probe(root.ctx(), &member, true, DEADLINE).await.discovered.unwrap();
    let kind = Kind { name: "deployments".into(), kind: "Deployment".into(), namespaced: true, ..Kind::default() };
    let version =
        |name: &str| GroupVersion { group_version: name.into(), kinds: vec![kind.clone()], ..GroupVersion::default() };
    let earlier = Discovered { group_versions: vec![version("apps/v1"), version("v1beta1")], missing: vec![] };
    let merged = found.or_from(&earlier);
    let names: Vec<_> = merged.group_versions.iter().map(|found| found.group_version.as_str()).collect();
    assert_eq!(names, ["apps/v1", "v1"], "a core version that is not listed any more goes, an unread group stays");
    assert!(merged.is_unread("apps/v1") && !merged.is_unread("v1"));
    let core = Discovered { group_versions: vec![], missing: vec!["/api".into()] };
    assert!(core.is_unread("v1") && !core.is_unread("apps/v1"));
}

#[pando_context::test]
async fn old_servers_are_asked_group_by_group(root: &Scope) {
    let member = member(root, |path, _| match path {
        "/readyz" => (200, "ok".into()),
        "/api/v1/namespaces/kube-system" => {
            (200, json!({"metadata": {"name": "kube-system", "uid": "u-1"}}).to_string())
        }
        "/api" => {
            (200, json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}).to_string())
        }
        "/apis" => {
            let version = json!({"groupVersion": "example.org/v1", "version": "v1"});
            (
                200,
                json!({"kind": "APIGroupList", "groups": [{"name": "example.org", "versions": [version]}]}).to_string(),
            )
        }
        "/api/v1" => {
            let resource = |name: &str, kind: &str| json!({"name": name, "kind": kind, "namespaced": true, "singularName": "", "verbs": []});
            (200, json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [resource("pods", "Pod"), resource("pods/log", "Pod")]}).to_string())
        }
        _ => (503, "{}".into()),
    });
    let discovered = probe(root.ctx(), &member, true, DEADLINE).await.discovered.unwrap();
    assert_eq!(discovered.group_versions.len(), 1);
    assert_eq!(discovered.group_versions[0].kinds.len(), 1);
    assert_eq!(discovered.missing, ["example.org/v1"]);
}

#[test]
fn a_group_that_does_not_answer_keeps_what_was_known() {
    let kind = |name: &str| Kind { name: name.into(), kind: "X".into(), namespaced: true, ..Kind::default() };
    let version =
        |name: &str| GroupVersion { group_version: name.into(), kinds: vec![kind("xs")], ..GroupVersion::default() };
    let earlier = Discovered { group_versions: vec![version("a/v1"), version("b/v1")], missing: vec![] };
    let now = Discovered { group_versions: vec![], missing: vec!["b/v1".into()] };
    let merged = now.or_from(&earlier);
    assert_eq!(merged.group_versions, [version("b/v1")]);
    assert!(!merged.is_complete());
}
