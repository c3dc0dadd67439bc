//! One member's line in a binding's status.

use pando_api::{
    conditions::{APPLIED, FALSE, STATUS_COMPLETE, TRUE, UNKNOWN},
    work::{AggregatedStatusItem, ManifestStatus, ObjectReference, ResourceHealth, Work, WorkStatus},
};
use xxhash_rust::xxh3::Xxh3;

use super::{same_raw, work::MAX_STATUS_BYTES};
use crate::conditions;

/// The statuses that one binding shows may have so many bytes together: etcd refuses an object of 1.5 MiB, and there are
/// the spec, the other fields of the items, and the fields' managers.
const MAX_SHOWN_BYTES: usize = 512 * 1024;

const LEFT_OUT: &str =
    "its status is left out: with those of the other members it is too large for a binding; see the Work";

/// How many bytes a member's status may have so that those of all members fit: as many as a Work may carry, unless they
/// are too large together; then an equal part each.
pub(super) fn room(sizes: impl Iterator<Item = usize>) -> usize {
    let sizes = sizes.filter(|size| *size <= MAX_STATUS_BYTES);
    let (count, sum) = sizes.fold((0, 0_usize), |(count, sum), size| (count + 1, sum + size));
    if sum <= MAX_SHOWN_BYTES { MAX_STATUS_BYTES } else { MAX_SHOWN_BYTES / count }
}

/// How many bytes of status a cluster's item would show.
pub(super) fn size(work: Option<&Work>, known: Option<&AggregatedStatusItem>, resource: &ObjectReference) -> usize {
    let status = match work {
        Some(work) => manifest_of(work.status.as_ref(), resource).and_then(|manifest| manifest.status.as_ref()),
        None => known.and_then(|known| known.status.as_ref()),
    };
    status.map_or(0, |status| status.get().len())
}

/// The item without its status, and with the reason.
pub(super) fn without_status(mut item: AggregatedStatusItem) -> AggregatedStatusItem {
    item.status = None;
    if !item.applied_message.contains(LEFT_OUT) {
        say(&mut item.applied_message, LEFT_OUT);
    }
    item
}

fn say(message: &mut String, more: &str) {
    if !message.is_empty() {
        message.push_str("; ");
    }
    message.push_str(more);
}

/// What the Work says of its cluster. An object that is not applied, or whose member is not read, has unknown health; its
/// last known status stays all the same: an outage, or an edit that the member refuses, does not stop what runs there.
pub(super) fn build(
    cluster: &str,
    status: Option<&WorkStatus>,
    resource: &ObjectReference,
    is_read: bool,
) -> AggregatedStatusItem {
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let manifest = manifest_of(status, resource);
    let condition = conditions::find(conditions, APPLIED);
    let applied = condition.is_some_and(|condition| condition.status == TRUE);
    let complaint = condition.filter(|condition| condition.status == FALSE || condition.status == UNKNOWN);
    let mut message = complaint.map(|condition| condition.message.clone()).unwrap_or_default();
    if let Some(incomplete) = conditions::find(conditions, STATUS_COMPLETE) {
        say(&mut message, &incomplete.message);
    }
    let health = manifest.filter(|_| applied && is_read).and_then(|manifest| manifest.health);
    AggregatedStatusItem {
        cluster_name: cluster.to_owned(),
        status: manifest.and_then(|manifest| manifest.status.clone()),
        applied,
        applied_message: message,
        health: Some(health.unwrap_or(ResourceHealth::Unknown)),
    }
}

/// What was known of a cluster whose Work cannot be read now.
pub(super) fn doubted(known: &AggregatedStatusItem) -> AggregatedStatusItem {
    AggregatedStatusItem { health: Some(ResourceHealth::Unknown), ..known.clone() }
}

fn manifest_of<'a>(status: Option<&'a WorkStatus>, resource: &ObjectReference) -> Option<&'a ManifestStatus> {
    status?.manifest_statuses.iter().find(|known| is_of(known, resource))
}

fn is_of(manifest: &ManifestStatus, resource: &ObjectReference) -> bool {
    let (group, version) = resource.api_version.split_once('/').unwrap_or(("", &resource.api_version));
    let identifier = &manifest.identifier;
    identifier.group == group
        && identifier.version == version
        && identifier.kind == resource.kind
        && identifier.namespace == resource.namespace
        && identifier.name == resource.name
}

/// Whether two items mean the same, whatever their bytes.
pub(super) fn same(left: &AggregatedStatusItem, right: &AggregatedStatusItem) -> bool {
    let AggregatedStatusItem { cluster_name, status, applied, applied_message, health } = left;
    *cluster_name == right.cluster_name
        && *applied == right.applied
        && *applied_message == right.applied_message
        && *health == right.health
        && same_raw(status.as_ref(), right.status.as_ref())
}

/// Of everything that an item is made of: the same source gives the same item. No Work stands for one in doubt.
pub(super) fn source(work: Option<&Work>, resource: &ObjectReference, is_read: bool, fits: bool) -> u64 {
    let ObjectReference { api_version, kind, namespace, name, uid: _, resource_version: _ } = resource;
    let uid = work.and_then(|work| work.metadata.uid.as_deref()).unwrap_or_default();
    let version = work.and_then(|work| work.metadata.resource_version.as_deref()).unwrap_or_default();
    let mut digest = Digest::new();
    for part in [api_version.as_str(), kind, namespace, name, uid, version] {
        digest.part(part.as_bytes());
    }
    digest.part(&[u8::from(is_read), u8::from(fits)]);
    digest.finish()
}

/// Of an item, byte for byte.
pub(super) fn digest(item: &AggregatedStatusItem) -> u64 {
    let AggregatedStatusItem { cluster_name, status, applied, applied_message, health } = item;
    let mut digest = Digest::new();
    digest.part(cluster_name.as_bytes());
    digest.part(status.as_ref().map(|status| status.get().as_bytes()).unwrap_or_default());
    digest.part(&[u8::from(*applied)]);
    digest.part(applied_message.as_bytes());
    digest.part(health.map(ResourceHealth::as_str).unwrap_or_default().as_bytes());
    digest.finish()
}

/// A hash over parts that cannot flow into each other. It tells versions apart; it protects nothing.
pub(super) struct Digest(Xxh3);

impl Digest {
    pub(super) fn new() -> Self {
        Self(Xxh3::new())
    }

    pub(super) fn part(&mut self, bytes: &[u8]) {
        self.0.update(&bytes.len().to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.digest()
    }
}
