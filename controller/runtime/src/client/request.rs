//! What a request is about, read from its method and path.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Uri};

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
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) verb: Verb,
    pub(super) resource: String,
    /// Both, for people: `patch works/status`.
    pub(super) name: Arc<str>,
}

/// The targets of a client's requests, each made once: there are few, and many requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets(Arc<Mutex<HashMap<u64, Arc<Target>>>>);

/// So many are kept. A server has fewer resources.
const KEPT: usize = 4096;

impl Targets {
    pub(super) fn of(&self, method: &Method, uri: &Uri) -> Arc<Target> {
        let (verb, resource) = read(method, uri);
        let mut hasher = DefaultHasher::new();
        (verb, &resource).hash(&mut hasher);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(&hasher.finish()).filter(|target| target.is(verb, &resource)) {
            return Arc::clone(target);
        }
        let target = Arc::new(Target::new(verb, &resource));
        if known.len() < KEPT {
            known.insert(hasher.finish(), Arc::clone(&target));
        }
        target
    }
}

impl Target {
    fn new(verb: Verb, resource: &Resource<'_>) -> Self {
        let resource = match resource.sub {
            Some(sub) => format!("{}/{sub}", resource.plural),
            None => resource.plural.to_owned(),
        };
        Self { verb, name: format!("{verb} {resource}").into(), resource }
    }

    fn is(&self, verb: Verb, resource: &Resource<'_>) -> bool {
        let (plural, sub) =
            self.resource.split_once('/').map_or((&*self.resource, None), |(plural, sub)| (plural, Some(sub)));
        self.verb == verb && plural == resource.plural && sub == resource.sub
    }
}

/// What a path is about.
#[derive(Hash)]
struct Resource<'a> {
    plural: &'a str,
    sub: Option<&'a str>,
}

fn read<'a>(method: &Method, uri: &'a Uri) -> (Verb, Resource<'a>) {
    let (resource, is_named) = resource(uri.path());
    let is_watch = || uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
    let verb = match *method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if is_named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ if is_watch() => Verb::Watch,
        _ if is_named => Verb::Get,
        _ => Verb::List,
    };
    (verb, resource)
}

/// The resource of a path, and whether the path names one object (or is no resource path at all).
fn resource(path: &str) -> (Resource<'_>, bool) {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let first = segments.next().unwrap_or_default();
    let other = (Resource { plural: first, sub: None }, true);
    let skipped = match first {
        "api" => 1,
        "apis" => 2,
        _ => return other,
    };
    let mut rest = [""; 5]; // `namespaces/<name>/<plural>/<name>/<sub>` is the longest
    let mut count = 0;
    for (place, segment) in rest.iter_mut().zip(segments.skip(skipped)) {
        *place = segment;
        count += 1;
    }
    let rest = match rest.get(..count).unwrap_or_default() {
        // `namespaces/x` alone, and its own sub-resources, are about the namespace.
        all @ ["namespaces", _, "status" | "finalize"] => all,
        ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
        all => all,
    };
    match rest {
        [] => other, // discovery
        [plural] => (Resource { plural, sub: None }, false),
        [plural, _] => (Resource { plural, sub: None }, true),
        [plural, _, sub, ..] => (Resource { plural, sub: Some(sub) }, true),
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
        let targets = Targets::default();
        for (method, path, query, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
            let uri: Uri =
                format!("{path}{}{}", query.map_or("", |_| "?"), query.unwrap_or_default()).parse().unwrap_or_default();
            let target = targets.of(&method, &uri);
            assert_eq!(&*target.name, expected, "{path}");
            assert_eq!(format!("{} {}", target.verb, target.resource), expected);
            assert!(Arc::ptr_eq(&target, &targets.of(&method, &uri)), "made once");
        }
    }
}
