//! Status of a template: what its copies in the members come to.

use pando_api::{raw::EmbeddedObject, work::AggregatedStatusItem};
use serde_json::{Value, json};

use super::{
    item::Digest,
    memory::{Memory, Part},
    parsed,
};
use crate::{
    interpreter::{self, StatusItem},
    manifest::{InvalidManifest, Manifest},
    merge_patch,
};

/// A template as the hub has it.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: &'a str,
    /// `Deployment`, …
    pub kind: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// `metadata.generation`; 0 for kinds that count none.
    pub generation: i64,
    /// The object as it may travel, as JSON.
    pub content: &'a [u8],
    /// Hash of `content`.
    pub content_hash: &'a str,
    /// The status that is there now.
    pub status: Option<&'a EmbeddedObject>,
}

impl Template<'_> {
    fn digest(&self, silent: &[&str]) -> u64 {
        let mut digest = Digest::new();
        silent.iter().for_each(|cluster| digest.part(cluster.as_bytes()));
        digest.part(self.uid.as_bytes());
        digest.part(&self.generation.to_le_bytes());
        digest.part(self.content_hash.as_bytes());
        digest.part(self.status.map(|status| status.get().as_bytes()).unwrap_or_default());
        digest.finish()
    }
}

/// The merge patch of the template's `.status` for these items of its binding; `None` when its kind has no aggregated
/// status, or the status is right already. One of `targets` (sorted) without an item has not answered: nothing is complete
/// or observed without it.
///
/// Nothing is computed while neither the items nor the template have changed; of the items' statuses, each is parsed once.
///
/// # Errors
/// The content is not a manifest.
pub fn template_status(
    memory: &mut Memory,
    template: &Template<'_>,
    items: &[AggregatedStatusItem],
    targets: &[&str],
) -> Result<Option<Value>, InvalidManifest> {
    if !interpreter::aggregates(template.api_version, template.kind) {
        return Ok(None);
    }
    let silent = silent(items, targets);
    let digest = template.digest(&silent);
    if memory.template == Some(digest) {
        return Ok(None);
    }
    memory.tally.templates += 1;
    let mut object = Manifest::from_template(template.content)?.into_value();
    let present = parsed(template.status).unwrap_or(Value::Null);
    object["metadata"]["generation"] = json!(template.generation);
    object["status"] = present;
    let wanted = with_statuses(memory, items, &silent, |items| interpreter::aggregate_status(&object, items));
    let present = object["status"].take();
    let patch = wanted
        .filter(|wanted| said(wanted) != said(&present))
        .and_then(|wanted| merge_patch::between(&present, &wanted));
    if patch.is_none() {
        memory.template = Some(digest);
    }
    Ok(patch)
}

/// The targets without an item.
fn silent<'a>(items: &[AggregatedStatusItem], targets: &[&'a str]) -> Vec<&'a str> {
    let has_item = |cluster: &str| items.binary_search_by(|item| item.cluster_name.as_str().cmp(cluster)).is_ok();
    if items.len() == targets.len() {
        return Vec::new(); // items are of targets only
    }
    targets.iter().copied().filter(|cluster| !has_item(cluster)).collect()
}

/// Lends the items' statuses, which the memory keeps parsed, and nothing for each cluster that is silent.
fn with_statuses<R>(
    memory: &mut Memory,
    items: &[AggregatedStatusItem],
    silent: &[&str],
    decide: impl FnOnce(&[StatusItem<'_>]) -> R,
) -> R {
    let Memory { parts, tally, .. } = memory;
    let is_of = |(part, item): (&Part, &AggregatedStatusItem)| *part.cluster == *item.cluster_name;
    if parts.len() != items.len() || !parts.iter().zip(items).all(is_of) {
        // Not the items that were folded last: nothing is known of them.
        parts.clear();
        parts.extend(items.iter().map(|item| Part::new(&item.cluster_name, 0, item, None)));
    }
    let lent = parts
        .iter_mut()
        .zip(items)
        .map(|(part, item)| StatusItem { cluster: &item.cluster_name, status: part.take_status(item, tally) });
    let lent: Vec<_> = lent.chain(silent.iter().map(|cluster| StatusItem { cluster, status: None })).collect();
    let result = decide(&lent);
    for (part, lent) in parts.iter_mut().zip(lent) {
        part.put_back(lent.status);
    }
    result
}

/// A status without what says nothing, however deep: a server writes out what was left out, and leaves out what was
/// written. What servers fill in by themselves counts as nothing, too, or each of our writes would look undone.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.iter().map(|(field, value)| (field, said(value)));
            let fields = fields.filter(|(field, value)| !is_nothing(value) && !is_default(field, value));
            Value::Object(fields.map(|(field, value)| (field.clone(), value)).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(said).collect()),
        scalar => scalar.clone(),
    }
}

/// What a server may write out or leave out without meaning anything by it: Go's zero values.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
    }
}

/// Defaults of the statuses that are aggregated: only Services have one (Kubernetes 1.36, `SetDefaults_Service`).
fn is_default(field: &str, value: &Value) -> bool {
    field == "ipMode" && value == "VIP"
}
