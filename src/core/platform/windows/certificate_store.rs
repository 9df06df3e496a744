//! The machine's own certificates: the store `LocalMachine\My`.
//!
//! The functions are declared in wincrypt.h. The library is loaded when a certificate is looked
//! for.

use super::system_library::{Function, SystemLibrary, system_functions};
use std::ffi::c_void;
use std::io;
use std::ptr::{null, null_mut};
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::Security::Cryptography::{
    CERT_CONTEXT, CERT_FIND_SHA1_HASH, CERT_FIND_SUBJECT_STR_W, CERT_INFO,
    CERT_KEY_PROV_INFO_PROP_ID, CERT_STORE_OPEN_EXISTING_FLAG, CERT_STORE_PROV_SYSTEM_W,
    CERT_STORE_READONLY_FLAG, CERT_SYSTEM_STORE_LOCAL_MACHINE, CRYPT_INTEGER_BLOB, HCERTSTORE,
    PKCS_7_ASN_ENCODING, X509_ASN_ENCODING,
};
use windows_sys::core::{BOOL, PCSTR, w};

system_functions! {
    /// The functions of wincrypt.h that are used here.
    struct Crypt32 of "crypt32.dll" in windows_sys::Win32::Security::Cryptography;
    open_store: CertOpenStore(PCSTR, u32, usize, u32, *const c_void) -> HCERTSTORE;
    close_store: CertCloseStore(HCERTSTORE, u32) -> BOOL;
    find: CertFindCertificateInStore(HCERTSTORE, u32, u32, u32, *const c_void, *const CERT_CONTEXT) -> *mut CERT_CONTEXT;
    duplicate: CertDuplicateCertificateContext(*const CERT_CONTEXT) -> *mut CERT_CONTEXT;
    free: CertFreeCertificateContext(*const CERT_CONTEXT) -> BOOL;
    property: CertGetCertificateContextProperty(*const CERT_CONTEXT, u32, *mut c_void, *mut u32) -> BOOL;
    time_validity: CertVerifyTimeValidity(*const FILETIME, *const CERT_INFO) -> i32;
}

/// A certificate of the store.
pub struct Certificate {
    functions: &'static Crypt32,
    context: *const CERT_CONTEXT,
}

impl Certificate {
    /// The machine's certificate with this SHA-1 hash and a private key, if there is one that is valid now.
    pub fn by_thumbprint(hash: &mut [u8; 20]) -> io::Result<Option<Self>> {
        let blob = CRYPT_INTEGER_BLOB { cbData: hash.len() as u32, pbData: hash.as_mut_ptr() };
        // SAFETY: a hash is looked for by a blob, which points to one that lives for the call.
        unsafe { Self::find(CERT_FIND_SHA1_HASH, (&raw const blob).cast()) }
    }

    /// The machine's certificate with a private key whose subject contains this text, in upper or
    /// lower case. If several such certificates are valid now, the one that expires last.
    pub fn by_subject(text: &str) -> io::Result<Option<Self>> {
        let text: Vec<u16> = text.encode_utf16().chain([0]).collect();
        // SAFETY: a subject is looked for by a text that ends in NUL, which lives for the call.
        unsafe { Self::find(CERT_FIND_SUBJECT_STR_W, text.as_ptr().cast()) }
    }

    /// # Safety
    ///
    /// `what` points to what CertFindCertificateInStore takes for `kind`.
    unsafe fn find(kind: u32, what: *const c_void) -> io::Result<Option<Self>> {
        let functions = Crypt32::get()?;
        let store = Store::machine(functions)?;
        let mut best: Option<Self> = None;
        let mut last: *const CERT_CONTEXT = null();
        loop {
            // SAFETY: the store is open, the caller vouches for `what`, and `last` is what this returned
            // last, or null. It is freed by this call.
            last = unsafe {
                (functions.find)(
                    store.handle,
                    X509_ASN_ENCODING | PKCS_7_ASN_ENCODING,
                    0,
                    kind,
                    what,
                    last,
                )
            };
            if last.is_null() {
                return Ok(best);
            }
            // SAFETY: `last` is a certificate that was found and not freed yet. The copy is one more
            // reference to it, which its drop gives back.
            let context = unsafe { (functions.duplicate)(last) };
            let found = Self { functions, context };
            let is_better =
                || best.as_ref().is_none_or(|best| found.valid_until() > best.valid_until());
            if found.has_key() && found.is_valid_now() && is_better() {
                best = Some(found);
            }
        }
    }

    /// The pointer for WinHTTP, valid as long as this lives.
    pub(super) fn as_ptr(&self) -> *const CERT_CONTEXT {
        self.context
    }

    fn info(&self) -> *const CERT_INFO {
        // SAFETY: the context is not freed before this is dropped.
        unsafe { (*self.context).pCertInfo }
    }

    fn has_key(&self) -> bool {
        let mut bytes = 0;
        // SAFETY: the context is not freed before this is dropped; without a place for it only the size of
        // the property is written.
        let has = unsafe {
            (self.functions.property)(
                self.context,
                CERT_KEY_PROV_INFO_PROP_ID,
                null_mut(),
                &mut bytes,
            )
        };
        has != 0
    }

    fn is_valid_now(&self) -> bool {
        // SAFETY: the information belongs to the context; a time of null is now.
        unsafe { (self.functions.time_validity)(null(), self.info()) == 0 }
    }

    /// When the certificate expires, in units of 100 ns since 1601.
    fn valid_until(&self) -> u64 {
        // SAFETY: the information belongs to the context, which is not freed before this is dropped.
        let until = unsafe { (*self.info()).NotAfter };
        u64::from(until.dwHighDateTime) << 32 | u64::from(until.dwLowDateTime)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // SAFETY: the reference is this one's, and is given back once.
        unsafe { (self.functions.free)(self.context) };
    }
}

/// An open store.
struct Store {
    functions: &'static Crypt32,
    handle: HCERTSTORE,
}

impl Store {
    fn machine(functions: &'static Crypt32) -> io::Result<Self> {
        // SAFETY: this provider takes the store's name, which ends in NUL.
        let handle = unsafe {
            (functions.open_store)(
                CERT_STORE_PROV_SYSTEM_W,
                0,
                0,
                CERT_SYSTEM_STORE_LOCAL_MACHINE
                    | CERT_STORE_READONLY_FLAG
                    | CERT_STORE_OPEN_EXISTING_FLAG,
                w!("My").cast(),
            )
        };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { functions, handle })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and closed once. Certificates of it keep what they need.
        unsafe { (self.functions.close_store)(self.handle, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signatures are tested at compile time, and the names when the test runs.
    #[test]
    fn every_function_is_there_and_is_the_one_that_windows_declares() {
        let _declared = Crypt32::of_windows_sys();
        assert!(Crypt32::get().is_ok());
    }

    #[test]
    fn a_machine_without_the_certificate_has_none() {
        assert!(Certificate::by_thumbprint(&mut [0x5A; 20]).unwrap().is_none());
        assert!(
            Certificate::by_subject("no certificate has this in its subject").unwrap().is_none()
        );
    }
}
