//! Which kinds a member serves.

use bytes::Bytes;
use pando_context::Ctx;
use pando_runtime::discovery::{self, Source};

use super::get;
use crate::fault::Fault;
use crate::link::Member;

pub use discovery::{Discovered, GroupVersion, Kind};

struct Asked<'a> {
    ctx: &'a Ctx,
    member: &'a Member,
}

impl Source for Asked<'_> {
    type Error = Fault;

    async fn get(&self, path: &str, accept: &str) -> Result<Bytes, Fault> {
        get(self.ctx, self.member, path, accept).await
    }
}

pub(super) async fn discover(ctx: &Ctx, member: &Member) -> Discovered {
    discovery::discover(&Asked { ctx, member }).await
}
