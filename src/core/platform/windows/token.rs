//! The rights that this process and this thread have.

use super::wide_text;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::{ERROR_NO_TOKEN, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{
    EqualSid, GetTokenInformation, PSID, TOKEN_ELEVATION, TOKEN_OWNER, TOKEN_QUERY, TOKEN_USER,
    TokenElevation, TokenOwner, TokenUser,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentThread, OpenProcessToken, OpenThreadToken,
};

/// Whether this process has an administrator's full rights.
pub fn is_elevated() -> io::Result<bool> {
    let elevation = Token::of_process()?.information(TokenElevation)?;
    // SAFETY: Windows wrote a TOKEN_ELEVATION at the start of the buffer, which is aligned for it.
    Ok(unsafe { (*elevation.as_ptr().cast::<TOKEN_ELEVATION>()).TokenIsElevated } != 0)
}

/// The SID of this process' user.
pub fn user_sid() -> io::Result<String> {
    user_of(&Token::of_process()?)
}

/// The SID of another process' user. `process` must have the right
/// PROCESS_QUERY_LIMITED_INFORMATION.
pub fn user_sid_of(process: &OwnedHandle) -> io::Result<String> {
    user_of(&Token::of(process.as_raw_handle())?)
}

fn user_of(token: &Token) -> io::Result<String> {
    let user = token.information(TokenUser)?;
    // SAFETY: Windows wrote a TOKEN_USER at the start of the buffer, which is aligned for it.
    let sid = unsafe { (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    // SAFETY: the SID is inside the live buffer.
    unsafe { sid_text(sid) }
}

/// Whether the calling thread acts for another user than its process.
pub fn is_impersonating() -> io::Result<bool> {
    // SAFETY: takes nothing and cannot fail.
    let thread = unsafe { GetCurrentThread() };
    let mut token = std::ptr::null_mut();
    // SAFETY: `thread` needs no closing, and `token` is writable. Opened as the process, so that a
    // token which may do nothing shows itself as well.
    if unsafe { OpenThreadToken(thread, TOKEN_QUERY, 1, &mut token) } != 0 {
        // SAFETY: it was opened just now, and nobody else closes it.
        drop(unsafe { OwnedHandle::from_raw_handle(token) });
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error().map(i32::cast_unsigned) {
        Some(ERROR_NO_TOKEN) => Ok(false),
        _ => Err(error),
    }
}

/// Whether `sid` is the user of this process, or the owner of its new files. For an administrator
/// that owner may be the group of administrators.
///
/// # Safety
///
/// `sid` is a valid SID.
pub(super) unsafe fn is_mine(sid: PSID) -> io::Result<bool> {
    let token = Token::of_process()?;
    let user = token.information(TokenUser)?;
    let owner = token.information(TokenOwner)?;
    // SAFETY: Windows wrote a TOKEN_USER at the start of the buffer, which is aligned for it.
    let user = unsafe { (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    // SAFETY: Windows wrote a TOKEN_OWNER at the start of the buffer, which is aligned for it.
    let owner = unsafe { (*owner.as_ptr().cast::<TOKEN_OWNER>()).Owner };
    // SAFETY: both are valid SIDs: the caller's, and one inside the live buffer.
    let user = unsafe { EqualSid(sid, user) } != 0;
    // SAFETY: as above.
    let owner = unsafe { EqualSid(sid, owner) } != 0;
    Ok(user || owner)
}

/// A SID as text, such as `S-1-5-18`.
///
/// # Safety
///
/// `sid` is a valid SID.
pub(super) unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text = std::ptr::null_mut();
    // SAFETY: the caller's SID is valid, and `text` is writable.
    if unsafe { ConvertSidToStringSidW(sid, &mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the text that Windows made ends in NUL.
    let said = unsafe { wide_text(text) };
    // SAFETY: the text was allocated for us with LocalAlloc, and is not used again.
    unsafe { LocalFree(text.cast()) };
    Ok(said)
}

/// An open token.
struct Token(OwnedHandle);

impl Token {
    fn of_process() -> io::Result<Self> {
        // SAFETY: takes nothing and cannot fail.
        Self::of(unsafe { GetCurrentProcess() })
    }

    /// The token of the process that this handle leads to.
    fn of(process: HANDLE) -> io::Result<Self> {
        let mut token = std::ptr::null_mut();
        // SAFETY: a handle that leads to no process is an error, and `token` is writable.
        if unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened just now, and nobody else closes it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(token) }))
    }

    /// One kind of information about the token, in memory that is aligned for each of its
    /// structures.
    fn information(&self, class: i32) -> io::Result<Vec<u64>> {
        // The largest SID has 68 bytes.
        let mut buffer = vec![0_u64; 32];
        let mut length = 0;
        let room = size_of_val(buffer.as_slice()) as u32;
        let token = self.0.as_raw_handle() as HANDLE;
        // SAFETY: writes at most `room` bytes, which `buffer` has; `length` is writable.
        let done = unsafe {
            GetTokenInformation(token, class, buffer.as_mut_ptr().cast(), room, &mut length)
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(buffer) }
    }
}
