//! The link to a member. A client of the hub that is taken for a member's is this domain's most likely serious bug: whatever
//! talks to a member takes a [`Member`], never a bare client.

use std::fmt;
use std::sync::Arc;

use kube::Client;
use pando_api::names::ClusterName;
use pando_context::Ctx;
use pando_runtime::client::Requests;

use crate::connect;
use crate::doubts::Doubts;
use crate::gate::Gate;

/// The link to one member cluster. Its clients stay inside this package: requests go through [`crate::gateway`],
/// [`crate::probe`] and [`crate::watches`] only, each of which is bounded by the cluster's context.
#[derive(Clone)]
pub struct Member {
    name: ClusterName,
    ctx: Ctx,
    requests: Requests,
    watches: Client,
    gate: Arc<Gate>,
    doubts: Arc<Doubts>,
}

impl Member {
    /// A link over clients that the caller brings.
    #[must_use]
    pub fn new(name: ClusterName, ctx: Ctx, requests: Client, watches: Client) -> Self {
        let requests = Requests::through(&ctx, connect::limits(), requests);
        Self::over(name, ctx, requests, watches)
    }

    /// A link from its parts: `requests` and `watches` are separate connections, so that a slow list never holds up a write.
    #[must_use]
    pub fn over(name: ClusterName, ctx: Ctx, requests: Requests, watches: Client) -> Self {
        Self { name, ctx, requests, watches, gate: Gate::new(), doubts: Arc::default() }
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

    /// Writes whose outcome is unknown.
    #[must_use]
    pub fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    pub(crate) fn requests(&self) -> &Requests {
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
