//! Name lookups in the tree.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use pando_context::{Ctx, Kind};
use tower::Service;

const RESOLVE: Kind = Kind::new("resolve");

/// Asks the system's resolver, which blocks, on a thread that the tree knows of: a detach waits for it, and says so.
#[derive(Clone, Debug)]
pub(super) struct Resolver(Ctx);

impl Resolver {
    pub(super) fn new(ctx: Ctx) -> Self {
        Self(ctx)
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = self.0.spawn_blocking(&RESOLVE, move |_| (name.as_str(), 0).to_socket_addrs());
        Box::pin(async move { lookup.await.map_err(io::Error::other)? })
    }
}
