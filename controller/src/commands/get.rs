//! `pando get`: the two lists that a person looks at first.

mod bindings;
mod clusters;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt as _;
use pando_api::cluster::Cluster;
use pando_api::work::{ClusterResourceBinding, ResourceBinding};
use pando_context::Ctx;
use serde::Serialize;
use serde_json::{Value, json};

use super::connection::{Hub, Object, RequestError};
use super::{kubeconfig, terminal, yaml};
use crate::args::{GetArgs, GetKind, ListFormat};

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The hub cannot be identified.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// The hub cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An object that was asked for by name does not exist.
    #[error("{kind} {name:?} not found; `{}` lists what there is", listing(kind))]
    NotFound {
        /// What was asked for.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// An object cannot be printed.
    #[error("cannot print: {0}")]
    Print(#[from] serde_json::Error),
    /// stdout takes no more.
    #[error("cannot print: {0}")]
    Write(#[from] std::io::Error),
}

/// Reads and prints.
///
/// # Errors
///
/// See [`Error`]; an empty list is none.
pub(crate) async fn run(ctx: &Ctx, args: &GetArgs) -> Result<(), Error> {
    let hub = Hub::new(ctx, kubeconfig::hub_config(&args.hub).await?)?;
    let now = Timestamp::now();
    let wide = args.output == Some(ListFormat::Wide);
    let (shown, nothing) = match args.kind {
        GetKind::Clusters => {
            let clusters = named("clusters", hub.list(&hub.all::<Cluster>()).await?, &args.names)?;
            let table = clusters::table(&clusters, wide, now);
            (Shown::of(&clusters, table)?, "No clusters joined yet.".to_owned())
        }
        GetKind::Bindings => bindings(&hub, args, wide, now).await?,
    };
    match shown.text(args) {
        Some(text) => terminal::result(&text)?,
        None => terminal::progress(nothing),
    }
    Ok(())
}

async fn bindings(hub: &Hub, args: &GetArgs, wide: bool, now: Timestamp) -> Result<(Shown, String), Error> {
    if args.all_namespaces {
        let namespaced: Vec<ResourceBinding> = hub.list(&hub.all()).await?;
        let wide_ones: Vec<ClusterResourceBinding> = hub.list(&hub.all()).await?;
        let (namespaced, wide_ones) = named_in_either("bindings", namespaced, wide_ones, &args.names)?;
        let rows =
            namespaced.iter().map(bindings::Row::namespaced).chain(wide_ones.iter().map(bindings::Row::cluster_scoped));
        let table = bindings::table(rows.collect(), wide, now);
        let mut shown = Shown::of(&namespaced, table)?;
        shown.objects.extend(values(&wide_ones)?);
        return Ok((shown, "No bindings found.".to_owned()));
    }
    let namespace = args.namespace.as_deref().unwrap_or(hub.default_namespace());
    let found = named("bindings", hub.list(&hub.within::<ResourceBinding>(namespace)).await?, &args.names)?;
    let rows = found.iter().map(bindings::Row::namespaced).collect();
    let table = bindings::table(rows, wide, now);
    let nothing = format!("No bindings found in namespace {namespace}; -A shows all.");
    Ok((Shown::of(&found, table)?, nothing))
}

/// What was found, both as a table and as objects.
struct Shown {
    table: String,
    objects: Vec<Value>,
}

impl Shown {
    fn of<K: Object>(objects: &[K], table: String) -> Result<Self, serde_json::Error> {
        Ok(Self { table, objects: values(objects)? })
    }

    /// The text to print; none for an empty table, as in kubectl.
    fn text(self, args: &GetArgs) -> Option<String> {
        match args.output {
            Some(ListFormat::Json) => Some(format!("{:#}\n", self.document(args))),
            Some(ListFormat::Yaml) => Some(yaml::render(&self.document(args))),
            Some(ListFormat::Name) => Some(self.objects.iter().map(qualified_name).collect()),
            Some(ListFormat::Wide) | None => (!self.objects.is_empty()).then_some(self.table),
        }
    }

    /// One object as itself when one was asked for, else a list.
    fn document(&self, args: &GetArgs) -> Value {
        match (args.names.len(), self.objects.as_slice()) {
            (1, [object]) => object.clone(),
            _ => {
                json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": self.objects})
            }
        }
    }
}

/// `cluster.cluster.karmada.io/bj-prod`
fn qualified_name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split('/').next().unwrap_or_default();
    format!("{}.{group}/{}\n", text("/kind").to_lowercase(), text("/metadata/name"))
}

fn values<K: Serialize + Object>(objects: &[K]) -> Result<Vec<Value>, serde_json::Error> {
    objects
        .iter()
        .map(|object| {
            let mut object = object.clone();
            object.meta_mut().managed_fields = None;
            serde_json::to_value(object)
        })
        .collect()
}

fn keep<K: Object>(objects: Vec<K>, names: &[String]) -> Vec<K> {
    let wanted = |object: &K| names.is_empty() || names.contains(&object.name_any());
    objects.into_iter().filter(wanted).collect()
}

/// The objects of these names; every name must exist.
fn named<K: Object>(kind: &'static str, objects: Vec<K>, names: &[String]) -> Result<Vec<K>, Error> {
    require(kind, names, |name| has(&objects, name))?;
    Ok(keep(objects, names))
}

/// The objects of these names; every name must exist in one list or the other.
fn named_in_either<A: Object, B: Object>(
    kind: &'static str,
    first: Vec<A>,
    second: Vec<B>,
    names: &[String],
) -> Result<(Vec<A>, Vec<B>), Error> {
    require(kind, names, |name| has(&first, name) || has(&second, name))?;
    Ok((keep(first, names), keep(second, names)))
}

fn require(kind: &'static str, names: &[String], exists: impl Fn(&str) -> bool) -> Result<(), Error> {
    match names.iter().find(|name| !exists(name)) {
        Some(missing) => Err(Error::NotFound { kind, name: missing.clone() }),
        None => Ok(()),
    }
}

fn has<K: Object>(objects: &[K], name: &str) -> bool {
    objects.iter().any(|object| object.meta().name.as_deref() == Some(name))
}

/// The command that shows everything of a kind; a binding may be in another namespace than was asked.
fn listing(kind: &str) -> String {
    let all = if kind == "bindings" { " -A" } else { "" };
    format!("pando get {kind}{all}")
}

/// Status of a condition: `True`, `False`, `Unknown`.
fn condition<'a>(conditions: &'a [Condition], kind: &str) -> &'a str {
    let found = conditions.iter().find(|condition| condition.type_ == kind);
    found.map_or("Unknown", |condition| condition.status.as_str())
}

/// The first thing that is not as it should be, in the words of its condition.
fn complaint(conditions: &[Condition]) -> String {
    let bad = conditions.iter().find(|condition| condition.status != "True");
    bad.map(|condition| match condition.message.is_empty() {
        true => condition.reason.clone(),
        false => format!("{}: {}", condition.reason, condition.message),
    })
    .unwrap_or_default()
}

fn created(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests;
