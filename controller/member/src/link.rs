//! The link to a member. A client of the hub that is taken for a member's is this domain's most likely serious bug: whatever
//! talks to a member takes a [`Member`], never a bare client.

use std::fmt;
use std::sync::Arc;

use kube::Client;
use pando_api::names::ClusterName;
use pando_context::Ctx;

use crate::gate::Gate;

/// The link to one member cluster. Its clients stay inside this package: requests go through [`crate::gateway`],
/// [`crate::probe`] and [`crate::watches`] only, each of which is bounded by the cluster's context.
#[derive(Clone)]
pub struct Member {
    name: ClusterName,
    ctx: Ctx,
    requests: Client,
    watches: Client,
    gate: Arc<Gate>,
}

impl Member {
    /// A link from its parts: `requests` and `watches` are separate connections, so that a slow list never holds up a write.
    #[must_use]
    pub fn new(name: ClusterName, ctx: Ctx, requests: Client, watches: Client) -> Self {
        Self { name, ctx, requests, watches, gate: Gate::new() }
    }

    /// The same behind a gate that the connections know of.
    #[must_use]
    pub fn behind(self, gate: Arc<Gate>) -> Self {
        Self { gate, ..self }
    }

    /// Which cluster this is.
    #[must_use]
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// The context `cluster/<name>`: everything that talks to the cluster runs in it.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// What every call passes.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn requests(&self) -> &Client {
        &self.requests
    }

    pub(crate) fn watches(&self) -> &Client {
        &self.watches
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", self.name)
    }
}
