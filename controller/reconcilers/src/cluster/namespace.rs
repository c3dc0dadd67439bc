//! The execution namespace `karmada-es-<cluster>`: where a member's Works live on the hub.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams, Preconditions};
use pando_api::cluster::Cluster;
use pando_api::names::{ClusterName, ExecutionNamespace};
use pando_api::{events, labels, managers};
use pando_context::{Ctx, Instant, Kind};
use pando_core::next::Next;
use pando_runtime::events::Level;
use pando_runtime::queue::Queue;
use pando_runtime::store::{Change, Key, Store};

use super::memory::Memory;
use super::{Env, Error};
use crate::template::Template;

static CALL: Kind = Kind::new("request");

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon a namespace of a former life of the cluster is looked at again.
const RECHECK: Duration = Duration::from_secs(1);

/// How long a namespace that was seen is taken to be there. That somebody deletes it by hand is told by [`follow`]; this
/// is for what was not told.
const SEEN_AGE: Duration = Duration::from_secs(60);

/// Notices when somebody deletes an execution namespace: the Works in it go with it, and new ones need it back.
pub(super) fn follow(namespaces: &Store<Template>, memory: &Arc<Memory>, queue: &Queue<Key>) {
    let (memory, queue) = (Arc::clone(memory), queue.clone());
    namespaces.subscribe(move |change: &Change<Template>| {
        let stays = change.new.as_ref().is_some_and(|namespace| namespace.meta.deletion_timestamp.is_none());
        let Some(execution) = ExecutionNamespace::parse(&change.key.name).filter(|_| !stays) else { return };
        let cluster = execution.cluster();
        memory.known(&cluster, |facts| facts.namespace = None);
        queue.add(Key::cluster(cluster.as_str()));
    });
}

/// How the namespace is.
pub(super) enum Found {
    /// Not there.
    Absent,
    /// It was deleted, and its content is on its way out; what the hub says that it waits for.
    Terminating(Vec<String>),
    /// There; its uid.
    Active(String),
}

/// Makes sure that the namespace is there. `Some`: not yet, look again then.
pub(super) async fn ensure(ctx: &Ctx, env: &Env, name: &ClusterName, cluster: &Cluster) -> Result<Option<Next>, Error> {
    if env.memory.of(name, |facts| facts.namespace.is_some_and(|seen| seen.elapsed() < SEEN_AGE)) {
        return Ok(None);
    }
    // Read first: at a restart the namespace is there, and a refused POST would be a write in a steady state.
    match find(ctx, env, name).await? {
        Found::Active(_) => {
            env.memory.of(name, |facts| facts.namespace = Some(Instant::now()));
            return Ok(None);
        }
        // The same name was joined before, and that life is still going.
        Found::Terminating(_) => return Ok(Some(Next::after(RECHECK))),
        Found::Absent => {}
    }
    let execution = name.execution_namespace();
    let system = [(labels::SYSTEM.to_owned(), labels::SYSTEM_VALUE.to_owned())];
    let metadata =
        ObjectMeta { name: Some(execution.to_string()), labels: Some(system.into()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let parameters = PostParams { field_manager: Some(managers::CLUSTER.into()), ..PostParams::default() };
    let api = Api::<Namespace>::all(env.client.clone());
    let created = call(ctx, format!("create namespace {execution}"), api.create(&parameters, &namespace)).await;
    match created {
        Ok(_) => env.event(
            cluster,
            Level::Normal,
            events::CREATE_EXECUTION_SPACE_SUCCEED,
            &format!("Created execution namespace({execution}) for cluster({name})"),
        ),
        Err(Error::Api { source, .. }) if is_status(&source, 409) => {
            return Ok(Some(Next::after(RECHECK)));
        }
        Err(error) => {
            env.event(cluster, Level::Warning, events::CREATE_EXECUTION_SPACE_FAILED, &error.to_string());
            return Err(error);
        }
    }
    env.memory.of(name, |facts| facts.namespace = Some(Instant::now()));
    Ok(None)
}

/// Looks the namespace up.
pub(super) async fn find(ctx: &Ctx, env: &Env, name: &ClusterName) -> Result<Found, Error> {
    let execution = name.execution_namespace();
    let api = Api::<Namespace>::all(env.client.clone());
    let found = call(ctx, format!("read namespace {execution}"), api.get_opt(execution.as_str())).await?;
    Ok(match found {
        None => Found::Absent,
        Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => Found::Terminating(waits_for(namespace)),
        Some(namespace) => Found::Active(namespace.metadata.uid.unwrap_or_default()),
    })
}

/// What the namespace controller of the hub says that is left in a namespace which goes.
fn waits_for(namespace: Namespace) -> Vec<String> {
    let conditions = namespace.status.into_iter().flat_map(|status| status.conditions.unwrap_or_default());
    conditions.filter(|condition| condition.status == "True").filter_map(|condition| condition.message).collect()
}

/// Deletes exactly the namespace that was read, and with it the Works in it.
pub(super) async fn delete(ctx: &Ctx, env: &Env, name: &ClusterName, uid: String) -> Result<(), Error> {
    let execution = name.execution_namespace();
    let preconditions = Preconditions { uid: Some(uid), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    let api = Api::<Namespace>::all(env.client.clone());
    match call(ctx, format!("delete namespace {execution}"), api.delete(execution.as_str(), &parameters)).await {
        Err(Error::Api { source, .. }) if is_status(&source, 404) => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// One call to the hub, bounded and named.
pub(super) async fn call<T>(
    ctx: &Ctx,
    what: String,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match ctx.timeout(&CALL, CALL_TIMEOUT, request).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(source)) => Err(Error::Api { what, source: Box::new(source) }),
        Err(stop) => Err(Error::Stopped { what, stop }),
    }
}

fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
