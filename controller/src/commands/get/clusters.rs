//! The table of `pando get clusters`: Karmada's printer columns, and where the member is in the wide form.

use jiff::Timestamp;
use pando_api::cluster::Cluster;

use super::super::table::{Table, age};
use super::{complaint, condition, created};

const COLUMNS: [&str; 5] = ["NAME", "VERSION", "MODE", "READY", "AGE"];
const WIDE: [&str; 5] = ["ZONES", "REGION", "PROVIDER", "API-ENDPOINT", "MESSAGE"];

/// One row for each cluster, by name.
pub(super) fn table(clusters: &[Cluster], wide: bool, now: Timestamp) -> String {
    let header: Vec<&str> = match wide {
        true => COLUMNS.iter().chain(&WIDE).copied().collect(),
        false => COLUMNS.to_vec(),
    };
    let mut table = Table::new(&header);
    for cluster in clusters {
        table.row(cells(cluster, wide, now));
    }
    table.render()
}

fn cells(cluster: &Cluster, wide: bool, now: Timestamp) -> Vec<String> {
    let status = cluster.status.clone().unwrap_or_default();
    let leaving = cluster.metadata.deletion_timestamp.is_some();
    let ready = condition(&status.conditions, "Ready");
    let mut cells = vec![
        cluster.metadata.name.clone().unwrap_or_default(),
        status.kubernetes_version.clone(),
        format!("{:?}", cluster.spec.sync_mode),
        // kubectl has no column for it either, but nothing else explains a cluster that gets no work.
        if leaving { format!("{ready},Leaving") } else { ready.to_owned() },
        age(created(&cluster.metadata), now),
    ];
    if wide {
        cells.extend([
            cluster.spec.zones.join(","),
            cluster.spec.region.clone(),
            cluster.spec.provider.clone(),
            cluster.spec.api_endpoint.clone(),
            complaint(&status.conditions),
        ]);
    }
    cells
}
