//! Which kinds an API server serves: by aggregated discovery in two requests, or group by group on servers that lack it.
//!
//! A group that does not answer (a broken aggregated API) is named and makes nothing disappear: what was known of it
//! stays ([`Discovered::or_from`]).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, header};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList, APIVersions};
use kube::Client;
use kube::client::{APIGroupDiscovery, APIGroupDiscoveryList};
use kube::core::discovery::v2::{ACCEPT_AGGREGATED_DISCOVERY_V2, APIResourceDiscovery};
use kube::core::{ApiResource, GroupVersionKind};
use pando_context::{Ctx, Kind as ContextKind};

static DISCOVERY: ContextKind = ContextKind::new("discovery");

/// Where the versions of the core group are listed.
const CORE: &str = "/api";
/// Where all other groups are listed.
const GROUPS: &str = "/apis";
/// How long one discovery document may take.
const READ: Duration = Duration::from_secs(10);
/// How many documents are read at the same time, on a server without aggregated discovery.
const AT_A_TIME: usize = 8;
/// What is done with objects of a kind that is propagated.
const NEEDED_VERBS: [&str; 4] = ["list", "watch", "patch", "delete"];

/// A kind as an API server serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Plural, as in paths.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Does it live in namespaces?
    pub namespaced: bool,
    /// Has its status a path of its own?
    pub has_status: bool,
    /// The first of list, watch, patch and delete that it is not served with.
    pub lacks: Option<&'static str>,
}

/// The kinds of one group and version, sorted by plural.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupVersion {
    /// `apps/v1`, or `v1` for the core group.
    pub group_version: String,
    /// Place of the version in its group's order of preference; 0 is the preferred one.
    pub preference: usize,
    /// Its kinds.
    pub kinds: Vec<Kind>,
}

/// What discovery found, sorted by group version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The groups that answered.
    pub group_versions: Vec<GroupVersion>,
    /// Group versions whose kinds could not be read (`/api`: the core group's, `/apis`: those of all other groups): what is
    /// known of them stays valid.
    pub missing: Vec<String>,
}

impl Discovered {
    /// Did every group answer?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// How a kind is addressed, and whether it is namespaced. `None` when it is not known.
    #[must_use]
    pub fn resource(&self, api_version: &str, kind: &str) -> Option<(ApiResource, bool)> {
        let found = self.group_versions.iter().find(|version| version.group_version == api_version)?;
        let found = found.kinds.iter().find(|candidate| candidate.kind == kind)?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &found.name);
        Some((resource, found.namespaced))
    }

    /// Could nobody say this time which kinds are in this group version? Then what was known of it stays valid.
    #[must_use]
    pub fn is_unread(&self, group_version: &str) -> bool {
        let root = if group_version.contains('/') { GROUPS } else { CORE };
        self.missing.iter().any(|missing| missing == group_version || missing == root)
    }

    /// Fills the groups that did not answer from an earlier look: a broken aggregated API makes nothing disappear.
    #[must_use]
    pub fn or_from(mut self, earlier: &Discovered) -> Self {
        for old in &earlier.group_versions {
            if self.is_unread(&old.group_version)
                && !self.group_versions.iter().any(|version| version.group_version == old.group_version)
            {
                self.group_versions.push(old.clone());
            }
        }
        self.group_versions.sort_by(|a, b| a.group_version.cmp(&b.group_version));
        self
    }
}

/// An API server, as far as discovery needs it.
pub trait Source {
    /// Why a document could not be read.
    type Error: fmt::Display;

    /// The body of a GET that was answered with success.
    fn get(&self, path: &str, accept: &str) -> impl Future<Output = Result<Bytes, Self::Error>> + Send;
}

/// Asks which kinds the server serves. Never fails: what could not be read is named in the answer.
pub async fn discover(source: &impl Source) -> Discovered {
    let mut found = Found::default();
    for root in [CORE, GROUPS] {
        let body = match source.get(root, ACCEPT_AGGREGATED_DISCOVERY_V2).await {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!(root, %error, "discovery failed");
                found.missing.push(root.to_owned());
                continue;
            }
        };
        match serde_json::from_slice::<APIGroupDiscoveryList>(&body) {
            Ok(list) if is_aggregated(&body) => list.items.into_iter().for_each(|group| found.aggregated(group)),
            _ => found.group_by_group(source, root, &body).await,
        }
    }
    found.into_discovered()
}

/// What the hub serves, read with its client.
pub async fn of_hub(ctx: &Ctx, client: &Client) -> Discovered {
    discover(&Hub { ctx, client }).await
}

struct Hub<'a> {
    ctx: &'a Ctx,
    client: &'a Client,
}

impl Source for Hub<'_> {
    type Error = String;

    async fn get(&self, path: &str, accept: &str) -> Result<Bytes, String> {
        let request = Request::get(path).header(header::ACCEPT, accept).body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.ctx.timeout(&DISCOVERY, READ, self.client.request_text(request)).await;
        answer.map_err(|stop| stop.to_string())?.map(Bytes::from).map_err(|error| error.to_string())
    }
}

#[derive(Default)]
struct Found {
    versions: BTreeMap<String, GroupVersion>,
    missing: Vec<String>,
}

impl Found {
    fn insert(&mut self, group_version: String, preference: usize, mut kinds: Vec<Kind>) {
        kinds.sort();
        kinds.dedup();
        if !kinds.is_empty() {
            self.versions.insert(group_version.clone(), GroupVersion { group_version, preference, kinds });
        }
    }

    /// Versions come in the group's order of preference.
    fn aggregated(&mut self, group: APIGroupDiscovery) {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        for (preference, version) in group.versions.into_iter().enumerate() {
            let number = version.version.unwrap_or_default();
            let group_version = if name.is_empty() { number } else { format!("{name}/{number}") };
            if version.freshness.as_deref() == Some("Stale") {
                self.missing.push(group_version.clone());
            }
            self.insert(group_version, preference, version.resources.into_iter().filter_map(kind).collect());
        }
    }

    async fn group_by_group(&mut self, source: &impl Source, root: &str, body: &[u8]) {
        let mut versions: Vec<(usize, String)> = Vec::new();
        if let Ok(list) = serde_json::from_slice::<APIGroupList>(body) {
            for group in list.groups {
                let preferred = group.preferred_version.map(|preferred| preferred.group_version).unwrap_or_default();
                let (first, others): (Vec<_>, Vec<_>) = group
                    .versions
                    .into_iter()
                    .map(|version| version.group_version)
                    .partition(|version| *version == preferred);
                versions.extend(first.into_iter().chain(others).enumerate());
            }
        } else if let Ok(core) = serde_json::from_slice::<APIVersions>(body) {
            versions.extend(core.versions.into_iter().enumerate());
        } else {
            self.missing.push(root.to_owned());
        }
        // Some at a time: a group that is dead takes the whole time that one document may take, and several are often dead.
        let lists = versions.into_iter().map(|(preference, group_version)| async move {
            let path = format!("{root}/{group_version}");
            let list = source.get(&path, "application/json").await.ok();
            let list = list.and_then(|body| serde_json::from_slice::<APIResourceList>(&body).ok());
            (preference, group_version, list)
        });
        let mut lists = stream::iter(lists).buffer_unordered(AT_A_TIME);
        while let Some((preference, group_version, list)) = lists.next().await {
            let Some(list) = list else {
                self.missing.push(group_version);
                continue;
            };
            // `deployments/scale` is a sub-resource, not a kind.
            let (parts, resources): (Vec<_>, Vec<_>) =
                list.resources.into_iter().partition(|resource| resource.name.contains('/'));
            let kinds = resources.into_iter().map(|resource| Kind {
                has_status: parts.iter().any(|part| part.name.strip_suffix("/status") == Some(&resource.name)),
                lacks: lacking(&resource.verbs),
                name: resource.name,
                kind: resource.kind,
                namespaced: resource.namespaced,
            });
            self.insert(group_version, preference, kinds.collect());
        }
    }

    fn into_discovered(mut self) -> Discovered {
        self.missing.sort();
        Discovered { group_versions: self.versions.into_values().collect(), missing: self.missing }
    }
}

fn kind(resource: APIResourceDiscovery) -> Option<Kind> {
    Some(Kind {
        name: resource.resource?,
        kind: resource.response_kind?.kind?,
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
        has_status: resource.subresources.iter().any(|part| part.subresource.as_deref() == Some("status")),
        lacks: lacking(&resource.verbs),
    })
}

fn lacking(verbs: &[String]) -> Option<&'static str> {
    NEEDED_VERBS.into_iter().find(|needed| !verbs.iter().any(|verb| verb == needed))
}

fn is_aggregated(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed {
        kind: String,
    }
    serde_json::from_slice::<Typed>(body).is_ok_and(|typed| typed.kind == "APIGroupDiscoveryList")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    /// A server that answers with documents by path, and with 404 to everything else.
    struct Documents(BTreeMap<&'static str, Value>);

    impl Source for Documents {
        type Error = &'static str;

        async fn get(&self, path: &str, _: &str) -> Result<Bytes, &'static str> {
            self.0.get(path).map(|document| document.to_string().into()).ok_or("404")
        }
    }

    async fn ask<const N: usize>(documents: [(&'static str, Value); N]) -> Discovered {
        discover(&Documents(documents.into())).await
    }

    fn groups(items: Value) -> Value {
        json!({"kind": "APIGroupDiscoveryList", "items": items})
    }

    fn resource(plural: &str, kind: &str, verbs: &[&str], parts: &[&str]) -> Value {
        let parts: Vec<_> = parts.iter().map(|part| json!({"subresource": part, "verbs": ["get"]})).collect();
        json!({"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": verbs, "subresources": parts})
    }

    const ALL: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

    #[pando_context::test]
    async fn versions_keep_their_order_of_preference() {
        let found = ask([
            ("/api", groups(json!([{"versions": [{"version": "v1", "resources": [resource("pods", "Pod", ALL, &["status", "log"])]}]}]))),
            ("/apis", groups(json!([{"metadata": {"name": "autoscaling"}, "versions": [
                {"version": "v2", "resources": [resource("hpas", "HPA", ALL, &["status"])]},
                {"version": "v1", "resources": [resource("hpas", "HPA", ALL, &["status"]), resource("scales", "Scale", &["get"], &[])]},
            ]}]))),
        ])
        .await;
        let listed: Vec<_> = found
            .group_versions
            .iter()
            .flat_map(|version| {
                version.kinds.iter().map(move |kind| {
                    format!(
                        "{} #{} {} status={} lacks={:?}",
                        version.group_version, version.preference, kind.kind, kind.has_status, kind.lacks
                    )
                })
            })
            .collect();
        assert_eq!(
            listed,
            [
                "autoscaling/v1 #1 HPA status=true lacks=None",
                "autoscaling/v1 #1 Scale status=false lacks=Some(\"list\")",
                "autoscaling/v2 #0 HPA status=true lacks=None",
                "v1 #0 Pod status=true lacks=None",
            ]
        );
        assert!(found.is_complete());
    }

    #[pando_context::test]
    async fn without_aggregation_the_preferred_version_comes_first_as_well() {
        let version = |name: &str| json!({"groupVersion": name, "version": name.rsplit('/').next()});
        let list = |name: &str| {
            json!({"groupVersion": name, "resources": [
                {"name": "widgets", "kind": "Widget", "namespaced": true, "singularName": "", "verbs": ALL},
                {"name": "widgets/status", "kind": "Widget", "namespaced": true, "singularName": "", "verbs": ["get", "patch"]},
            ]})
        };
        let found = ask([
            ("/api", json!({"kind": "APIVersions", "versions": [], "serverAddressByClientCIDRs": []})),
            ("/apis", json!({"kind": "APIGroupList", "groups": [{"name": "example.io", "preferredVersion": version("example.io/v2"),
                "versions": [version("example.io/v1"), version("example.io/v2")]}]})),
            ("/apis/example.io/v1", list("example.io/v1")),
            ("/apis/example.io/v2", list("example.io/v2")),
        ])
        .await;
        let order: Vec<_> = found.group_versions.iter().map(|v| (v.group_version.as_str(), v.preference)).collect();
        assert_eq!(order, [("example.io/v1", 1), ("example.io/v2", 0)]);
        let widget = &found.group_versions[0].kinds[0];
        assert!(widget.has_status && widget.lacks.is_none());
    }

    /// A server without aggregated discovery whose groups are all dead: each document takes all the time it may.
    struct Dead(pando_context::Scope);

    impl Source for Dead {
        type Error = &'static str;

        async fn get(&self, path: &str, _: &str) -> Result<Bytes, &'static str> {
            if path != GROUPS {
                self.0.ctx().sleep(READ).await.map_err(|_| "ended")?;
                return Err("dead");
            }
            let version = |group: usize| json!({"groupVersion": format!("g{group}.io/v1"), "version": "v1"});
            let groups = (0..6).map(|group| json!({"name": format!("g{group}.io"), "versions": [version(group)]}));
            Ok(json!({"kind": "APIGroupList", "groups": groups.collect::<Vec<_>>()}).to_string().into())
        }
    }

    #[pando_context::test(paused)]
    async fn several_dead_groups_cost_the_time_of_one() {
        let began = pando_context::Instant::now();
        let found = discover(&Dead(pando_context::Scope::root("test"))).await;
        assert_eq!(found.missing.len(), 7, "the core group as well: {:?}", found.missing);
        assert_eq!(began.elapsed(), 2 * READ);
    }

    #[pando_context::test]
    async fn a_group_that_does_not_answer_keeps_what_was_known() {
        let one = |freshness: &str, resources: Value| {
            groups(
                json!([{"metadata": {"name": "x.io"}, "versions": [{"version": "v1", "freshness": freshness, "resources": resources}]}]),
            )
        };
        let before = ask([("/apis", one("Current", json!([resource("xs", "X", ALL, &[])])))]).await;
        assert!(!before.is_unread("x.io/v1") && before.is_unread("v1"), "/api has not answered");
        let stale = ask([("/apis", one("Stale", json!([])))]).await;
        assert!(stale.resource("x.io/v1", "X").is_none() && stale.is_unread("x.io/v1"));
        assert!(stale.or_from(&before).resource("x.io/v1", "X").is_some());
        let away = ask([]).await;
        assert!(away.or_from(&before).resource("x.io/v1", "X").is_some(), "nothing answered at all");
        let gone = ask([("/apis", groups(json!([])))]).await;
        assert!(gone.or_from(&before).resource("x.io/v1", "X").is_none(), "a complete answer is believed");
    }
}
