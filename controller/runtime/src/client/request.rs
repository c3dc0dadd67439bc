//! What a request is about, read from its method and path.

use std::fmt;
use std::time::Duration;

use http::Method;

/// Kubernetes' name for what a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// One object, or a path that is no resource (`/version`).
    Get,
    /// A collection.
    List,
    /// Changes of a collection.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

impl Verb {
    /// As API servers write it in audit logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes something on the server.
    pub const fn is_mutating(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request and how it began to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// What it does.
    pub verb: Verb,
    /// The plural of the resource and the sub-resource (`works/status`); for other paths the first
    /// segment (`version`). Few values: fit for a metric's label.
    pub resource: &'a str,
    /// The HTTP status; `None` when no answer came.
    pub status: Option<u16>,
    /// From the request to the begin of the answer, or to the failure.
    pub duration: Duration,
}

/// Verb and resource of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) verb: Verb,
    pub(super) resource: String,
}

impl Target {
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>) -> Self {
        let (resource, named) = resource(path);
        let watch = query.unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let verb = match *method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if named => Verb::Delete,
            Method::DELETE => Verb::DeleteCollection,
            _ if watch => Verb::Watch,
            _ if named => Verb::Get,
            _ => Verb::List,
        };
        Self { verb, resource }
    }
}

/// The resource of a path, and whether the path names one object (or is no resource path at all).
fn resource(path: &str) -> (String, bool) {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let first = segments.next().unwrap_or_default();
    let skipped = match first {
        "api" => 1,
        "apis" => 2,
        _ => return (first.to_owned(), true),
    };
    let rest: Vec<&str> = segments.skip(skipped).collect();
    let rest = match rest.as_slice() {
        // `namespaces/x` alone, and its own sub-resources, are about the namespace.
        ["namespaces", _, "status" | "finalize"] => &rest[..],
        ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
        all => all,
    };
    match rest {
        [] => (first.to_owned(), true), // discovery
        [plural] => ((*plural).to_owned(), false),
        [plural, _] => ((*plural).to_owned(), true),
        [plural, _, sub, ..] => (format!("{plural}/{sub}"), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_verb_and_resource() {
        let cases = [
            ("GET", "/api/v1/namespaces/default/configmaps/a", None, "get configmaps"),
            ("GET", "/api/v1/configmaps", Some("limit=500&"), "list configmaps"),
            ("GET", "/apis/work.karmada.io/v1alpha1/works", Some("watch=true&timeoutSeconds=75"), "watch works"),
            ("GET", "/apis/apps/v1/namespaces/x/deployments", Some("labelSelector=watch%3Dtrue"), "list deployments"),
            (
                "PATCH",
                "/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-a/works/w/status",
                Some("&"),
                "patch works/status",
            ),
            ("POST", "/api/v1/namespaces", None, "create namespaces"),
            ("GET", "/api/v1/namespaces/kube-system", None, "get namespaces"),
            ("PUT", "/api/v1/namespaces/x/finalize", None, "update namespaces/finalize"),
            ("DELETE", "/api/v1/namespaces/x/secrets/s", None, "delete secrets"),
            ("DELETE", "/api/v1/namespaces/x/secrets", None, "deletecollection secrets"),
            ("GET", "/version", None, "get version"),
            ("GET", "/apis/apps/v1", None, "get apis"),
            ("GET", "/readyz", Some("verbose"), "get readyz"),
        ];
        for (method, path, query, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
            let Target { verb, resource } = Target::of(&method, path, query);
            assert_eq!(format!("{verb} {resource}"), expected, "{path}");
        }
    }
}
