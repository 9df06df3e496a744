//! What MPR finds when it looks for notification DLLs.

use crate::printable::Printable;
use serde::Serialize;

/// Whether and what MPR loads.
#[derive(Debug, Serialize)]
pub(super) struct Registration {
    /// Whether MPR loads the DLL.
    pub(super) registered: bool,
    /// Why not, or what else there is to know.
    pub(super) notes: Vec<Printable>,
    /// The DLLs in the system's folders.
    pub(super) dlls: Vec<Dll>,
}

/// A DLL that is in place.
#[derive(Debug, Serialize)]
pub(super) struct Dll {
    pub(super) path: Printable,
    /// Its version.
    pub(super) version: Option<Printable>,
    /// Width of the programs that load it.
    pub(super) bits: Option<u32>,
}

impl Registration {
    /// Looks at the registry and at the files.
    #[cfg(windows)]
    pub(super) fn find() -> Self {
        use crate::dll_file::DllFile;
        use crate::machine::{Entry, SystemDll, registered};

        let entry = registered();
        let mut notes = Vec::new();
        if let Entry::Other(entry) = &entry {
            notes.push(
                format!(
                    "the registry has {entry}, which MPR does not load; run `mpr-otel install`"
                )
                .into(),
            );
        }
        let mut dlls = Vec::new();
        for SystemDll { path, bits } in SystemDll::all().unwrap_or_default() {
            let path_text = Printable::from(path.display().to_string());
            match std::fs::read(&path).map(|bytes| DllFile::parse(&bytes)) {
                Ok(file) if file.bits == Some(bits) => {
                    let version = file.version_text().map(Printable::from);
                    dlls.push(Dll { path: path_text, version, bits: file.bits });
                }
                Ok(_) => notes.push(
                    format!("{path_text} is not a {bits}-bit DLL; run `mpr-otel install`").into(),
                ),
                Err(error) => {
                    notes.push(
                        format!("{bits}-bit programs are not measured: {path_text}: {error}")
                            .into(),
                    );
                }
            }
        }
        let registered =
            entry == Entry::Good && dlls.iter().any(|dll| dll.bits == Some(usize::BITS));
        if entry == Entry::Missing {
            notes.push("run `mpr-otel install` as administrator".into());
        }
        Self { registered, notes, dlls }
    }

    /// Windows alone has such a thing.
    #[cfg(not(windows))]
    pub(super) fn find() -> Self {
        let notes = vec!["registration exists on Windows only".into()];
        Self { registered: false, notes, dlls: Vec::new() }
    }
}
