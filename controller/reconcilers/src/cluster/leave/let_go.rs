//! Letting go of Works by force: their objects stay in the member, and it is written down which.
//!
//! First the list, then the finalizers: whoever reads the list after a crash in between misses nothing.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use pando_api::cluster::Cluster;
use pando_api::names::{ClusterName, KARMADA_CLUSTER};
use pando_api::work::Work;
use pando_api::{events, finalizers, labels, managers};
use pando_context::Ctx;
use pando_core::detach::{self, LeftBehind};
use pando_runtime::events::Level;
use pando_runtime::store::Key;
use serde_json::json;

use super::super::namespace::call;
use super::super::{Env, Error};

/// How many objects an event names.
const NAMED: usize = 10;

/// What is let go, and by whose word.
pub(super) struct Order<'a> {
    pub(super) name: &'a ClusterName,
    pub(super) cluster: &'a Cluster,
    pub(super) who: &'a str,
    /// All Works of the cluster.
    pub(super) works: &'a [Arc<Work>],
    /// Names of those that are let go.
    pub(super) chosen: &'a [String],
}

impl Order<'_> {
    fn works(&self) -> impl Iterator<Item = &Arc<Work>> {
        self.works.iter().filter(|work| work.metadata.name.as_ref().is_some_and(|name| self.chosen.contains(name)))
    }

    /// What is to be in the member no more, and may be there still.
    fn objects(&self, federation: &str) -> Vec<String> {
        let fated = self.works().flat_map(|work| detach::foresee(federation, work, |_| None));
        fated.filter(|fated| !matches!(fated.fate, detach::Fate::Kept { .. })).map(|fated| fated.object).collect()
    }
}

/// Writes down what stays in the member, then takes our finalizer off the Works.
pub(super) async fn run(ctx: &Ctx, env: &Env, order: &Order<'_>) -> Result<(), Error> {
    let objects = order.objects(env.agents.federation());
    let is_recorded = record(ctx, env, order, &objects).await?;
    for work in order.works() {
        let all = work.metadata.finalizers.iter().flatten();
        let kept: Vec<&String> = all.filter(|finalizer| *finalizer != finalizers::EXECUTION).collect();
        let patch = json!({"metadata": {"uid": work.metadata.uid, "resourceVersion": work.metadata.resource_version, "finalizers": kept}});
        match env.hub.patch(ctx, &env.works, &Key::of(&work.metadata), &patch).await {
            Err(error) if !(error.is_not_found() || error.is_conflict()) => return Err(error.into()),
            _ => {}
        }
    }
    let named = objects.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let (count, works) = (objects.len(), order.chosen.len());
    tracing::warn!(cluster = %order.name, by = order.who, works, objects = count, first = named, "let go by force; objects stay in the member");
    let list = match is_recorded {
        true => format!("configmap {KARMADA_CLUSTER}/{}", order.name.left_behind()),
        false => "the log of the controller: the configmap could not be written".to_owned(),
    };
    let message = format!(
        "{count} objects may stay in cluster {}, labelled {}={}: {named}{}; all of them are in {list}",
        order.name,
        labels::MANAGED,
        labels::MANAGED_VALUE,
        if count > NAMED { ", …" } else { "" },
    );
    env.event(order.cluster, Level::Warning, events::CLEANUP_WORK_FAILED, &message);
    Ok(())
}

/// Adds the objects to the record of what is left behind. False when it cannot be written: an account that may not read or
/// write it, or a namespace that is not there, is no reason to stay, and the log has the names then.
async fn record(ctx: &Ctx, env: &Env, order: &Order<'_>, objects: &[String]) -> Result<bool, Error> {
    let place = order.name.left_behind();
    let api = Api::<ConfigMap>::namespaced(env.client.clone(), KARMADA_CLUSTER);
    let uid = order.cluster.metadata.uid.clone().unwrap_or_default();
    let read = call(ctx, format!("read configmap {KARMADA_CLUSTER}/{place}"), api.get_opt(&place)).await;
    let known = match read {
        Err(error) => return unwritten(order, objects, error, &[403]),
        Ok(known) => known,
    };
    let before = known.as_ref().and_then(|map| LeftBehind::of(&uid, map.data.as_ref()));
    let mut left = before.clone().unwrap_or_default();
    left.cluster_uid = uid;
    left.forced_by = order.who.to_owned();
    left.add(objects.iter().cloned());
    if before.as_ref() == Some(&left) {
        return Ok(true);
    }
    // A 404 of the creation is about the namespace; of the change, about the map: the next attempt makes it anew.
    let final_codes: &[u16] = if known.is_none() { &[403, 404] } else { &[403] };
    let what = format!("write configmap {KARMADA_CLUSTER}/{place}");
    let written = match known {
        None => {
            let system = [(labels::SYSTEM.to_owned(), labels::SYSTEM_VALUE.to_owned())];
            let metadata = ObjectMeta { name: Some(place), labels: Some(system.into()), ..ObjectMeta::default() };
            let map = ConfigMap { metadata, data: Some(left.data()), ..ConfigMap::default() };
            let parameters = PostParams { field_manager: Some(managers::CLUSTER.into()), ..PostParams::default() };
            call(ctx, what, api.create(&parameters, &map)).await
        }
        Some(map) => {
            let parameters = PatchParams { field_manager: Some(managers::CLUSTER.into()), ..PatchParams::default() };
            let version = json!({"uid": map.metadata.uid, "resourceVersion": map.metadata.resource_version});
            let patch = Patch::Merge(json!({"metadata": version, "data": left.data()}));
            call(ctx, what, api.patch(&place, &parameters, &patch)).await
        }
    };
    match written {
        Err(error) => unwritten(order, objects, error, final_codes),
        Ok(_) => Ok(true),
    }
}

/// Logs what could not be written down, when that is how it will be the next time, too.
fn unwritten(order: &Order<'_>, objects: &[String], error: Error, final_codes: &[u16]) -> Result<bool, Error> {
    match &error {
        Error::Api { source, .. } if code(source).is_some_and(|code| final_codes.contains(&code)) => {
            tracing::warn!(cluster = %order.name, %error, ?objects, "left behind, and not written down");
            Ok(false)
        }
        _ => Err(error),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
