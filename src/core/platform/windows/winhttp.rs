//! WinHTTP, one request at a time on the calling thread. Handles close themselves. The callers
//! decide everything else.
//!
//! The functions are declared in winhttp.h. The first [`Session`] loads the library. The library's
//! own threads run no code of mpr-otel, because no callback is set.

use super::certificate_store::Certificate;
use super::system_library::{Function, SystemLibrary, system_functions};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use windows_sys::Win32::Foundation::GetLastError;
use windows_sys::Win32::Networking::WinHttp::{
    WINHTTP_FLAG_ESCAPE_DISABLE, WINHTTP_FLAG_SECURE, WINHTTP_OPTION_CLIENT_CERT_CONTEXT,
};
use windows_sys::Win32::Security::Cryptography::CERT_CONTEXT;
use windows_sys::core::{BOOL, PCWSTR, w};

type Raw = *mut c_void;

system_functions! {
    /// The functions of winhttp.h that are used here.
    struct WinHttp of "winhttp.dll" in windows_sys::Win32::Networking::WinHttp;
    open: WinHttpOpen(PCWSTR, u32, PCWSTR, PCWSTR, u32) -> Raw;
    connect: WinHttpConnect(Raw, PCWSTR, u16, u32) -> Raw;
    open_request: WinHttpOpenRequest(Raw, PCWSTR, PCWSTR, PCWSTR, PCWSTR, *const PCWSTR, u32) -> Raw;
    send_request: WinHttpSendRequest(Raw, PCWSTR, u32, *const c_void, u32, u32, usize) -> BOOL;
    receive_response: WinHttpReceiveResponse(Raw, Raw) -> BOOL;
    query_headers: WinHttpQueryHeaders(Raw, u32, PCWSTR, *mut c_void, *mut u32, *mut u32) -> BOOL;
    query_data_available: WinHttpQueryDataAvailable(Raw, *mut u32) -> BOOL;
    read_data: WinHttpReadData(Raw, *mut c_void, u32, *mut u32) -> BOOL;
    close_handle: WinHttpCloseHandle(Raw) -> BOOL;
    set_option: WinHttpSetOption(*const c_void, u32, *const c_void, u32) -> BOOL;
    set_timeouts: WinHttpSetTimeouts(Raw, i32, i32, i32, i32) -> BOOL;
}

/// A function of WinHTTP failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function} failed (error {code})")]
pub struct WinHttpError {
    /// The function of Windows that failed.
    pub function: &'static str,
    /// What GetLastError returned: an error of winhttp.h, winerror.h or winsock2.h.
    pub code: u32,
}

impl WinHttpError {
    fn last(function: &'static str) -> Self {
        // SAFETY: takes nothing and cannot fail.
        Self { function, code: unsafe { GetLastError() } }
    }
}

/// The proxy that the requests of a [`Session`] go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// No proxy.
    Direct,
    /// The proxy that Windows' settings, a proxy script or the network's automatic configuration
    /// name.
    Automatic,
    /// This proxy, as `host:port`.
    Through(String),
}

/// An HINTERNET that closes itself.
struct Handle {
    functions: &'static WinHttp,
    raw: Raw,
}

// SAFETY: any thread may use a handle, and close it, as long as no other does so at the same time (Microsoft:
// Concurrency in WinHTTP). That holds because it is not Sync.
unsafe impl Send for Handle {}

impl Handle {
    fn new(
        functions: &'static WinHttp,
        function: &'static str,
        raw: Raw,
    ) -> Result<Self, WinHttpError> {
        match raw.is_null() {
            true => Err(WinHttpError::last(function)),
            false => Ok(Self { functions, raw }),
        }
    }

    fn set(&self, option: u32, value: u32) -> Result<(), WinHttpError> {
        // SAFETY: the handle is open, and `value` is readable for the call. An option of another size is
        // refused.
        let done = unsafe {
            (self.functions.set_option)(
                self.raw,
                option,
                (&raw const value).cast(),
                size_of_val(&value) as u32,
            )
        };
        check("WinHttpSetOption", done)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing uses it after this. Its request is not under way: each
        // call of it has returned.
        unsafe { (self.functions.close_handle)(self.raw) };
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:p}", self.raw)
    }
}

/// A text as Windows' functions take it. It must contain no NUL: the function would end the text
/// there.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

fn check(function: &'static str, done: BOOL) -> Result<(), WinHttpError> {
    if done == 0 { Err(WinHttpError::last(function)) } else { Ok(()) }
}

/// What several requests have in common.
#[derive(Debug)]
pub struct Session(Handle);

impl Session {
    /// Opens a session, and loads WinHTTP if it is not loaded yet. `agent` is the User-Agent of all
    /// requests.
    pub fn open(agent: &str, access: &Access) -> Result<Self, WinHttpError> {
        use windows_sys::Win32::Networking::WinHttp::{
            WINHTTP_ACCESS_TYPE_AUTOMATIC_PROXY, WINHTTP_ACCESS_TYPE_NAMED_PROXY,
            WINHTTP_ACCESS_TYPE_NO_PROXY,
        };
        let functions = WinHttp::get().map_err(|error| WinHttpError {
            function: "LoadLibraryExW of winhttp.dll",
            code: error.raw_os_error().unwrap_or_default().cast_unsigned(),
        })?;
        let agent = wide(agent);
        let (kind, proxy) = match access {
            Access::Direct => (WINHTTP_ACCESS_TYPE_NO_PROXY, None),
            Access::Automatic => (WINHTTP_ACCESS_TYPE_AUTOMATIC_PROXY, None),
            Access::Through(proxy) => (WINHTTP_ACCESS_TYPE_NAMED_PROXY, Some(wide(proxy))),
        };
        let proxy = proxy.as_ref().map_or(null(), |proxy| proxy.as_ptr());
        // SAFETY: both texts end in NUL and outlive the call; a null list of exceptions is allowed. Without
        // WINHTTP_FLAG_ASYNC each call on the handle returns when it is done.
        let raw = unsafe { (functions.open)(agent.as_ptr(), kind, proxy, null(), 0) };
        Handle::new(functions, "WinHttpOpen", raw).map(Self)
    }

    /// Sets an option whose value is a DWORD or a BOOL.
    pub fn set(&self, option: u32, value: u32) -> Result<(), WinHttpError> {
        self.0.set(option, value)
    }

    /// The server that requests go to. Makes no connection yet.
    pub fn connect(&self, host: &str, port: u16) -> Result<Server, WinHttpError> {
        let host = wide(host);
        // SAFETY: the handle is open, and the text ends in NUL and outlives the call.
        let raw = unsafe { (self.0.functions.connect)(self.0.raw, host.as_ptr(), port, 0) };
        Handle::new(self.0.functions, "WinHttpConnect", raw).map(Server)
    }
}

/// One server of a [`Session`]. The session has to outlive it.
#[derive(Debug)]
pub struct Server(Handle);

impl Server {
    /// A POST to `path`. The path is sent as it is written. The request uses TLS if `secure` is
    /// true.
    pub fn post(&self, path: &str, secure: bool) -> Result<Request, WinHttpError> {
        let path = wide(path);
        let flags = WINHTTP_FLAG_ESCAPE_DISABLE | if secure { WINHTTP_FLAG_SECURE } else { 0 };
        // SAFETY: the handle is open, and the texts end in NUL and outlive the call; version, referrer and
        // accepted types may be null.
        let raw = unsafe {
            (self.0.functions.open_request)(
                self.0.raw,
                w!("POST"),
                path.as_ptr(),
                null(),
                null(),
                null(),
                flags,
            )
        };
        Handle::new(self.0.functions, "WinHttpOpenRequest", raw).map(Request)
    }
}

/// One request and its answer.
#[derive(Debug)]
pub struct Request(Handle);

impl Request {
    /// Sets an option whose value is a DWORD.
    pub fn set(&self, option: u32, value: u32) -> Result<(), WinHttpError> {
        self.0.set(option, value)
    }

    /// Limits resolving a name, connecting to an address, sending and receiving to this many
    /// milliseconds each.
    pub fn set_timeouts(&self, each: i32) -> Result<(), WinHttpError> {
        // SAFETY: the handle is open.
        let done = unsafe { (self.0.functions.set_timeouts)(self.0.raw, each, each, each, each) };
        check("WinHttpSetTimeouts", done)
    }

    /// The certificate for a server that asks for one; `None` for no certificate. If this is not
    /// set, a request to such a server fails.
    pub fn set_client_certificate(
        &self,
        certificate: Option<&Certificate>,
    ) -> Result<(), WinHttpError> {
        let (context, size) = match certificate {
            Some(certificate) => (certificate.as_ptr(), size_of::<CERT_CONTEXT>() as u32),
            // WINHTTP_NO_CLIENT_CERT_CONTEXT
            None => (null(), 0),
        };
        // SAFETY: the handle is open; `context` is null, or a certificate that lives for the call, of which
        // WinHTTP makes its own copy.
        let done = unsafe {
            (self.0.functions.set_option)(
                self.0.raw,
                WINHTTP_OPTION_CLIENT_CERT_CONTEXT,
                context.cast(),
                size,
            )
        };
        check("WinHttpSetOption", done)
    }

    /// Resolves, connects and sends. `headers` are lines that end in CR and LF.
    pub fn send(&self, headers: &str, body: &[u8]) -> Result<(), WinHttpError> {
        let headers = wide(headers);
        let length = body.len() as u32;
        // SAFETY: the handle is open; the headers end in NUL, which the length of all ones asks for, and they
        // and the body, of that length, outlive the call.
        let done = unsafe {
            (self.0.functions.send_request)(
                self.0.raw,
                headers.as_ptr(),
                u32::MAX,
                body.as_ptr().cast(),
                length,
                length,
                0,
            )
        };
        check("WinHttpSendRequest", done)
    }

    /// Waits until the head of the answer is there.
    pub fn receive(&self) -> Result<(), WinHttpError> {
        // SAFETY: the handle is open, and the reserved pointer is null, as it must be.
        let done = unsafe { (self.0.functions.receive_response)(self.0.raw, null_mut()) };
        check("WinHttpReceiveResponse", done)
    }

    /// A header of the answer, `WINHTTP_QUERY_*`. `None` if the answer does not have it, or it has
    /// more than 2,047 units.
    pub fn header(&self, which: u32) -> Option<String> {
        let mut text = [0_u16; 2048];
        let mut bytes = size_of_val(&text) as u32;
        // SAFETY: the handle is open; at most `bytes` bytes are written, which `text` has; the number of the
        // header may be null for the first one.
        let done = unsafe {
            (self.0.functions.query_headers)(
                self.0.raw,
                which,
                null(),
                text.as_mut_ptr().cast(),
                &mut bytes,
                null_mut(),
            )
        };
        let units = (bytes as usize / size_of::<u16>()).min(text.len());
        (done != 0).then(|| String::from_utf16_lossy(&text[..units]))
    }

    /// Waits until the next part of the body is there. Returns its bytes, or 0 at the end of the
    /// body.
    pub fn available(&self) -> Result<usize, WinHttpError> {
        let mut bytes = 0;
        // SAFETY: the handle is open, and `bytes` is writable for the call.
        let done = unsafe { (self.0.functions.query_data_available)(self.0.raw, &mut bytes) };
        check("WinHttpQueryDataAvailable", done).map(|()| bytes as usize)
    }

    /// Reads a part of the answer's body. Returns how many bytes were read.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, WinHttpError> {
        let mut bytes = 0;
        // SAFETY: the handle is open; at most as many bytes are written as `buffer` has, and `bytes` is
        // writable for the call.
        let done = unsafe {
            (self.0.functions.read_data)(
                self.0.raw,
                buffer.as_mut_ptr().cast(),
                buffer.len() as u32,
                &mut bytes,
            )
        };
        check("WinHttpReadData", done).map(|()| (bytes as usize).min(buffer.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signatures are tested at compile time, and the names when the test runs.
    #[test]
    fn every_function_is_there_and_is_the_one_that_windows_declares() {
        let _declared = WinHttp::of_windows_sys();
        assert!(WinHttp::get().is_ok());
    }
}
