//! Where an object lives in a member: its kind's REST resource, namespace and name.

use std::fmt;
use std::sync::Arc;

use kube::core::ApiResource;

/// The address of one object in a member cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Group, version, kind and the plural used in paths.
    pub resource: Arc<ApiResource>,
    /// `None` for cluster-scoped kinds.
    pub namespace: Option<Arc<str>>,
    /// The object's name.
    pub name: Arc<str>,
}

impl Target {
    /// An address from its parts. An empty namespace means cluster-scoped.
    #[must_use]
    pub fn new(resource: impl Into<Arc<ApiResource>>, namespace: Option<&str>, name: &str) -> Self {
        Self {
            resource: resource.into(),
            namespace: namespace.filter(|namespace| !namespace.is_empty()).map(Arc::from),
            name: Arc::from(name),
        }
    }

    /// Path of the object itself.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), escaped(&self.name))
    }

    /// Path of the collection that the object is created in.
    #[must_use]
    pub fn collection(&self) -> String {
        collection(&self.resource, self.namespace.as_deref())
    }

    /// Is the content of this kind never to be shown in logs, errors, events or status?
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.resource.group.is_empty() && self.resource.kind == "Secret"
    }
}

/// Path of a kind's collection, of one namespace or (`None`) of the whole cluster.
#[must_use]
pub fn collection(resource: &ApiResource, namespace: Option<&str>) -> String {
    let root = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    match namespace {
        Some(namespace) => format!("{root}/namespaces/{}/{}", escaped(namespace), resource.plural),
        None => format!("{root}/{}", resource.plural),
    }
}

/// RBAC names may hold `:` and other characters that a path must carry escaped; a name from a hostile manifest must not
/// become another path.
fn escaped(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    // A segment of dots only would be folded by proxies on the way.
    if out.bytes().all(|byte| byte == b'.') { out.replace('.', "%2E") } else { out }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.resource.kind, self.name),
            None => write!(f, "{} {}", self.resource.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployments() -> ApiResource {
        ApiResource {
            group: "apps".into(),
            version: "v1".into(),
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            plural: "deployments".into(),
        }
    }

    #[test]
    fn paths_follow_group_and_scope() {
        let target = Target::new(deployments(), Some("default"), "web");
        assert_eq!(target.path(), "/apis/apps/v1/namespaces/default/deployments/web");
        let roles = ApiResource {
            group: "".into(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "Namespace".into(),
            plural: "namespaces".into(),
        };
        assert_eq!(Target::new(roles, Some(""), "shop").path(), "/api/v1/namespaces/shop");
    }

    #[test]
    fn a_hostile_name_stays_one_path_segment() {
        let target = Target::new(deployments(), Some("default"), "../../secrets/x?y");
        assert_eq!(target.path(), "/apis/apps/v1/namespaces/default/deployments/..%2F..%2Fsecrets%2Fx%3Fy");
        assert!(Target::new(deployments(), Some(".."), "x").path().contains("/namespaces/%2E%2E/"));
    }
}
