//! One API server, and requests to it that end in time and explain their failure.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{GroupVersionKind, NamespaceResourceScope};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use pando_context::{Ctx, Kind, Stop};
use pando_core::manifest::Identity;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long one request may take, from dialling to the last byte.
const DEADLINE: Duration = Duration::from_secs(20);

/// How often a read is tried when the server is not ready to answer it, and the pause in between.
const PATIENCE: usize = 10;
const PAUSE: Duration = Duration::from_millis(500);

static REQUEST: Kind = Kind::new("request");

/// Which of the two clusters a connection leads to: swapping them is a compile error.
pub(crate) trait Side {
    /// How messages name it.
    const NAME: &'static str;
}

/// The cluster that holds policies and templates.
#[derive(Debug)]
pub(crate) enum HubSide {}
impl Side for HubSide {
    const NAME: &'static str = "hub";
}

/// A cluster that receives work.
#[derive(Debug)]
pub(crate) enum MemberSide {}
impl Side for MemberSide {
    const NAME: &'static str = "member";
}

/// A connection to the hub.
pub(crate) type Hub = Connection<HubSide>;
/// A connection to a member.
pub(crate) type Member = Connection<MemberSide>;

/// An API server and the context its requests run in.
pub(crate) struct Connection<S> {
    ctx: Ctx,
    client: Client,
    endpoint: String,
    default_namespace: String,
    side: PhantomData<S>,
}

/// A request that did not succeed: what was asked, of whom, and what to look at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// No client could be built from the connection data.
    #[error("cannot use the credentials for the {side} at {endpoint}: {why}")]
    Credentials {
        /// Hub or member.
        side: &'static str,
        /// Its address.
        endpoint: String,
        /// The innermost cause.
        why: String,
    },
    /// The server answered with a refusal.
    #[error("{side} {endpoint} refused to {what}: {why}")]
    Refused {
        /// Hub or member.
        side: &'static str,
        /// Its address.
        endpoint: String,
        /// The request in words.
        what: String,
        /// The server's own words.
        why: String,
        /// HTTP status code.
        code: u16,
    },
    /// The server does not know the kind.
    #[error("{side} {endpoint} does not serve {kind}: run `pando crds | kubectl apply --server-side -f -` there first")]
    NotServed {
        /// Hub or member.
        side: &'static str,
        /// Its address.
        endpoint: String,
        /// The kind, with its group.
        kind: String,
    },
    /// The server could not be reached, or its answer could not be read.
    #[error("cannot {what}: {side} {endpoint} cannot be reached: {why}")]
    Unreachable {
        /// Hub or member.
        side: &'static str,
        /// Its address.
        endpoint: String,
        /// The request in words.
        what: String,
        /// The innermost cause.
        why: String,
    },
    /// No answer in time.
    #[error("cannot {what}: {side} {endpoint} did not answer within {}s", DEADLINE.as_secs())]
    Deadline {
        /// Hub or member.
        side: &'static str,
        /// Its address.
        endpoint: String,
        /// The request in words.
        what: String,
    },
}

impl<S: Side> Connection<S> {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When certificates, keys or a credential program of the kubeconfig cannot be used.
    pub(crate) fn new(ctx: &Ctx, config: Config) -> Result<Self, RequestError> {
        let endpoint = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let default_namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| RequestError::Credentials {
            side: S::NAME,
            endpoint: endpoint.clone(),
            why: innermost(&error),
        })?;
        Ok(Self { ctx: ctx.clone(), client, endpoint, default_namespace, side: PhantomData })
    }

    /// The address of the API server.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The namespace of the kubeconfig's context, `default` without one.
    pub(crate) fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// Waits as part of the command.
    pub(crate) async fn pause(&self, time: Duration) -> Result<(), Stop> {
        self.ctx.sleep(time).await
    }

    /// Objects without a namespace, or of all namespaces.
    pub(crate) fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Objects of one namespace.
    pub(crate) fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Reads an object; none when it does not exist.
    pub(crate) async fn find<K: Object>(&self, api: &Api<K>, name: &str) -> Result<Option<K>, RequestError> {
        match self.patiently(async || self.request::<K, _>("read", api, name, api.get(name)).await).await {
            Err(RequestError::Refused { code: 404, .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Reads every object, without paging: these lists are short.
    pub(crate) async fn list<K: Object>(&self, api: &Api<K>) -> Result<Vec<K>, RequestError> {
        let params = ListParams::default();
        let list = self.patiently(async || self.request::<K, _>("list", api, "", api.list(&params)).await).await?;
        Ok(list.items)
    }

    /// Reads again while the server asks for patience, as it does for a second after a CRD was created.
    async fn patiently<T>(&self, read: impl AsyncFn() -> Result<T, RequestError>) -> Result<T, RequestError> {
        for _ in 1..PATIENCE {
            match read().await {
                Err(RequestError::Refused { code: 429 | 503, .. }) if self.ctx.sleep(PAUSE).await.is_ok() => {}
                other => return other,
            }
        }
        read().await
    }

    /// Creates an object; an existing one is an error.
    pub(crate) async fn create<K: Object>(&self, api: &Api<K>, object: &K) -> Result<K, RequestError> {
        let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
        let name = object.name_any();
        self.request::<K, _>("create", api, &name, api.create(&params, object)).await
    }

    /// Writes our fields of an object by server-side apply, creating it if need be.
    pub(crate) async fn apply<K: Object>(&self, api: &Api<K>, object: &K) -> Result<K, RequestError> {
        let params = PatchParams::apply(MANAGER).force();
        let name = object.name_any();
        let patch = Patch::Apply(object);
        self.request::<K, _>("write", api, &name, api.patch(&name, &params, &patch)).await
    }

    /// Changes fields of exactly this object by merge patch: of this version, if it carries one.
    pub(crate) async fn change<K: Object>(
        &self,
        api: &Api<K>,
        object: &K,
        mut patch: Value,
    ) -> Result<K, RequestError> {
        patch["metadata"]["uid"] = object.uid().into();
        if let Some(version) = object.resource_version() {
            patch["metadata"]["resourceVersion"] = version.into();
        }
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let name = object.name_any();
        let patch = Patch::Merge(&patch);
        self.request::<K, _>("change", api, &name, api.patch(&name, &params, &patch)).await
    }

    /// Deletes exactly this object; one that is gone already is fine.
    pub(crate) async fn delete<K: Object>(&self, api: &Api<K>, object: &K) -> Result<(), RequestError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: object.uid(), resource_version: object.resource_version() }),
            ..DeleteParams::background()
        };
        let name = object.name_any();
        match self.request::<K, _>("delete", api, &name, api.delete(&name, &params)).await {
            Err(RequestError::Refused { code: 404, .. }) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Any other request about an object of kind `K`, under the same deadline.
    pub(crate) async fn request<K: Object, T>(
        &self,
        verb: &str,
        api: &Api<K>,
        name: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, RequestError> {
        let kind = || format!("{}.{}", K::plural(&()), K::group(&()));
        self.send(in_words::<K>(verb, api, name), kind, request).await
    }

    /// Reads an object of any kind; none when it does not exist.
    pub(crate) async fn look(&self, identity: &Identity) -> Result<Option<DynamicObject>, RequestError> {
        let gvk = GroupVersionKind::gvk(identity.group(), identity.version(), &identity.kind);
        let kind = || format!("{}.{}", identity.kind, identity.group());
        let found = kube::discovery::pinned_kind(&self.client, &gvk);
        let (resource, _) = self.send(format!("look up {}", identity.kind), kind, found).await?;
        let api: Api<DynamicObject> = match &identity.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        self.send(format!("read {identity}"), kind, api.get_opt(&identity.name)).await
    }

    async fn send<T>(
        &self,
        what: String,
        kind: impl Fn() -> String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, RequestError> {
        let (side, endpoint) = (S::NAME, self.endpoint.clone());
        match self.ctx.timeout(&REQUEST, DEADLINE, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Err(_stop) => Err(RequestError::Deadline { side, endpoint, what }),
            // Without a reason the path itself is unknown: the kind is not served, which is not "no such object".
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && status.reason != "NotFound" => {
                Err(RequestError::NotServed { side, endpoint, kind: kind() })
            }
            Ok(Err(kube::Error::Api(status))) => Err(RequestError::Refused {
                side,
                endpoint,
                what,
                why: if status.message.is_empty() { status.reason.clone() } else { status.message.clone() },
                code: status.code,
            }),
            Ok(Err(error)) => Err(RequestError::Unreachable { side, endpoint, what, why: innermost(&error) }),
        }
    }
}

/// Kinds a command reads and writes.
pub(crate) trait Object: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned> Object for K {}

/// Who the commands are in `managedFields`.
const MANAGER: &str = pando_api::managers::COMMAND_LINE;

/// `read namespace kube-system`, `write secret karmada-cluster/bj-prod`, `list clusters`.
fn in_words<K: Object>(verb: &str, api: &Api<K>, name: &str) -> String {
    match name.is_empty() {
        true => format!("{verb} {}", K::plural(&())),
        false => format!("{verb} {}", qualified(api, name)),
    }
}

/// `secret karmada-cluster/bj-prod`, `clusterrole admin`: how a message names an object.
pub(crate) fn qualified<K: Object>(api: &Api<K>, name: &str) -> String {
    let kind = K::kind(&()).to_lowercase();
    match api.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The cause that a person can act on is at the bottom of the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
