//! The names in an operation's body.

use super::layout::{Body, LOCAL_UNITS, PROVIDER_UNITS, REMOTE_UNITS};
use crate::credentials::remove_credentials;
use crate::wide::WideStr;

const COLON: u16 = b':' as u16;

impl Body {
    /// Copies the names that PRE is given, and removes credentials: no ledger holds any. PRE's
    /// pointers are valid only during the call.
    pub fn set_names(&mut self, remote: WideStr<'_>, local: WideStr<'_>) {
        self.truncated = 0;
        self.provider_units = 0;
        let units = self.set_name::<REMOTE_UNITS>(remote, 0);
        self.remote_units = units as u16;
        self.local_units = self.set_name::<LOCAL_UNITS>(local, units) as u16;
    }

    /// Copies at most `ROOM` units of `name` to `start`. Returns how many are kept.
    fn set_name<const ROOM: usize>(&mut self, name: WideStr<'_>, start: usize) -> usize {
        let place = &mut self.text[start..start + ROOM];
        // A name without a colon has no credentials. Almost all names have none, except the one at
        // the end of a drive's name.
        let mut is_drive = false;
        let plain = name.copy_while(place, |at, unit| {
            let goes_on = !is_drive && (unit != COLON || at == 1);
            is_drive = unit == COLON;
            goes_on
        });
        let (copied, left) = match plain {
            Ok(copied) => (copied, copied.units.into()),
            Err(stopped) => {
                // Credentials must not be in the ledger at any moment, because it is a file and the
                // host may be killed at the next instruction. So they are removed in another
                // buffer.
                let mut aside = [0; ROOM];
                let copied = name.copy_to(&mut aside);
                let left = remove_credentials(&mut aside[..copied.units.into()], copied.truncated);
                place[..stopped].fill(0);
                place[..left].copy_from_slice(&aside[..left]);
                (copied, left)
            }
        };
        self.truncated |= u8::from(copied.truncated);
        left
    }

    /// Copies the provider's name. The pointer is valid only during the call.
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
