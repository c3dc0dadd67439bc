//! Which templates are never propagated.

use std::{collections::BTreeSet, fmt};

use pando_api::labels;
use regex::Regex;

use super::{TemplateFacts, is_reserved};

/// API groups whose objects drive the federation itself, and Kubernetes' own bookkeeping.
const SKIPPED_GROUPS: [&str; 10] = [
    "apps.karmada.io",
    "autoscaling.karmada.io",
    "cluster.karmada.io",
    "config.karmada.io",
    "networking.karmada.io",
    "policy.karmada.io",
    "remedy.karmada.io",
    "work.karmada.io",
    "coordination.k8s.io",
    "events.k8s.io",
];

/// What is never propagated. The default is Karmada's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Namespaces by pattern; Karmada's default is `kube-.*`.
    pub namespaces: Vec<NamespacePattern>,
    /// API groups, all versions and kinds.
    pub groups: BTreeSet<String>,
    /// API versions as `group/version`, all kinds.
    pub api_versions: BTreeSet<String>,
    /// Single kinds as (apiVersion, kind).
    pub kinds: BTreeSet<(String, String)>,
}

impl Default for Skipped {
    fn default() -> Self {
        Self {
            namespaces: NamespacePattern::parse("kube-.*").into_iter().collect(),
            groups: SKIPPED_GROUPS.map(str::to_owned).into(),
            api_versions: BTreeSet::new(),
            kinds: BTreeSet::from([("v1".to_owned(), "Event".to_owned())]),
        }
    }
}

/// A regular expression for whole namespace names.
#[derive(Clone, Debug)]
pub struct NamespacePattern(Regex);

impl NamespacePattern {
    /// Reads a pattern; it has to match a name from beginning to end.
    ///
    /// # Errors
    ///
    /// It is not a regular expression.
    pub fn parse(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(&format!("^(?:{pattern})$")).map(Self)
    }

    /// Whether the namespace is one of them.
    #[must_use]
    pub fn matches(&self, namespace: &str) -> bool {
        self.0.is_match(namespace)
    }
}

impl PartialEq for NamespacePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for NamespacePattern {}

/// Why a template is never propagated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Another controller owns it.
    ClaimedBy {
        /// The value of the claimed-by label.
        controller: String,
    },
    /// Its namespace holds the federation's own objects.
    ReservedNamespace,
    /// Its namespace is on the list of skipped ones.
    SkippedNamespace,
    /// Its kind is on the list of skipped ones.
    SkippedKind,
    /// Each API server writes its own.
    OfApiServer,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClaimedBy { controller } => write!(f, "label {} says that {controller} owns it", labels::CLAIMED_BY),
            Self::ReservedNamespace => f.write_str("its namespace is reserved for the federation"),
            Self::SkippedNamespace => f.write_str("its namespace is never propagated"),
            Self::SkippedKind => f.write_str("its kind is never propagated"),
            Self::OfApiServer => f.write_str("each API server writes its own"),
        }
    }
}

impl TemplateFacts {
    /// `kube-system/extension-apiserver-authentication`: with which certificates an API server is reached. Also where the
    /// namespace is not skipped.
    fn is_written_by_the_api_server(&self) -> bool {
        self.kind == "ConfigMap"
            && self.namespace.as_deref() == Some("kube-system")
            && self.name == "extension-apiserver-authentication"
    }
}

impl Skipped {
    /// Whether a template may be propagated at all.
    ///
    /// # Errors
    ///
    /// [`Ignored`] says why not.
    pub fn check(&self, template: &TemplateFacts) -> Result<(), Ignored> {
        if self.skips_kind(&template.api_version, &template.kind) {
            return Err(Ignored::SkippedKind);
        }
        if let Some(namespace) = &template.namespace {
            self.check_namespace(namespace)?;
        }
        // A Namespace object is its namespace.
        if template.api_version == "v1" && template.kind == "Namespace" {
            self.check_namespace(&template.name)?;
        }
        if template.is_written_by_the_api_server() {
            return Err(Ignored::OfApiServer);
        }
        match template.labels.get(labels::CLAIMED_BY) {
            Some(controller) if !controller.is_empty() => Err(Ignored::ClaimedBy { controller: controller.clone() }),
            _ => Ok(()),
        }
    }

    /// Whether no object of this kind is ever propagated, so that it need not be watched.
    #[must_use]
    pub fn skips_kind(&self, api_version: &str, kind: &str) -> bool {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.groups.contains(group)
            || self.api_versions.contains(api_version)
            || self.kinds.contains(&(api_version.to_owned(), kind.to_owned()))
    }

    fn check_namespace(&self, namespace: &str) -> Result<(), Ignored> {
        if is_reserved(namespace) {
            return Err(Ignored::ReservedNamespace);
        }
        let is_skipped = self.namespaces.iter().any(|pattern| pattern.matches(namespace));
        if is_skipped { Err(Ignored::SkippedNamespace) } else { Ok(()) }
    }
}
