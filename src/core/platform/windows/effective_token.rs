//! The calling thread's effective token.

use crate::platform::Token;
use std::ffi::c_void;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_INFORMATION_CLASS, TOKEN_STATISTICS, TokenElevationType,
    TokenImpersonation, TokenSessionId, TokenStatistics,
};

/// `GetCurrentThreadEffectiveToken` (processthreadsapi.h): a constant that stands for the token and
/// need not be closed.
const EFFECTIVE_TOKEN: HANDLE = -6_isize as HANDLE;

/// The calling thread's effective token. Facts that Windows does not give stay unknown. Takes three
/// system calls, opens nothing and allocates nothing.
pub fn effective_token() -> Token {
    let mut token = Token::default();
    let mut session = 0_u32;
    if ask(TokenSessionId, &mut session) {
        token.session_id = Some(session);
    }
    let mut statistics = TOKEN_STATISTICS::default();
    if ask(TokenStatistics, &mut statistics) {
        let luid = statistics.AuthenticationId;
        token.logon_id = u64::from(luid.HighPart as u32) << 32 | u64::from(luid.LowPart);
        token.impersonated = statistics.TokenType == TokenImpersonation;
    }
    let mut elevation = 0_i32;
    if ask(TokenElevationType, &mut elevation) {
        token.elevation = u8::try_from(elevation).unwrap_or_default();
    }
    token
}

/// Asks for information of a fixed size, which `answer` holds. Returns whether Windows gave it.
fn ask<T: Copy>(class: TOKEN_INFORMATION_CLASS, answer: &mut T) -> bool {
    let mut length = 0;
    let place: *mut c_void = std::ptr::from_mut(answer).cast();
    // SAFETY: `place` has as many writable bytes as are said; each caller's type is the one that
    // winnt.h gives for the class, and integers have no invalid values.
    let found = unsafe {
        GetTokenInformation(EFFECTIVE_TOKEN, class, place, size_of::<T>() as u32, &mut length)
    };
    found != 0
}
