//! The member's side of joining: a namespace, two accounts, one role, two tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use pando_api::names::ClusterName;
use pando_api::{annotations, labels};

use super::super::connection::{Member, Object, RequestError, qualified};
use super::super::terminal;
use super::admission::{self, Admission, Held};
use super::{ClusterId, Error, undisturbed};
use crate::args::JoinArgs;

/// How long a token should live; the member may cut it short. The controller renews it long before.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// How long to wait for a namespace that an earlier unjoin deleted.
const LEAVING_TRIES: usize = 15;
const LEAVING_PAUSE: Duration = Duration::from_secs(2);

/// The account for impersonating users, shared by all federations that know the member.
pub(in crate::commands) const IMPERSONATOR: &str = "karmada-impersonator";

/// The account that the controller acts as in the member. Karmada 1.19's name.
pub(in crate::commands) fn account(cluster: &ClusterName) -> String {
    format!("karmada-{cluster}")
}

/// The role of that account, and its binding. Karmada 1.19's name.
pub(in crate::commands) fn role(cluster: &ClusterName) -> String {
    format!("karmada-controller-manager:karmada-{cluster}")
}

/// A bearer token and its life.
pub(super) struct Token {
    pub(super) secret: String,
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
}

/// The tokens of both accounts.
pub(super) struct Tokens {
    pub(super) controller: Token,
    pub(super) impersonator: Token,
}

/// Checks, before anything is written, that nobody else acts under the names that joining takes.
pub(super) async fn claimable(
    member: &Member,
    args: &JoinArgs,
    federation: &ClusterId,
    admission: &Admission,
) -> Result<(), Error> {
    let role = role(&args.name);
    let held = [
        held(member, &member.within::<ServiceAccount>(&args.member.cluster_namespace), &account(&args.name)).await?,
        held(member, &member.all::<ClusterRole>(), &role).await?,
        held(member, &member.all::<ClusterRoleBinding>(), &role).await?,
    ];
    Ok(admission::claim(&held, federation, admission)?)
}

async fn held<K: Object>(member: &Member, api: &Api<K>, name: &str) -> Result<Held, RequestError> {
    let found = member.find(api, name).await?;
    Ok(Held { object: qualified(api, name), found: found.map(|found| found.meta().clone()) })
}

/// Creates or refreshes everything the controller needs in the member.
pub(super) async fn prepare(
    member: &Member,
    args: &JoinArgs,
    federation: &ClusterId,
    admission: &Admission,
) -> Result<Tokens, Error> {
    let namespace = args.member.cluster_namespace.as_str();
    ensure_namespace(member, namespace, federation).await?;

    let account = account(&args.name);
    let accounts = member.within::<ServiceAccount>(namespace);
    write(member, &accounts, &service_account(&account, namespace, federation), federation, admission).await?;
    ensure_impersonator(member, namespace, federation).await?;
    terminal::progress(format_args!("member: service accounts {account} and {IMPERSONATOR} are in {namespace}"));

    let role = role(&args.name);
    write(member, &member.all(), &cluster_role(&role, federation), federation, admission).await?;
    let binding = cluster_role_binding(&role, &account, namespace, federation);
    write(member, &member.all(), &binding, federation, admission).await?;
    terminal::progress(format_args!("member: cluster role {role} is bound to {account}"));

    let tokens = Tokens {
        controller: token(member, namespace, &account).await?,
        impersonator: token(member, namespace, IMPERSONATOR).await?,
    };
    terminal::progress(format_args!(
        "member: tokens are valid until {}; the controller renews them",
        tokens.controller.expires
    ));
    Ok(tokens)
}

/// Writes exactly the object that was judged to be ours: one that appears or changes in between is judged again.
async fn write<K: Object>(
    member: &Member,
    api: &Api<K>,
    wanted: &K,
    federation: &ClusterId,
    admission: &Admission,
) -> Result<(), Error> {
    undisturbed(async || {
        let held = held(member, api, &wanted.name_any()).await?;
        admission::claim(std::slice::from_ref(&held), federation, admission)?;
        match held.found {
            None => member.create(api, wanted).await?,
            Some(found) => {
                let mut wanted = wanted.clone();
                // In an apply these two are preconditions.
                wanted.meta_mut().uid = found.uid;
                wanted.meta_mut().resource_version = found.resource_version;
                member.apply(api, &wanted).await?
            }
        };
        Ok(())
    })
    .await
}

/// Every hub that knows the member uses this account, so an existing one stays as it is, record and all.
async fn ensure_impersonator(member: &Member, namespace: &str, federation: &ClusterId) -> Result<(), RequestError> {
    let api = member.within::<ServiceAccount>(namespace);
    if member.find(&api, IMPERSONATOR).await?.is_some() {
        return Ok(());
    }
    match member.create(&api, &service_account(IMPERSONATOR, namespace, federation)).await {
        // Someone else was faster; theirs does as well.
        Err(RequestError::Refused { code: 409, .. }) => Ok(()),
        created => created.map(drop),
    }
}

/// An existing namespace stays as it is: only what this federation made may it remove later.
async fn ensure_namespace(member: &Member, name: &str, federation: &ClusterId) -> Result<(), Error> {
    let api = member.all::<Namespace>();
    for _ in 0..LEAVING_TRIES {
        match member.find(&api, name).await? {
            Some(found) if found.metadata.deletion_timestamp.is_some() => {
                terminal::progress(format_args!("member: waiting: namespace {name} is being deleted"));
                member.pause(LEAVING_PAUSE).await?;
            }
            Some(_) => return Ok(()),
            None => return Ok(create_namespace(member, name, federation).await?),
        }
    }
    Err(Error::NamespaceLeaving { name: name.to_owned() })
}

async fn create_namespace(member: &Member, name: &str, federation: &ClusterId) -> Result<(), RequestError> {
    let namespace = Namespace { metadata: ours(name, None, federation), ..Namespace::default() };
    match member.create(&member.all(), &namespace).await {
        // Someone else was faster; theirs does as well.
        Err(RequestError::Refused { code: 409, .. }) => Ok(()),
        created => created.map(|_| terminal::progress(format_args!("member: namespace {name} created"))),
    }
}

async fn token(member: &Member, namespace: &str, account: &str) -> Result<Token, Error> {
    let api = member.within::<ServiceAccount>(namespace);
    let wish = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let issued = Timestamp::now();
    let request = api.create_token_request(account, &params, &wish);
    let answer = member.request::<ServiceAccount, _>("request a token for", &api, account, request).await?;
    let status = answer.status.ok_or_else(|| Error::Nonsense {
        side: "member",
        what: format!("no token for service account {namespace}/{account}"),
    })?;
    Ok(Token { secret: status.token, issued, expires: status.expiration_timestamp.0 })
}

/// Name, Karmada's system label, and the record of which federation made it.
fn ours(name: &str, namespace: Option<&str>, federation: &ClusterId) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(BTreeMap::from([(labels::SYSTEM.to_owned(), "true".to_owned())])),
        annotations: Some(BTreeMap::from([(annotations::FEDERATION.to_owned(), federation.0.clone())])),
        ..ObjectMeta::default()
    }
}

fn service_account(name: &str, namespace: &str, federation: &ClusterId) -> ServiceAccount {
    ServiceAccount { metadata: ours(name, Some(namespace), federation), ..ServiceAccount::default() }
}

/// Karmada 1.19 behaviour: every verb on every resource, because users may propagate any kind;
/// this includes `serviceaccounts/token`, with which the controller renews its own.
fn cluster_role(name: &str, federation: &ClusterId) -> ClusterRole {
    let any = || Some(vec!["*".to_owned()]);
    ClusterRole {
        metadata: ours(name, None, federation),
        rules: Some(vec![
            PolicyRule { api_groups: any(), resources: any(), verbs: vec!["*".to_owned()], ..PolicyRule::default() },
            PolicyRule { non_resource_urls: any(), verbs: vec!["get".to_owned()], ..PolicyRule::default() },
        ]),
        ..ClusterRole::default()
    }
}

fn cluster_role_binding(role: &str, account: &str, namespace: &str, federation: &ClusterId) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: ours(role, None, federation),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: role.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Subject::default()
        }]),
    }
}
