//! The credential secret of a member on the hub.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use pando_api::annotations;
use pando_api::cluster::LocalSecretReference;
use pando_context::Ctx;

use super::memory::Lifetime;
use super::namespace::call;
use super::{Env, Error};

/// Reads a secret. `None` when the server says that it is not there.
pub(super) async fn read(ctx: &Ctx, env: &Env, place: &LocalSecretReference) -> Result<Option<Secret>, Error> {
    let api = Api::<Secret>::namespaced(env.client.clone(), &place.namespace);
    let what = format!("read secret {}/{}", place.namespace, place.name);
    call(ctx, what, api.get_opt(&place.name)).await
}

/// The life of the token in the secret, as its annotations say. `None` for tokens without an end, or of which nothing is
/// said: they are not renewed.
pub(super) fn lifetime(secret: &Secret) -> Option<Lifetime> {
    let annotation = |key| secret.metadata.annotations.as_ref()?.get(key)?.parse().ok();
    Some(Lifetime { from: annotation(ISSUED), until: annotation(annotations::TOKEN_EXPIRES)? })
}

/// On a credential secret: when its token was issued, RFC 3339. Ours, written at each renewal.
pub(super) const ISSUED: &str = annotations::TOKEN_ISSUED;
