//! The exact requests. Everything that protects somebody else's object is decided here: look twice before changing it.

use http::{Method, Request, header};
use kube::client::Body;
use pando_api::managers;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::target::Target;

const JSON: &str = "application/json";
const MANAGER: &str = managers::MEMBER;

type Prepared = Result<Request<Body>, Fault>;

pub(super) fn get(target: &Target) -> Prepared {
    request(Method::GET, target.path(), None)
}

pub(super) fn create(target: &Target, body: &Value) -> Prepared {
    request(Method::POST, format!("{}?fieldManager={MANAGER}", target.collection()), Some((JSON, body)))
}

pub(super) fn convert(target: &Target, patch: &Value) -> Prepared {
    let guarded = patch.pointer("/0/op").and_then(Value::as_str) == Some("test")
        && patch.pointer("/0/path").and_then(Value::as_str) == Some("/metadata/resourceVersion");
    if !guarded {
        return Err(Fault::Invalid("a conversion must test the resourceVersion first; nothing was sent".into()));
    }
    request(
        Method::PATCH,
        format!("{}?fieldManager={MANAGER}", target.path()),
        Some(("application/json-patch+json", patch)),
    )
}

pub(super) fn apply(target: &Target, body: &Value) -> Prepared {
    carries(body, &["uid"])?;
    let path = format!("{}?fieldManager={MANAGER}&force=true", target.path());
    // JSON is YAML; an API server knows apply by this content type.
    request(Method::PATCH, path, Some(("application/apply-patch+yaml", body)))
}

pub(super) fn replace(target: &Target, body: &Value) -> Prepared {
    carries(body, &["uid", "resourceVersion"])?;
    request(Method::PUT, format!("{}?fieldManager={MANAGER}", target.path()), Some((JSON, body)))
}

pub(super) fn strip(target: &Target, patch: &Value) -> Prepared {
    carries(patch, &["uid", "resourceVersion"])?;
    request(
        Method::PATCH,
        format!("{}?fieldManager={MANAGER}", target.path()),
        Some(("application/merge-patch+json", patch)),
    )
}

pub(super) fn delete(target: &Target, uid: &str, resource_version: &str) -> Prepared {
    let preconditions = json!({"uid": uid, "resourceVersion": resource_version});
    carries(&json!({"metadata": preconditions}), &["uid", "resourceVersion"])?;
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": preconditions,
    });
    request(Method::DELETE, target.path(), Some((JSON, &options)))
}

pub(super) fn token(account: &Target, seconds: u64) -> Prepared {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}});
    request(Method::POST, format!("{}/token", account.path()), Some((JSON, &body)))
}

/// A write without its preconditions is never sent, whatever the caller meant.
fn carries(body: &Value, preconditions: &[&str]) -> Result<(), Fault> {
    let has = |field: &&str| {
        let value = body.get("metadata").and_then(|metadata| metadata.get(*field)).and_then(Value::as_str);
        value.is_some_and(|value| !value.is_empty())
    };
    match preconditions.iter().find(|field| !has(field)) {
        Some(field) => Err(Fault::Invalid(format!("the write carries no metadata.{field}; nothing was sent"))),
        None => Ok(()),
    }
}

fn request(method: Method, path: String, body: Option<(&'static str, &Value)>) -> Prepared {
    let builder = Request::builder().method(method).uri(path).header(header::ACCEPT, JSON);
    let built = match body {
        Some((content_type, body)) => {
            builder.header(header::CONTENT_TYPE, content_type).body(Body::from(body.to_string().into_bytes()))
        }
        None => builder.body(Body::empty()),
    };
    built.map_err(|error| Fault::Invalid(format!("the object has no usable path: {error}")))
}
