//! The member's side of leaving: removes what `join` of this federation made, and nothing else.
//!
//! Each object must carry the record of this federation, and is deleted by uid and version. The
//! impersonator account and the namespace go only when this federation made them and no other federation's account is left beside them.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{Api, ResourceExt};
use pando_api::annotations;

use super::super::connection::{Member, Object, RequestError};
use super::super::join::{ClusterId, IMPERSONATOR, account, role};
use super::super::terminal;
use crate::args::UnjoinArgs;

/// Removes the accounts, the role and, if nothing else is in it, the namespace.
pub(super) async fn run(member: &Member, args: &UnjoinArgs, federation: &ClusterId) -> Result<(), RequestError> {
    let namespace = args.member.cluster_namespace.as_str();
    let role = role(&args.name);
    let account = account(&args.name);
    let accounts = member.within::<ServiceAccount>(namespace);
    remove(member, &member.all::<ClusterRoleBinding>(), &role, federation).await?;
    remove(member, &member.all::<ClusterRole>(), &role, federation).await?;
    remove(member, &accounts, &account, federation).await?;

    let others: Vec<ServiceAccount> = member.list(&accounts).await?;
    let shared = others
        .iter()
        .map(ResourceExt::name_any)
        .find(|name| name.starts_with("karmada-") && name != IMPERSONATOR && *name != account);
    if let Some(other) = shared {
        terminal::progress(format_args!(
            "member: namespace {namespace} stays: service account {other} of another federation is in it"
        ));
        return Ok(());
    }
    remove(member, &accounts, IMPERSONATOR, federation).await?;
    if let Some(content) = content(member, namespace).await? {
        terminal::progress(format_args!("member: namespace {namespace} stays: {content} is in it"));
        return Ok(());
    }
    remove(member, &member.all::<Namespace>(), namespace, federation).await
}

/// Deletes one object if this federation made it.
async fn remove<K: Object>(
    member: &Member,
    api: &Api<K>,
    name: &str,
    federation: &ClusterId,
) -> Result<(), RequestError> {
    let kind = K::kind(&()).to_lowercase();
    let Some(object) = member.find(api, name).await? else {
        return Ok(());
    };
    if object.annotations().get(annotations::FEDERATION) != Some(&federation.0) {
        terminal::progress(format_args!("member: {kind} {name} stays: this federation did not make it"));
        return Ok(());
    }
    member.delete(api, &object).await?;
    terminal::progress(format_args!("member: {kind} {name} removed"));
    Ok(())
}

/// Something in the namespace that Kubernetes itself did not put there.
async fn content(member: &Member, namespace: &str) -> Result<Option<String>, RequestError> {
    let accounts: Vec<ServiceAccount> = member.list(&member.within(namespace)).await?;
    let pods: Vec<Pod> = member.list(&member.within(namespace)).await?;
    let secrets: Vec<Secret> = member.list(&member.within(namespace)).await?;
    let maps: Vec<ConfigMap> = member.list(&member.within(namespace)).await?;
    Ok(foreign("serviceaccount", &accounts, "default")
        .or_else(|| foreign("pod", &pods, ""))
        .or_else(|| foreign("secret", &secrets, ""))
        .or_else(|| foreign("configmap", &maps, "kube-root-ca.crt")))
}

fn foreign<K: Object>(kind: &str, objects: &[K], builtin: &str) -> Option<String> {
    let leaving = |object: &K| object.meta().deletion_timestamp.is_some();
    let found = objects.iter().find(|object| object.name_any() != builtin && !leaving(object))?;
    Some(format!("{kind} {}", found.name_any()))
}
