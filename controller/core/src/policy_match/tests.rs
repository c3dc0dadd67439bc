#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod wake;

use pando_api::policy::{ClusterPropagationPolicy, PropagationPolicy};
use proptest::prelude::*;

use super::{
    Cause, Claim, Ignored, Labels, Marks, NamespacePattern, PolicyFacts, PolicyRef, Skipped, Specificity,
    TemplateFacts, applies_now, claim, claimed_by,
};

/// Deployment default/web with label app=web.
fn web() -> TemplateFacts {
    TemplateFacts {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("default".to_owned()),
        name: "web".to_owned(),
        labels: Labels::from([("app".to_owned(), "web".to_owned())]),
        annotations: Labels::new(),
    }
}

fn claimed(template: TemplateFacts, by: &PolicyRef) -> TemplateFacts {
    let mut template = template;
    Marks::of(by, "id").put_on(&mut template.labels, &mut template.annotations);
    template
}

/// A policy of either kind, written as `pp default/name` or `cpp name`.
#[derive(Clone, Debug)]
struct Policy {
    reference: PolicyRef,
    spec: String,
    is_deleting: bool,
}

const BY_KIND: &str = "{apiVersion: apps/v1, kind: Deployment}";
const BY_LABEL: &str = "{apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {app: web}}}";
const BY_NAME: &str = "{apiVersion: apps/v1, kind: Deployment, name: web}";

fn reference(text: &str) -> PolicyRef {
    match text.split_once(' ').unwrap() {
        ("cpp", name) => PolicyRef::Cluster { name: name.to_owned() },
        (_, path) => {
            let (namespace, name) = path.split_once('/').unwrap();
            PolicyRef::Namespaced { namespace: namespace.to_owned(), name: name.to_owned() }
        }
    }
}

fn policy(text: &str, priority: i32, selectors: &[&str]) -> Policy {
    let selectors = selectors.join(", ");
    let spec = format!("{{priority: {priority}, resourceSelectors: [{selectors}], placement: {{}}}}");
    Policy { reference: reference(text), spec, is_deleting: false }
}

/// The same with `preemption: Always`.
fn preempting(policy: Policy) -> Policy {
    let spec = policy.spec.replacen('{', "{preemption: Always, ", 1);
    Policy { spec, ..policy }
}

/// The claim by these policies, through their API objects.
fn claim_of(template: &TemplateFacts, policies: &[Policy]) -> Claim {
    let (mut namespaced, mut cluster) = (Vec::new(), Vec::new());
    for policy in policies {
        let deleted = if policy.is_deleting { ", deletionTimestamp: '2026-01-01T00:00:00Z'" } else { "" };
        match &policy.reference {
            PolicyRef::Namespaced { namespace, name } => {
                let metadata = format!("{{namespace: {namespace}, name: {name}{deleted}}}");
                let object = format!(
                    "{{apiVersion: policy.karmada.io/v1alpha1, kind: PropagationPolicy, metadata: {metadata}, spec: {}}}",
                    policy.spec
                );
                namespaced.push(serde_yaml::from_str::<PropagationPolicy>(&object).unwrap());
            }
            PolicyRef::Cluster { name } => {
                let metadata = format!("{{name: {name}{deleted}}}");
                let object = format!(
                    "{{apiVersion: policy.karmada.io/v1alpha1, kind: ClusterPropagationPolicy, metadata: {metadata}, spec: {}}}",
                    policy.spec
                );
                cluster.push(serde_yaml::from_str::<ClusterPropagationPolicy>(&object).unwrap());
            }
        }
    }
    let all = cluster.iter().map(PolicyFacts::from).chain(namespaced.iter().map(PolicyFacts::from));
    claim(template, all, &Skipped::default())
}

fn taken(by: &str) -> Claim {
    Claim::Take { by: reference(by), from: None }
}

#[test]
fn a_template_waits_until_a_policy_selects_it() {
    assert_eq!(claim_of(&web(), &[]), Claim::Waiting);
    assert_eq!(claim_of(&web(), &[policy("pp default/a", 0, &[BY_KIND])]), taken("pp default/a"));
}

#[test]
fn selectors_select_by_kind_namespace_name_and_labels() {
    for (selector, expected) in [
        (BY_KIND, Some(Specificity::Kind)),
        (BY_LABEL, Some(Specificity::Labels)),
        (BY_NAME, Some(Specificity::Name)),
        ("{apiVersion: apps/v1, kind: Deployment, namespace: default}", Some(Specificity::Kind)),
        ("{apiVersion: apps/v1, kind: Deployment, namespace: other}", None),
        ("{apiVersion: apps/v1beta1, kind: Deployment}", None),
        ("{apiVersion: apps/v1, kind: StatefulSet}", None),
        ("{apiVersion: apps/v1, kind: Deployment, name: other}", None),
        ("{apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {app: other}}}", None),
        // the name wins over the labels
        (
            "{apiVersion: apps/v1, kind: Deployment, name: web, labelSelector: {matchLabels: {app: other}}}",
            Some(Specificity::Name),
        ),
        ("{apiVersion: apps/v1, kind: Deployment, name: other, labelSelector: {matchLabels: {app: web}}}", None),
        ("{apiVersion: apps/v1, kind: Deployment, labelSelector: {}}", Some(Specificity::Labels)),
    ] {
        let text = format!("{{resourceSelectors: [{selector}], placement: {{}}}}");
        let object: pando_api::policy::PropagationSpec = serde_yaml::from_str(&text).unwrap();
        let facts = |policy: &str| PolicyFacts {
            policy: reference(policy),
            selectors: &object.resource_selectors,
            priority: 0,
            preempts: false,
            is_deleting: false,
        };
        assert_eq!(facts("cpp c").selects(&web()), expected, "{selector}");
        assert_eq!(facts("pp default/p").selects(&web()), expected, "{selector}");
        assert_eq!(facts("pp other/p").selects(&web()), None, "another namespace: {selector}");
    }
}

#[test]
fn a_cluster_policy_selects_cluster_scoped_objects_too() {
    let role = TemplateFacts {
        api_version: "rbac.authorization.k8s.io/v1".to_owned(),
        kind: "ClusterRole".to_owned(),
        namespace: None,
        ..web()
    };
    let selector = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole}";
    assert_eq!(claim_of(&role, &[policy("cpp a", 0, &[selector])]), taken("cpp a"));
    assert_eq!(claim_of(&role, &[policy("pp default/a", 0, &[selector])]), Claim::Waiting);
    let in_a_namespace = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, namespace: default}";
    assert_eq!(claim_of(&role, &[policy("cpp a", 0, &[in_a_namespace])]), Claim::Waiting);
}

#[test]
fn the_most_specific_selector_of_a_policy_counts() {
    let policies = [policy("pp default/a", 0, &[BY_LABEL]), policy("pp default/b", 0, &[BY_KIND, BY_NAME])];
    assert_eq!(claim_of(&web(), &policies), taken("pp default/b"));
}

#[test]
fn priority_then_specificity_then_name_decide() {
    let rows: &[(&[Policy], &str)] = &[
        (&[policy("pp default/a", 1, &[BY_NAME]), policy("pp default/b", 2, &[BY_KIND])], "pp default/b"),
        (&[policy("pp default/a", 0, &[BY_KIND]), policy("pp default/b", 0, &[BY_LABEL])], "pp default/b"),
        (&[policy("pp default/a", 0, &[BY_LABEL]), policy("pp default/b", 0, &[BY_NAME])], "pp default/b"),
        (&[policy("pp default/b", 0, &[BY_NAME]), policy("pp default/a", 0, &[BY_NAME])], "pp default/a"),
        (&[policy("pp default/a", -1, &[BY_NAME]), policy("pp default/b", 0, &[BY_KIND])], "pp default/b"),
        (&[policy("cpp a", 0, &[BY_KIND]), policy("cpp b", 0, &[BY_NAME])], "cpp b"),
        // a namespaced policy comes before any cluster policy
        (&[policy("cpp a", 100, &[BY_NAME]), policy("pp default/z", -100, &[BY_KIND])], "pp default/z"),
        (&[policy("cpp a", 0, &[BY_KIND]), policy("pp other/z", 100, &[BY_NAME])], "cpp a"),
    ];
    for (policies, winner) in rows {
        assert_eq!(claim_of(&web(), policies), taken(winner), "{policies:?}");
    }
}

#[test]
fn a_claim_stands_against_better_policies() {
    let weak = policy("cpp weak", 0, &[BY_KIND]);
    let strong = policy("pp default/strong", 100, &[BY_NAME]);
    let template = claimed(web(), &weak.reference);
    assert_eq!(claim_of(&template, &[strong, weak.clone()]), Claim::Keep(weak.reference));
}

/// Owner, rivals, and who has the template afterwards.
#[test]
fn a_policy_that_preempts_takes_what_it_names_from_whom_it_outranks() {
    let always = |text: &str, priority| preempting(policy(text, priority, &[BY_NAME]));
    let never = |text: &str, priority| policy(text, priority, &[BY_NAME]);
    let rows: &[(Policy, &[Policy], &str)] = &[
        // within a class the explicit priority decides, and it has to be higher
        (never("pp default/o", 1), &[always("pp default/a", 2)], "pp default/a"),
        (never("pp default/o", 1), &[always("pp default/a", 1)], "pp default/o"),
        (never("pp default/o", 1), &[always("pp default/a", 0)], "pp default/o"),
        (never("cpp o", 1), &[always("cpp a", 2)], "cpp a"),
        (never("cpp o", 1), &[always("cpp a", 1)], "cpp o"),
        // a more specific selector is no reason to take something away, nor is a name that sorts first
        (policy("pp default/o", 1, &[BY_KIND]), &[always("pp default/a", 1)], "pp default/o"),
        // a namespaced policy outranks any cluster policy, never the other way round
        (never("cpp o", 100), &[always("pp default/a", -100)], "pp default/a"),
        (never("pp default/o", -100), &[always("cpp a", 100)], "pp default/o"),
        // the best of several, whether or not it is the best at claiming
        (never("pp default/o", 0), &[always("pp default/a", 1), always("pp default/b", 2)], "pp default/b"),
        (never("cpp o", 0), &[always("cpp a", 9), always("pp default/b", -1)], "pp default/b"),
        (never("pp default/o", 0), &[always("pp default/a", 1), never("pp default/b", 2)], "pp default/a"),
        (never("cpp o", 0), &[always("cpp a", 1), never("pp default/b", 0)], "cpp a"),
        // the owner's own preemption defends nothing
        (always("pp default/o", 1), &[always("pp default/a", 2)], "pp default/a"),
        (always("pp default/o", 1), &[never("pp default/a", 2)], "pp default/o"),
        // another namespace, on its way out, or for another template
        (never("pp default/o", 0), &[always("pp other/a", 9)], "pp default/o"),
        (never("pp default/o", 0), &[Policy { is_deleting: true, ..always("pp default/a", 9) }], "pp default/o"),
    ];
    for (owner, rivals, winner) in rows {
        let policies = [rivals, std::slice::from_ref(owner)].concat();
        let expected = match reference(winner) {
            winner if winner == owner.reference => Claim::Keep(winner),
            by => Claim::Preempt { by, from: owner.reference.clone() },
        };
        assert_eq!(claim_of(&claimed(web(), &owner.reference), &policies), expected, "{owner:?} against {rivals:?}");
    }
}

#[test]
fn an_invalid_policy_preempts_nobody() {
    let owner = policy("pp default/o", 0, &[BY_NAME]);
    let template = claimed(web(), &owner.reference);
    for selectors in [&[BY_KIND][..], &[BY_LABEL], &[BY_NAME, BY_KIND]] {
        let greedy = preempting(policy("pp default/a", 9, selectors));
        assert_eq!(
            claim_of(&template, &[owner.clone(), greedy]),
            Claim::Keep(owner.reference.clone()),
            "{selectors:?}"
        );
    }
    let mut contradictory = preempting(policy("pp default/a", 9, &[BY_NAME]));
    contradictory.spec = contradictory
        .spec
        .replace("placement: {}", "placement: {clusterAffinity: {}, clusterAffinities: [{affinityName: a}]}");
    assert_eq!(claim_of(&template, &[owner.clone(), contradictory]), Claim::Keep(owner.reference));
}

#[test]
fn a_policy_that_would_be_held_preempts_nobody() {
    let owner = policy("pp default/o", 0, &[BY_NAME]);
    let template = claimed(web(), &owner.reference);
    for placement in [
        "{spreadConstraints: [{spreadByField: cluster, maxGroups: 1}]}",
        "{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Aggregated}}",
        "{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted, weightPreference: {dynamicWeight: AvailableReplicas}}}",
    ] {
        let mut greedy = preempting(policy("pp default/a", 9, &[BY_NAME]));
        greedy.spec = greedy.spec.replace("placement: {}", &format!("placement: {placement}"));
        let claim = claim_of(&template, &[owner.clone(), greedy]);
        assert_eq!(claim, Claim::Keep(owner.reference.clone()), "{placement}");
    }
}

/// Nobody has to look for the policies between the old and the new priority: the template that is looked at again does.
#[test]
fn lowering_a_priority_lets_those_above_it_preempt() {
    let owner = |priority| policy("pp default/o", priority, &[BY_KIND]);
    let rival = preempting(policy("pp default/a", 5, &[BY_NAME]));
    let template = claimed(web(), &reference("pp default/o"));
    for (priority, is_kept) in [(10, true), (5, true), (4, false)] {
        let claim = claim_of(&template, &[owner(priority), rival.clone()]);
        assert_eq!(matches!(claim, Claim::Keep(_)), is_kept, "{claim}");
    }
}

#[test]
fn a_claim_ends_when_its_policy_is_gone_leaves_or_selects_something_else() {
    let owner = reference("pp default/owner");
    let template = claimed(web(), &owner);
    let other = policy("cpp other", 0, &[BY_KIND]);

    let selects_other = policy("pp default/owner", 0, &["{apiVersion: apps/v1, kind: Deployment, name: other}"]);
    let leaving = Policy { is_deleting: true, ..policy("pp default/owner", 0, &[BY_NAME]) };
    for remaining in [vec![], vec![selects_other], vec![leaving]] {
        assert_eq!(claim_of(&template, &remaining), Claim::Release(owner.clone()), "{remaining:?}");
        let with_other = [remaining, vec![other.clone()]].concat();
        let taken = Claim::Take { by: other.reference.clone(), from: Some(owner.clone()) };
        assert_eq!(claim_of(&template, &with_other), taken, "{with_other:?}");
    }
}

#[test]
fn some_templates_are_never_propagated() {
    let policies = [policy("cpp all", 0, &[BY_KIND])];
    let in_namespace = |namespace: &str| TemplateFacts { namespace: Some(namespace.to_owned()), ..web() };
    for (template, why) in [
        (in_namespace("karmada-system"), Ignored::ReservedNamespace),
        (in_namespace("karmada-es-bj-prod"), Ignored::ReservedNamespace),
        (in_namespace("kube-system"), Ignored::SkippedNamespace),
        (
            TemplateFacts { api_version: "work.karmada.io/v1alpha1".into(), kind: "Work".into(), ..web() },
            Ignored::SkippedKind,
        ),
        (TemplateFacts { api_version: "v1".into(), kind: "Event".into(), ..web() }, Ignored::SkippedKind),
        (
            TemplateFacts { api_version: "coordination.k8s.io/v1".into(), kind: "Lease".into(), ..web() },
            Ignored::SkippedKind,
        ),
        (
            TemplateFacts {
                api_version: "v1".into(),
                kind: "Namespace".into(),
                namespace: None,
                name: "kube-public".into(),
                ..web()
            },
            Ignored::SkippedNamespace,
        ),
    ] {
        assert_eq!(claim_of(&template, &policies), Claim::Ignore(why), "{template}");
    }
}

#[test]
fn what_is_skipped_can_be_configured() {
    let skipped = Skipped {
        namespaces: vec![NamespacePattern::parse("team-[ab]|scratch").unwrap()],
        api_versions: ["batch/v1".to_owned()].into(),
        ..Skipped::default()
    };
    let check = |api_version: &str, namespace: &str| {
        skipped.check(&TemplateFacts {
            api_version: api_version.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..web()
        })
    };
    assert_eq!(check("apps/v1", "default"), Ok(()));
    assert_eq!(check("batch/v1", "default"), Err(Ignored::SkippedKind));
    assert_eq!(check("batch/v2", "default"), Ok(()), "another version");
    for namespace in ["team-a", "team-b", "scratch"] {
        assert_eq!(check("apps/v1", namespace), Err(Ignored::SkippedNamespace), "{namespace}");
    }
    let mut own = TemplateFacts { api_version: "v1".into(), kind: "ConfigMap".into(), ..web() };
    (own.namespace, own.name) = (Some("kube-system".to_owned()), "extension-apiserver-authentication".to_owned());
    assert_eq!(skipped.check(&own), Err(Ignored::OfApiServer), "whatever is configured");
    for namespace in ["team-ab", "my-scratch", "scratch-2", "kube-system"] {
        assert_eq!(check("apps/v1", namespace), Ok(()), "a pattern matches whole names: {namespace}");
    }
    assert!(NamespacePattern::parse("team-(").is_err());
}

#[test]
fn a_template_of_another_controller_is_ignored_even_when_claimed() {
    let owner = policy("pp default/owner", 0, &[BY_NAME]);
    let mut template = claimed(web(), &owner.reference);
    template.labels.insert("resourcetemplate.karmada.io/claimed-by".to_owned(), "multiclusterservice".to_owned());
    let ignored = Claim::Ignore(Ignored::ClaimedBy { controller: "multiclusterservice".to_owned() });
    assert_eq!(claim_of(&template, std::slice::from_ref(&owner)), ignored);

    template.labels.insert("resourcetemplate.karmada.io/claimed-by".to_owned(), String::new());
    assert_eq!(claim_of(&template, std::slice::from_ref(&owner)), Claim::Keep(owner.reference));
}

#[test]
fn a_claim_explains_itself() {
    let owner = policy("pp default/owner", 0, &[BY_NAME]);
    let other = policy("cpp other", 0, &[BY_KIND]);
    let mut foreign = web();
    foreign.labels.insert("resourcetemplate.karmada.io/claimed-by".to_owned(), "mcs".to_owned());
    let text = [
        claim_of(&web(), &[]),
        claim_of(&web(), std::slice::from_ref(&owner)),
        claim_of(&claimed(web(), &owner.reference), std::slice::from_ref(&owner)),
        claim_of(&claimed(web(), &owner.reference), &[other]),
        claim_of(
            &claimed(web(), &owner.reference),
            &[owner.clone(), preempting(policy("pp default/a", 1, &[BY_NAME]))],
        ),
        claim_of(&claimed(web(), &owner.reference), &[]),
        claim_of(&foreign, &[owner]),
        claim_of(&TemplateFacts { namespace: Some("kube-system".to_owned()), ..web() }, &[]),
    ]
    .map(|claim| claim.to_string())
    .join("\n");
    insta::assert_snapshot!(text, @r"
    waiting: no policy selects it
    taken by PropagationPolicy default/owner
    kept by PropagationPolicy default/owner
    taken by ClusterPropagationPolicy other: PropagationPolicy default/owner selects it no longer
    taken by PropagationPolicy default/a: it preempts PropagationPolicy default/owner
    released: PropagationPolicy default/owner selects it no longer, and no other policy does
    ignored: label resourcetemplate.karmada.io/claimed-by says that mcs owns it
    ignored: its namespace is never propagated
    ");
}

#[test]
fn marks_of_a_namespaced_policy_replace_those_of_a_cluster_policy() {
    let mut template = claimed(web(), &reference("cpp old"));
    let marks = Marks::of(&reference("pp default/new"), "new-id");
    assert!(!marks.are_on(&template.labels, &template.annotations));
    marks.put_on(&mut template.labels, &mut template.annotations);
    assert!(marks.are_on(&template.labels, &template.annotations));
    insta::assert_debug_snapshot!((template.labels, template.annotations), @r#"
    (
        {
            "app": "web",
            "propagationpolicy.karmada.io/permanent-id": "new-id",
        },
        {
            "propagationpolicy.karmada.io/name": "new",
            "propagationpolicy.karmada.io/namespace": "default",
        },
    )
    "#);
}

#[test]
fn a_released_template_carries_no_marks_and_keeps_the_rest() {
    let mut template = claimed(web(), &reference("pp default/old"));
    Marks::none().put_on(&mut template.labels, &mut template.annotations);
    assert_eq!(template, web());
    assert!(Marks::none().are_on(&template.labels, &template.annotations));
}

#[test]
fn a_policy_made_again_under_its_name_renews_the_marks() {
    let owner = policy("pp default/owner", 0, &[BY_NAME]);
    let template = claimed(web(), &owner.reference);
    assert_eq!(claim_of(&template, std::slice::from_ref(&owner)), Claim::Keep(owner.reference.clone()));
    assert!(!Marks::of(&owner.reference, "another id").are_on(&template.labels, &template.annotations));
}

#[test]
fn half_a_mark_is_no_claim() {
    let owner = reference("pp default/owner");
    let TemplateFacts { mut labels, annotations, .. } = claimed(web(), &owner);
    assert_eq!(claimed_by(&labels, &annotations), Some(owner));
    assert_eq!(claimed_by(&labels, &Labels::new()), None);
    labels.clear();
    assert_eq!(claimed_by(&labels, &annotations), None);
}

#[test]
fn a_lazy_policy_waits_for_the_template() {
    assert!(applies_now(false, Cause::Federation) && applies_now(false, Cause::Template));
    assert!(applies_now(true, Cause::Template) && !applies_now(true, Cause::Federation));
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let who = prop::sample::select(vec!["pp default/a", "pp default/b", "pp other/c", "cpp a", "cpp b", "cpp c"]);
    let what = prop::sample::select(vec![BY_KIND, BY_LABEL, BY_NAME, "{apiVersion: v1, kind: ConfigMap}"]);
    (who, what, -1..2i32, prop::bool::weighted(0.1), any::<bool>()).prop_map(
        |(who, what, priority, is_deleting, always)| {
            let policy = policy(who, priority, &[what]);
            Policy { is_deleting, ..if always { preempting(policy) } else { policy } }
        },
    )
}

/// Policies with distinct names.
fn any_policies() -> impl Strategy<Value = Vec<Policy>> {
    prop::collection::vec(any_policy(), 0..6).prop_map(|mut policies| {
        policies.sort_by(|a, b| a.reference.cmp(&b.reference));
        policies.dedup_by(|a, b| a.reference == b.reference);
        policies
    })
}

proptest! {
    #[test]
    fn the_order_of_policies_does_not_matter(policies in any_policies().prop_shuffle()) {
        let mut sorted = policies.clone();
        sorted.sort_by(|a, b| a.reference.cmp(&b.reference));
        prop_assert_eq!(claim_of(&web(), &policies), claim_of(&web(), &sorted));
    }

    #[test]
    fn a_taken_template_is_kept_next_time(policies in any_policies()) {
        if let Claim::Take { by, .. } | Claim::Preempt { by, .. } = claim_of(&web(), &policies) {
            prop_assert_eq!(claim_of(&claimed(web(), &by), &policies), Claim::Keep(by));
        }
    }

    #[test]
    fn a_template_is_preempted_once(policies in any_policies(), owner in any_policy()) {
        if let Claim::Preempt { by, .. } = claim_of(&claimed(web(), &owner.reference), &policies) {
            prop_assert_eq!(claim_of(&claimed(web(), &by), &policies), Claim::Keep(by));
        }
    }

    #[test]
    fn a_released_template_waits_next_time(policies in any_policies(), owner in any_policy()) {
        if let Claim::Release(_) = claim_of(&claimed(web(), &owner.reference), &policies) {
            prop_assert_eq!(claim_of(&web(), &policies), Claim::Waiting);
        }
    }
}

/// What can happen around one template.
#[derive(Clone, Debug)]
enum Event {
    Applied(Policy),
    Deleted(PolicyRef),
    Renamed(&'static str),
    Relabelled(&'static str),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any_policy().prop_map(Event::Applied),
        2 => any_policy().prop_map(|policy| Event::Deleted(policy.reference)),
        1 => prop::sample::select(vec!["web", "other"]).prop_map(Event::Renamed),
        1 => prop::sample::select(vec!["web", "other"]).prop_map(Event::Relabelled),
    ]
}

/// Carries a claim out, as the controller does. `true` when something was written.
fn carry_out(template: &mut TemplateFacts, claim: &Claim) -> bool {
    let marks = match claim {
        Claim::Keep(policy) | Claim::Take { by: policy, .. } | Claim::Preempt { by: policy, .. } => {
            Marks::of(policy, policy.name())
        }
        Claim::Release(_) => Marks::none(),
        Claim::Ignore(_) | Claim::Waiting => return false,
    };
    let is_new = !marks.are_on(&template.labels, &template.annotations);
    marks.put_on(&mut template.labels, &mut template.annotations);
    is_new
}

proptest! {
    /// However policies come and go: the template belongs to a policy that selects it, or to none when none does; and a
    /// second look writes nothing.
    #[test]
    fn after_every_step_the_owner_is_right_and_at_rest(events in prop::collection::vec(any_event(), 1..25)) {
        let mut template = web();
        let mut policies: Vec<Policy> = Vec::new();
        for event in &events {
            match event {
                Event::Applied(policy) => {
                    policies.retain(|other| other.reference != policy.reference);
                    policies.push(policy.clone());
                }
                Event::Deleted(reference) => policies.retain(|policy| policy.reference != *reference),
                Event::Renamed(name) => template.name = (*name).to_owned(),
                Event::Relabelled(app) => drop(template.labels.insert("app".to_owned(), (*app).to_owned())),
            }
            let claim = claim_of(&template, &policies);
            carry_out(&mut template, &claim);
            let again = claim_of(&template, &policies);
            prop_assert!(!carry_out(&mut template, &again), "{claim}, then {again}");

            let owner = match claim {
                Claim::Keep(policy) | Claim::Take { by: policy, .. } | Claim::Preempt { by: policy, .. } => Some(policy),
                Claim::Ignore(_) | Claim::Release(_) | Claim::Waiting => None,
            };
            prop_assert_eq!(template.claimed_by(), owner, "after {:?}", event);
            let mut unclaimed = template.clone();
            Marks::none().put_on(&mut unclaimed.labels, &mut unclaimed.annotations);
            let is_wanted = claim_of(&unclaimed, &policies) != Claim::Waiting;
            prop_assert_eq!(template.claimed_by().is_some(), is_wanted, "after {:?}", event);
        }
    }
}
