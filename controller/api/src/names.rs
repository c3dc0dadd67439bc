//! Names that follow from other names: clusters, execution namespaces, bindings, Works.
//!
//! All rules are Karmada 1.19's, so that both find each other's objects.

use std::fmt;

#[cfg(test)]
mod tests;

/// Namespace of the installation's own objects.
pub const KARMADA_SYSTEM: &str = "karmada-system";
/// Namespace of member credentials and agent leases.
pub const KARMADA_CLUSTER: &str = "karmada-cluster";
/// Prefix of the namespaces that hold the Works of one cluster.
pub const EXECUTION_NAMESPACE_PREFIX: &str = "karmada-es-";
/// Longest cluster name: derived names must fit into 63 characters.
pub const CLUSTER_NAME_MAX: usize = 48;

/// The alphabet of [`safe_encode`]: no vowels and nothing that looks like one, so that no words form.
const SAFE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Name of a member cluster: a DNS label of at most [`CLUSTER_NAME_MAX`] characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Box<str>);

/// A text that is no cluster name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cluster name {input:?}: {problem}")]
pub struct InvalidName {
    input: String,
    problem: NameProblem,
}

impl InvalidName {
    /// The text that was refused.
    #[must_use]
    pub fn input(&self) -> &str {
        &self.input
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NameProblem {
    #[error("a name needs at least one character")]
    Empty,
    #[error("it has {0} characters, use at most {CLUSTER_NAME_MAX}")]
    TooLong(usize),
    #[error("character {0:?} is not allowed, use lower case letters, digits and '-'")]
    Character(char),
    #[error("start and end it with a lower case letter or a digit")]
    Edge,
}

impl ClusterName {
    /// Checks a text (a DNS-1123 label, at most [`CLUSTER_NAME_MAX`] characters).
    ///
    /// # Errors
    ///
    /// [`InvalidName`] with the text and what is wrong with it.
    pub fn parse(input: &str) -> Result<Self, InvalidName> {
        match Self::problem(input) {
            None => Ok(Self(input.into())),
            Some(problem) => Err(InvalidName { input: input.to_owned(), problem }),
        }
    }

    fn problem(input: &str) -> Option<NameProblem> {
        if input.is_empty() {
            return Some(NameProblem::Empty);
        }
        if let Some(strange) = input.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Some(NameProblem::Character(strange));
        }
        if input.starts_with('-') || input.ends_with('-') {
            return Some(NameProblem::Edge);
        }
        (input.len() > CLUSTER_NAME_MAX).then_some(NameProblem::TooLong(input.len()))
    }

    /// The ConfigMap in [`KARMADA_CLUSTER`] that says what a forced detach left in the member. Ours.
    #[must_use]
    pub fn left_behind(&self) -> String {
        format!("detached-{self}")
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace that holds this cluster's Works.
    #[must_use]
    pub fn execution_namespace(&self) -> ExecutionNamespace {
        ExecutionNamespace(format!("{EXECUTION_NAMESPACE_PREFIX}{}", self.0).into_boxed_str())
    }
}

impl AsRef<str> for ClusterName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A map keyed by cluster names can be asked with a `&str`.
impl std::borrow::Borrow<str> for ClusterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ClusterName {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, InvalidName> {
        Self::parse(input)
    }
}

impl TryFrom<&str> for ClusterName {
    type Error = InvalidName;

    fn try_from(input: &str) -> Result<Self, InvalidName> {
        Self::parse(input)
    }
}

/// Namespace of the Works of one cluster, `karmada-es-<cluster>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionNamespace(Box<str>);

impl ExecutionNamespace {
    /// Recognises an execution namespace; `None` for every other namespace.
    #[must_use]
    pub fn parse(namespace: &str) -> Option<Self> {
        let cluster = namespace.strip_prefix(EXECUTION_NAMESPACE_PREFIX)?;
        ClusterName::parse(cluster).ok().map(|name| name.execution_namespace())
    }

    /// The cluster whose Works are here.
    #[must_use]
    pub fn cluster(&self) -> ClusterName {
        // Every constructor put the prefix there.
        ClusterName(self.0.strip_prefix(EXECUTION_NAMESPACE_PREFIX).unwrap_or(&self.0).into())
    }

    /// The namespace as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ExecutionNamespace {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutionNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// True for namespaces whose content is never propagated: the installation's own ones and every
/// execution namespace. The users' regular expression and `default` (namespace sync only) are
/// configuration and not covered here.
#[must_use]
pub fn is_reserved_namespace(namespace: &str) -> bool {
    namespace == KARMADA_SYSTEM || namespace == KARMADA_CLUSTER || namespace.starts_with(EXECUTION_NAMESPACE_PREFIX)
}

/// Name of the binding of a template, e.g. `nginx-deployment`.
///
/// Names of some kinds (roles) may hold `:`, which no custom resource name may.
#[must_use]
pub fn binding_name(kind: &str, name: &str) -> String {
    format!("{}-{kind}", name.replace(':', ".")).to_lowercase()
}

/// Name of the Work of a template, e.g. `nginx-687f7fb96f`. `namespace` is the template's, `None`
/// for cluster-wide kinds.
#[must_use]
pub fn work_name(namespace: Option<&str>, kind: &str, name: &str) -> String {
    let full = match namespace {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}-{name}-{kind}"),
        _ => format!("{name}-{kind}"),
    };
    let hash = fnv1a32(&full.to_lowercase());
    format!("{}-{}", name.replace(':', ".").to_lowercase(), safe_encode(hash))
}

/// The end of the label by which an attached binding names the binding that needs it
/// ([`labels::DEPENDED_BY_PREFIX`](crate::labels::DEPENDED_BY_PREFIX)).
#[must_use]
pub fn depended_by_hash(namespace: &str, name: &str) -> String {
    safe_encode(fnv1a32(&format!("{namespace}/{name}")))
}

/// Writes a number as letters and digits that form no words: each byte of its decimal text picks a
/// character (Kubernetes' `SafeEncodeString`).
#[must_use]
pub fn safe_encode(number: u32) -> String {
    number
        .to_string()
        .bytes()
        .map(|digit| char::from(SAFE_ALPHABET[usize::from(digit) % SAFE_ALPHABET.len()]))
        .collect()
}

/// FNV-1a, 32 bits: the hash behind Karmada's names and the scheduler's tie-break.
#[must_use]
pub const fn fnv1a32(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash
}
