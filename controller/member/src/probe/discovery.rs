//! Which kinds a member serves: by aggregated discovery in two requests, or group by group on servers that lack it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList, APIVersions};
use kube::client::{APIGroupDiscovery, APIGroupDiscoveryList};
use kube::core::{ApiResource, GroupVersionKind};
use pando_context::Ctx;

use super::get;
use crate::link::Member;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// Where the versions of the core group are listed.
const CORE: &str = "/api";
/// Where all other groups are listed.
const GROUPS: &str = "/apis";

/// A kind as a member serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Plural, as in paths.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Does it live in namespaces?
    pub namespaced: bool,
}

/// The kinds of one group and version, sorted by plural.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVersion {
    /// `apps/v1`, or `v1` for the core group.
    pub group_version: String,
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

    /// How a kind is addressed in this member, and whether it is namespaced. `None` when it is not known.
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

pub(super) async fn discover(ctx: &Ctx, member: &Member) -> Discovered {
    let mut groups = BTreeMap::new();
    let mut missing = Vec::new();
    for root in [CORE, GROUPS] {
        let body = match get(ctx, member, root, AGGREGATED).await {
            Ok(body) => body,
            Err(fault) => {
                tracing::debug!(cluster = %member.name(), root, %fault, "discovery failed");
                missing.push(root.to_owned());
                continue;
            }
        };
        match serde_json::from_slice::<APIGroupDiscoveryList>(&body) {
            Ok(list) if body_is_aggregated(&body) => {
                list.items.into_iter().for_each(|group| aggregated(group, &mut groups, &mut missing))
            }
            _ => group_by_group(ctx, member, root, &body, &mut groups, &mut missing).await,
        }
    }
    let group_versions = groups.into_iter().map(|(group_version, mut kinds): (String, Vec<Kind>)| {
        kinds.sort();
        kinds.dedup();
        GroupVersion { group_version, kinds }
    });
    Discovered { group_versions: group_versions.collect(), missing }
}

fn body_is_aggregated(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed {
        kind: String,
    }
    serde_json::from_slice::<Typed>(body).is_ok_and(|typed| typed.kind == "APIGroupDiscoveryList")
}

fn aggregated(group: APIGroupDiscovery, groups: &mut BTreeMap<String, Vec<Kind>>, missing: &mut Vec<String>) {
    let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
    for version in group.versions {
        let number = version.version.unwrap_or_default();
        let group_version = if name.is_empty() { number } else { format!("{name}/{number}") };
        if version.freshness.as_deref() == Some("Stale") {
            missing.push(group_version.clone());
        }
        let kinds = version.resources.into_iter().filter_map(|resource| {
            Some(Kind {
                name: resource.resource?,
                kind: resource.response_kind?.kind?,
                namespaced: resource.scope.as_deref() == Some("Namespaced"),
            })
        });
        let kinds: Vec<Kind> = kinds.collect();
        if !kinds.is_empty() {
            groups.insert(group_version, kinds);
        }
    }
}

async fn group_by_group(
    ctx: &Ctx,
    member: &Member,
    root: &str,
    body: &[u8],
    groups: &mut BTreeMap<String, Vec<Kind>>,
    missing: &mut Vec<String>,
) {
    let mut versions: Vec<String> = Vec::new();
    if let Ok(list) = serde_json::from_slice::<APIGroupList>(body) {
        versions.extend(list.groups.into_iter().flat_map(|group| group.versions).map(|version| version.group_version));
    } else if let Ok(core) = serde_json::from_slice::<APIVersions>(body) {
        versions.extend(core.versions);
    } else {
        missing.push(root.to_owned());
    }
    for group_version in versions {
        let path = if group_version.contains('/') {
            format!("/apis/{group_version}")
        } else {
            format!("/api/{group_version}")
        };
        let list = get(ctx, member, &path, "application/json").await.ok();
        let list = list.and_then(|body| serde_json::from_slice::<APIResourceList>(&body).ok());
        let Some(list) = list else {
            missing.push(group_version);
            continue;
        };
        // `deployments/scale` is a subresource, not a kind.
        let kinds = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
        let kinds: Vec<Kind> = kinds
            .map(|resource| Kind { name: resource.name, kind: resource.kind, namespaced: resource.namespaced })
            .collect();
        if !kinds.is_empty() {
            groups.insert(group_version, kinds);
        }
    }
}
