//! A library of Windows that is loaded only when it is used.
//!
//! Windows loads a module's imports together with the module. If an import is not a known DLL,
//! Windows looks for it first in the program's own folder. So every program that maps a drive would
//! load a file of that name that somebody put there. A library that is loaded here comes only from
//! System32, and only into a process that needs it.

use std::io;
use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::core::{PCSTR, PCWSTR};

/// A function whose type is not known yet.
pub(super) type Function = unsafe extern "system" fn() -> isize;

/// The library stays loaded for the life of the process, because it may have threads of its own.
pub(super) struct SystemLibrary(HMODULE);

impl SystemLibrary {
    /// Loads the library from System32.
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

    /// Looks up one of its functions.
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
/// `of_windows_sys` exists only in tests. It takes the functions from windows-sys, which imports
/// them. So the compiler compares each signature with the one that is made from Windows' metadata.
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
