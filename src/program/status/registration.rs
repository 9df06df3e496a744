//! The notification DLLs that MPR finds, for each architecture of programs.

#![cfg_attr(not(windows), allow(dead_code))] // Windows alone has such a list.

use super::load::{Load, Loading};
use super::verdict::{DllState, Registered};
use crate::answer::Failure;
use crate::architecture::Architecture;
use crate::printable::Printable;
use serde::Serialize;
use std::io::Write;

/// MPR's list, and the files that it leads to.
#[derive(Debug, Serialize)]
pub(super) struct Registration {
    /// The value in MPR's list. `None` if there is none, or the list cannot be read.
    pub(super) entry: Option<Entry>,
    /// Why the list cannot be read; `None` if it can.
    pub(super) problem: Option<Printable>,
    /// One DLL for each architecture of programs on this machine. If nothing is registered, the
    /// DLLs that `install` put there, if there are any.
    pub(super) dlls: Vec<Dll>,
}

/// A value in MPR's list of notification DLLs.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// The value's name.
    pub(super) name: Printable,
    /// The value's type, such as REG_EXPAND_SZ.
    pub(super) kind: Printable,
    /// The path as it is written there.
    pub(super) data: Printable,
    /// Whether MPR loads it. The documentation asks for REG_EXPAND_SZ and an absolute path.
    pub(super) well_formed: bool,
}

/// The DLL that programs of one architecture load.
#[derive(Debug, Serialize)]
pub(super) struct Dll {
    /// The architecture of the programs.
    pub(super) programs: Architecture,
    /// The path, expanded, and in the folder to which Windows leads such programs.
    pub(super) path: Printable,
    /// The file to which an Arm64X DLL leads these programs. If there is one, the following fields
    /// are about it.
    pub(super) leads_to: Option<Printable>,
    /// Why the file cannot be read; `None` if it can.
    pub(super) problem: Option<Printable>,
    /// The DLL's own architecture (PE header). `None` if the file is not a DLL, or has an unknown
    /// architecture.
    pub(super) architecture: Option<Architecture>,
    /// Its file version (version resource).
    pub(super) version: Option<Printable>,
    /// Whether it is the same file that `install` put on this machine. `None` if `install` put none
    /// there.
    pub(super) installed: Option<bool>,
    /// Whether a program could load it.
    pub(super) load: Load,
}

impl Registration {
    /// The list's state, as the verdict needs it.
    pub(super) fn state(&self) -> Registered {
        match (&self.entry, &self.problem) {
            (_, Some(problem)) => Registered::Unknown(problem.clone()),
            (None, None) => Registered::Not,
            (Some(entry), None) if entry.well_formed => Registered::Well,
            (Some(Entry { kind, data, .. }), None) => {
                Registered::Malformed(format!("{kind} {data}").into())
            }
        }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let state = match self.state() {
            Registered::Well => "registered",
            Registered::Not => "not registered",
            Registered::Malformed(_) => "malformed",
            Registered::Unknown(_) => "unknown",
        };
        writeln!(out, "\nRegistration: {state}")?;
        if let Some(Entry { name, kind, data, .. }) = &self.entry {
            writeln!(out, "  {name} = {data} ({kind})")?;
        }
        for dll in &self.dlls {
            dll.write(out)?;
        }
        Ok(())
    }
}

impl Dll {
    /// What programs find there, as the verdict needs it.
    pub(super) fn state(&self) -> DllState {
        let path = self.leads_to.as_ref().unwrap_or(&self.path);
        if let Some(problem) = &self.problem {
            return DllState::Missing(format!("{path}: {problem}").into());
        }
        if self.architecture != Some(self.programs) {
            return DllState::Wrong(self.architecture, path.clone());
        }
        match (&self.load, self.installed) {
            (Load { result: Loading::Refused, code, detail }, _) => {
                DllState::Refused(*code, detail.clone().unwrap_or_default())
            }
            (_, Some(false)) => DllState::Other(path.clone()),
            _ => DllState::Good,
        }
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        write!(out, "  {:<5} programs: {}", self.programs, self.path)?;
        if let Some(target) = &self.leads_to {
            write!(out, ", which leads to {target}")?;
        }
        if let Some(problem) = &self.problem {
            writeln!(out, ": {problem}")?;
            return Ok(());
        }
        let own = self.architecture.map_or_else(|| "no DLL".to_owned(), |own| own.to_string());
        let version = self.version.as_deref().unwrap_or("unknown");
        writeln!(out, "  {own}  version {version}")?;
        let Load { result, code, detail } = &self.load;
        let detail = detail.as_deref().unwrap_or_default();
        match (result, code) {
            (Loading::Loaded, _) => writeln!(out, "    a program loads it")?,
            (Loading::Refused, Some(code)) => {
                writeln!(out, "    a program does not load it: error {code}: {detail}")?;
            }
            (Loading::Refused, None) => {
                writeln!(out, "    a program does not load it: {detail}")?;
            }
            (Loading::NotTried, _) => writeln!(out, "    loading it was not tried: {detail}")?,
        }
        if self.installed == Some(false) {
            writeln!(out, "    it is not the file that was installed")?;
        }
        Ok(())
    }
}

#[cfg(windows)]
mod finding {
    use super::{Dll, Entry, Registration};
    use crate::architecture::Architecture;
    use crate::dll_file::DllFile;
    use crate::machine::{Listed, SystemDll, listed};
    use crate::printable::Printable;
    use crate::status::load::Load;
    use crate::status::load_trial;
    use crate::windows::{self, FileIdentity};
    use std::fs::File;
    use std::io::{self, Read};
    use std::path::{Path, PathBuf};

    impl Registration {
        /// Reads the registry and the files.
        pub(in crate::status) fn find() -> Self {
            let installed = SystemDll::all().unwrap_or_default();
            match listed() {
                Err(error) => Self::unlisted(Some(error.to_string().into()), &installed),
                Ok(None) => Self::unlisted(None, &installed),
                Ok(Some(listed)) => Self::of(&listed, &installed),
            }
        }

        /// The registration if nothing leads to the DLLs that are there.
        fn unlisted(problem: Option<Printable>, installed: &[SystemDll]) -> Self {
            let there = installed.iter().filter(|dll| dll.path.exists());
            let dlls = there
                .map(|dll| Dll::look_at(dll.architecture, &dll.path, Some(dll), false))
                .collect();
            Self { entry: None, problem, dlls }
        }

        fn of(listed: &Listed, installed: &[SystemDll]) -> Self {
            let path = listed.path();
            let entry = Entry {
                name: (&listed.name).into(),
                kind: (&listed.kind).into(),
                data: (&listed.data).into(),
                well_formed: listed.is_well_formed(),
            };
            let dlls = windows::architectures()
                .into_iter()
                .map(|programs| {
                    let place = installed.iter().find(|dll| dll.serves(programs));
                    Dll::look_at(
                        programs,
                        &seen_by(programs, &path),
                        place,
                        listed.is_well_formed(),
                    )
                })
                .collect();
            Self { entry: Some(entry), problem: None, dlls }
        }
    }

    impl Dll {
        /// Reads the file. Tries to load it if programs would load it.
        fn look_at(
            programs: Architecture,
            path: &Path,
            place: Option<&SystemDll>,
            listed: bool,
        ) -> Self {
            let mut dll = Self {
                programs,
                path: path.display().to_string().into(),
                leads_to: None,
                problem: None,
                architecture: None,
                version: None,
                installed: None,
                load: Load::not_tried("it cannot be read"),
            };
            let mut found = Found::at(path, place);
            if let Ok(Found { facts, .. }) = &found
                && facts.is_arm64x
                && let Some(target) = SystemDll::forwarded(programs)
            {
                // The Arm64X DLL leads to a file beside it.
                let path = path.with_file_name(target.path.file_name().unwrap_or_default());
                found = Found::at(&path, Some(&target));
                dll.leads_to = Some(path.display().to_string().into());
            }
            match found {
                Ok(found) => {
                    dll.architecture = found.facts.architecture;
                    dll.version = found.facts.version_text().map(Printable::from);
                    dll.installed = found.installed;
                }
                Err(error) => {
                    dll.problem = Some(error.to_string().into());
                    return dll;
                }
            }
            dll.load = if !listed {
                Load::not_tried("MPR's list does not lead programs to it")
            } else if dll.architecture != Some(programs) {
                Load::not_tried("it is not a DLL of their architecture")
            } else if programs != Architecture::OWN {
                Load::not_tried(
                    "this program is of another architecture; `mpr-otel probe` tries it",
                )
            } else {
                load_trial::run()
            };
            dll
        }
    }

    /// A DLL that can be read.
    struct Found {
        facts: DllFile,
        /// Whether it is the same file that is in this place.
        installed: Option<bool>,
    }

    impl Found {
        fn at(path: &Path, place: Option<&SystemDll>) -> io::Result<Self> {
            let mut file = File::open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let installed = place.and_then(|place| {
                let installed = FileIdentity::of(&File::open(&place.path).ok()?).ok()?;
                Some(FileIdentity::of(&file).ok()? == installed)
            });
            Ok(Self { facts: DllFile::parse(&bytes), installed })
        }
    }

    /// The path that Windows opens when a program of this architecture asks for `path`. 32-bit
    /// programs get SysWOW64 instead of System32 (Microsoft: File System Redirector).
    fn seen_by(programs: Architecture, path: &Path) -> PathBuf {
        let folders = (windows::system_folder(), windows::wow64_folder());
        let (Architecture::X86, (Ok(system), Ok(wow64))) = (programs, folders) else {
            return path.to_owned();
        };
        let mut parts = path.components();
        for part in system.components() {
            let same = |found: std::path::Component<'_>| {
                found.as_os_str().eq_ignore_ascii_case(part.as_os_str())
            };
            if !parts.next().is_some_and(same) {
                return path.to_owned();
            }
        }
        wow64.join(parts.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A DLL in its place that programs load.
    fn good() -> Dll {
        Dll {
            programs: Architecture::Amd64,
            path: r"C:\Windows\System32\mpr_otel.dll".into(),
            leads_to: None,
            problem: None,
            architecture: Some(Architecture::Amd64),
            version: None,
            installed: Some(true),
            load: Load { result: Loading::Loaded, code: None, detail: None },
        }
    }

    #[test]
    fn the_first_thing_that_is_wrong_with_a_dll_is_its_state() {
        let state = |change: fn(&mut Dll)| {
            let mut dll = good();
            change(&mut dll);
            dll.state()
        };
        let path = good().path;
        let refused =
            Load { result: Loading::Refused, code: Some(577), detail: Some("unsigned".into()) };
        assert_eq!(good().state(), DllState::Good);
        assert_eq!(state(|dll| dll.load = Load::not_tried("x86")), DllState::Good);
        assert_eq!(state(|dll| dll.installed = None), DllState::Good);
        assert_eq!(state(|dll| dll.installed = Some(false)), DllState::Other(path.clone()));
        assert_eq!(
            Dll { load: refused, installed: Some(false), ..good() }.state(),
            DllState::Refused(Some(577), "unsigned".into())
        );
        assert_eq!(
            state(|dll| dll.architecture = Some(Architecture::X86)),
            DllState::Wrong(Some(Architecture::X86), path.clone())
        );
        assert_eq!(state(|dll| dll.architecture = None), DllState::Wrong(None, path.clone()));
        let target = r"C:\Windows\System32\mpr_otel_x64.dll";
        let leads_to = Dll { leads_to: Some(target.into()), architecture: None, ..good() };
        assert_eq!(leads_to.state(), DllState::Wrong(None, target.into()));
        let missing = state(|dll| {
            dll.problem = Some("not found".into());
            dll.architecture = None;
        });
        assert_eq!(missing, DllState::Missing(format!("{path}: not found").into()));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_an_empty_one() {
        let state = |entry: Option<bool>, problem: Option<&str>| {
            let entry = entry.map(|well_formed| Entry {
                name: "mpr-otel".into(),
                kind: "REG_SZ".into(),
                data: "mpr_otel.dll".into(),
                well_formed,
            });
            let problem = problem.map(Printable::from);
            Registration { entry, problem, dlls: Vec::new() }.state()
        };
        assert_eq!(state(None, None), Registered::Not);
        assert_eq!(state(None, Some("denied")), Registered::Unknown("denied".into()));
        assert_eq!(state(Some(true), None), Registered::Well);
        let malformed = Registered::Malformed("REG_SZ mpr_otel.dll".into());
        assert_eq!(state(Some(false), None), malformed);
    }
}
