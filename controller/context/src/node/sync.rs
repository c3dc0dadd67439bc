//! Where the nodes take their locks and atomics from: the standard library, or loom's models of them
//! (feature `loom`), which try every order in which threads can meet.

#[cfg(not(feature = "loom"))]
pub(super) use std::sync::{Mutex, MutexGuard, OnceLock, atomic};

#[cfg(all(feature = "loom", feature = "intrusive"))]
pub(super) use loom::cell::UnsafeCell;
#[cfg(feature = "loom")]
pub(super) use loom::sync::{Mutex, MutexGuard, atomic};

#[cfg(feature = "loom")]
pub(super) use modelled::OnceLock;

/// A cell in the shape of loom's, which sees every access and so can tell two that meet.
#[cfg(all(not(feature = "loom"), feature = "intrusive"))]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(all(not(feature = "loom"), feature = "intrusive"))]
impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub(super) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
        look(self.0.get())
    }

    pub(super) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }
}

#[cfg(feature = "loom")]
mod modelled {
    use super::Mutex;
    use super::atomic::{AtomicUsize, Ordering};

    /// loom has no `OnceLock`. This one orders as the standard library's does: `set` before what
    /// `get` finds, and a `set` that loses returns after the one that won.
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        ready: AtomicUsize,
        setting: Mutex<()>,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self { value: std::sync::OnceLock::new(), ready: AtomicUsize::new(0), setting: Mutex::new(()) }
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            let turn = self.setting.lock();
            let set = self.value.set(value);
            self.ready.store(1, Ordering::Release);
            drop(turn);
            set
        }

        pub(crate) fn get(&self) -> Option<&T> {
            (self.ready.load(Ordering::Acquire) == 1).then(|| self.value.get()).flatten()
        }
    }

    impl<T> From<T> for OnceLock<T> {
        fn from(value: T) -> Self {
            Self { value: std::sync::OnceLock::from(value), ready: AtomicUsize::new(1), setting: Mutex::new(()) }
        }
    }
}
