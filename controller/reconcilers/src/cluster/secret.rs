//! The credential secret of a member on the hub.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use pando_api::annotations;
use pando_api::cluster::Cluster;
use pando_context::Ctx;

use super::memory::Lifetime;
use super::namespace::call;
use super::{Env, Error};

/// Reads the secret that the Cluster names. `None` when the server says that it is not there.
pub(super) async fn read(ctx: &Ctx, env: &Env, cluster: &Cluster) -> Result<Option<Secret>, Error> {
    let Some(reference) = &cluster.spec.secret_ref else {
        return Ok(None);
    };
    let api = Api::<Secret>::namespaced(env.client.clone(), &reference.namespace);
    call(
        ctx,
        format!("read secret {}/{}", reference.namespace, reference.name),
        api.get_opt(&reference.name),
    )
    .await
}

/// The life of the token in the secret, as its annotation and the token's own claims say. `None` for tokens without an
/// end, or of which nothing is said: they are not renewed.
pub(super) fn lifetime(secret: &Secret) -> Option<Lifetime> {
    let until = secret
        .metadata
        .annotations
        .as_ref()?
        .get(annotations::TOKEN_EXPIRES)?
        .parse()
        .ok()?;
    // Written with the annotation, so the write of the annotation is the start of the life.
    let from = secret
        .metadata
        .annotations
        .as_ref()?
        .get(ISSUED)
        .and_then(|issued| issued.parse().ok());
    Some(Lifetime {
        from: from.or_else(|| {
            secret
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|created| created.0)
        }),
        until,
    })
}

/// On a credential secret: when its token was issued, RFC 3339. Ours, written at each renewal.
pub(super) const ISSUED: &str = "pando.io/token-issued";
