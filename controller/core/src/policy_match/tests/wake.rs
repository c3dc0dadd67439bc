//! What a changed policy wakes, over a small hub.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use pando_api::labels;
use pando_api::policy::{ClusterPropagationPolicy, OverrideSpec, PropagationPolicy, ResourceSelector};
use proptest::prelude::*;

use crate::policy_match::reach::{By, Reach, Term, label_values, narrowest};
use crate::policy_match::wake::{PolicySide, woken_by_override, woken_by_policy};
use crate::policy_match::{Claim, Marks, PolicyFacts, PolicyRef, Skipped, TemplateFacts, claim, selector_selects};
use crate::selector::Labels;

fn selector(yaml: &str) -> ResourceSelector {
    serde_yaml::from_str(yaml).unwrap()
}

fn labelled(selector: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, labelSelector: {selector}}}")
}

/// The look-up as a store makes it.
fn finds(reach: &Reach, template: &TemplateFacts) -> bool {
    let mut values = Vec::new();
    label_values(&template.labels, |parts| values.push(parts.concat()));
    let has = |term: &Term| match term {
        Term::Is(wanted) => values.contains(wanted),
        Term::Has(prefix) => values.iter().any(|value| value.starts_with(prefix.as_str())),
    };
    let is_kind =
        |(api_version, kind): &(String, String)| *api_version == template.api_version && *kind == template.kind;
    let is_there = reach.namespace.as_ref().is_none_or(|namespace| template.namespace.as_ref() == Some(namespace));
    let is_found = match &reach.by {
        By::Name(name) => *name == template.name,
        // Each alternative finds everything by itself.
        By::Labels(alternatives) => alternatives.iter().all(|terms| terms.iter().any(has)),
        By::Everything => true,
    };
    reach.kind.as_ref().is_none_or(is_kind) && is_there && is_found
}

#[test]
fn a_selector_is_looked_up_by_its_narrowest_part() {
    let by = |yaml: &str| Reach::of(&selector(yaml), None).map(|reach| reach.by);
    let is = |term: &str| Term::Is(term.to_owned());
    assert_eq!(by("{apiVersion: v1, kind: ConfigMap}"), Some(By::Everything));
    assert_eq!(by("{apiVersion: v1, kind: ConfigMap, name: a}"), Some(By::Name("a".to_owned())));
    assert_eq!(
        by("{apiVersion: v1, kind: ConfigMap, name: a, labelSelector: {matchLabels: {app: web}}}"),
        Some(By::Name("a".to_owned())),
        "the name wins over the labels"
    );
    for (labels, expected) in [
        ("{}", By::Everything),
        ("{matchLabels: {app: web}}", By::Labels(vec![vec![is("app=web")]])),
        ("{matchLabels: {app: web, env: prod}}", By::Labels(vec![vec![is("app=web")], vec![is("env=prod")]])),
        (
            "{matchExpressions: [{key: app, operator: In, values: [web, shop]}]}",
            By::Labels(vec![vec![is("app=web"), is("app=shop")]]),
        ),
        ("{matchExpressions: [{key: app, operator: Exists}]}", By::Labels(vec![vec![Term::Has("app=".to_owned())]])),
        // what selects by absence narrows nothing
        ("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", By::Everything),
        ("{matchExpressions: [{key: app, operator: DoesNotExist}]}", By::Everything),
        (
            "{matchLabels: {app: web}, matchExpressions: [{key: old, operator: DoesNotExist}]}",
            By::Labels(vec![vec![is("app=web")]]),
        ),
    ] {
        assert_eq!(by(&labelled(labels)), Some(expected), "{labels}");
    }
}

#[test]
fn of_several_labels_the_rarest_is_looked_up() {
    let reach = Reach::of(
        &selector(&labelled(
            "{matchLabels: {app: web, env: prod}, matchExpressions: [{key: tier, operator: In, values: [a, b]}]}",
        )),
        None,
    );
    let Some(Reach { by: By::Labels(alternatives), .. }) = reach else { panic!("{reach:?}") };
    let count = |sizes: [(&'static str, usize); 4]| {
        move |term: &Term| match term {
            Term::Is(term) => sizes.iter().find(|(name, _)| name == term).unwrap().1,
            Term::Has(_) => panic!("{term:?}"),
        }
    };
    let is = |term: &str| Term::Is(term.to_owned());
    let sizes = [("app=web", 7), ("env=prod", 900), ("tier=a", 4), ("tier=b", 4)];
    assert_eq!(narrowest(&alternatives, count(sizes)), [is("app=web")]);
    let sizes = [("app=web", 9), ("env=prod", 900), ("tier=a", 4), ("tier=b", 4)];
    assert_eq!(narrowest(&alternatives, count(sizes)), [is("tier=a"), is("tier=b")]);
}

#[test]
fn a_selector_that_selects_nothing_reaches_nothing() {
    for (yaml, own) in [
        (labelled("{matchExpressions: [{key: app, operator: In}]}"), None),
        (labelled("{matchLabels: {app: web}, matchExpressions: [{key: a, operator: Like, values: [b]}]}"), None),
        ("{apiVersion: v1, kind: ConfigMap, namespace: other}".to_owned(), Some("own")),
    ] {
        assert_eq!(Reach::of(&selector(&yaml), own), None, "{yaml}");
    }
    let own = Reach::of(&selector("{apiVersion: v1, kind: ConfigMap}"), Some("own")).unwrap();
    assert_eq!(own.namespace.as_deref(), Some("own"), "a namespaced policy reaches into its own namespace only");
}

fn policy(yaml: &str) -> PropagationPolicy {
    serde_yaml::from_str(&format!("{{apiVersion: policy.karmada.io/v1alpha1, kind: PropagationPolicy, {yaml}}}"))
        .unwrap()
}

#[test]
fn only_what_decides_something_wakes_templates() {
    let meta = "namespace: n, name: p, labels: {propagationpolicy.karmada.io/permanent-id: id, team: a}";
    let spec = "spec: {resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: a}], placement: {}}";
    let before = policy(&format!("metadata: {{{meta}, generation: 1}}, {spec}"));
    let count = |after: &str| woken_by_policy(Some((&before).into()), Some((&policy(after)).into())).len();
    let quiet = meta.replace("team: a", "team: b");
    assert_eq!(
        count(&format!("metadata: {{{quiet}, annotations: {{a: b}}, finalizers: [f], generation: 1}}, {spec}")),
        0
    );

    assert_eq!(count(&format!("metadata: {{{meta}}}, {}", spec.replace("{}", "{clusterAffinity: {}}"))), 2);
    assert_eq!(count(&format!("metadata: {{{meta}, deletionTimestamp: '2026-01-01T00:00:00Z'}}, {spec}")), 2);
    // the reach of the selector, and what carries the old and the new id
    assert_eq!(count(&format!("metadata: {{{}}}, {spec}", meta.replace("permanent-id: id", "permanent-id: other"))), 3);
    // both names, and what is claimed
    assert_eq!(count(&format!("metadata: {{{meta}}}, {}", spec.replace("name: a", "name: b"))), 3);
}

#[test]
fn a_policy_wakes_what_it_claims_wherever_its_selectors_point() {
    let yaml = "metadata: {namespace: n, name: p, labels: {propagationpolicy.karmada.io/permanent-id: id}},
        spec: {resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: a}], placement: {}}";
    let woken = woken_by_policy(Some((&policy(yaml)).into()), None);
    let claimed = TemplateFacts {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("n".to_owned()),
        name: "b".to_owned(),
        labels: Labels::from([(labels::PROPAGATION_POLICY_PERMANENT_ID.to_owned(), "id".to_owned())]),
        annotations: Labels::new(),
    };
    assert!(woken.iter().any(|reach| finds(reach, &claimed)), "{woken:?}");
    let of_another = TemplateFacts { labels: Labels::new(), ..claimed };
    assert!(!woken.iter().any(|reach| finds(reach, &of_another)), "{woken:?}");
}

#[test]
fn an_override_wakes_what_it_selects_or_might() {
    let spec = |selectors: &str| -> OverrideSpec {
        serde_yaml::from_str(&format!("{{resourceSelectors: [{selectors}], overrideRules: []}}")).unwrap()
    };
    let named = spec("{apiVersion: v1, kind: ConfigMap, name: a}");
    assert!(woken_by_override(Some(&named), Some(&named), Some("n")).is_empty());
    let [only] = &woken_by_override(None, Some(&named), Some("n")).into_iter().collect::<Vec<_>>()[..] else {
        panic!("one reach")
    };
    assert_eq!((&only.by, only.namespace.as_deref()), (&By::Name("a".to_owned()), Some("n")));

    let everything = |selectors: &str, own: Option<&str>| {
        woken_by_override(Some(&spec(selectors)), None, own)
            .into_iter()
            .map(|reach| (reach.kind, reach.namespace, reach.by))
            .collect::<Vec<_>>()
    };
    let kind = Some(("v1".to_owned(), "ConfigMap".to_owned()));
    assert_eq!(
        everything("", Some("n")),
        [(None, Some("n".to_owned()), By::Everything)],
        "no selectors select everything"
    );
    assert_eq!(everything("", None), [(None, None, By::Everything)]);
    // a selector that breaks a rule holds back what the rest of it allows
    let broken = "{apiVersion: v1, kind: ConfigMap, labelSelector: {matchExpressions: [{key: a, operator: Like}]}}";
    assert_eq!(everything(broken, None), [(kind.clone(), None, By::Everything)]);
    assert_eq!(
        everything("{apiVersion: v1, kind: ConfigMap, namespace: foreign, name: a}", Some("n")),
        [(kind, Some("n".to_owned()), By::Name("a".to_owned()))]
    );
    assert_eq!(
        everything("{apiVersion: '', kind: ConfigMap, name: a}", None),
        [(None, None, By::Name("a".to_owned()))]
    );
}

fn any_text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "ab"]).prop_map(str::to_owned)
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(any_text(), any_text(), 0..3)
}

fn any_label_selector() -> impl Strategy<Value = LabelSelector> {
    let operator = prop::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist", "Like"]);
    let expression =
        (any_text(), operator, prop::collection::vec(any_text(), 0..3)).prop_map(|(key, operator, values)| {
            LabelSelectorRequirement {
                key,
                operator: operator.to_owned(),
                values: (!values.is_empty()).then_some(values),
            }
        });
    (prop::option::of(any_labels()), prop::option::of(prop::collection::vec(expression, 0..3)))
        .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
}

fn any_selector() -> impl Strategy<Value = ResourceSelector> {
    let kind = prop::sample::select(vec!["ConfigMap", "ClusterRole"]);
    let labels = prop::option::of(any_label_selector());
    (kind, any_text(), any_text(), labels).prop_map(|(kind, namespace, name, label_selector)| ResourceSelector {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace,
        name,
        label_selector,
    })
}

fn any_template() -> impl Strategy<Value = TemplateFacts> {
    (prop::option::of(prop::sample::select(vec!["a", "b"])), any_text(), any_labels()).prop_map(
        |(namespace, name, labels)| TemplateFacts {
            api_version: "v1".to_owned(),
            kind: if namespace.is_some() { "ConfigMap" } else { "ClusterRole" }.to_owned(),
            namespace: namespace.map(str::to_owned),
            name,
            labels,
            annotations: Labels::new(),
        },
    )
}

proptest! {
    /// Whatever a selector selects, its reach finds: also what is not valid, and in the namespace of any policy.
    #[test]
    fn what_a_selector_selects_its_reach_finds(
        selector in any_selector(),
        own in prop::option::of(prop::sample::select(vec!["a", "b"])),
        template in any_template(),
    ) {
        let policy = own.map_or_else(
            || PolicyRef::Cluster { name: "p".to_owned() },
            |own| PolicyRef::Namespaced { namespace: own.to_owned(), name: "p".to_owned() },
        );
        let selectors = std::slice::from_ref(&selector);
        let facts = PolicyFacts { policy, selectors, priority: 0, preempts: false, is_deleting: false };
        let reach = Reach::of(&selector, own);
        let is_found = reach.as_ref().is_some_and(|reach| finds(reach, &template));
        if facts.selects(&template).is_some() {
            prop_assert!(is_found, "{:?} misses {}", reach, template);
        }
        // An override selects by the selector alone.
        let spec = OverrideSpec { resource_selectors: selectors.to_vec(), ..OverrideSpec::default() };
        let reaches = woken_by_override(None, Some(&spec), own);
        let in_own = own.is_none() || own == template.namespace.as_deref();
        if in_own && selector_selects(&selector, own, &template).is_some() {
            prop_assert!(reaches.iter().any(|reach| finds(reach, &template)), "{:?} misses {}", reaches, template);
        }
    }

    /// A name or a label that must be there is always used.
    #[test]
    fn a_reach_is_never_wider_than_a_name_or_a_label(selector in any_selector()) {
        let Some(reach) = Reach::of(&selector, None) else { return Ok(()) };
        let labels = selector.label_selector.as_ref();
        let expressions = labels.iter().flat_map(|labels| labels.match_expressions.iter().flatten());
        let demands = labels.is_some_and(|labels| labels.match_labels.as_ref().is_some_and(|pairs| !pairs.is_empty()))
            || expressions.into_iter().any(|expression| matches!(expression.operator.as_str(), "In" | "Exists"));
        match reach.by {
            By::Name(name) => prop_assert_eq!(name, selector.name),
            By::Labels(alternatives) => {
                prop_assert!(selector.name.is_empty() && demands);
                prop_assert!(!alternatives.is_empty() && alternatives.iter().all(|terms| !terms.is_empty()));
            }
            By::Everything => prop_assert!(selector.name.is_empty() && !demands, "{:?}", selector),
        }
    }
}

/// A policy of either kind with its permanent id.
#[derive(Clone, Debug)]
enum Policy {
    Namespaced(Box<PropagationPolicy>),
    Cluster(Box<ClusterPropagationPolicy>),
}

impl Policy {
    fn facts(&self) -> PolicyFacts<'_> {
        match self {
            Self::Namespaced(policy) => PolicyFacts::from(policy.as_ref()),
            Self::Cluster(policy) => PolicyFacts::from(policy.as_ref()),
        }
    }

    fn side(&self) -> PolicySide<'_> {
        match self {
            Self::Namespaced(policy) => PolicySide::from(policy.as_ref()),
            Self::Cluster(policy) => PolicySide::from(policy.as_ref()),
        }
    }

    fn id(&self) -> String {
        let meta = match self {
            Self::Namespaced(policy) => &policy.metadata,
            Self::Cluster(policy) => &policy.metadata,
        };
        meta.labels.iter().flatten().next().unwrap().1.clone()
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let place = prop::option::of(prop::sample::select(vec!["a", "b"]));
    let who = (place, prop::sample::select(vec!["p", "q"]), 0..2u8);
    let what = prop::collection::vec(any_selector(), 1..3);
    (who, what, -1..2i32, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |((namespace, name, id), mut selectors, priority, preempts, is_deleting)| {
            let label = match namespace {
                Some(_) => labels::PROPAGATION_POLICY_PERMANENT_ID,
                None => labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID,
            };
            if preempts {
                selectors
                    .iter_mut()
                    .filter(|selector| selector.name.is_empty())
                    .for_each(|selector| "a".clone_into(&mut selector.name));
            }
            let metadata = ObjectMeta {
                namespace: namespace.map(str::to_owned),
                name: Some(name.to_owned()),
                labels: Some([(label.to_owned(), format!("{name}{id}"))].into()),
                deletion_timestamp: is_deleting.then(|| serde_yaml::from_str("'2026-01-01T00:00:00Z'").unwrap()),
                ..ObjectMeta::default()
            };
            let preemption = if preempts { "Always" } else { "Never" };
            let mut spec: pando_api::policy::PropagationSpec = serde_yaml::from_str(&format!(
                "{{priority: {priority}, preemption: {preemption}, resourceSelectors: [], placement: {{}}}}"
            ))
            .unwrap();
            spec.resource_selectors = selectors;
            match namespace {
                Some(_) => {
                    let mut policy = PropagationPolicy::new("", spec);
                    policy.metadata = metadata;
                    Policy::Namespaced(Box::new(policy))
                }
                None => {
                    let mut policy = ClusterPropagationPolicy::new("", spec);
                    policy.metadata = metadata;
                    Policy::Cluster(Box::new(policy))
                }
            }
        },
    )
}

/// The marks that the template would get now; `None` when it has them.
fn due(template: &TemplateFacts, policies: &[Policy]) -> Option<Marks> {
    let marks = match claim(template, policies.iter().map(Policy::facts), &Skipped::default()) {
        Claim::Keep(policy) | Claim::Take { by: policy, .. } | Claim::Preempt { by: policy, .. } => {
            let id = policies.iter().find(|other| other.facts().policy == policy).map(Policy::id).unwrap_or_default();
            Marks::of(&policy, &id)
        }
        Claim::Release(_) => Marks::none(),
        Claim::Ignore(_) | Claim::Waiting => return None,
    };
    (!marks.are_on(&template.labels, &template.annotations)).then_some(marks)
}

proptest! {
    /// The point of it all: looking only at what a change wakes ends where looking at everything would, however policies
    /// come, change their selectors, priorities and ids, preempt, and go.
    #[test]
    fn whoever_is_not_woken_has_nothing_to_do(
        mut templates in prop::collection::vec(any_template(), 1..12),
        changes in prop::collection::vec(any_policy(), 1..12),
    ) {
        let mut policies: Vec<Policy> = Vec::new();
        let goes = |number: usize| number % 3 == 2;
        for (number, change) in changes.iter().enumerate() {
            let at = policies.iter().position(|policy| policy.facts().policy == change.facts().policy);
            let old = at.map(|at| policies.swap_remove(at));
            let new = (!goes(number)).then(|| change.clone());
            let woken: BTreeSet<Reach> = woken_by_policy(old.as_ref().map(Policy::side), new.as_ref().map(Policy::side));
            policies.extend(new);
            for template in &mut templates {
                let is_woken = woken.iter().any(|reach| finds(reach, template));
                let Some(marks) = due(template, &policies) else { continue };
                prop_assert!(is_woken, "{} is missed by {:?}", template, woken);
                marks.put_on(&mut template.labels, &mut template.annotations);
                prop_assert!(due(template, &policies).is_none(), "{} is not at rest", template);
            }
        }
    }
}
