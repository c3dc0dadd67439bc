//! Following kinds on demand: the shell around [`pando_core::kinds`].
//!
//! ```text
//! observe   policies, bindings, CRDs (stores); discovery when it is due     reads only
//! plan      which kinds to follow, which to end, which selectors are idle   pure, in core::kinds
//! apply     starts and ends watches                                         nothing on the hub
//! report    events on policies, a log line for bindings out of reach
//! ```
//!
//! There is one key, the look. It is queued when a policy or binding names a kind that is not followed, when a CRD
//! changes, and every 30 s. Objects of a new kind reach the controllers as changes of its store.

mod definition;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{Either, select};
use kube::Client;
use kube::core::ApiResource;
use pando_api::labels;
use pando_api::policy::PropagationSpec;
use pando_api::work::Binding;
use pando_context::{Ctx, Instant, Kind, Scope, Stop, Task, TaskError};
use pando_core::kinds::{self, End, Followed, KindName, LAGGING, Plan, Problem, RECHECK, Selecting, Served};
use pando_core::next::Next;
use pando_core::policy_match::{PolicyFacts, Skipped};
use pando_runtime::controller::{self, Class, ReconcileError, Spec};
use pando_runtime::discovery::{self, Discovered};
use pando_runtime::events::Recorder;
use pando_runtime::metrics::Metrics;
use pando_runtime::queue::Queue;
use pando_runtime::store::{Change, Record, Store};
use pando_runtime::watch::{self, Phase};
use tokio::sync::{Notify, watch as signal};

use crate::env::{Queues, Stores};
use crate::next::action;
use crate::reach::is_labelled;
use crate::template::{self, Template, TemplateKind, Templates};
use crate::wiring;
use definition::Definition;

static WATCH: Kind = Kind::new("watch");
static FEED: Kind = Kind::new("feed");
static WAKE: Kind = Kind::new("wake");

/// The deadline of one look: two discovery documents and nothing else that waits.
const LOOK: Duration = Duration::from_secs(60);
/// How soon to look whether a watch that was just started works.
const FIRST_LIST: Duration = Duration::from_secs(2);
/// How long the start of the process waits for the first list of one kind. Then it goes on without that kind, whose
/// templates stay unreadable.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the start of the process looks whether a kind has failed.
const GLANCE: Duration = Duration::from_millis(100);

/// What following kinds needs.
pub struct Parts {
    /// For discovery and watches.
    pub client: Client,
    /// The policies and bindings that want kinds, and the templates.
    pub stores: Stores,
    /// What is never propagated.
    pub skipped: Arc<Skipped>,
    /// Events on policies.
    pub events: Recorder,
    /// Bindings whose templates can be read from now on are looked at.
    pub queues: Queues,
}

/// The kinds that are followed. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Kinds {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    /// Where the watches live.
    ctx: Ctx,
    definitions: Store<Definition>,
    queue: Queue<Look>,
    state: Mutex<State>,
    looked: signal::Sender<bool>,
}

/// The one key of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Look;

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hub")
    }
}

#[derive(Default)]
struct State {
    discovered: Discovered,
    /// When discovery was last read; `None` when a CRD has changed since.
    read_at: Option<Instant>,
    /// When a CRD last changed what the hub serves.
    defined_at: Option<Instant>,
    /// When kinds that nobody wants were last looked for.
    tidied_at: Option<Instant>,
    watches: BTreeMap<KindName, Watch>,
    said: report::Memory,
}

/// A kind that is followed. Dropping it ends its watch.
struct Watch {
    kind: Served,
    feed: Task<()>,
    store: Store<Template>,
    /// Ends the pause of the watch after a failure.
    wake: Arc<Notify>,
    _scope: Scope,
}

/// Why nothing could be decided about kinds.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The hub's discovery was never read.
    #[error("the hub's discovery cannot be read ({0} did not answer): no kind can be followed until it does")]
    Undiscovered(String),
    /// The process or the look ends.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

impl ReconcileError for Error {
    fn class(&self) -> Class {
        match self {
            Self::Undiscovered(_) => Class::Transient,
            Self::Stopped(stop) => Class::of_stop(stop),
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Undiscovered(_) => "HubDiscoveryFailed",
            Self::Stopped(_) => "Stopped",
        }
    }
}

impl Kinds {
    /// Nothing is followed yet; the watches will live in `ctx`. Call it before the watches of policies and bindings
    /// start: it follows their changes.
    #[must_use]
    pub fn new(ctx: &Ctx, parts: Parts) -> Self {
        let inner = Inner {
            parts,
            ctx: ctx.clone(),
            definitions: Store::new(Definition::resource()),
            queue: Queue::new("kinds"),
            state: Mutex::default(),
            looked: signal::Sender::new(false),
        };
        let kinds = Self { inner: Arc::new(inner) };
        kinds.subscribe();
        kinds
    }

    fn subscribe(&self) {
        let Stores { templates, policies, cluster_policies, bindings, .. } = &self.inner.parts.stores;
        wake_for_new_kinds(&self.inner.queue, templates, policies, |policy| &policy.spec);
        wake_for_new_kinds(&self.inner.queue, templates, cluster_policies, |policy| &policy.spec);
        let (queue, followed) = (self.inner.queue.clone(), templates.clone());
        bindings.subscribe(move |change: &Change<Binding>| {
            let Some(kind) = change.new.as_deref().map(shipped) else { return };
            // What a binding ships hardly ever changes, and its status often: one whose kind is out of reach asks once.
            let is_new = change.old.as_deref().map(shipped) != Some(kind);
            if is_new && followed.kind(kind.0, kind.1).is_none() {
                queue.add(Look);
            }
        });
        let inner = Arc::downgrade(&self.inner);
        self.inner.definitions.subscribe(move |change: &Change<Definition>| {
            let hint = |side: &Option<Arc<Definition>>| side.as_ref().and_then(|it| it.established().cloned());
            if let Some(inner) = inner.upgrade().filter(|_| hint(&change.old) != hint(&change.new)) {
                inner.definition_changed();
            }
        });
    }

    /// Starts to look after kinds. The tasks end with the context that the kinds were made for; one that ends otherwise
    /// has panicked.
    #[must_use]
    pub fn run(&self, metrics: &Metrics) -> Vec<Task<()>> {
        let inner = &self.inner;
        let (client, definitions) = (inner.parts.client.clone(), inner.definitions.clone());
        let crds = inner.ctx.spawn_named(&WATCH, "customresourcedefinitions", move |ctx| async move {
            let stop = watch::run(ctx, client, definitions, watch::Options::default()).await;
            tracing::debug!(%stop, "watch ended");
        });
        inner.queue.add(Look);
        let spec = Spec { name: "kinds", concurrency: 1, timeout: LOOK, metrics: metrics.clone() };
        let kinds = self.clone();
        let looks = controller::run(&inner.ctx, spec, inner.queue.clone(), move |ctx, _| {
            let kinds = kinds.clone();
            async move { kinds.look(&ctx).await.map(action) }
        });
        vec![crds, looks]
    }

    /// Waits until the kinds that are wanted now are completely listed, apart from those that cannot be: they are named,
    /// and go on trying while everything else works. Policies and bindings have to be synced.
    ///
    /// # Errors
    /// The context ended first.
    pub async fn settled(&self, ctx: &Ctx) -> Result<(), Stop> {
        let mut looked = self.inner.looked.subscribe();
        // The sender lives in `self`: it cannot go away meanwhile.
        ctx.run(async { looked.wait_for(|looked| *looked).await.is_ok() }).await?;
        let started = Instant::now();
        for followed in self.inner.parts.stores.templates.all() {
            let (store, kind) = (&followed.store, &followed.kind.resource.kind);
            while !store.is_synced() {
                if let Phase::Failing(error) = store.health().phase {
                    tracing::warn!(kind, error, "started without this kind, which cannot be listed");
                    break;
                }
                if started.elapsed() > PATIENCE {
                    tracing::warn!(kind, "started without this kind, whose first list takes long");
                    break;
                }
                let (synced, glance) = (std::pin::pin!(store.synced(ctx)), std::pin::pin!(ctx.sleep(GLANCE)));
                match select(synced, glance).await {
                    Either::Left((ended, _)) | Either::Right((ended, _)) => ended?,
                }
            }
        }
        Ok(())
    }

    async fn look(&self, ctx: &Ctx) -> Result<Next, Error> {
        let stores = &self.inner.parts.stores;
        stores.policies.synced(ctx).await?;
        stores.cluster_policies.synced(ctx).await?;
        stores.bindings.synced(ctx).await?;
        let mut plan = self.inner.plan();
        // Periodic, after a change of a CRD, or because something is wanted that was not there when it was last read.
        let is_old = |at: Option<Instant>| at.is_none_or(|at| at.elapsed() >= RECHECK);
        let read_at = self.inner.state().read_at;
        let is_due = is_old(read_at);
        let is_wanting = plan.findings.iter().any(|finding| finding.problem == Problem::NotServed)
            || plan.out_of_reach.values().any(|problem| *problem == Problem::NotServed);
        // Many wishes in one second are one reading: the documents are large.
        let rest = is_wanting.then(|| read_at.map_or(Duration::ZERO, |at| LAGGING.saturating_sub(at.elapsed())));
        if is_due || rest == Some(Duration::ZERO) {
            self.inner.discover(ctx).await?;
            plan = self.inner.plan();
        } else if let Some(rest) = rest {
            plan.next = plan.next.min(Next::after(rest));
        }
        let is_periodic = is_old(self.inner.state().tidied_at);
        self.inner.apply(&plan, is_periodic);
        self.inner.wake_failing();
        self.inner.state().said.tell(&plan, stores, &self.inner.parts.events);
        self.inner.looked.send_replace(true);
        Ok(plan.next.min(self.inner.next_glance()))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A CRD makes the hub serve something else from now on.
    fn definition_changed(&self) {
        let mut state = self.state();
        state.read_at = None;
        state.defined_at = Some(Instant::now());
        drop(state);
        self.queue.add(Look);
        self.queue.add_after(Look, FIRST_LIST);
    }

    /// Whether the hub may still be at work on a CRD that has changed.
    fn is_defining(&self) -> bool {
        self.state().defined_at.is_some_and(|at| at.elapsed() < RECHECK)
    }

    /// A CRD may have been removed and installed again between two looks. Its watch rests after failures, for up to half a
    /// minute, and has no reason to any more.
    fn wake_failing(&self) {
        if !self.is_defining() {
            return;
        }
        for watch in self.state().watches.values().filter(|watch| watch.is_failing()) {
            watch.wake.notify_waiters();
        }
    }

    /// The established CRDs, as long as discovery may lag behind one of them. A kind that it does not list after that is
    /// served by somebody else, if at all.
    fn definitions_of_late(&self) -> Vec<kinds::Definition> {
        if !self.is_defining() {
            return Vec::new();
        }
        self.definitions.list(None).iter().filter_map(|definition| definition.established().cloned()).collect()
    }

    /// Reads discovery; what did not answer stays as it was known.
    async fn discover(&self, ctx: &Ctx) -> Result<(), Error> {
        let begun = Instant::now();
        let found = discovery::of_hub(ctx, &self.parts.client).await;
        let mut state = self.state();
        let discovered = found.or_from(&state.discovered);
        if discovered.group_versions.is_empty() {
            return Err(Error::Undiscovered(discovered.missing.join(" and ")));
        }
        if discovered.missing != state.discovered.missing && !discovered.is_complete() {
            tracing::warn!(
                missing = discovered.missing.join(", "),
                "the hub's discovery is not complete, what was known of these groups stays"
            );
        }
        state.discovered = discovered;
        // A CRD that changed meanwhile may not be in it: that look is still to come.
        state.read_at = state.defined_at.is_none_or(|at| at < begun).then_some(begun);
        Ok(())
    }

    fn plan(&self) -> Plan {
        let Stores { templates, policies, cluster_policies, bindings, .. } = &self.parts.stores;
        let (policies, cluster_policies) = (policies.list(None), cluster_policies.list(None));
        let facts = policies.iter().map(|policy| PolicyFacts::from(policy.as_ref()));
        let facts = facts.chain(cluster_policies.iter().map(|policy| PolicyFacts::from(policy.as_ref())));
        let policies: Vec<_> = facts
            .map(|facts| Selecting { policy: facts.policy, selectors: facts.selectors, is_deleting: facts.is_deleting })
            .collect();
        let bound: BTreeSet<_> =
            bindings.kinds().iter().map(|(api_version, kind)| KindName::new(api_version, kind)).collect();
        let definitions = self.definitions_of_late();
        let selected = policies.iter().flat_map(|policy| policy.selectors);
        let mut named: BTreeSet<_> = selected.map(|it| KindName::new(&it.api_version, &it.kind)).collect();
        named.extend(bound.iter().cloned());
        let state = self.state();
        let served = served(&state.discovered);
        let followed: Vec<_> = state.watches.values().map(|watch| watch.as_followed(&named, templates)).collect();
        named.extend(followed.iter().map(|followed| followed.kind.name.clone()));
        let unread = named.into_iter().map(|name| name.api_version);
        let unread = unread.filter(|api_version| state.discovered.is_unread(api_version)).collect();
        kinds::plan(&kinds::Input {
            policies: &policies,
            bound: &bound,
            served: &served,
            unread: &unread,
            definitions: &definitions,
            skipped: &self.parts.skipped,
            followed: &followed,
        })
    }

    /// Ends and starts watches. What is merely unwanted ends in a periodic look only, so that a policy that is replaced
    /// does not cost a list.
    fn apply(&self, plan: &Plan, is_periodic: bool) {
        let templates = &self.parts.stores.templates;
        let mut state = self.state();
        if is_periodic {
            state.tidied_at = Some(Instant::now());
        }
        for (name, why) in plan.end.iter().filter(|(_, why)| is_periodic || **why != End::Unwanted) {
            tracing::info!(kind = %name, ?why, "kind is followed no longer");
            templates.forget(&name.api_version, &name.kind);
            state.watches.remove(name);
        }
        let panicked: Vec<_> = state.watches.values_mut().filter_map(Watch::panicked).collect();
        for kind in plan.follow.iter().chain(&panicked) {
            tracing::info!(kind = %kind.name, "kind is followed");
            state.watches.insert(kind.name.clone(), self.start(kind));
        }
    }

    fn start(&self, kind: &Served) -> Watch {
        let (group, version) = (kind.name.group(), &kind.name.api_version);
        let version = version.split_once('/').map_or(version.as_str(), |(_, version)| version);
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: kind.name.api_version.clone(),
            kind: kind.name.kind.clone(),
            plural: kind.plural.clone(),
        };
        let kind_of_template = TemplateKind { resource, namespaced: kind.namespaced, has_status: kind.has_status };
        let followed = self.parts.stores.templates.follow(kind_of_template);
        let store = followed.store.clone();
        let name = if group.is_empty() { kind.plural.clone() } else { format!("{}.{group}", kind.plural) };
        let scope = self.ctx.child_named(&WATCH, name);
        let client = self.parts.client.clone();
        let wake = Arc::<Notify>::default();
        let woken = Arc::clone(&wake);
        let fed = store.clone();
        let feed = scope.ctx().spawn(&FEED, move |ctx| async move {
            let stop = watch::run_woken(ctx, client, fed, watch::Options::default(), woken).await;
            tracing::debug!(%stop, "watch ended");
        });
        self.wake(&scope, followed);
        Watch { kind: kind.clone(), feed, store, wake, _scope: scope }
    }

    /// Wakes who waits for the first complete list of a kind.
    fn wake(&self, scope: &Scope, followed: template::Followed) {
        let (stores, queues) = (self.parts.stores.clone(), self.parts.queues.clone());
        let woken = scope.ctx().spawn(&WAKE, |ctx| async move {
            if followed.store.synced(&ctx).await.is_ok() {
                wiring::kind_is_listed(&stores, &queues, &followed.kind);
            }
        });
        woken.detach();
    }

    /// A watch that was just started is looked at soon, so that a refusal is named.
    fn next_glance(&self) -> Next {
        let any_is_open = self.parts.stores.templates.all().iter().any(report::is_open);
        if any_is_open { Next::after(FIRST_LIST) } else { Next::await_change() }
    }
}

impl Watch {
    /// As the decision takes it. Marks are looked for only where nothing else keeps the kind: `named` are those that do.
    fn as_followed(&self, named: &BTreeSet<KindName>, templates: &Templates) -> Followed {
        let name = &self.kind.name;
        Followed { kind: self.kind.clone(), is_claimed: !named.contains(name) && is_claimed(templates, name) }
    }

    fn is_failing(&self) -> bool {
        matches!(self.store.health().phase, Phase::Failing(_))
    }

    /// The kind, if its feed has panicked: it is followed anew.
    fn panicked(&mut self) -> Option<Served> {
        match (&mut self.feed).now_or_never() {
            Some(Err(error @ TaskError::Panicked { .. })) => {
                tracing::error!(kind = %self.kind.name, %error, "the watch ended, starting it anew");
                Some(self.kind.clone())
            }
            _ => None,
        }
    }
}

/// A policy that selects a kind that is not followed wakes the look; one that goes can wait for the next.
fn wake_for_new_kinds<P: Record>(
    queue: &Queue<Look>,
    templates: &Templates,
    store: &Store<P>,
    spec: fn(&P) -> &PropagationSpec,
) {
    let (queue, templates) = (queue.clone(), templates.clone());
    store.subscribe(move |change: &Change<P>| {
        let selectors = change.new.iter().flat_map(|policy| &spec(policy).resource_selectors);
        let mut kinds = selectors.map(|selector| templates.kind(&selector.api_version, &selector.kind));
        if kinds.any(|followed| followed.is_none()) {
            queue.add(Look);
        }
    });
}

/// The apiVersion and kind of what a binding ships.
fn shipped(binding: &Binding) -> (&str, &str) {
    (&binding.spec.resource.api_version, &binding.spec.resource.kind)
}

/// Whether an object of the kind carries the mark of a policy.
fn is_claimed(templates: &Templates, name: &KindName) -> bool {
    let Some(followed) = templates.kind(&name.api_version, &name.kind) else { return false };
    let marks = [labels::PROPAGATION_POLICY_PERMANENT_ID, labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID];
    marks.iter().any(|mark| is_labelled(&followed.store, mark))
}

fn served(discovered: &Discovered) -> Vec<Served> {
    let versions = discovered.group_versions.iter();
    let kinds = versions.flat_map(|version| version.kinds.iter().map(move |kind| (version, kind)));
    kinds
        .map(|(version, kind)| Served {
            name: KindName::new(&version.group_version, &kind.kind),
            plural: kind.name.clone(),
            namespaced: kind.namespaced,
            has_status: kind.has_status,
            preference: version.preference,
            lacks: kind.lacks,
        })
        .collect()
}
