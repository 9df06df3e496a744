//! The names in an operation's body.

use super::layout::{Body, LOCAL_UNITS, PROVIDER_UNITS, REMOTE_UNITS};
use crate::wide::WideStr;

impl Body {
    /// Copies the names that PRE is given, within the call.
    pub fn set_names(&mut self, remote: WideStr<'_>, local: WideStr<'_>) {
        let remote = remote.copy_to(&mut self.text[..REMOTE_UNITS]);
        let start = usize::from(remote.units);
        let local = local.copy_to(&mut self.text[start..start + LOCAL_UNITS]);
        self.remote_units = remote.units;
        self.local_units = local.units;
        self.provider_units = 0;
        self.truncated = u8::from(remote.truncated || local.truncated);
    }

    /// Copies the provider's name, within the call.
    pub fn set_provider(&mut self, provider: WideStr<'_>) {
        let start = usize::from(self.remote_units) + usize::from(self.local_units);
        // `set_names` wrote lengths that leave room. If another process has overwritten them,
        // the provider's name is left out.
        let room = self.text.get_mut(start..start + PROVIDER_UNITS).unwrap_or_default();
        let copied = provider.copy_to(room);
        self.provider_units = copied.units;
        self.truncated |= u8::from(copied.truncated);
    }

    /// Remote name, local name and provider; `None` if their lengths do not fit.
    pub fn names(&self) -> Option<[&[u16]; 3]> {
        let (remote, rest) = self.text.split_at_checked(self.remote_units.into())?;
        let (local, rest) = rest.split_at_checked(self.local_units.into())?;
        let provider = rest.get(..self.provider_units.into())?;
        Some([remote, local, provider])
    }
}
