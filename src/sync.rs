//! The primitives that the lock-free files are written in.
//!
//! One place, so that the model test can compile those same files against loom's versions.

pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
pub use std::thread::{Thread, current, park, park_timeout};

/// A sequentially consistent fence for a thread that has just sent into a channel.
///
/// On x86 the send's locked instruction is that fence in the processor, so it is enough to keep
/// the compiler from moving what follows before it.
pub fn fence_after_send() {
    if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}
