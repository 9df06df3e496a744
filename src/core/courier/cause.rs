//! Why a batch is to be sent again: the client says so of its guard, and the verdict of an answer.

/// What keeps a batch from being taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody answered. The collector may have the batch all the same.
    Silence,
    /// The collector asks for patience: 408, 425 or 429.
    Busy,
    /// The collector fails: 500 to 599.
    Failing,
    /// The answer stays the same until somebody corrects the endpoint, its token or its path.
    Setup,
    /// Nothing was sent: who would get the secrets is not to have them.
    Withheld,
}
