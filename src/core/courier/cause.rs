//! Why a batch is to be sent again: the client says so of its guard, and the verdict of an answer.

/// Why a batch is not taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There was no answer. The collector may have the batch nevertheless.
    Silence,
    /// The collector asks the sender to wait: 408, 425 or 429.
    Busy,
    /// The collector fails: 500 to 599.
    Failing,
    /// The answer will stay the same until somebody corrects the endpoint, its token or its path.
    Setup,
    /// Nothing was sent, because the process that listens there must not get the secrets.
    Withheld,
}
