//! The objects of the load: the application and the small ConfigMap of the benchmarks, and their policies.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// A ConfigMap that a cluster makes in each of its namespaces.
pub const EVERYWHERE: &str = "kube-root-ca.crt";

/// A kind that benchmarks write or watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Service.
    Service,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `apps/v1` Deployment.
    Deployment,
    /// PropagationPolicy.
    Policy,
    /// ResourceBinding.
    Binding,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Namespace,
        Self::ConfigMap,
        Self::Service,
        Self::ServiceAccount,
        Self::Deployment,
        Self::Policy,
        Self::Binding,
    ];

    /// Path of the API, kind, and plural name.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("/api/v1", "Namespace", "namespaces"),
            Self::ConfigMap => ("/api/v1", "ConfigMap", "configmaps"),
            Self::Service => ("/api/v1", "Service", "services"),
            Self::ServiceAccount => ("/api/v1", "ServiceAccount", "serviceaccounts"),
            Self::Deployment => ("/apis/apps/v1", "Deployment", "deployments"),
            Self::Policy => ("/apis/policy.karmada.io/v1alpha1", "PropagationPolicy", "propagationpolicies"),
            Self::Binding => ("/apis/work.karmada.io/v1alpha2", "ResourceBinding", "resourcebindings"),
        }
    }

    /// The kind of an object.
    ///
    /// # Errors
    /// When benchmarks have no use for it.
    pub fn of(object: &Value) -> Result<Self> {
        let name = object["kind"].as_str().unwrap_or_default();
        let kind = Self::ALL.into_iter().find(|kind| kind.names().1 == name);
        kind.with_context(|| format!("benchmarks do not write {name:?}"))
    }

    /// Its name, as in `kind: …`.
    pub fn name(self) -> &'static str {
        self.names().1
    }

    /// Path of all its objects, in a namespace.
    pub fn collection(self, namespace: Option<&str>) -> String {
        let (api, _, plural) = self.names();
        match namespace {
            Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}"),
            None => format!("{api}/{plural}"),
        }
    }

    /// Path of one object in a namespace.
    pub fn path(self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(Some(namespace)))
    }
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

/// The Deployment of an application: one replica, eight variables, limits.
pub fn deployment(namespace: &str, name: &str) -> Value {
    let env: Vec<Value> =
        (1..=8).map(|n| json!({ "name": format!("SETTING_{n}"), "value": format!("value-{n}-of-{name}") })).collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "namespace": namespace, "name": name, "labels": { "app": name, "bench": "app" } },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": "main",
                    "image": "registry.example.com/team/application:1.4.2",
                    "env": env,
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "resources": {
                        "requests": { "cpu": "10m", "memory": "16Mi" },
                        "limits": { "cpu": "100m", "memory": "64Mi" },
                    },
                }]},
            },
        },
    })
}

/// The Service of an application.
pub fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name, "labels": { "app": name, "bench": "app" } },
        "spec": {
            "selector": { "app": name },
            "ports": [{ "name": "http", "port": 80, "targetPort": "http", "protocol": "TCP" }],
        },
    })
}

/// A ConfigMap of a kilobyte.
pub fn config_map(namespace: &str, name: &str) -> Value {
    let line = format!("{name} has a line of forty characters or so;\n");
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": namespace, "name": name, "labels": { "app": name, "bench": "lite" } },
        "data": { "application.conf": line.repeat(1024 / line.len()) },
    })
}

/// A policy that copies what these selectors choose to every one of these clusters.
fn policy(namespace: &str, name: &str, selectors: &[Value], clusters: &[String]) -> Value {
    json!({
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "PropagationPolicy",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "resourceSelectors": selectors,
            "placement": {
                "clusterAffinity": { "clusterNames": clusters },
                "replicaScheduling": { "replicaSchedulingType": "Duplicated" },
            },
        },
    })
}

/// What an application consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Deployment, Service and ConfigMap.
    Full,
    /// The Deployment alone.
    Deployment,
    /// The ConfigMap alone; one policy for all of them is there before.
    Lite,
}

impl Shape {
    /// The kinds that arrive in members.
    pub const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Full => &[Kind::Deployment, Kind::Service, Kind::ConfigMap],
            Self::Deployment => &[Kind::Deployment],
            Self::Lite => &[Kind::ConfigMap],
        }
    }

    /// The templates of one application.
    pub fn templates(self, namespace: &str, name: &str) -> Vec<Value> {
        self.kinds()
            .iter()
            .map(|kind| match kind {
                Kind::Deployment => deployment(namespace, name),
                Kind::Service => service(namespace, name),
                _ => config_map(namespace, name),
            })
            .collect()
    }

    /// The policy that must be there before the load; none when each application brings its own.
    pub fn policy_before(self, namespace: &str, clusters: &[String]) -> Option<Value> {
        let all =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "labelSelector": { "matchLabels": { "bench": "lite" } } });
        (self == Self::Lite).then(|| policy(namespace, "lite", &[all], clusters))
    }

    /// Everything that is applied for one application: its policy first, as `kubectl apply -f` of a folder may do it.
    pub fn application(self, namespace: &str, name: &str, clusters: &[String]) -> Vec<Value> {
        let templates = self.templates(namespace, name);
        let selectors: Vec<Value> = templates
            .iter()
            .map(|object| json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "name": name }))
            .collect();
        let own = (self != Self::Lite).then(|| policy(namespace, name, &selectors, clusters));
        own.into_iter().chain(templates).collect()
    }
}

/// Whether everything that was asked for is there: each field of `wanted` with its value. Others may have added more.
pub fn contains(seen: &Value, wanted: &Value) -> bool {
    match (seen, wanted) {
        (Value::Object(seen), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| seen.get(name).is_some_and(|seen| contains(seen, value)))
        }
        (Value::Array(seen), Value::Array(wanted)) => {
            seen.len() == wanted.len() && seen.iter().zip(wanted).all(|(seen, wanted)| contains(seen, wanted))
        }
        _ => seen == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_four_objects_and_its_policy_names_the_three() {
        let all = Shape::Full.application("ns", "app-1", &["a".to_owned(), "b".to_owned()]);
        let kinds: Vec<_> = all.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, ["PropagationPolicy", "Deployment", "Service", "ConfigMap"]);
        let selected = all[0]["spec"]["resourceSelectors"].as_array().map(Vec::len);
        assert_eq!(selected, Some(3));
        assert!(Shape::Full.policy_before("ns", &[]).is_none() && Shape::Lite.policy_before("ns", &[]).is_some());
        assert_eq!(Shape::Lite.application("ns", "lite-1", &[]).len(), 1);
    }

    #[test]
    fn the_small_config_map_is_about_a_kilobyte() {
        let size = config_map("ns", "lite-0001").to_string().len();
        assert!((900..1400).contains(&size), "{size}");
    }

    #[test]
    fn what_a_server_adds_is_no_difference_and_what_it_lost_is() {
        let wanted = json!({ "a": { "b": 1 }, "list": [{ "x": "y" }] });
        assert!(contains(&json!({ "a": { "b": 1, "c": 2 }, "list": [{ "x": "y", "z": 0 }], "d": 3 }), &wanted));
        assert!(!contains(&json!({ "a": { "b": 2 }, "list": [{ "x": "y" }] }), &wanted));
        assert!(!contains(&json!({ "a": { "b": 1 }, "list": [{ "x": "y" }, { "x": "y" }] }), &wanted));
        assert!(!contains(&json!({ "a": { "b": 1 } }), &wanted));
    }

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(Kind::ConfigMap.path("ns", "x"), "/api/v1/namespaces/ns/configmaps/x");
        assert_eq!(Kind::Deployment.collection(None), "/apis/apps/v1/deployments");
        assert_eq!(Kind::of(&deployment("ns", "x")).ok(), Some(Kind::Deployment));
        assert!(Kind::of(&json!({ "kind": "Pod" })).is_err());
    }
}
