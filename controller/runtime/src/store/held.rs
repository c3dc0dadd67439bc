//! How a store holds an object: as it is, or packed.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Key;
use super::packed::{Packed, Packer, Role, Samples};
use super::table::Kept;

/// An object in a table.
pub(super) enum Held<T> {
    /// As it is.
    Whole(Arc<T>),
    /// As its text; to be read anew for whoever asks.
    Packed(Arc<Packed>),
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(object) => Self::Whole(Arc::clone(object)),
            Self::Packed(packed) => Self::Packed(Arc::clone(packed)),
        }
    }
}

impl<T> Kept for Held<T> {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Arc::ptr_eq(one, other),
            (Self::Packed(one), Self::Packed(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// How the objects of one store are packed.
pub(super) struct Packing<T> {
    packer: Packer,
    role: Role,
    family: fn(&T) -> Option<Key>,
    samples: Samples,
    write: fn(&T) -> serde_json::Result<Vec<u8>>,
    read: fn(&[u8]) -> serde_json::Result<T>,
    same: fn(&T, &T) -> bool,
}

impl<T: Serialize + DeserializeOwned + PartialEq> Packing<T> {
    pub(super) fn new(packer: &Packer, role: Role, family: fn(&T) -> Option<Key>) -> Self {
        Self {
            packer: packer.clone(),
            role,
            family,
            samples: Samples::default(),
            write: serde_json::to_vec::<T>,
            read: |text| serde_json::from_slice(text),
            same: T::eq,
        }
    }
}

impl<T> Packing<T> {
    /// `None` for an object that would not be the same when it is read again: it has to be held as it is.
    pub(super) fn pack(&self, object: &T) -> Option<Arc<Packed>> {
        let text = (self.write)(object).ok()?;
        let family = (self.family)(object);
        let again = (self.read)(&text).ok()?;
        (self.same)(object, &again).then_some(())?;
        self.packer.pack(&text, self.role, family.as_ref(), &self.samples)
    }

    /// The object. `None` is a bug: it was read once when it was packed.
    pub(super) fn unpack(&self, packed: &Packed) -> Option<T> {
        (self.read)(&packed.text()?).ok()
    }
}
