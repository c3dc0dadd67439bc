//! Resource selector → the cheapest look-up that finds every template it can select.
//!
//! A template is found by its kind and namespace, its name, and its labels as index values `key=value`
//! ([`label_values`]). What a look-up finds is a superset of what the selector selects, and the claim decides: a template
//! that is looked at in vain costs a moment, one that is missed waits for ever.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use pando_api::policy::ResourceSelector;

use crate::selector::{self, Labels};

/// Where a selector can find templates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// apiVersion and kind; `None` for every kind.
    pub kind: Option<(String, String)>,
    /// The namespace; `None` for all of them, and for cluster-scoped objects.
    pub namespace: Option<String>,
    /// By what they are found there.
    pub by: By,
}

/// By what templates are found, narrowest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The object of this name, in each namespace that is reached.
    Name(String),
    /// By labels. Each element is a look-up that finds everything by itself, as the union of its terms: use the one
    /// that finds least ([`narrowest`]). Never empty.
    Labels(Vec<Vec<Term>>),
    /// All objects.
    Everything,
}

/// One look-up among the [`label_values`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// The label has this value: `key=value`.
    Is(String),
    /// The label is there: the value starts with `key=`.
    Has(String),
}

impl Term {
    fn is(key: &str, value: &str) -> Self {
        Self::Is(format!("{key}={value}"))
    }
}

/// Gives the index values of an object's labels, each in the parts that it is made of: `key`, `=`, `value`.
pub fn label_values<'a>(labels: &'a Labels, mut add: impl FnMut(&[&'a str])) {
    labels.iter().for_each(|(key, value)| add(&[key, "=", value]));
}

impl Reach {
    /// Where a selector of a policy in `own_namespace` (`None`: of a cluster-scoped one) can find templates; `None` when
    /// it selects nothing, whatever there is.
    #[must_use]
    pub fn of(selector: &ResourceSelector, own_namespace: Option<&str>) -> Option<Self> {
        let named = Some(selector.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let foreign = named.is_some() && own_namespace.is_some() && named != own_namespace;
        if foreign {
            return None;
        }
        let by = match (selector.name.as_str(), &selector.label_selector) {
            ("", Some(labels)) => by_labels(labels)?,
            ("", None) => By::Everything,
            (name, _) => By::Name(name.to_owned()),
        };
        Some(Self {
            kind: Some((selector.api_version.clone(), selector.kind.clone())),
            namespace: named.or(own_namespace).map(str::to_owned),
            by,
        })
    }

    /// Everything in a namespace, or everywhere.
    #[must_use]
    pub fn everything(namespace: Option<&str>) -> Self {
        Self { kind: None, namespace: namespace.map(str::to_owned), by: By::Everything }
    }
}

/// `None` when the selector is not valid, so that it selects nothing.
fn by_labels(labels: &LabelSelector) -> Option<By> {
    if !selector::can_select(labels) {
        return None;
    }
    let pairs = labels.match_labels.iter().flatten().map(|(key, value)| vec![Term::is(key, value)]);
    let expressions = labels.match_expressions.iter().flatten().filter_map(terms);
    let alternatives: Vec<_> = pairs.chain(expressions).collect();
    Some(if alternatives.is_empty() { By::Everything } else { By::Labels(alternatives) })
}

/// The terms whose union finds what an expression selects; `None` for one that selects by absence.
fn terms(expression: &LabelSelectorRequirement) -> Option<Vec<Term>> {
    let key = &expression.key;
    match expression.operator.as_str() {
        "In" => Some(expression.values.iter().flatten().map(|value| Term::is(key, value)).collect()),
        "Exists" => Some(vec![Term::Has(format!("{key}="))]),
        _ => None,
    }
}

/// Of several look-ups that each find everything, the one that finds least. `count` says how much a term finds.
pub fn narrowest(alternatives: &[Vec<Term>], count: impl Fn(&Term) -> usize) -> &[Term] {
    let found = |terms: &&Vec<Term>| terms.iter().map(&count).sum::<usize>();
    alternatives.iter().min_by_key(found).map(Vec::as_slice).unwrap_or_default()
}
