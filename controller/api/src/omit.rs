//! Which values are left out when an object is written.
//!
//! Karmada's types are Go structs with `omitempty`: a false flag, a zero, an empty text, list or
//! object is not written. We write the same, so that objects compare equal whoever wrote them.

/// True for values that Go's `omitempty` (and our defaults) leave out.
pub(crate) fn zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
