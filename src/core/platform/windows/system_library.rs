//! A library of Windows that is loaded when something is asked of it.
//!
//! What a module imports, Windows loads with it, and looks for in the program's own folder first unless it is
//! a known DLL: any program that maps a drive would load what somebody put there under that name. What
//! is loaded here comes from System32 alone, and only into a process that needs it.

use std::io;
use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::core::{PCSTR, PCWSTR};

/// A function whose type is not known yet.
pub(super) type Function = unsafe extern "system" fn() -> isize;

/// Stays loaded for the life of the process: it may have threads of its own.
pub(super) struct SystemLibrary(HMODULE);

impl SystemLibrary {
    /// Loads it from System32.
    ///
    /// # Safety
    ///
    /// `name` points to UTF-16 that ends in NUL.
    pub(super) unsafe fn load(name: PCWSTR) -> io::Result<Self> {
        // SAFETY: the caller vouches for the name; the reserved handle is null, as it must be.
        let module =
            unsafe { LoadLibraryExW(name, std::ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
        if module.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(module)) }
    }

    /// A function of it.
    ///
    /// # Safety
    ///
    /// `name` points to bytes that end in NUL.
    pub(super) unsafe fn function(&self, name: PCSTR) -> io::Result<Function> {
        // SAFETY: the module is loaded and never freed; the caller vouches for the name.
        unsafe { GetProcAddress(self.0, name) }.ok_or_else(io::Error::last_os_error)
    }
}

/// Makes a struct of a library's functions, with a `get` that looks all of them up once.
///
/// `of_windows_sys`, in tests alone, has them from windows-sys, which imports them: so the compiler compares
/// each signature with the one that is made from Windows' metadata.
macro_rules! system_functions {
    (
        $(#[doc = $about:literal])+
        struct $table:ident of $library:literal in $module:path;
        $($field:ident: $name:ident($($argument:ty),*) -> $result:ty;)+
    ) => {
        $(#[doc = $about])+
        struct $table {
            $($field: unsafe extern "system" fn($($argument),*) -> $result,)+
        }

        impl $table {
            /// Loads the library if it is not loaded yet.
            fn get() -> std::io::Result<&'static Self> {
                static FUNCTIONS: std::sync::OnceLock<$table> = std::sync::OnceLock::new();
                if let Some(functions) = FUNCTIONS.get() {
                    return Ok(functions);
                }
                // SAFETY: `w!` ends its text in NUL.
                let library = unsafe { SystemLibrary::load(windows_sys::core::w!($library)) }?;
                let functions = Self {
                    $($field: {
                        // SAFETY: a C string literal ends in NUL.
                        let function = unsafe {
                            library.function(concat!(stringify!($name), "\0").as_ptr())
                        }?;
                        // SAFETY: the function of that name has this type: `of_windows_sys` compares
                        // it with Windows' own declaration.
                        unsafe {
                            std::mem::transmute::<
                                Function,
                                unsafe extern "system" fn($($argument),*) -> $result,
                            >(function)
                        }
                    },)+
                };
                Ok(FUNCTIONS.get_or_init(|| functions))
            }

            #[cfg(test)]
            fn of_windows_sys() -> Self {
                use $module as windows;
                Self { $($field: windows::$name,)+ }
            }
        }
    };
}

pub(super) use system_functions;
