//! One template, one member that gets it, and what Pando asked that member about it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use pando_e2e::audit::Mark;
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::provider::Cluster;
use serde_json::{Value, json};

use crate::budget::{log, pando};
use crate::objects;

pub(crate) const SOON: Duration = Duration::from_secs(60);
/// How long nothing may follow before requests are counted.
const REST: Duration = Duration::from_secs(2);

/// A namespace on the hub that every member has, too: what is created in it later finds its place at once.
pub(crate) async fn namespace(federation: &Federation, name: &str) -> Result<()> {
    objects::namespace(&federation.hub.client, name).await?;
    let probe = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    for member in &federation.members {
        let what = format!("the namespace {name} in {}", member.name);
        eventually::some(SOON, &what, || objects::get(&member.client, &probe)).await?;
    }
    Ok(())
}

/// A template that goes to one member.
pub(crate) struct Subject<'a> {
    pub(crate) federation: &'a Federation,
    pub(crate) member: &'a Cluster,
    pub(crate) template: Value,
    pub(crate) policy: Value,
}

impl<'a> Subject<'a> {
    /// Nothing is created yet. The policy has the template's name and selects it alone; for a cluster-scoped template it is
    /// a cluster policy.
    pub(crate) fn new(federation: &'a Federation, member: &str, template: Value) -> Result<Self> {
        let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let mut policy = objects::duplicated(
            text("/metadata/namespace"),
            text("/apiVersion"),
            text("/kind"),
            text("/metadata/name"),
            &[member],
        );
        if template.pointer("/metadata/namespace").is_none() {
            policy["kind"] = json!("ClusterPropagationPolicy");
            policy["metadata"] = json!({ "name": text("/metadata/name") });
        }
        Ok(Self { federation, member: federation.member(member)?, template, policy })
    }

    /// Creates policy and template.
    pub(crate) async fn start(&self) -> Result<()> {
        let hub = &self.federation.hub.client;
        objects::create(hub, &self.policy).await?;
        objects::create(hub, &self.template).await?;
        Ok(())
    }

    /// Creates policy and template, and waits until the member has it and the hub knows so. Gives the member's object.
    pub(crate) async fn arrived(&self) -> Result<Value> {
        self.start().await?;
        eventually::some(SOON, "the object in the member", || self.found()).await?;
        self.fully_applied("True").await?;
        self.live().await
    }

    /// The member's object, if it is there.
    pub(crate) async fn found(&self) -> Result<Option<Value>> {
        let found = objects::get(&self.member.client, &self.template).await?;
        found.map(|found| serde_json::to_value(found).map_err(Into::into)).transpose()
    }

    /// The member's object.
    pub(crate) async fn live(&self) -> Result<Value> {
        let name = self.text("/metadata/name");
        self.found().await?.with_context(|| format!("{name} is not in {}", self.member.name))
    }

    /// Waits until a field of the member's object is so; null means that it is absent.
    pub(crate) async fn shows(&self, pointer: &str, wanted: Value) -> Result<Value> {
        eventually::equal(SOON, &format!("{pointer} in {}", self.member.name), &wanted, || async {
            Ok(self.live().await?.pointer(pointer).cloned().unwrap_or(Value::Null))
        })
        .await?;
        self.live().await
    }

    /// Waits for this status of the binding's condition FullyApplied; gives the whole status back.
    pub(crate) async fn fully_applied(&self, status: &str) -> Result<Value> {
        self.condition("FullyApplied", |condition| condition["status"] == status).await
    }

    /// Waits until a condition of the binding is as `accept` wants it; gives the whole status back.
    pub(crate) async fn condition(&self, kind: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually::some(SOON, &format!("the binding's condition {kind}"), || async {
            let binding = self.binding().await?.context("no binding")?;
            let status = &binding.data["status"];
            let mut conditions = status["conditions"].as_array().into_iter().flatten();
            let as_wanted = conditions.any(|condition| condition["type"] == kind && accept(condition));
            ensure!(as_wanted, "status {status}");
            Ok(Some(status.clone()))
        })
        .await
    }

    pub(crate) async fn binding(&self) -> Result<Option<DynamicObject>> {
        let name = format!("{}-{}", self.text("/metadata/name"), self.text("/kind").to_lowercase());
        let mut probe = json!({ "apiVersion": "work.karmada.io/v1alpha2", "kind": "ClusterResourceBinding",
            "metadata": { "name": name } });
        if let Some(namespace) = self.template.pointer("/metadata/namespace") {
            probe["kind"] = json!("ResourceBinding");
            probe["metadata"]["namespace"] = namespace.clone();
        }
        objects::get(&self.federation.hub.client, &probe).await
    }

    /// Deletes the template and waits until nothing of it is left on the hub, so until the Work has let go.
    pub(crate) async fn withdrawn(&self) -> Result<()> {
        objects::delete(&self.federation.hub.client, &self.template).await?;
        eventually::some(SOON, "the binding to be gone", || async {
            Ok(self.binding().await?.is_none().then_some(()))
        })
        .await?;
        let work = json!({
            "apiVersion": "work.karmada.io/v1alpha1", "kind": "Work",
            "metadata": { "namespace": format!("karmada-es-{}", self.member.name) },
        });
        let api = objects::api_of(&self.federation.hub.client, &work)?;
        let (namespace, name) = (self.text("/metadata/namespace"), self.text("/metadata/name"));
        eventually::some(SOON, "the Work to be gone", || async {
            let works = api.list(&Default::default()).await?;
            let left = works.items.iter().any(|work| {
                let manifest = &work.data["spec"]["workload"]["manifests"][0];
                manifest["metadata"]["namespace"] == namespace && manifest["metadata"]["name"] == name
            });
            Ok((!left).then_some(()))
        })
        .await
    }

    /// Merges into the template, on the hub.
    pub(crate) async fn change(&self, patch: Value) -> Result<()> {
        objects::merge(&self.federation.hub.client, &self.template, &patch).await.map(drop)
    }

    /// Merges into the member's object, as a person would.
    pub(crate) async fn edit(&self, patch: Value) -> Result<Value> {
        let edited = objects::merge(&self.member.client, &self.template, &patch).await?;
        Ok(serde_json::to_value(edited)?)
    }

    /// Applies to the object in a cluster on the server's side, as another manager.
    pub(crate) async fn apply_as(&self, cluster: &Cluster, manager: &str, mut fields: Value) -> Result<()> {
        for key in ["apiVersion", "kind"] {
            fields[key] = self.template[key].clone();
        }
        let api = objects::api_of(&cluster.client, &self.template)?;
        api.patch(self.text("/metadata/name"), &PatchParams::apply(manager), &Patch::Apply(&fields)).await?;
        Ok(())
    }

    /// A point in the member's audit log.
    pub(crate) fn mark(&self) -> Result<Mark> {
        log(self.member)?.mark()
    }

    /// All that Pando asked since the mark, once it has come to rest, has to be this: verb and answer, in this order.
    pub(crate) async fn cost(&self, what: &str, since: Mark, wanted: &[&str]) -> Result<()> {
        let seen = self.at_rest(what, since).await?;
        ensure!(seen == wanted, "{what}: wanted {wanted:?}, but Pando asked {seen:?}");
        Ok(())
    }

    /// As [`Subject::cost`], without reads: controllers of the member write the object as well, and Pando may look again.
    pub(crate) async fn writes(&self, what: &str, since: Mark, wanted: &[&str]) -> Result<()> {
        let mut seen = self.at_rest(what, since).await?;
        seen.retain(|request| !request.starts_with("get"));
        ensure!(seen == wanted, "{what}: wanted {wanted:?}, but Pando wrote {seen:?}");
        Ok(())
    }

    /// Waits until Pando has asked nothing about the object for a while. Gives what it asked since the mark.
    async fn at_rest(&self, what: &str, since: Mark) -> Result<Vec<String>> {
        let seen = eventually::some(SOON, "Pando to leave the object alone", || async {
            let before = self.requests(since)?;
            tokio::time::sleep(REST).await;
            let after = self.requests(since)?;
            ensure!(before == after, "requests go on: {after:?}");
            Ok(Some(after))
        })
        .await?;
        println!("    {what}: {}", if seen.is_empty() { "no request".to_owned() } else { seen.join(", ") });
        Ok(seen)
    }

    /// How often Pando has written the object since the mark, refused writes included.
    pub(crate) fn written_since(&self, since: Mark) -> Result<usize> {
        Ok(self.requests(since)?.iter().filter(|request| !request.starts_with("get")).count())
    }

    fn requests(&self, since: Mark) -> Result<Vec<String>> {
        let user = pando(self.member, self.federation);
        let resource = format!("{}s", self.text("/kind").to_lowercase());
        let mut entries = log(self.member)?.since(since)?;
        entries.retain(|entry| {
            entry.user == user
                && entry.resource == resource
                && entry.namespace == self.text("/metadata/namespace")
                && entry.name == self.text("/metadata/name")
        });
        Ok(entries.iter().map(|entry| format!("{} {}", entry.verb, entry.code)).collect())
    }

    fn text(&self, pointer: &str) -> &str {
        self.template.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// The operations under which a manager owns fields of an object, status left out.
pub(crate) fn operations(object: &Value, manager: &str) -> Vec<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    entries
        .filter(|entry| entry["manager"] == manager && entry["subresource"].is_null())
        .filter_map(|entry| entry["operation"].as_str().map(str::to_owned))
        .collect()
}

/// Of two looks at an object: was it neither written nor replaced in between?
pub(crate) fn untouched(before: &Value, after: &Value) -> Result<()> {
    for pointer in ["/metadata/uid", "/metadata/resourceVersion"] {
        let (before, now) = (before.pointer(pointer), after.pointer(pointer));
        ensure!(before == now, "{pointer} was {before:?} and is {now:?}: {after}");
    }
    Ok(())
}

/// Is it the same object, whoever wrote it?
pub(crate) fn same(before: &Value, after: &Value) -> Result<()> {
    let (before, now) = (before.pointer("/metadata/uid"), after.pointer("/metadata/uid"));
    ensure!(before == now && now.is_some(), "the object was replaced: uid was {before:?} and is {now:?}");
    Ok(())
}
