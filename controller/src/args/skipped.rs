//! What is never propagated: namespaces by pattern, kinds by group, version and kind.
//!
//! The grammar is Karmada 1.19's, so that a flag value carries over unchanged.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use pando_core::policy_match::{NamespacePattern, Skipped};

/// A regular expression that must match a namespace's whole name.
#[derive(Debug, Clone)]
pub(crate) struct SkippedNamespace {
    text: String,
    pattern: NamespacePattern,
}

impl SkippedNamespace {
    /// The pattern, for the decision.
    pub(crate) fn pattern(&self) -> NamespacePattern {
        self.pattern.clone()
    }
}

/// A pattern that is not a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a regular expression for namespace names; kube-.* is one")]
pub(crate) struct InvalidPattern(String);

impl FromStr for SkippedNamespace {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern = NamespacePattern::parse(text).map_err(|_| InvalidPattern(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), pattern })
    }
}

impl fmt::Display for SkippedNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Kinds that are never propagated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SkippedApis {
    groups: BTreeSet<String>,
    versions: BTreeSet<(String, String)>,
    kinds: BTreeSet<(String, String, String)>,
}

impl SkippedApis {
    /// Adds these kinds to what the decision skips.
    pub(crate) fn add_to(&self, skipped: &mut Skipped) {
        let api_version = |group: &str, version: &str| match group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        };
        skipped.groups.extend(self.groups.iter().cloned());
        skipped.api_versions.extend(self.versions.iter().map(|(group, version)| api_version(group, version)));
        let kinds = self.kinds.iter().map(|(group, version, kind)| (api_version(group, version), kind.clone()));
        skipped.kinds.extend(kinds);
    }

    fn insert(&mut self, token: &str) -> Result<(), InvalidApis> {
        let invalid = || InvalidApis(token.to_owned());
        let is_version =
            |text: &str| text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let (group, rest) = match token.split_once('/') {
            // `v1/Kind,Kind` is the core group, which has no name.
            Some((version, kinds)) if is_version(version) => {
                return self.insert_kinds("", version, kinds).map_err(|()| invalid());
            }
            Some((group, rest)) => (group, rest.split_once('/').map_or((rest, None), |(v, kinds)| (v, Some(kinds)))),
            None => (token, ("", None)),
        };
        match rest {
            ("", None) if !token.contains('/') => {
                self.groups.insert(group.to_owned());
            }
            (version, None) if !group.is_empty() && is_version(version) => {
                self.versions.insert((group.to_owned(), version.to_owned()));
            }
            (version, Some(kinds)) if !group.is_empty() && is_version(version) => {
                self.insert_kinds(group, version, kinds).map_err(|()| invalid())?;
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }

    fn insert_kinds(&mut self, group: &str, version: &str, kinds: &str) -> Result<(), ()> {
        for kind in kinds.split(',') {
            // Karmada also takes the prefix again before each kind: `v1/Node,v1/Pod`.
            let kind = kind.rsplit('/').next().unwrap_or_default();
            if !kind.starts_with(|c: char| c.is_ascii_uppercase()) {
                return Err(());
            }
            self.kinds.insert((group.to_owned(), version.to_owned(), kind.to_owned()));
        }
        Ok(())
    }
}

/// A list of kinds that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no API: write group, group/version, group/version/Kind,Kind or v1/Kind; join several with `;`")]
pub(crate) struct InvalidApis(String);

impl FromStr for SkippedApis {
    type Err = InvalidApis;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut skipped = Self::default();
        for token in text.split(';').map(str::trim).filter(|token| !token.is_empty()) {
            skipped.insert(token)?;
        }
        Ok(skipped)
    }
}
