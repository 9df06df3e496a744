//! NUL-terminated UTF-16 strings as MPR passes them (`LPWSTR`).

#![allow(unsafe_code)] // This file meets C.

use core::marker::PhantomData;

/// A NUL-terminated UTF-16 string that belongs to the caller and is valid for the call `'call`.
///
/// NULL is a valid value and reads as the empty string. The length is not known, so a reader reads
/// one unit after the other and never one after the terminator.
#[derive(Clone, Copy, Debug)]
pub struct WideStr<'call> {
    first: *const u16,
    call: PhantomData<&'call u16>,
}

/// How much of a string was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// UTF-16 units that were copied, without the terminator.
    pub units: u16,
    /// Whether the string had more units than were copied.
    pub truncated: bool,
}

impl<'call> WideStr<'call> {
    /// The empty string.
    pub const EMPTY: WideStr<'static> = WideStr { first: core::ptr::null(), call: PhantomData };

    /// Wraps a pointer that MPR passed.
    ///
    /// # Safety
    ///
    /// `first` is NULL, or points to UTF-16 units that are readable up to and including the
    /// first NUL, and stay unchanged during `'call`. It needs no alignment.
    pub unsafe fn from_ptr(first: *const u16) -> Self {
        Self { first, call: PhantomData }
    }

    /// Wraps this program's own units, which end in NUL. Units without a NUL read as the empty
    /// string.
    pub fn from_units(units: &'call [u16]) -> Self {
        match units.last() {
            Some(0) => Self { first: units.as_ptr(), call: PhantomData },
            _ => Self::EMPTY,
        }
    }

    /// Copies units into `target` until the terminator or the end of `target`.
    ///
    /// Reads at most `target.len() + 1` units, however long the string is.
    pub fn copy_to(self, target: &mut [u16]) -> Copied {
        self.copy_while(target, |_, _| true).unwrap_or_default()
    }

    /// Copies as [`copy_to`](Self::copy_to) does, while `goes_on` is true for an index and its
    /// unit. An error is the index at which it was false.
    pub fn copy_while(
        self,
        target: &mut [u16],
        mut goes_on: impl FnMut(usize, u16) -> bool,
    ) -> Result<Copied, usize> {
        if self.first.is_null() {
            return Ok(Copied::default());
        }
        let limit = target.len().min(usize::from(u16::MAX));
        for (at, place) in target[..limit].iter_mut().enumerate() {
            let unit = self.unit(at);
            if unit == 0 {
                return Ok(Copied { units: at as u16, truncated: false });
            }
            if !goes_on(at, unit) {
                return Err(at);
            }
            *place = unit;
        }
        Ok(Copied { units: limit as u16, truncated: self.unit(limit) != 0 })
    }

    /// The unit at `index`. Only called if no unit before it was NUL.
    fn unit(self, index: usize) -> u16 {
        // SAFETY: `from_ptr` promises that units are readable up to the first NUL, and no unit
        // before `index` was NUL, so `index` lies inside the string or on its terminator.
        let place = unsafe { self.first.add(index) };
        // SAFETY: as above; unaligned because nothing promises alignment on the C side.
        unsafe { place.read_unaligned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(units: &[u16], room: usize) -> (Vec<u16>, Copied) {
        assert!(units.contains(&0));
        let mut target = vec![0xFFFF; room];
        // SAFETY: `units` holds a NUL and outlives the call.
        let text = unsafe { WideStr::from_ptr(units.as_ptr()) };
        let copied = text.copy_to(&mut target);
        target.truncate(usize::from(copied.units));
        (target, copied)
    }

    #[test]
    fn null_reads_as_the_empty_string() {
        let mut target = [7; 4];
        assert_eq!(WideStr::EMPTY.copy_to(&mut target), Copied::default());
        assert_eq!(target, [7; 4]);
    }

    #[test]
    fn units_without_a_terminator_read_as_the_empty_string() {
        let mut target = [7; 4];
        assert_eq!(WideStr::from_units(&[65, 66]).copy_to(&mut target).units, 0);
        assert_eq!(WideStr::from_units(&[65, 66, 0]).copy_to(&mut target).units, 2);
        assert_eq!(target, [65, 66, 7, 7]);
    }

    #[test]
    fn a_string_that_fits_exactly_is_not_truncated() {
        let (text, copied) = copy(&[65, 66, 67, 0], 3);
        assert_eq!(text, [65, 66, 67]);
        assert_eq!(copied, Copied { units: 3, truncated: false });
    }

    #[test]
    fn a_longer_string_is_cut_and_marked() {
        let (text, copied) = copy(&[65, 66, 67, 68, 0], 3);
        assert_eq!(text, [65, 66, 67]);
        assert_eq!(copied, Copied { units: 3, truncated: true });
    }

    #[test]
    fn nothing_behind_the_terminator_is_copied() {
        let (text, copied) = copy(&[65, 0, 66, 67, 0], 4);
        assert_eq!(text, [65]);
        assert_eq!(copied, Copied { units: 1, truncated: false });
    }

    #[test]
    fn copying_stops_when_the_condition_is_false() {
        let mut target = [7; 4];
        let text = WideStr::from_units(&[65, 66, 67, 0]);
        assert_eq!(text.copy_while(&mut target, |at, unit| (at, unit) != (2, 67)), Err(2));
        assert_eq!(target, [65, 66, 7, 7]);
    }

    #[test]
    fn every_length_at_every_alignment_into_every_room_gives_the_same() {
        // Bytes, so that odd addresses occur. One half of a unit is zero, so that a test fails if a
        // zero byte is taken for a terminator.
        let unit = |index: usize| [0x0100, 0x0001, 0x8000, 0xFFFF, 0x0080][index % 5];
        for length in 0..24 {
            for offset in 0..8 {
                let mut bytes = vec![0xAA_u8; offset];
                bytes.extend((0..length).flat_map(|index| u16::to_ne_bytes(unit(index))));
                bytes.extend([0, 0, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA]);
                for room in 0..28 {
                    let mut target = vec![0x5555; room];
                    // SAFETY: the units end in NUL, and `bytes` outlives the call.
                    let text = unsafe { WideStr::from_ptr(bytes[offset..].as_ptr().cast()) };
                    let copied = text.copy_to(&mut target);
                    let expected: Vec<u16> = (0..length.min(room)).map(unit).collect();
                    assert_eq!(target[..usize::from(copied.units)], expected);
                    assert_eq!(copied.truncated, length > room);
                    assert!(target[expected.len()..].iter().all(|unit| *unit == 0x5555));
                }
            }
        }
    }
}
