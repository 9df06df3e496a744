//! Threads that are started while a host's call is under way. The standard library's `spawn` is not
//! used, because it allocates.

#![allow(unsafe_code)] // This file meets C and Win32.

use std::io;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a thread's stack. TLS handshakes need the most.
pub const THREAD_STACK: usize = 512 * 1024;

/// Starts a thread that runs `run` under the process' own token. No thread waits for its end. Only
/// the system allocates memory for the thread; this function allocates nothing. An error means that
/// the system refused.
pub fn start_thread(run: fn()) -> io::Result<()> {
    system::start_thread(run)
}

/// Waits while `word` is `value`, for `limit` at most. Any number of threads may call this.
pub fn wait_while(word: &AtomicU32, value: u32, limit: Duration) {
    let since = Instant::now();
    while word.load(Ordering::Acquire) == value {
        let left = limit.saturating_sub(since.elapsed());
        if left.is_zero() {
            return;
        }
        system::wait_once(word, value, left);
    }
}

/// Wakes every thread that waits at `word`. The caller has changed the word.
pub fn wake_all(word: &AtomicU32) {
    system::wake_all(word);
}

/// Never returns, and uses no processor time.
pub fn park_for_ever() -> ! {
    static NEVER: AtomicU32 = AtomicU32::new(0);
    loop {
        system::wait_once(&NEVER, 0, Duration::from_secs(3600));
    }
}

/// Names the calling thread, which exports. Debuggers and lists of threads show the name.
pub fn name_thread() {
    system::name_thread();
}

/// Runs the function that a thread was started for.
fn run_guarded(run: fn()) {
    // A panic must not cross into the system. There is nobody to report it to.
    let _ = catch_unwind(run);
}

#[cfg(unix)]
mod system {
    use super::{AtomicU32, Duration, THREAD_STACK, io, run_guarded};
    use std::ffi::c_void;
    use std::mem::{MaybeUninit, transmute};

    extern "C" fn main(run: *mut c_void) -> *mut c_void {
        // SAFETY: `start_thread` passes a `fn()`.
        run_guarded(unsafe { transmute::<*mut c_void, fn()>(run) });
        std::ptr::null_mut()
    }

    pub fn start_thread(run: fn()) -> io::Result<()> {
        let checked = |code| match code {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        };
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: `attributes` is writable.
        checked(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: pthread_attr_init succeeded.
        let mut attributes = unsafe { attributes.assume_init() };
        // SAFETY: initialised above. A size that the system refuses leaves its own.
        unsafe { libc::pthread_attr_setstacksize(&mut attributes, THREAD_STACK) };
        let detached = libc::PTHREAD_CREATE_DETACHED;
        // SAFETY: initialised above.
        unsafe { libc::pthread_attr_setdetachstate(&mut attributes, detached) };
        let mut thread = 0;
        let run = run as *mut c_void;
        // SAFETY: the thread's function has the signature that is asked for and takes any `fn()`;
        // the results are writable.
        let code = unsafe { libc::pthread_create(&mut thread, &attributes, main, run) };
        // SAFETY: initialised above, and not used again.
        unsafe { libc::pthread_attr_destroy(&mut attributes) };
        checked(code)
    }

    #[cfg(target_os = "linux")]
    pub fn wait_once(word: &AtomicU32, value: u32, limit: Duration) {
        let limit = libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: limit.subsec_nanos().into(),
        };
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: futex(2) reads the word, which lives for the call, and the time.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, &raw const limit)
        };
    }

    #[cfg(target_os = "linux")]
    pub fn wake_all(word: &AtomicU32) {
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: futex(2) takes the word's address and reads nothing.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, i32::MAX) };
    }

    pub fn name_thread() {
        #[cfg(target_os = "linux")]
        // SAFETY: the name ends in NUL and has at most 16 bytes.
        unsafe {
            libc::prctl(libc::PR_SET_NAME, c"mpr-otel-export".as_ptr())
        };
    }

    #[cfg(not(target_os = "linux"))]
    pub fn wait_once(_word: &AtomicU32, _value: u32, limit: Duration) {
        std::thread::sleep(limit.min(Duration::from_millis(1)));
    }

    #[cfg(not(target_os = "linux"))]
    pub fn wake_all(_word: &AtomicU32) {}
}

#[cfg(windows)]
mod system {
    use super::{AtomicU32, Duration, THREAD_STACK, io, run_guarded};
    use std::ffi::c_void;
    use std::mem::transmute;
    use windows_sys::Win32::Foundation::CloseHandle;
    use windows_sys::Win32::System::Threading::{
        CreateThread, GetCurrentThread, STACK_SIZE_PARAM_IS_A_RESERVATION, SetThreadDescription,
        WaitOnAddress, WakeByAddressAll,
    };
    use windows_sys::core::w;

    unsafe extern "system" fn main(run: *mut c_void) -> u32 {
        // SAFETY: `start_thread` passes a `fn()`.
        run_guarded(unsafe { transmute::<*mut c_void, fn()>(run) });
        0
    }

    pub fn start_thread(run: fn()) -> io::Result<()> {
        let flags = STACK_SIZE_PARAM_IS_A_RESERVATION;
        let (security, run) = (std::ptr::null(), run as *mut c_void);
        let id = std::ptr::null_mut();
        // SAFETY: the thread's function has the signature that is asked for and takes any `fn()`.
        // The new thread has the process' token, whatever the calling thread's is.
        let thread = unsafe { CreateThread(security, THREAD_STACK, Some(main), run, flags, id) };
        if thread.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is ours, and not used again; the thread goes on.
        unsafe { CloseHandle(thread) };
        Ok(())
    }

    pub fn name_thread() {
        // SAFETY: takes nothing and cannot fail.
        let this = unsafe { GetCurrentThread() };
        // SAFETY: the handle stands for the calling thread, and the name ends in NUL.
        unsafe { SetThreadDescription(this, w!("mpr-otel-export")) };
    }

    pub fn wait_once(word: &AtomicU32, value: u32, limit: Duration) {
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1);
        let address = word.as_ptr().cast_const().cast();
        // SAFETY: both addresses have four bytes and live for the call.
        unsafe { WaitOnAddress(address, (&raw const value).cast(), size_of::<u32>(), limit) };
    }

    pub fn wake_all(word: &AtomicU32) {
        // SAFETY: takes the address and reads nothing.
        unsafe { WakeByAddressAll(word.as_ptr().cast_const().cast()) };
    }
}
