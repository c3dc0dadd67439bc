//! Records kept as packed text, for kinds of which there are many objects.
//!
//! A decoded object costs ten times its text: maps, short strings, room to grow. And most of its text is in other objects,
//! too: keys, policies, clusters, and of a Work nearly everything is in the Work of the next cluster. So a text is kept as
//! what LZ4 leaves of it after everything that a *dictionary* has:
//!
//! ```text
//! dictionary = sample (one whole text of the kind) + text of the base (an object of the same family); or the base alone
//!
//! family      root   the template                              ◄─── leaf   its binding
//!               ▲
//!             lead   the first Work  ◄───  the Works of the other clusters
//! ```
//!
//! Each holds on to its base; what it can be read by never goes away before it. Which base is chosen is a matter of bytes
//! only, never of truth.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lz4_flex::block;

use super::Key;

/// Texts above this size are packed alone: LZ4 looks back over 64 KiB, and the text itself takes most of them.
const LARGE: usize = 32 * 1024;
/// Longest sample.
const SAMPLE: usize = 8 * 1024;
/// Fewer families than this are not worth sweeping.
const SWEEP_AT: usize = 256;

/// How the objects of a store stand to others of their family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that the others are made from.
    Root,
    /// One of several that are nearly the same.
    Lead,
    /// One that nothing else is like.
    Leaf,
}

/// Packs for several stores, whose objects belong together. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Packer {
    families: Arc<Mutex<Families>>,
}

/// A text, packed.
pub(super) struct Packed {
    bytes: Box<[u8]>,
    /// Length of the text.
    len: u32,
    /// How many bases there are below it.
    depth: u8,
    sample: Option<Arc<Sample>>,
    base: Option<Arc<Self>>,
}

/// One whole text of a kind: what all of them repeat.
struct Sample(Box<[u8]>);

/// The sample of one store: the richest of its 1st, 8th, 64th, … text. What was packed with an earlier one keeps that.
#[derive(Default)]
pub(super) struct Samples {
    current: Mutex<(u64, Option<Arc<Sample>>)>,
}

#[derive(Default)]
struct Families {
    hasher: RandomState,
    /// By the hash of their key: two with the same hash pack worse, no more.
    members: HashMap<u64, Family>,
    /// How many there may be before those without members are forgotten.
    sweep_at: usize,
}

#[derive(Clone, Default)]
struct Family {
    root: Weak<Packed>,
    lead: Weak<Packed>,
}

impl Packed {
    /// `None` when the packed text does not read as the text.
    fn new(text: &[u8], sample: Option<Arc<Sample>>, base: Option<Arc<Self>>) -> Option<Self> {
        let depth = base.as_ref().map_or(0, |base| base.depth + 1);
        let mut packed = Self { bytes: Box::default(), len: u32::try_from(text.len()).ok()?, depth, sample, base };
        packed.bytes = block::compress_with_dict(text, &packed.dictionary()?).into_boxed_slice();
        (packed.text()? == text).then_some(packed)
    }

    /// The text. `None` is a bug: it was read once when it was packed.
    pub(super) fn text(&self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.len).ok()?;
        block::decompress_with_dict(&self.bytes, len, &self.dictionary()?).ok()
    }

    fn dictionary(&self) -> Option<Vec<u8>> {
        let mut dictionary = self.sample.as_ref().map(|sample| sample.0.to_vec()).unwrap_or_default();
        if let Some(base) = &self.base {
            dictionary.append(&mut base.text()?);
        }
        Some(dictionary)
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content may be secret.
        write!(f, "Packed({} bytes of {})", self.bytes.len(), self.len)
    }
}

impl Samples {
    fn of(&self, text: &[u8]) -> Option<Arc<Sample>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, sample) = &mut *current;
        *count += 1;
        let is_look = count.is_power_of_two() && count.trailing_zeros() % 3 == 0;
        if is_look && text.len() <= SAMPLE && sample.as_ref().is_none_or(|known| known.0.len() < text.len()) {
            *sample = Some(Arc::new(Sample(text.into())));
        }
        sample.clone()
    }
}

impl Packer {
    /// Packs a text. `None` when that cannot be undone: then the object has to be kept as it is.
    pub(super) fn pack(&self, text: &[u8], role: Role, family: Option<&Key>, samples: &Samples) -> Option<Arc<Packed>> {
        let Some(family) = family.filter(|_| text.len() <= LARGE) else {
            let sample = if text.len() <= LARGE { samples.of(text) } else { None };
            return Packed::new(text, sample, None).map(Arc::new);
        };
        let sample = samples.of(text);
        let against = |base: Option<Arc<Packed>>| Packed::new(text, sample.clone(), base).map(Arc::new);
        let (root, lead) = self.bases(family);
        let packed = match role {
            Role::Leaf => return against(root.or(lead)),
            // A lead that came first has most of it.
            Role::Root => against(lead.filter(|lead| lead.depth == 0)).filter(|packed| !packed.strays_from(2)),
            Role::Lead if lead.is_some() => {
                // The lead has all that a sample has, and a smaller dictionary finds more.
                let packed = Packed::new(text, None, lead).map(Arc::new)?;
                // The template was edited, and the others will follow: this one leads them.
                let anew = if packed.strays_from(6) { against(root.clone()) } else { None };
                match anew.filter(|anew| anew.bytes.len() < packed.bytes.len()) {
                    None => return Some(packed),
                    leads => leads,
                }
            }
            Role::Lead => against(root),
        };
        let packed = packed.or_else(|| against(None))?;
        self.lock().register(family, role, &packed);
        Some(packed)
    }

    /// The root and the lead of a family.
    fn bases(&self, family: &Key) -> (Option<Arc<Packed>>, Option<Arc<Packed>>) {
        let families = self.lock();
        let Some(family) = families.members.get(&families.hasher.hash_one(family)) else { return (None, None) };
        let usable = |base: &Weak<Packed>| base.upgrade().filter(|base| (base.len as usize) <= LARGE);
        (usable(&family.root), usable(&family.lead))
    }

    fn lock(&self) -> MutexGuard<'_, Families> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packed {
    /// Whether it takes more than this part of its text (and of the least that any takes): its base does not fit.
    fn strays_from(&self, part: usize) -> bool {
        self.base.is_some() && self.bytes.len() > self.len as usize / part + 128
    }
}

impl Families {
    fn register(&mut self, family: &Key, role: Role, packed: &Arc<Packed>) {
        if self.members.len() >= self.sweep_at.max(SWEEP_AT) {
            let lives = |base: &Weak<Packed>| base.strong_count() > 0;
            self.members.retain(|_, family| lives(&family.root) || lives(&family.lead));
            self.sweep_at = 2 * self.members.len();
        }
        let family = self.members.entry(self.hasher.hash_one(family)).or_default();
        match role {
            Role::Root => family.root = Arc::downgrade(packed),
            Role::Lead => family.lead = Arc::downgrade(packed),
            Role::Leaf => {}
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packer({} families)", self.lock().members.len())
    }
}
