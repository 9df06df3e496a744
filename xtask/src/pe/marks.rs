//! The marks in a file that Windows' defences read, and whether the file can be built again.

use crate::Result;
use crate::windows::{Target, builder_folders_and_aliases};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile};
use object::{LittleEndian as LE, pe, pod};
use std::mem::offset_of;
use std::path::Path;

/// LOAD_LIBRARY_SEARCH_SYSTEM32 (libloaderapi.h).
const SYSTEM32: u16 = 0x800;
/// IMAGE_DLLCHARACTERISTICS_EX_CET_COMPAT (winnt.h).
const CET_COMPAT: u8 = 0x01;
/// IMAGE_GUARD_CF_INSTRUMENTED (winnt.h).
const CF_INSTRUMENTED: u32 = 0x100;

/// The marks of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// DependentLoadFlags of the load configuration: where the loader looks for static imports.
    /// Zero, or no load configuration, means the program's own folder first.
    dependent_load_flags: u16,
    /// Whether the file claims that it never changes return addresses.
    cet: bool,
    /// How many functions Control Flow Guard lets it call indirectly; zero if its calls are not
    /// guarded.
    guarded: u32,
    /// Whether arm64 and emulated x64 programs see different exports in it (Arm64X).
    hybrid: bool,
    /// Whether the header contains no time: the field is zero, or a hash of the content.
    timeless: bool,
    /// Folders of the building machine that the file names.
    folders: Vec<String>,
}

impl Marks {
    /// Reads the marks in the file's content.
    pub fn read<Headers: ImageNtHeaders>(data: &[u8], file: &PeFile<'_, Headers>) -> Result<Self> {
        let headers = file.nt_headers();
        let (directories, sections) = (file.data_directories(), file.section_table());
        let mut marks = Self {
            timeless: headers.file_header().time_date_stamp.get(LE) == 0,
            folders: builder_folders()
                .into_iter()
                .filter(|folder| contains(data, folder.as_bytes()))
                .collect(),
            ..Self::default()
        };
        if let Some(directory) = directories.get(pe::IMAGE_DIRECTORY_ENTRY_DEBUG) {
            let entries = directory.data(data, &sections)?;
            let entries = pod::slice_from_all_bytes::<pe::ImageDebugDirectory>(entries)
                .map_err(|()| "the debug directory is cut off")?;
            for entry in entries {
                match entry.typ.get(LE) {
                    pe::IMAGE_DEBUG_TYPE_REPRO => marks.timeless = true,
                    pe::IMAGE_DEBUG_TYPE_EX_DLLCHARACTERISTICS => {
                        let at = entry.pointer_to_raw_data.get(LE) as usize;
                        marks.cet = data.get(at).is_some_and(|byte| byte & CET_COMPAT != 0);
                    }
                    _ => {}
                }
            }
        }
        if let Some(directory) = directories.get(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG) {
            let config =
                LoadConfig { bytes: directory.data(data, &sections)?, wide: headers.is_type_64() };
            marks.dependent_load_flags = config.dependent_load_flags();
            marks.hybrid = config.has_hybrid_metadata();
            let characteristics = headers.optional_header().dll_characteristics();
            if characteristics.0 & pe::IMAGE_DLLCHARACTERISTICS_GUARD_CF.0 != 0
                && config.guard_flags() & CF_INSTRUMENTED != 0
            {
                marks.guarded = config.guarded_functions();
            }
        }
        Ok(marks)
    }

    /// The marks that a file for `target` must have and this one lacks.
    pub fn missing(&self, target: Target) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.imports_from_system32() {
            missing.push(format!(
                "its DependentLoadFlags are {:#x} and not {SYSTEM32:#x}, so its imports may come from \
                 the folder of the program that loads it",
                self.dependent_load_flags
            ));
        }
        if self.cet != target.has_shadow_stack() {
            missing.push(if self.cet {
                "it has the CET mark, and its unwinder changes return addresses".to_owned()
            } else {
                "it has no CET mark, so programs that ask for one do not load it".to_owned()
            });
        }
        if target.is_guarded() && self.guarded == 0 {
            missing.push(
                "Control Flow Guard does not cover it, so programs that ask for that do not load it"
                    .to_owned(),
            );
        }
        if !self.timeless {
            missing.push(
                "its header says when it was built, so nobody can build the same bytes".to_owned(),
            );
        }
        for folder in &self.folders {
            missing.push(format!("it names {folder}, where it was built"));
        }
        missing
    }

    /// Whether it is an Arm64X file.
    pub fn is_hybrid(&self) -> bool {
        self.hybrid
    }

    /// Whether the loader looks for its imports only in System32.
    pub fn imports_from_system32(&self) -> bool {
        self.dependent_load_flags == SYSTEM32
    }

    /// The marks, in a few words.
    pub fn summary(&self) -> String {
        let mut words = vec![format!("DependentLoadFlags {:#x}", self.dependent_load_flags)];
        words.push(if self.cet { "CET" } else { "no CET" }.to_owned());
        words.push(match self.guarded {
            0 => "no CFG".to_owned(),
            functions => format!("CFG of {functions} functions"),
        });
        words.push(if self.timeless { "no time" } else { "a time" }.to_owned());
        words.join(", ")
    }
}

/// IMAGE_LOAD_CONFIG_DIRECTORY32 or 64 (winnt.h). The structure may end early.
struct LoadConfig<'data> {
    bytes: &'data [u8],
    wide: bool,
}

/// The offsets of a field in the 32-bit and in the 64-bit structure.
macro_rules! offsets {
    ($field:ident) => {
        (
            offset_of!(pe::ImageLoadConfigDirectory32, $field),
            offset_of!(pe::ImageLoadConfigDirectory64, $field),
        )
    };
}

impl LoadConfig<'_> {
    fn dependent_load_flags(&self) -> u16 {
        u16::from_le_bytes(self.field(offsets!(dependent_load_flags)))
    }

    /// Whether the field for Arm64X is set. In the 32-bit structure the field at this place has
    /// another meaning.
    fn has_hybrid_metadata(&self) -> bool {
        self.wide && self.field::<8>(offsets!(chpe_metadata_pointer)) != [0; 8]
    }

    fn guard_flags(&self) -> u32 {
        u32::from_le_bytes(self.field(offsets!(guard_flags)))
    }

    /// The low half of the 64-bit field is enough: no file has so many functions.
    fn guarded_functions(&self) -> u32 {
        u32::from_le_bytes(self.field(offsets!(guard_cf_function_count)))
    }

    /// The field; zero if the structure ends before it.
    fn field<const SIZE: usize>(&self, (narrow, wide): (usize, usize)) -> [u8; SIZE] {
        let at = if self.wide { wide } else { narrow };
        let bytes = self.bytes.get(at..at + SIZE);
        bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; SIZE])
    }
}

/// Folders that are elsewhere on another machine.
fn builder_folders() -> Vec<String> {
    let folders = builder_folders_and_aliases().into_iter();
    // In a container the folders may have the names that replace them.
    let named = folders.filter(|(folder, alias)| !Path::new(alias).starts_with(folder));
    named.map(|(folder, _)| folder.to_string_lossy().into_owned()).collect()
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|bytes| bytes == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder;
    use crate::windows::{Abi, Architecture};
    use object::read::pe::PeFile64;

    const X64: Target = Target { architecture: Architecture::X64, abi: Abi::Gnu };
    const X64_LLVM: Target = Target { architecture: Architecture::X64, abi: Abi::Llvm };

    /// The content that a linker can write into a 64-bit file.
    #[derive(Clone, Copy)]
    struct Image {
        time: u32,
        characteristics: u16,
        load_config: bool,
        dependent_load_flags: u16,
        guard_flags: u32,
        functions: u32,
        cet: Option<u8>,
        repro: bool,
        text: &'static str,
    }

    /// A file with all the marks.
    const GOOD: Image = Image {
        time: 0,
        characteristics: 0x4000,
        load_config: true,
        dependent_load_flags: 0x800,
        guard_flags: 0x500,
        functions: 12,
        cet: Some(1),
        repro: false,
        text: "",
    };

    impl Image {
        /// A file with one section at 0x1000, which begins at 0x200 of the file. It contains the
        /// load configuration, the debug directory at 0x140, and the data that this points to.
        fn bytes(self) -> Vec<u8> {
            let mut bytes = vec![0; 0x200];
            let mut put = |at: usize, part: &[u8]| {
                bytes[at..at + part.len()].copy_from_slice(part);
            };
            put(0, b"MZ");
            put(0x3C, &[0x40]);
            put(0x40, b"PE\0\0");
            put(0x44, &0x8664_u16.to_le_bytes());
            put(0x46, &[1]); // NumberOfSections
            put(0x48, &self.time.to_le_bytes());
            put(0x54, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
            put(0x58, &0x20B_u16.to_le_bytes());
            put(0x58 + 70, &self.characteristics.to_le_bytes());
            put(0x58 + 108, &[16]); // NumberOfRvaAndSizes
            let directory = |number: usize| 0x58 + 112 + 8 * number;
            let entries = u32::from(self.cet.is_some()) + u32::from(self.repro);
            put(directory(6), &0x1140_u32.to_le_bytes());
            put(directory(6) + 4, &(28 * entries).to_le_bytes());
            if self.load_config {
                put(directory(10), &0x1000_u32.to_le_bytes());
                put(directory(10) + 4, &0x140_u32.to_le_bytes());
            }
            let section = 0x58 + 240;
            put(section, b".rdata");
            for (at, value) in [(8, 0x300_u32), (12, 0x1000), (16, 0x300), (20, 0x200)] {
                put(section + at, &value.to_le_bytes());
            }
            let mut data = vec![0; 0x300];
            let mut put = |at: usize, part: &[u8]| {
                data[at..at + part.len()].copy_from_slice(part);
            };
            put(0, &0x140_u32.to_le_bytes());
            put(0x4E, &self.dependent_load_flags.to_le_bytes());
            put(0x88, &self.functions.to_le_bytes());
            put(0x90, &self.guard_flags.to_le_bytes());
            let mut entry = 0x140;
            if let Some(flags) = self.cet {
                put(entry + 12, &[20]);
                put(entry + 16, &[4]);
                put(entry + 24, &0x3C0_u32.to_le_bytes());
                put(0x1C0, &[flags]);
                entry += 28;
            }
            if self.repro {
                put(entry + 12, &[16]);
            }
            bytes.extend(data);
            bytes.extend(self.text.as_bytes());
            bytes
        }

        fn missing(self, target: Target) -> Vec<String> {
            let data = self.bytes();
            let file = PeFile64::parse(&*data).unwrap();
            Marks::read(&data, &file).unwrap().missing(target)
        }
    }

    #[test]
    fn a_file_with_all_marks_is_accepted() {
        assert_eq!(GOOD.missing(X64_LLVM), [""; 0]);
        let unguarded = Image { characteristics: 0, guard_flags: 0, functions: 0, ..GOOD };
        assert_eq!(unguarded.missing(X64), [""; 0]);
        let hashed = Image { time: 0x1234_5678, repro: true, ..GOOD };
        assert_eq!(hashed.missing(X64), [""; 0]);
    }

    #[test]
    fn a_file_that_lacks_a_mark_is_refused() {
        let root: &str = folder::root().to_string_lossy().into_owned().leak();
        for (image, reason) in [
            (Image { dependent_load_flags: 0, ..GOOD }, "DependentLoadFlags are 0x0"),
            (Image { dependent_load_flags: 0x200, ..GOOD }, "DependentLoadFlags are 0x200"),
            (Image { cet: None, ..GOOD }, "no CET mark"),
            (Image { cet: Some(0x40), ..GOOD }, "no CET mark"),
            (Image { characteristics: 0, ..GOOD }, "Control Flow Guard"),
            (Image { guard_flags: 0x400, ..GOOD }, "Control Flow Guard"),
            (Image { functions: 0, ..GOOD }, "Control Flow Guard"),
            (Image { time: 0x1234_5678, ..GOOD }, "when it was built"),
            (Image { text: root, ..GOOD }, "where it was built"),
        ] {
            let missing = image.missing(X64_LLVM);
            let [missing] = missing.as_slice() else { panic!("{reason}: {missing:?}") };
            assert!(missing.contains(reason), "{reason}: {missing}");
        }
    }

    #[test]
    fn a_file_without_a_load_configuration_lacks_all_that_stands_there() {
        let missing = Image { load_config: false, ..GOOD }.missing(X64_LLVM);
        assert_eq!(missing.len(), 2, "{missing:?}");
    }

    #[test]
    fn a_32_bit_file_must_not_claim_to_keep_return_addresses() {
        let x86 = Target { architecture: Architecture::X86, abi: Abi::Gnu };
        let claims =
            Marks { dependent_load_flags: SYSTEM32, cet: true, timeless: true, ..Marks::default() };
        assert_eq!(claims.missing(x86).len(), 1);
        assert_eq!(Marks { cet: false, ..claims }.missing(x86), [""; 0]);
    }
}
