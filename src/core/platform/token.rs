//! The rights that a thread works with.

/// What is known of a thread's effective token. It is the token that the thread impersonates with,
/// or else its process' token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The Windows session.
    pub session_id: Option<u32>,
    /// The LUID of the token's logon, unique until the machine restarts; 0 if it is not known.
    pub logon_id: u64,
    /// Whether the thread impersonates.
    pub impersonated: bool,
    /// TOKEN_ELEVATION_TYPE (winnt.h): 1 default, 2 full, 3 limited; 0 if it is not known.
    pub elevation: u8,
}
