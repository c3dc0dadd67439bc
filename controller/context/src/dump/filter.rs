//! What of a tree is of interest.

use std::time::Duration;

use super::{State, Tree, TreeNode};

/// What of a tree is of interest. The default is everything.
///
/// All that is said has to be true of a context for it to match. Contexts above one that matches stay
/// in the tree, marked as not matching themselves ([`TreeNode::matched`]).
///
/// ```
/// use pando_context::{Filter, State};
///
/// let asked = Filter::parse([("cluster", "bj-prod"), ("state", "stopping"), ("older", "30s")]).unwrap();
/// assert_eq!(asked.state, Some(State::Stopping));
/// assert_eq!(asked.older.unwrap().as_secs(), 30);
/// assert_eq!(
///     Filter::parse([("state", "asleep")]).unwrap_err().to_string(),
///     "state=asleep: expected active or stopping"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// At or below a context of this kind with this name.
    pub within: Option<(String, String)>,
    /// Of this kind.
    pub kind: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Made at least so long ago.
    pub older: Option<Duration>,
    /// At most so many levels below the context that is dumped.
    pub depth: Option<usize>,
}

/// A part of a filter that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value}: expected {expected}")]
pub struct FilterError {
    key: String,
    value: String,
    expected: &'static str,
}

/// The keys that a filter knows.
const KEYS: &str = "one of the keys cluster, within, kind, state, older and depth";

impl Filter {
    /// A filter from pairs, say from the query of a URL: `cluster=NAME` (short for
    /// `within=cluster/NAME`), `within=KIND/NAME`, `kind=KIND`, `state=active|stopping`, `older=TIME`
    /// with `ms`, `s`, `m` or `h` behind the number (seconds without), `depth=NUMBER`.
    ///
    /// # Errors
    ///
    /// [`FilterError`] with the pair that is not understood, also if only its key is unknown.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), value.as_ref());
            filter.set(key, value).map_err(|expected| FilterError {
                key: key.to_owned(),
                value: value.to_owned(),
                expected,
            })?;
        }
        Ok(filter)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "cluster" => self.within = Some((key.to_owned(), value.to_owned())),
            "within" => {
                let (kind, name) = value.split_once('/').ok_or("KIND/NAME")?;
                self.within = Some((kind.to_owned(), name.to_owned()));
            }
            "kind" => self.kind = Some(value.to_owned()),
            "state" => {
                let state = [State::Active, State::Stopping].into_iter().find(|state| state.as_str() == value);
                self.state = Some(state.ok_or("active or stopping")?);
            }
            "older" => self.older = Some(time(value).ok_or("a time, such as 500ms, 30s, 2m or 1h")?),
            "depth" => self.depth = Some(value.parse().map_err(|_| "a number of levels")?),
            _ => return Err(KEYS),
        }
        Ok(())
    }

    /// The pairs that [`Filter::parse`] makes this filter of.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if let Some((kind, name)) = &self.within {
            pairs.push(("within", format!("{kind}/{name}")));
        }
        pairs.extend(self.kind.clone().map(|kind| ("kind", kind)));
        pairs.extend(self.state.map(|state| ("state", state.as_str().to_owned())));
        pairs.extend(self.older.map(|older| ("older", format!("{}ms", older.as_millis()))));
        pairs.extend(self.depth.map(|depth| ("depth", depth.to_string())));
        pairs
    }

    fn admits(&self, node: &TreeNode) -> bool {
        self.kind.as_ref().is_none_or(|kind| kind == node.label.kind().as_str())
            && self.state.is_none_or(|state| state == node.state())
            && self.older.is_none_or(|older| node.age >= older)
            && self.depth.is_none_or(|depth| node.depth <= depth)
    }

    fn is_top(&self, node: &TreeNode) -> bool {
        self.within
            .as_ref()
            .is_none_or(|(kind, name)| node.label.kind().as_str() == kind && node.label.name() == Some(name))
    }
}

/// A time from words such as `30s`.
fn time(words: &str) -> Option<Duration> {
    let unit = words.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(words.len());
    let (number, unit) = words.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

impl Tree {
    /// What matches a filter, with all that is above it.
    pub(crate) fn select(self, filter: &Filter) -> Self {
        if *filter == Filter::default() {
            return self;
        }
        let mut nodes = Vec::new();
        // Those above the node that the walk is at, each until it is taken over for the first that matches.
        let mut path: Vec<Option<TreeNode>> = Vec::new();
        // The depth of the context that everything has to be below, while the walk is.
        let mut inside = None;
        for mut node in self.nodes {
            path.truncate(node.depth);
            if inside.is_some_and(|depth| node.depth <= depth) {
                inside = None;
            }
            if inside.is_none() && filter.is_top(&node) {
                inside = Some(node.depth);
            }
            node.matched = inside.is_some() && filter.admits(&node);
            if node.matched {
                nodes.extend(path.iter_mut().filter_map(Option::take));
                nodes.push(node);
                path.push(None);
            } else {
                path.push(Some(node));
            }
        }
        Self { nodes }
    }
}
