#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::too_many_lines, reason = "tests")]

use kube::core::ApiResource;
use serde_json::{Value, json};

use super::*;

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { "v1".into() } else { format!("{group}/v1") };
    ApiResource { group: group.into(), version: "v1".into(), api_version, kind: kind.into(), plural: plural.into() }
}

fn web() -> Target {
    Target::new(resource("apps", "Deployment", "deployments"), Some("shop"), "web")
}

fn classify(verb: &'static str, target: &Target, code: u16, body: Value) -> Fault {
    Fault::of_reply(
        verb,
        Some(target),
        StatusCode::from_u16(code).unwrap(),
        &HeaderMap::new(),
        body.to_string().as_bytes(),
    )
}

#[test]
fn every_answer_of_an_api_server_has_its_class() {
    let table: &[(&'static str, u16, Value, &str)] = &[
        (
            "create",
            409,
            json!({"reason": "AlreadyExists", "message": "deployments.apps \"web\" already exists"}),
            "already_exists",
        ),
        ("replace", 409, json!({"reason": "Conflict", "message": "the object has been modified"}), "conflict"),
        (
            "apply",
            409,
            json!({"reason": "Conflict", "message": "uid mismatch: the provided object specified uid x, and no existing object was found"}),
            "conflict",
        ),
        (
            "apply",
            422,
            json!({"reason": "Invalid", "details": {"causes": [{"field": "metadata.uid", "message": "field is immutable"}]}}),
            "conflict",
        ),
        (
            "convert",
            422,
            json!({"reason": "Invalid", "message": "the server rejected our request due to an error in our request"}),
            "conflict",
        ),
        ("create", 422, json!({"reason": "Invalid", "message": "spec.replicas: Invalid value: -1"}), "invalid"),
        ("create", 400, json!({"reason": "BadRequest", "message": "strict decoding error"}), "invalid"),
        (
            "create",
            404,
            json!({"reason": "NotFound", "message": "namespaces \"shop\" not found", "details": {"kind": "namespaces", "name": "shop"}}),
            "namespace_missing",
        ),
        ("get", 404, json!({"reason": "NotFound", "details": {"kind": "deployments", "name": "web"}}), "not_found"),
        (
            "create",
            404,
            json!({"reason": "NotFound", "message": "the server could not find the requested resource"}),
            "kind_missing",
        ),
        (
            "create",
            403,
            json!({"reason": "Forbidden", "message": "unable to create new content in namespace shop because it is being terminated",
            "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}}),
            "namespace_terminating",
        ),
        (
            "create",
            403,
            json!({"reason": "Forbidden", "message": "exceeded quota: small, requested: pods=1"}),
            "quota_exceeded",
        ),
        (
            "create",
            403,
            json!({"reason": "Forbidden", "message": "admission webhook \"x\" denied the request"}),
            "denied",
        ),
        ("delete", 403, json!({"reason": "Forbidden", "message": "User \"x\" cannot delete"}), "forbidden"),
        ("get", 401, json!({"reason": "Unauthorized"}), "unauthorized"),
        (
            "apply",
            500,
            json!({"reason": "InternalError", "message": "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): duplicate entries for key"}),
            "not_mergeable",
        ),
        ("apply", 500, json!({"reason": "InternalError", "message": "etcdserver: leader changed"}), "server_error"),
        ("apply", 504, json!({"reason": "Timeout", "message": "request did not complete"}), "server_error"),
        ("apply", 429, json!({"reason": "TooManyRequests"}), "throttled"),
        ("create", 413, json!({"reason": "RequestEntityTooLarge"}), "too_large"),
    ];
    for (verb, code, body, expected) in table {
        assert_eq!(classify(verb, &web(), *code, body.clone()).category(), *expected, "{verb} {code} {body}");
    }
}

#[test]
fn a_missing_right_is_named_as_a_rule_to_grant() {
    let fault = classify("apply", &web(), 403, json!({"reason": "Forbidden", "message": "User cannot patch"}));
    assert_eq!(
        fault.to_string(),
        "forbidden: grant \"patch\" on deployments.apps in namespace \"shop\" to the member's service account"
    );
}

#[test]
fn a_member_cannot_park_work_for_a_day() {
    let wait = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        match Fault::of_reply("get", Some(&web()), StatusCode::TOO_MANY_REQUESTS, &headers, b"{}") {
            Fault::Throttled { wait, .. } => wait,
            other => panic!("{other}"),
        }
    };
    assert_eq!(wait("86400"), LONGEST_RETRY_AFTER);
    assert_eq!(wait("7"), Duration::from_secs(7));
    assert_eq!(wait("soon"), Duration::from_secs(1));
}

#[test]
fn a_login_page_or_redirect_is_not_kubernetes() {
    let page =
        Fault::of_reply("get", Some(&web()), StatusCode::BAD_REQUEST, &HeaderMap::new(), b"<html>please log in</html>");
    assert_eq!(page.category(), "not_kubernetes");
    let moved = Fault::of_reply("get", Some(&web()), StatusCode::TEMPORARY_REDIRECT, &HeaderMap::new(), b"");
    assert_eq!(moved.category(), "not_kubernetes");
}

#[test]
fn a_404_that_no_api_server_wrote_is_no_absence() {
    let of =
        |body: &[u8]| Fault::of_reply("get", Some(&web()), StatusCode::NOT_FOUND, &HeaderMap::new(), body).category();
    assert_eq!(of(b"<html>no such site</html>"), "not_kubernetes");
    assert_eq!(of(b"{\"message\": \"no Route matched with those values\"}"), "not_kubernetes");
    assert_eq!(of(b""), "not_kubernetes");
    assert_eq!(of(b"404 page not found\n"), "kind_missing");
}

#[test]
fn a_refused_secret_is_reported_without_its_content() {
    let secret = Target::new(resource("", "Secret", "secrets"), Some("shop"), "db");
    let body = json!({"reason": "Invalid", "message": "data[password]: Invalid value: \"hunter2\"", "details": {"causes": [{"field": "data[password]"}]}});
    let fault = classify("create", &secret, 422, body);
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
    assert!(fault.to_string().contains("data[password]"));
}

#[test]
fn long_messages_are_cut_and_stay_one_line() {
    let fault = classify("create", &web(), 422, json!({"reason": "Invalid", "message": "x\ny".repeat(1000)}));
    let text = fault.to_string();
    assert!(!text.contains('\n'));
    assert!(text.chars().count() < 500);
}
