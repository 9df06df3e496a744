//! Under whose token a call came.

#![allow(unsafe_code)] // This file meets Win32.

use serde::Serialize;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;
use windows_sys::Win32::Foundation::{HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{
    GetTokenInformation, SECURITY_IMPERSONATION_LEVEL, SecurityAnonymous, SecurityDelegation,
    SecurityIdentification, SecurityImpersonation, TOKEN_ELEVATION_TYPE, TOKEN_INFORMATION_CLASS,
    TOKEN_QUERY, TOKEN_STATISTICS, TOKEN_USER, TokenElevationType, TokenElevationTypeFull,
    TokenElevationTypeLimited, TokenImpersonation, TokenSessionId, TokenStatistics, TokenUser,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentThread, OpenProcessToken, OpenThreadToken,
};

/// What there is to say of a token. What could not be read is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// The user's SID.
    user: Option<String>,
    session: Option<u32>,
    /// The logon session (LUID), as `klist sessions` and the security log write it.
    logon: Option<String>,
    /// `full` and `limited` are the two halves of an administrator's logon.
    elevation: Option<&'static str>,
    /// The level of a token that a thread impersonates with.
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonation: Option<&'static str>,
}

const ELEVATIONS: [(TOKEN_ELEVATION_TYPE, &str); 2] =
    [(TokenElevationTypeFull, "full"), (TokenElevationTypeLimited, "limited")];

const LEVELS: [(SECURITY_IMPERSONATION_LEVEL, &str); 4] = [
    (SecurityAnonymous, "anonymous"),
    (SecurityIdentification, "identification"),
    (SecurityImpersonation, "impersonation"),
    (SecurityDelegation, "delegation"),
];

/// The token that the calling thread impersonates with, if it does.
pub fn of_thread() -> Option<Token> {
    let mut token = null_mut();
    // SAFETY: takes nothing and cannot fail.
    let thread = unsafe { GetCurrentThread() };
    // SAFETY: `token` is writable. Opened as the process, so that a token which may do nothing
    // shows itself as well.
    let opened = unsafe { OpenThreadToken(thread, TOKEN_QUERY, 1, &mut token) };
    (opened != 0).then(|| Token::from_handle(token))
}

/// The token of the process.
pub fn of_process() -> Option<Token> {
    let mut token = null_mut();
    // SAFETY: takes nothing and cannot fail.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: `token` is writable.
    let opened = unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) };
    (opened != 0).then(|| Token::from_handle(token))
}

impl Token {
    /// Takes the handle of an open token.
    fn from_handle(token: HANDLE) -> Self {
        // SAFETY: it was opened just now, and nobody else closes it.
        let token = unsafe { OwnedHandle::from_raw_handle(token) };
        let statistics: Option<TOKEN_STATISTICS> = number(&token, TokenStatistics);
        Self {
            user: user(&token),
            session: number(&token, TokenSessionId),
            logon: statistics.map(|statistics| {
                let id = statistics.AuthenticationId;
                format!("0x{:x}:0x{:x}", id.HighPart, id.LowPart)
            }),
            elevation: number(&token, TokenElevationType).map(|kind: i32| {
                match ELEVATIONS.iter().find(|(value, _)| *value == kind) {
                    Some((_, name)) => *name,
                    None => "default",
                }
            }),
            impersonation: statistics
                .filter(|statistics| statistics.TokenType == TokenImpersonation)
                .and_then(|statistics| {
                    let level = statistics.ImpersonationLevel;
                    LEVELS.iter().find(|(value, _)| *value == level).map(|(_, name)| *name)
                }),
        }
    }
}

/// Values of which any bytes are one.
trait Number: Copy {}
impl Number for u32 {}
impl Number for i32 {}
impl Number for TOKEN_STATISTICS {}

fn number<T: Number>(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let (room, mut size) = (size_of::<T>() as u32, 0);
    // SAFETY: writes at most `room` bytes, which `value` has.
    let told = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            class,
            value.as_mut_ptr().cast(),
            room,
            &mut size,
        )
    };
    // SAFETY: initialised with zeros, and any bytes are a value.
    (told != 0).then(|| unsafe { value.assume_init() })
}

fn user(token: &OwnedHandle) -> Option<String> {
    // Larger than TOKEN_USER with the longest SID (68 bytes), and aligned for it.
    let mut buffer = [0_u64; 32];
    let (room, mut size) = (size_of_val(&buffer) as u32, 0);
    // SAFETY: writes at most `room` bytes, which `buffer` has.
    let told = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.as_mut_ptr().cast(),
            room,
            &mut size,
        )
    };
    if told == 0 {
        return None;
    }
    // SAFETY: the call succeeded, so a TOKEN_USER is at the buffer's beginning, and the buffer is
    // aligned for its pointers.
    let user = unsafe { &*buffer.as_ptr().cast::<TOKEN_USER>() };
    let mut text = null_mut();
    // SAFETY: the SID is in `buffer`, which lives; `text` is writable.
    if unsafe { ConvertSidToStringSidW(user.User.Sid, &mut text) } == 0 {
        return None;
    }
    let mut units = Vec::new();
    loop {
        // SAFETY: the text ends in NUL, and no unit before this one was NUL.
        match unsafe { *text.wrapping_add(units.len()) } {
            0 => break,
            unit => units.push(unit),
        }
    }
    // SAFETY: ConvertSidToStringSidW allocated it with LocalAlloc, says its page.
    unsafe { LocalFree(text.cast()) };
    Some(String::from_utf16_lossy(&units))
}
