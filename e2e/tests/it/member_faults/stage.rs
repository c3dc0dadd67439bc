//! What every fault of a member is tested with: objects that change while it lasts, objects that must not, others that
//! must not notice, and what has to hold when it is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join;
use kube::api::{DynamicObject, ListParams};
use pando_e2e::audit::{self, Entry};
use pando_e2e::eventually;
use pando_e2e::federation::{Federation, cluster_resource};
use pando_e2e::http_relay::{Exchange, HttpRelay, Mark, Verb};
use pando_e2e::install;
use pando_e2e::provider::Cluster;
use pando_e2e::relay::Relay;
use serde_json::{Value, json};

use super::latency::{self, Latencies};
use crate::budget::{log, pando};
use crate::objects;
use crate::subject;
use crate::world::World;

/// The member that fails.
pub(super) const FAULTY: &str = "sz-prod";
/// Those that must not notice.
pub(super) const OTHERS: [&str; 2] = ["bj-prod", "sh-prod"];
/// Namespace of everything here.
pub(super) const SPACE: &str = "member-faults";
/// How long anything may take that nothing stands in the way of, on a loaded machine.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// How long a fault may last until somebody says why.
const TOLD: Duration = Duration::from_secs(15);
/// Edits that have to reach the other members meanwhile.
const EDITS: usize = 20;
/// What an edit may take to reach the other members: far more than it does, and less than any deadline that could be in its
/// way.
const PROMPT: Duration = Duration::from_secs(4);
/// How long a fault may wait until the controller comes across it.
const MET: Duration = Duration::from_secs(40);

/// So many kinds are followed at least: namespaces and what the tests here write.
const FEW_KINDS: u32 = 2;
/// Requests a second that one more kind may cost while its lists and watches fail.
const MORE_FOR_A_KIND: f64 = 3.0;

/// What is expected while a fault lasts.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Words of which a condition has to hold one; none where everything goes on.
    pub(super) cause: &'static [&'static str],
    /// How long the fault lasts at least.
    pub(super) lasts: Duration,
    /// Requests a second that the member may get while a few kinds are followed; each kind beyond those has its own list and watch.
    pub(super) rate: f64,
    /// The controller has to come across the fault by such a request.
    pub(super) met: Option<Verb>,
}

impl Expected {
    /// A fault that is named by one of these words.
    pub(super) fn told(cause: &'static [&'static str]) -> Self {
        Self { cause, lasts: Duration::from_secs(3), rate: 30.0, met: None }
    }

    /// A fault that the controller gets over while it lasts, and comes across by such a request.
    pub(super) fn gone_around(met: Verb) -> Self {
        Self { met: Some(met), rate: 15.0, ..Self::told(&[]) }
    }
}

/// A federation whose last member is about to fail.
pub(super) struct Stage<'a> {
    pub(super) federation: &'a Federation,
    pub(super) faulty: &'a Cluster,
    pub(super) relay: &'a Relay,
    pub(super) http: &'a HttpRelay,
    tag: &'static str,
}

/// Names and versions of objects, by kind and place.
pub(super) type Versions = BTreeMap<String, (String, String)>;

impl<'a> Stage<'a> {
    /// Objects of the test `tag` in every member, with the faulty member behind the HTTP relay.
    pub(super) async fn open(world: &'a World, tag: &'static str) -> Result<Self> {
        let federation = world.federation().await?;
        let faulty = federation.member(FAULTY)?;
        let relay = faulty.relay.as_deref().context("tests have relays")?;
        let http = faulty.http_relay.as_deref().context("tests have relays")?;
        let stage = Self { federation, faulty, relay, http, tag };
        stage.ground().await?;
        relay.lead_to(http.address());
        for name in ["changed", "deleted", "kept"] {
            objects::create(&federation.hub.client, &stage.map(name)).await?;
        }
        objects::create(&federation.hub.client, &stage.elsewhere()).await?;
        for member in &federation.members {
            for name in ["changed", "deleted", "kept"] {
                stage.shows(member, name, Some("value")).await?;
            }
        }
        stage.applied("changed").await?;
        // The watch lives on the new way: what is taken away comes back.
        objects::delete(&faulty.client, &stage.map("kept")).await?;
        stage.shows(faulty, "kept", Some("value")).await?;
        stage.applied("kept").await?;
        Ok(stage)
    }

    /// Namespace, policies and what belongs to others, for all tests here.
    async fn ground(&self) -> Result<()> {
        let hub = &self.federation.hub.client;
        let space = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SPACE } });
        if objects::get(hub, &space).await?.is_some() {
            return Ok(());
        }
        subject::namespace(self.federation, SPACE).await?;
        for (reach, clusters) in [("everywhere", &[OTHERS[0], OTHERS[1], FAULTY][..]), ("elsewhere", &OTHERS)] {
            let mut policy = objects::duplicated(SPACE, "v1", "ConfigMap", reach, clusters);
            policy["spec"]["resourceSelectors"] = json!([
                { "apiVersion": "v1", "kind": "ConfigMap", "labelSelector": { "matchLabels": { "reach": reach } } },
            ]);
            objects::create(hub, &policy).await?;
        }
        // Members are asked for their kinds now and then only: the test that needs it comes late.
        for cluster in self.federation.members.iter().chain([&self.federation.hub]) {
            install::definitions(&cluster.client, &[definition()]).await?;
        }
        for (namespace, name) in [(SPACE, "theirs"), (SPACE, "theirs-too"), ("default", "theirs")] {
            objects::create(&self.faulty.client, &objects::config_map(namespace, name)).await?;
        }
        Ok(())
    }

    /// The ConfigMap of this test that goes everywhere and is called so.
    pub(super) fn map(&self, name: &str) -> Value {
        let mut map = objects::config_map(SPACE, &self.name(name));
        map["metadata"]["labels"] = json!({ "reach": "everywhere" });
        map
    }

    /// The one that goes to the other members only.
    pub(super) fn elsewhere(&self) -> Value {
        let mut map = self.map("elsewhere");
        map["metadata"]["labels"] = json!({ "reach": "elsewhere" });
        map
    }

    /// Address of the faulty member's API server itself.
    pub(super) fn server(&self) -> Result<SocketAddr> {
        Ok(self.faulty.server.strip_prefix("https://").context("an https address")?.parse()?)
    }

    /// One fault, from its begin to what has to hold when it has ended.
    pub(super) async fn endures<G>(&self, expected: Expected, fault: impl FnOnce() -> G) -> Result<()> {
        let trial = self.begin().await?;
        let fault = fault();
        trial.runs(&expected).await?;
        drop(fault);
        trial.ended().await
    }

    /// Notes what has to stay as it is.
    pub(super) async fn begin(&self) -> Result<Trial<'_>> {
        Ok(Trial {
            stage: self,
            before: self.versions().await?,
            audit: log(self.faulty)?.mark()?,
            mark: self.http.record().mark(),
            start: Instant::now(),
        })
    }

    pub(super) fn user(&self) -> String {
        pando(self.faulty, self.federation)
    }

    /// One change, one deletion and one creation for every member.
    pub(super) async fn change_all(&self) -> Result<()> {
        let hub = &self.federation.hub.client;
        objects::merge(hub, &self.map("changed"), &json!({ "data": { "key": "second" } })).await?;
        objects::delete(hub, &self.map("deleted")).await?;
        objects::create(hub, &self.map("fresh")).await.map(drop)
    }

    /// Edits reach the other members as if nothing were wrong.
    pub(super) async fn others_are_prompt(&self) -> Result<()> {
        let others = [self.federation.member(OTHERS[0])?, self.federation.member(OTHERS[1])?];
        let latencies = latency::edits(self.federation, &others, &self.elsewhere(), EDITS).await?;
        println!("    the others: {latencies}");
        let Latencies { p99, .. } = latencies;
        ensure!(p99 <= PROMPT, "the other members waited: {latencies}");
        for member in others {
            self.shows(member, "changed", Some("second")).await?;
            self.shows(member, "fresh", Some("value")).await?;
            self.shows(member, "deleted", None).await?;
        }
        Ok(())
    }

    /// A request of this kind was answered wrongly. A watch that was disturbed before takes its time until it asks.
    async fn is_met(&self, mark: Mark, verb: Verb) -> Result<()> {
        eventually::some(MET, &format!("{verb:?} to meet the fault"), || async {
            let seen = self.http.record().since(mark);
            Ok(seen.iter().any(|exchange| exchange.faulty && exchange.call.verb == verb).then_some(()))
        })
        .await
    }

    /// A condition of an object that the change is about, or of the Cluster, says why in one line.
    pub(super) async fn is_told(&self, words: &'static [&'static str]) -> Result<()> {
        if words.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let (place, message) = eventually::some(TOLD, &format!("a condition with one of {words:?}"), || async {
            let all = self.conditions().await?;
            let told = all.iter().find(|(_, message)| {
                let message = message.to_lowercase();
                words.iter().any(|word| message.contains(&word.to_lowercase()))
            });
            ensure!(told.is_some(), "conditions that are not True: {all:?}");
            Ok(told.cloned())
        })
        .await?;
        println!("    {place} (after {:.1} s more): {message}", start.elapsed().as_secs_f64());
        ensure!(message.lines().count() == 1 && message.len() < 600, "not one short line: {message:?}");
        Ok(())
    }

    /// Place and message of every condition that does not hold, of the Cluster, the bindings and the faulty member's Works.
    async fn conditions(&self) -> Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        let clusters = kube::Api::<DynamicObject>::all_with(self.federation.hub.client.clone(), &cluster_resource());
        all.extend(fails("Cluster", &clusters.get(FAULTY).await?));
        for name in ["changed", "fresh"] {
            if let Some(binding) = objects::get(&self.federation.hub.client, &self.binding(name)).await? {
                all.extend(fails("ResourceBinding", &binding));
            }
        }
        for work in self.works().await? {
            all.extend(fails("Work", &work));
        }
        Ok(all)
    }

    fn binding(&self, name: &str) -> Value {
        json!({
            "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
            "metadata": { "namespace": SPACE, "name": format!("{}-configmap", self.name(name)) },
        })
    }

    /// This test's Works for the faulty member.
    async fn works(&self) -> Result<Vec<DynamicObject>> {
        let place = json!({
            "apiVersion": "work.karmada.io/v1alpha1", "kind": "Work",
            "metadata": { "namespace": format!("karmada-es-{FAULTY}") },
        });
        let mut works = objects::api_of(&self.federation.hub.client, &place)?.list(&ListParams::default()).await?.items;
        let prefix = format!("{}-", self.tag);
        works.retain(|work| manifest_name(work).starts_with(&prefix));
        Ok(works)
    }

    /// The faulty member was not hammered.
    pub(super) fn is_calm(&self, mark: Mark, limit: f64) -> Result<()> {
        let seen = self.http.record().since(mark);
        let seconds = mark.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let rate = seen.len() as f64 / seconds;
        println!("    {} requests in {seconds:.1} s ({rate:.1} a second): {}", seen.len(), by_verb(&seen));
        let limit = limit + MORE_FOR_A_KIND * f64::from(kinds(&seen).saturating_sub(FEW_KINDS));
        ensure!(rate <= limit, "{rate:.1} requests a second, at most {limit}: {}", by_path(&seen));
        Ok(())
    }

    /// What was asked for meanwhile is in the member, and the hub says so. Gives when each of it was so.
    pub(super) async fn converges(&self) -> Result<String> {
        let start = Instant::now();
        let seconds = || start.elapsed().as_secs_f64();
        self.shows(self.faulty, "changed", Some("second")).await?;
        self.shows(self.faulty, "fresh", Some("value")).await?;
        self.shows(self.faulty, "deleted", None).await?;
        let carried_out = seconds();
        try_join(self.applied("changed"), self.applied("fresh")).await?;
        eventually::some(SOON, "the Work of the deleted ConfigMap to be gone", || async {
            Ok((!self.works().await?.iter().any(|work| manifest_name(work) == self.name("deleted"))).then_some(()))
        })
        .await?;
        let reported = seconds();
        eventually::some(SOON, "conditions that complain no more", || async {
            let all = self.conditions().await?;
            ensure!(all.is_empty(), "{all:?}");
            Ok(Some(()))
        })
        .await?;
        Ok(format!("carried out {carried_out:.2} s, reported {reported:.2} s, nobody complains {:.2} s", seconds()))
    }

    /// The member holds what it held, and what was asked for; each was written once.
    pub(super) async fn only_what_was_asked(&self, before: &Versions, writes: &[Entry]) -> Result<()> {
        let after = self.versions().await?;
        let (changed, deleted) = (self.place("changed"), self.place("deleted"));
        for (place, (uid, version)) in before.iter().filter(|(place, _)| **place != deleted) {
            let (now, version_now) = after.get(place).with_context(|| format!("{place} is lost"))?;
            ensure!(uid == now, "{place} was replaced");
            ensure!(version == version_now || *place == changed, "{place} was written");
        }
        let mut ours: Vec<&Entry> = writes.iter().filter(|entry| entry.namespace == SPACE).collect();
        ours.retain(|entry| entry.resource == "configmaps");
        let names = |verb: &str| -> Vec<&str> {
            ours.iter().filter(|entry| entry.verb == verb).map(|entry| entry.name.as_str()).collect()
        };
        let text = || audit::print(ours.iter().copied());
        ensure!(names("create") == [self.name("fresh")], "created in the member:\n{}", text());
        ensure!(names("delete") == [self.name("deleted")], "deleted in the member:\n{}", text());
        let deletions = writes.iter().filter(|entry| entry.verb.starts_with("delete")).count();
        ensure!(deletions == 1, "deleted in the member:\n{}", audit::print(writes));
        Ok(())
    }

    /// An edit by hand is seen and reverted.
    pub(super) async fn watches_again(&self) -> Result<()> {
        let start = Instant::now();
        objects::merge(&self.faulty.client, &self.map("kept"), &json!({ "data": { "key": "by hand" } })).await?;
        self.shows(self.faulty, "kept", Some("value")).await?;
        println!("    an edit by hand is reverted after {:.2} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// uid and resourceVersion of the ConfigMaps that matter here, ours and others', in the faulty member.
    pub(super) async fn versions(&self) -> Result<Versions> {
        let mut versions = Versions::new();
        for namespace in [SPACE, "default"] {
            let place = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": namespace } });
            let list = objects::api_of(&self.faulty.client, &place)?.list(&ListParams::default()).await?;
            for object in list.items {
                let metadata = object.metadata;
                let name = metadata.name.unwrap_or_default();
                // What a test before this one left is its own affair.
                if name.starts_with(&format!("{}-", self.tag)) || name.starts_with("theirs") || name.ends_with("-kept")
                {
                    let version = (metadata.uid.unwrap_or_default(), metadata.resource_version.unwrap_or_default());
                    versions.insert(format!("{namespace}/{name}"), version);
                }
            }
        }
        Ok(versions)
    }

    /// A name of this test's own.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.tag)
    }

    fn place(&self, name: &str) -> String {
        format!("{SPACE}/{}", self.name(name))
    }

    /// Waits until a member's ConfigMap has this value; none means that it is gone.
    pub(super) async fn shows(&self, member: &Cluster, name: &str, wanted: Option<&str>) -> Result<()> {
        let what = format!("{name} in {}", member.name);
        let (map, wanted) = (self.map(name), wanted.map(str::to_owned));
        eventually::equal(SOON, &what, &wanted, || async {
            let seen = objects::get(&member.client, &map).await?;
            Ok(seen.and_then(|seen| Some(seen.data["data"]["key"].as_str()?.to_owned())))
        })
        .await
    }

    /// Waits until the binding is fully applied, as of its last change.
    pub(super) async fn applied(&self, name: &str) -> Result<()> {
        let hub = &self.federation.hub.client;
        let binding = self.binding(name);
        eventually::some(SOON, &format!("{name} to be fully applied"), || async {
            let seen = objects::get(hub, &binding).await?.context("no binding")?;
            let status = &seen.data["status"];
            let mut conditions = status["conditions"].as_array().into_iter().flatten();
            let fully = conditions.any(|one| one["type"] == "FullyApplied" && one["status"] == "True");
            let mut items = status["aggregatedStatus"].as_array().into_iter().flatten();
            ensure!(fully && items.all(|item| item["applied"] == true), "status {status}");
            Ok(Some(()))
        })
        .await
    }

    /// A ConfigMap comes and goes, as if nothing were wrong.
    pub(super) async fn something_comes_and_goes(&self) -> Result<()> {
        objects::create(&self.federation.hub.client, &self.map("passing")).await?;
        self.shows(self.faulty, "passing", Some("value")).await?;
        objects::delete(&self.federation.hub.client, &self.map("passing")).await?;
        self.shows(self.faulty, "passing", None).await
    }

    /// Resident memory of the controller in MiB, now.
    pub(super) fn memory(&self) -> Result<u64> {
        self.status_line("VmRSS:")
    }

    /// The most that it ever was.
    pub(super) fn memory_peak(&self) -> Result<u64> {
        self.status_line("VmHWM:")
    }

    fn status_line(&self, key: &str) -> Result<u64> {
        let pid = self.federation.controller().process().record.identity.pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024)
    }
}

/// A fault that is being gone through.
pub(super) struct Trial<'a> {
    stage: &'a Stage<'a>,
    before: Versions,
    audit: audit::Mark,
    mark: Mark,
    start: Instant,
}

impl Trial<'_> {
    /// The fault has begun: objects change, the others do not notice, somebody says why, and the member is not hammered.
    pub(super) async fn runs(&self, expected: &Expected) -> Result<()> {
        let stage = self.stage;
        stage.change_all().await?;
        stage.others_are_prompt().await?;
        stage.is_told(expected.cause).await?;
        if let Some(verb) = expected.met {
            stage.is_met(self.mark, verb).await?;
        }
        tokio::time::sleep(expected.lasts.saturating_sub(self.start.elapsed())).await;
        stage.is_calm(self.mark, expected.rate)
    }

    /// The fault has ended: what was asked for arrives, nothing else has happened, and it goes on as before.
    pub(super) async fn ended(self) -> Result<()> {
        let stage = self.stage;
        let during = self.start.elapsed().as_secs_f64();
        println!("    {} after the end of {during:.1} s of it", stage.converges().await?);
        let writes = log(stage.faulty)?.writes_since(self.audit, |by| by == stage.user())?;
        stage.only_what_was_asked(&self.before, &writes).await?;
        stage.watches_again().await
    }
}

/// A kind of its own, in every cluster.
pub(super) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.faults.example.io" },
        "spec": {
            "group": "faults.example.io", "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

/// Conditions that complain, as place and message.
fn fails(place: &str, object: &DynamicObject) -> Vec<(String, String)> {
    let conditions = object.data["status"]["conditions"].as_array().into_iter().flatten();
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    conditions
        .filter(|condition| (condition["status"] == "True") == (condition["type"] == "DeletionBlocked"))
        .map(|condition| (format!("{place} {}", text(condition, "type")), text(condition, "message")))
        .collect()
}

/// Name of a Work's first object.
fn manifest_name(work: &DynamicObject) -> &str {
    work.data["spec"]["workload"]["manifests"][0]["metadata"]["name"].as_str().unwrap_or_default()
}

fn by_verb(seen: &[Exchange]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for exchange in seen {
        *counts.entry(format!("{:?}", exchange.call.verb).to_lowercase()).or_default() += 1;
    }
    counts.iter().map(|(verb, count)| format!("{count} {verb}")).collect::<Vec<_>>().join(", ")
}

/// How many kinds were listed or watched. Other tests leave some behind: a kind is followed as long as a Work uses it.
fn kinds(seen: &[Exchange]) -> u32 {
    let collections = seen.iter().filter(|exchange| matches!(exchange.call.verb, Verb::List | Verb::Watch));
    let paths: std::collections::BTreeSet<&str> = collections.map(|exchange| exchange.call.path.as_str()).collect();
    u32::try_from(paths.len()).unwrap_or(u32::MAX)
}

fn by_path(seen: &[Exchange]) -> String {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for exchange in seen.iter().filter(|exchange| exchange.call.verb != Verb::Probe) {
        let call = &exchange.call;
        *counts.entry((format!("{:?}", call.verb), call.path.clone())).or_default() += 1;
    }
    let mut lines: Vec<_> = counts.into_iter().collect();
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    lines.iter().take(12).map(|((verb, path), count)| format!("\n  {count} {verb} {path}")).collect()
}
