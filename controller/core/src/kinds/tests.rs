#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

/// A hub that serves some kinds, with policies and bindings that want some.
struct World {
    served: Vec<Served>,
    unread: BTreeSet<String>,
    definitions: Vec<Definition>,
    policies: Vec<(PolicyRef, Vec<ResourceSelector>, bool)>,
    bound: BTreeSet<KindName>,
    followed: Vec<Followed>,
    skipped: Skipped,
}

fn served(api_version: &str, kind: &str, namespaced: bool, preference: usize) -> Served {
    Served {
        name: KindName::new(api_version, kind),
        plural: format!("{}s", kind.to_lowercase()),
        namespaced,
        has_status: true,
        preference,
        lacks: None,
    }
}

fn world() -> World {
    World {
        served: vec![
            served("v1", "ConfigMap", true, 0),
            served("v1", "Namespace", false, 0),
            served("apps/v1", "Deployment", true, 0),
            served("autoscaling/v2", "HorizontalPodAutoscaler", true, 0),
            served("autoscaling/v1", "HorizontalPodAutoscaler", true, 1),
            served("rbac.authorization.k8s.io/v1", "ClusterRole", false, 0),
            served("work.karmada.io/v1alpha1", "Work", true, 0),
        ],
        unread: BTreeSet::new(),
        definitions: Vec::new(),
        policies: Vec::new(),
        bound: BTreeSet::new(),
        followed: Vec::new(),
        skipped: Skipped::default(),
    }
}

fn selector((api_version, kind): &(&str, &str)) -> ResourceSelector {
    ResourceSelector {
        api_version: (*api_version).to_owned(),
        kind: (*kind).to_owned(),
        namespace: String::new(),
        name: String::new(),
        label_selector: None,
    }
}

impl World {
    fn policy(mut self, name: &str, selects: &[(&str, &str)]) -> Self {
        let policy = match name.split_once('/') {
            Some((namespace, name)) => PolicyRef::Namespaced { namespace: namespace.into(), name: name.into() },
            None => PolicyRef::Cluster { name: name.into() },
        };
        self.policies.push((policy, selects.iter().map(selector).collect(), false));
        self
    }

    fn binding(mut self, api_version: &str, kind: &str) -> Self {
        self.bound.insert(KindName::new(api_version, kind));
        self
    }

    fn serving(mut self, served: Served) -> Self {
        self.served.push(served);
        self
    }

    fn no_longer(mut self, kind: &str) -> Self {
        self.served.retain(|served| served.name.kind != kind);
        self
    }

    /// What is followed once the plan was carried out.
    fn settled(mut self) -> Self {
        let plan = self.plan();
        self.followed.retain(|followed| !plan.end.contains_key(&followed.kind.name));
        self.followed.extend(plan.follow.into_iter().map(|kind| Followed { kind, is_claimed: false }));
        self
    }

    fn plan(&self) -> Plan {
        let policies: Vec<_> = self
            .policies
            .iter()
            .map(|(policy, selectors, is_deleting)| Selecting {
                policy: policy.clone(),
                selectors,
                is_deleting: *is_deleting,
            })
            .collect();
        plan(&Input {
            policies: &policies,
            bound: &self.bound,
            served: &self.served,
            unread: &self.unread,
            definitions: &self.definitions,
            skipped: &self.skipped,
            followed: &self.followed,
        })
    }
}

const WIDGET: (&str, &str) = ("example.io/v1", "Widget");

#[test]
fn only_what_is_selected_or_bound_is_followed() {
    let world =
        world().policy("shop/web", &[("apps/v1", "Deployment"), ("apps/v1", "Deployment")]).binding("v1", "ConfigMap");
    insta::assert_snapshot!(world.plan(), @r"
    follow   Deployment of apps/v1 as deployments
    follow   ConfigMap of v1 as configmaps
    again    in 30 s
    ");
    insta::assert_snapshot!(world.settled().plan(), @"again    in 30 s");
}

#[test]
fn a_kind_that_the_hub_does_not_serve_is_named_and_followed_when_its_crd_comes() {
    let world = world().policy("widgets", &[WIDGET]);
    insta::assert_snapshot!(world.plan(), @r"
    warn     ClusterPropagationPolicy widgets: the hub does not serve Widget of example.io/v1: install its CRD; it is looked for every 30 s
    again    in 30 s
    ");
    let world = world.serving(served(WIDGET.0, WIDGET.1, true, 0));
    insta::assert_snapshot!(world.plan(), @r"
    follow   Widget of example.io/v1 as widgets
    again    in 30 s
    ");
}

#[test]
fn discovery_that_lags_behind_an_established_crd_is_asked_again_soon() {
    let mut world = world().policy("widgets", &[WIDGET]);
    let definition = |versions: &[&str]| Definition {
        group: "example.io".into(),
        kind: "Widget".into(),
        versions: versions.iter().map(ToString::to_string).collect(),
    };
    world.definitions = vec![definition(&["v1"])];
    assert_eq!(world.plan().next, Next::after(LAGGING));
    world.definitions = vec![definition(&["v2"])];
    assert_eq!(world.plan().next, Next::after(RECHECK), "that CRD will never serve it");
}

#[test]
fn a_crd_that_is_removed_and_installed_again_ends_and_begins_anew() {
    let world = world().policy("widgets", &[WIDGET]).serving(served(WIDGET.0, WIDGET.1, true, 0)).settled();
    let gone = world.no_longer("Widget");
    insta::assert_snapshot!(gone.plan(), @r"
    end      Widget of example.io/v1: Unserved
    warn     ClusterPropagationPolicy widgets: the hub does not serve Widget of example.io/v1: install its CRD; it is looked for every 30 s
    again    in 30 s
    ");
    let back = gone.settled().serving(served(WIDGET.0, WIDGET.1, false, 0));
    insta::assert_snapshot!(back.plan(), @r"
    follow   Widget of example.io/v1 as widgets
    again    in 30 s
    ");
}

#[test]
fn a_kind_that_comes_back_in_another_scope_between_two_looks_begins_anew() {
    let mut world = world().policy("widgets", &[WIDGET]).serving(served(WIDGET.0, WIDGET.1, true, 0)).settled();
    world = world.no_longer("Widget").serving(served(WIDGET.0, WIDGET.1, false, 0));
    insta::assert_snapshot!(world.plan(), @r"
    end      Widget of example.io/v1: Changed
    follow   Widget of example.io/v1 as widgets
    again    in 30 s
    ");
}

#[test]
fn a_group_that_does_not_answer_ends_nothing() {
    let mut world = world().policy("widgets", &[WIDGET]).serving(served(WIDGET.0, WIDGET.1, true, 0)).settled();
    world = world.no_longer("Widget");
    world.unread = BTreeSet::from([WIDGET.0.to_owned()]);
    insta::assert_snapshot!(world.plan(), @r"
    warn     ClusterPropagationPolicy widgets: the hub cannot say whether it serves Widget of example.io/v1: its API group does not answer; it is asked again every 30 s
    again    in 30 s
    ");
}

#[test]
fn selectors_that_reach_nothing_say_why_and_what_to_write() {
    let mut watchless = served("metrics.k8s.io/v1", "PodMetrics", true, 0);
    watchless.lacks = Some("watch");
    let world =
        world().serving(watchless).policy("shop/all", &[("rbac.authorization.k8s.io/v1", "ClusterRole")]).policy(
            "all",
            &[
                ("autoscaling/v1", "HorizontalPodAutoscaler"),
                ("metrics.k8s.io/v1", "PodMetrics"),
                ("v1", "Namespace"),
                ("work.karmada.io/v1alpha1", "Work"),
            ],
        );
    insta::assert_snapshot!(world.plan(), @r"
    warn     PropagationPolicy shop/all: ClusterRole of rbac.authorization.k8s.io/v1 has no namespace, and a PropagationPolicy reaches its own namespace only: use a ClusterPropagationPolicy
    warn     ClusterPropagationPolicy all: the hub prefers HorizontalPodAutoscaler in autoscaling/v2 and only that version is followed: write apiVersion autoscaling/v2 in place of autoscaling/v1
    warn     ClusterPropagationPolicy all: the hub serves PodMetrics of metrics.k8s.io/v1 without watch: it cannot be propagated
    warn     ClusterPropagationPolicy all: namespaces are propagated to every member without a policy, but those labelled namespace.karmada.io/skip-auto-propagation=true, which no policy can place in this release: remove the selector, and such a label where what is inside is propagated
    warn     ClusterPropagationPolicy all: Work of work.karmada.io/v1alpha1 is never propagated, as its group, --skipped-propagating-apis or Kubernetes' own use of it demand: remove the selector
    again    in 30 s
    ");
}

#[test]
fn a_kind_whose_preferred_version_cannot_be_watched_is_followed_in_the_next_one() {
    let mut preferred = served("example.io/v2", "Widget", true, 0);
    preferred.lacks = Some("watch");
    let world = world().serving(preferred).serving(served(WIDGET.0, WIDGET.1, true, 1)).policy("widgets", &[WIDGET]);
    insta::assert_snapshot!(world.plan(), @r"
    follow   Widget of example.io/v1 as widgets
    again    in 30 s
    ");
}

#[test]
fn a_kind_is_unwanted_only_when_no_object_of_it_is_claimed() {
    let mut world = world().policy("shop/web", &[("apps/v1", "Deployment")]).settled();
    world.policies.clear();
    world.followed[0].is_claimed = true;
    insta::assert_snapshot!(world.plan(), @"again    in 30 s");
    world.followed[0].is_claimed = false;
    insta::assert_snapshot!(world.plan(), @r"
    end      Deployment of apps/v1: Unwanted
    again    in 30 s
    ");
    let bound = world.binding("apps/v1", "Deployment");
    insta::assert_snapshot!(bound.plan(), @"again    in 30 s");
}

#[test]
fn a_policy_that_is_being_deleted_keeps_its_kinds_until_it_is_gone_and_is_told_nothing() {
    let mut world = world().policy("shop/web", &[("apps/v1", "Deployment"), WIDGET]).settled();
    world.policies[0].2 = true;
    insta::assert_snapshot!(world.plan(), @"again    in 30 s");
}

#[test]
fn bindings_of_a_kind_that_is_not_served_are_left_alone() {
    let world = world().binding(WIDGET.0, WIDGET.1).binding("autoscaling/v1", "HorizontalPodAutoscaler");
    insta::assert_snapshot!(world.plan(), @r"
    leave    bindings: the hub prefers HorizontalPodAutoscaler in autoscaling/v2 and only that version is followed: write apiVersion autoscaling/v2 in place of autoscaling/v1
    leave    bindings: the hub does not serve Widget of example.io/v1: install its CRD; it is looked for every 30 s
    again    in 30 s
    ");
}
