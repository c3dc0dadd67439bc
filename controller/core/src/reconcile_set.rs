//! Desired and existing things, paired by key: the shape of every "exactly these, none elsewhere".

use std::collections::BTreeMap;

/// One key's two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pair<D, E> {
    /// Desired, not there.
    Missing(D),
    /// Desired and there.
    Both(D, E),
    /// There, not desired.
    Surplus(E),
}

/// Pairs the two sides. Each key comes out once, in order.
pub fn pair<K: Ord, D, E>(desired: BTreeMap<K, D>, mut existing: BTreeMap<K, E>) -> BTreeMap<K, Pair<D, E>> {
    let mut pairs: BTreeMap<K, Pair<D, E>> = BTreeMap::new();
    for (key, wanted) in desired {
        let pair = match existing.remove(&key) {
            Some(found) => Pair::Both(wanted, found),
            None => Pair::Missing(wanted),
        };
        pairs.insert(key, pair);
    }
    pairs.extend(existing.into_iter().map(|(key, found)| (key, Pair::Surplus(found))));
    pairs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Pair, pair};

    #[test]
    fn each_key_is_answered_once() {
        let pairs = pair(BTreeMap::from([("a", 1), ("b", 2)]), BTreeMap::from([("b", 'x'), ("c", 'y')]));
        assert_eq!(
            pairs,
            BTreeMap::from([("a", Pair::Missing(1)), ("b", Pair::Both(2, 'x')), ("c", Pair::Surplus('y'))])
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_invented(
            desired in proptest::collection::btree_map(0..20u8, any::<u8>(), 0..10),
            existing in proptest::collection::btree_map(0..20u8, any::<u8>(), 0..10),
        ) {
            let pairs = pair(desired.clone(), existing.clone());
            for (key, pair) in &pairs {
                let sides = match pair {
                    Pair::Missing(d) => (Some(*d), None),
                    Pair::Both(d, e) => (Some(*d), Some(*e)),
                    Pair::Surplus(e) => (None, Some(*e)),
                };
                prop_assert_eq!(sides, (desired.get(key).copied(), existing.get(key).copied()));
            }
            prop_assert!(desired.keys().chain(existing.keys()).all(|key| pairs.contains_key(key)));
        }
    }
}
