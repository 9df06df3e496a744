//! Whether a panic can be caught in a 32-bit file.
//!
//! In a 32-bit file not Windows but libgcc unwinds, by the table in `.eh_frame` (Linux Standard
//! Base, "Exception Frames"). It reads the table up to the first entry of length zero, which is in
//! rustc's last object. If a linker puts other objects behind that one, libgcc does not find them.
//! If its own unwinder is among them, the first panic ends the host.

use crate::Result;
use object::read::pe::PeFile32;
use object::{Object, ObjectSection};

/// `mov %ecx, %esp; ret`, in both encodings. Only the unwinder's functions end like this: they do
/// not return to their caller.
const RETURNS_ELSEWHERE: [[u8; 3]; 2] = [[0x89, 0xCC, 0xC3], [0x8B, 0xE1, 0xC3]];

/// DW_EH_PE_pcrel: an address is relative to its own place.
const PC_RELATIVE: u8 = 0x10;

/// An error if libgcc would not find its own unwinder in the table.
pub fn check(data: &[u8]) -> Result<()> {
    let file = PeFile32::parse(data)?;
    let (mut text, mut table) = (None, None);
    for section in file.sections() {
        let content = (section.address() as u32, section.data()?);
        match section.name()? {
            ".text" => text = Some(content),
            // The file holds only eight bytes of the name.
            name if ".eh_frame".starts_with(name) && name.len() > 4 => table = Some(content),
            _ => {}
        }
    }
    let (Some((start, code)), Some((place, table))) = (text, table) else {
        return Err("there is no code, or no .eh_frame to unwind it by".into());
    };
    let functions = functions(table, place).ok_or("its .eh_frame is cut off")?;
    let ends = code
        .windows(3)
        .enumerate()
        .filter(|(_, bytes)| RETURNS_ELSEWHERE.iter().any(|end| bytes == end));
    let ends: Vec<u32> = ends.map(|(at, _)| start + at as u32).collect();
    if ends.is_empty() {
        return Err("libgcc's unwinder is not in it".into());
    }
    for end in ends {
        if !functions.iter().any(|(begin, size)| (*begin..begin + size).contains(&end)) {
            return Err(format!(
                "libgcc's unwinder, at {end:#x}, comes after the end of .eh_frame, so a panic ends the \
                 program (xtask/src/windows/mingw.rs)"
            )
            .into());
        }
    }
    Ok(())
}

/// Begin and size of the functions before the end mark. `None` if an entry is cut off.
fn functions(table: &[u8], place: u32) -> Option<Vec<(u32, u32)>> {
    let mut functions = Vec::new();
    let mut at = 0;
    while at < table.len() {
        let length = word(table, at)? as usize;
        if length == 0 {
            return Some(functions);
        }
        let back = word(table, at + 4)? as usize;
        // The distance to the common information entry (CIE). In a CIE itself it is zero.
        if back != 0 {
            let relative = address_encoding(table, (at + 4).checked_sub(back)?)? & PC_RELATIVE != 0;
            let begin = word(table, at + 8)?;
            let base = if relative { place + at as u32 + 8 } else { 0 };
            functions.push((begin.wrapping_add(base), word(table, at + 12)?));
        }
        at += 4 + length;
    }
    Some(functions)
}

/// How the functions of a CIE write their addresses: 0 if the CIE does not say.
fn address_encoding(table: &[u8], cie: usize) -> Option<u8> {
    // The fields are length, id and version, and then the augmentation, whose letters say what
    // follows.
    let text = table.get(cie + 9..)?;
    let letters = text.get(..text.iter().position(|byte| *byte == 0)?)?;
    let Some(letters) = letters.strip_prefix(b"z") else {
        return Some(0);
    };
    let mut at = cie + 9 + letters.len() + 2;
    // Four LEB128 numbers: the alignments of code and data, the return register, and the length of
    // what follows.
    for _ in 0..4 {
        while table.get(at)? & 0x80 != 0 {
            at += 1;
        }
        at += 1;
    }
    for letter in letters {
        match letter {
            b'R' => return table.get(at).copied(),
            b'L' => at += 1,
            b'P' => at += 1 + 4,
            _ => {}
        }
    }
    Some(0)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with one CIE of this encoding, one function for each begin, and the end mark after
    /// `before` functions.
    fn table(encoding: u8, begins: &[u32], before: usize) -> Vec<u8> {
        let mut table = Vec::new();
        table.extend(16_u32.to_le_bytes());
        table.extend(0_u32.to_le_bytes());
        // Version, augmentation, alignments, register, length, encoding, padding.
        table.extend([1, b'z', b'R', 0, 1, 0x7C, 8, 1, encoding, 0, 0, 0]);
        for (number, begin) in begins.iter().enumerate() {
            if number == before {
                table.extend(0_u32.to_le_bytes());
            }
            table.extend(12_u32.to_le_bytes());
            table.extend((table.len() as u32).to_le_bytes());
            table.extend(begin.to_le_bytes());
            table.extend(0x40_u32.to_le_bytes());
        }
        table
    }

    #[test]
    fn functions_after_the_end_mark_are_not_found() {
        assert_eq!(
            functions(&table(0, &[0x1000, 0x1040, 0x1080], 2), 0x9000),
            Some(vec![(0x1000, 0x40), (0x1040, 0x40)])
        );
    }

    #[test]
    fn addresses_may_be_relative_to_their_own_place() {
        // The first function's begin is at 0x1C of the table: four words of the function's entry,
        // after the 20 bytes of the CIE.
        let relative = 0x1000_u32.wrapping_sub(0x9000 + 0x1C);
        assert_eq!(functions(&table(0x1B, &[relative], 1), 0x9000), Some(vec![(0x1000, 0x40)]));
    }

    #[test]
    fn a_table_that_is_cut_off_is_refused() {
        let table = table(0, &[0x1000], 1);
        assert_eq!(functions(&table[..table.len() - 4], 0x9000), None);
    }
}
