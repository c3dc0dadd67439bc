//! B1, bursts: many applications at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::load::{self, Call, IN_FLIGHT};
use super::machine::{self, Spent};
use super::objects::{Kind, Shape, contains};
use super::observer::Observer;
use super::requests::{self, Counts, Marks, Stage};
use super::rig::Rig;

/// Whatever the controller, a burst may take so long and a second for each [`PER_SECOND`] objects.
const PATIENCE: Duration = Duration::from_secs(120);
/// A controller that propagates fewer objects in a second is given up on.
const PER_SECOND: u64 = 5;

/// A burst: applications of one shape in one namespace.
#[derive(Clone, Debug)]
pub struct Burst {
    /// What each application consists of.
    pub shape: Shape,
    /// Where they go. What the shape needs before is there already.
    pub namespace: String,
    /// Number of the first application.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Applications.
    pub apps: u32,
    /// Seconds until the last request of the load was answered.
    pub posted: f64,
    /// Seconds until every object existed in every member; none when that did not happen in time.
    pub exist: Option<f64>,
    /// Seconds until every status was complete; none when that did not happen in time.
    pub complete: Option<f64>,
    /// Writes of the controller under test until it came to rest.
    pub counts: Counts,
    /// The same by stage.
    pub stages: Vec<Stage>,
    /// Processor seconds until the statuses were complete.
    pub spent: Spent,
}

impl Burst {
    /// A burst of its own namespace, ready to go: namespace and policy are there, and the controller rests.
    ///
    /// # Errors
    /// When the namespace does not arrive.
    pub async fn prepare(rig: &Rig, shape: Shape, count: u32) -> Result<Self> {
        let namespace = rig.namespace().await?;
        if let Some(policy) = shape.policy_before(&namespace, &rig.member_names()) {
            Call::create(&policy)?.send(&rig.hub.client).await?;
        }
        Ok(Self { shape, namespace, first: 0, count })
    }

    /// Applies the load and watches until everything is there, and right.
    ///
    /// # Errors
    /// When the load is refused, the observer loses a watch, or a member holds something else than was asked for.
    pub async fn run(&self, rig: &Rig) -> Result<Outcome> {
        rig.calm().await?;
        let observer = Observer::start(rig, &self.namespace, self.shape).await?;
        let calls = self.calls(rig)?;
        let (marks, before) = (Marks::now(rig)?, rig.spent());
        let templates = usize::try_from(self.count)? * self.shape.kinds().len();
        let objects = u64::try_from(templates * rig.members.len())?;
        let within = PATIENCE + Duration::from_secs(objects / PER_SECOND);
        // Every binding, and every template with a status.
        let workloads = self.shape.kinds().iter().filter(|kind| **kind == Kind::Deployment).count();
        let statuses = templates + usize::try_from(self.count)? * workloads;

        let (started, start) = (Timestamp::now(), Instant::now());
        let since = |time: Option<Instant>| time.map(|time| time.duration_since(start).as_secs_f64());
        let posting = load::send_all(&rig.hub.client, calls, IN_FLIGHT);
        let watching = async {
            let exist = observer.exist(templates, within, &rig.progress).await?;
            let complete = match exist {
                Some(_) => observer.complete(statuses, within, &rig.progress).await?,
                None => None,
            };
            Ok((exist, complete))
        };
        let (posted, (exist, complete)) = futures::future::try_join(posting, watching).await?;
        let spent = machine::difference(&before, &rig.spent());
        if complete.is_some() {
            self.right(rig).await?;
        }
        rig.calm().await?;
        let requests = marks.requests(rig)?;
        let outcome = Outcome {
            apps: self.count,
            posted: since(Some(posted)).unwrap_or(0.0),
            exist: since(exist),
            complete: since(complete),
            counts: requests.counts(),
            stages: requests.stages(started),
            spent,
        };
        rig.progress.say(outcome.summary(self.shape));
        Ok(outcome)
    }

    fn name(number: u32) -> String {
        format!("app-{number:05}")
    }

    fn calls(&self, rig: &Rig) -> Result<Vec<Call>> {
        let clusters = rig.member_names();
        let apps = self.first..self.first + self.count;
        let objects = apps.flat_map(|number| self.shape.application(&self.namespace, &Self::name(number), &clusters));
        objects.map(|object| Call::create(&object)).collect()
    }

    /// Compares what the members hold with what was asked for.
    async fn right(&self, rig: &Rig) -> Result<()> {
        for member in &rig.members {
            for (index, kind) in self.shape.kinds().iter().enumerate() {
                let list = load::read(&member.client, &kind.collection(Some(&self.namespace))).await?;
                let list = list.context("not served")?;
                let items = list["items"].as_array().context("a list without items")?;
                for number in self.first..self.first + self.count {
                    let name = Self::name(number);
                    let seen = items.iter().find(|item| item["metadata"]["name"] == name.as_str());
                    let wanted = &self.shape.templates(&self.namespace, &name)[index];
                    let same = |part: &str| contains(seen.map_or(&Value::Null, |seen| &seen[part]), &wanted[part]);
                    let labels = seen.map_or(&Value::Null, |seen| &seen["metadata"]["labels"]);
                    ensure!(
                        seen.is_some()
                            && same("spec")
                            && same("data")
                            && contains(labels, &wanted["metadata"]["labels"]),
                        "{} {name} in {} is not what was asked for: {}",
                        kind.name(),
                        member.cluster.name,
                        seen.map_or("nothing".to_owned(), Value::to_string)
                    );
                }
            }
        }
        Ok(())
    }

    /// Removes what it has made.
    ///
    /// # Errors
    /// When something stays.
    pub async fn clear(&self, rig: &Rig) -> Result<()> {
        rig.clear(&self.namespace, self.shape.kinds()).await
    }
}

impl Outcome {
    fn summary(&self, shape: Shape) -> String {
        let time = |time: Option<f64>| time.map_or("not in time".to_owned(), |time| format!("{time:.2} s"));
        format!(
            "{} apps ({shape:?}): posted after {:.2} s, exist {}, statuses {}, {} hub and {} member writes, {} conflicts",
            self.apps,
            self.posted,
            time(self.exist),
            time(self.complete),
            self.counts.hub_writes,
            self.counts.member_writes,
            self.counts.conflicts
        )
    }

    /// For the file.
    pub fn profile(&self) -> Value {
        json!({
            "apps": self.apps,
            "posted": self.posted,
            "exist": self.exist,
            "complete": self.complete,
            "counts": self.counts,
            "stages": self.stages,
            "processorSeconds": self.spent,
        })
    }

    /// For a person.
    pub fn print(&self) -> String {
        let mut spent: Vec<_> = self.spent.iter().collect();
        spent.sort_by(|one, other| other.1.total_cmp(one.1));
        let spent: Vec<String> = spent.iter().map(|(name, seconds)| format!("{name} {seconds:.2}")).collect();
        format!("{}    processor seconds: {}", requests::print(&self.stages), spent.join(", "))
    }
}
