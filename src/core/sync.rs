//! The primitives that the lock-free files use.
//!
//! They are in one place, so that the model test can compile those files with loom's versions.

pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
pub use std::thread::{Thread, current, park, park_timeout};

/// A cell that threads share. It has the interface of loom's cell.
#[derive(Debug)]
#[repr(transparent)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Gives `read` a pointer through which it may read.
    #[inline]
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// Gives `write` a pointer through which it may read and write.
    #[inline]
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
