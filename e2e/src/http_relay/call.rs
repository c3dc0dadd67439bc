//! What a request asks of an API server, read off its method and address.

use http::{Method, Request, header};

/// What is asked, in the words of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// One object.
    Get,
    /// A collection.
    List,
    /// The changes of a collection.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH of any kind.
    Patch,
    /// DELETE, of an object or a collection.
    Delete,
    /// Which groups, versions and kinds are served.
    Discovery,
    /// Everything beside the API itself: `/readyz`, `/version`.
    Probe,
}

impl Verb {
    /// Whether it changes something when it succeeds.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }
}

/// One request, without its body and credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub verb: Verb,
    /// Path without query.
    pub path: String,
    /// Query, mostly empty.
    pub query: String,
    /// Plural resource; empty for discovery and probes.
    pub resource: String,
    /// Namespace; empty for cluster-scoped objects and collections of all namespaces.
    pub namespace: String,
    /// Object name; empty for collections.
    pub name: String,
    /// The client's name for itself.
    pub agent: String,
}

impl Call {
    /// Reads a request.
    pub fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let below = match segments.first() {
            Some(&"api") => segments.get(2..).unwrap_or_default(),
            Some(&"apis") => segments.get(3..).unwrap_or_default(),
            _ => &[],
        };
        let (namespace, rest) = match below {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name) = (rest.first().copied().unwrap_or_default(), rest.get(1).copied().unwrap_or_default());
        let verb = match segments.first() {
            Some(&("api" | "apis")) if below.is_empty() => Verb::Discovery,
            Some(&("api" | "apis")) => verb(request.method(), name, &query),
            _ => Verb::Probe,
        };
        Self {
            verb,
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            agent: agent.unwrap_or_default().to_owned(),
            path: path.clone(),
            query,
        }
    }

    /// Whether its answer stays open for as long as both sides like.
    pub fn is_watch(&self) -> bool {
        self.verb == Verb::Watch
    }
}

fn verb(method: &Method, name: &str, query: &str) -> Verb {
    let watches = query.split('&').any(|pair| matches!(pair, "watch" | "watch=true" | "watch=1"));
    match *method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ if watches => Verb::Watch,
        _ if name.is_empty() => Verb::List,
        _ => Verb::Get,
    }
}
