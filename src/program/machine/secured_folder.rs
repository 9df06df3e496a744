//! A folder of the product in a place where another user may have made one before.

use crate::answer::{Failure, WrongUsage};
use crate::rights::Rights;
use crate::windows;
use mpr_otel_core::platform::{Directory, is_local};
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// How often making a folder is tried, because another user may make one of its name again and
/// again.
const ATTEMPTS: usize = 5;
/// How many names there are for a folder that is moved away.
const NAMES: u32 = 1000;

/// Refuses a place in which an untrusted user could move a folder above it, and so put another
/// folder there. Trusted are the system, administrators and services. `flag` is the flag that named
/// the place.
pub(super) fn check_place(folder: &Path, flag: &str) -> Result<(), Failure> {
    let refused = |ancestor: &Path, problem: &dyn Display| -> Failure {
        WrongUsage(format!("{flag}: {}: {problem}", ancestor.display())).into()
    };
    if !folder.is_absolute() || !is_local(folder) {
        return Err(refused(folder, &"not an absolute path on a local disk"));
    }
    for ancestor in folder.ancestors().skip(1) {
        let safe = match Directory::open(ancestor) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.and_then(|opened| opened.keeps_its_place()),
        };
        match safe {
            Ok(true) => {}
            Ok(false) => {
                return Err(refused(
                    ancestor,
                    &"others than administrators own, move or remove this folder; correct its owner \
                      and rights, or name another place",
                ));
            }
            Err(error) => return Err(refused(ancestor, &error)),
        }
    }
    Ok(())
}

/// The folders above `folder` that do not exist, outermost first.
pub(super) fn missing_above(folder: &Path) -> Vec<PathBuf> {
    let missing = folder.ancestors().skip(1).take_while(|above| !above.exists());
    let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Makes the folder with these rights. An existing folder gets the rights if only administrators,
/// the system and services could change it. Any other folder is moved away, because the user who
/// made it may have it open with its old rights. Returns the moved folder's new path.
pub(super) fn secure(folder: &Path, rights: Rights) -> Result<Option<PathBuf>, Failure> {
    let mut aside = None;
    for _ in 0..ATTEMPTS {
        match windows::create_folder(folder, rights) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("cannot make {}: {error}", folder.display()).into()),
        }
        let there = Directory::open(folder).and_then(|folder| folder.ownership());
        if there.is_ok_and(|there| there.is_safe()) {
            windows::set_rights(folder, rights).map_err(|error| {
                let folder = folder.display();
                format!("cannot set the rights of {folder}: {error}; remove it and try again")
            })?;
            return Ok(aside);
        }
        aside = Some(put_aside(folder)?);
    }
    Err(format!(
        "another user makes {} again whenever it is removed; find out whose it is, and try again",
        folder.display()
    )
    .into())
}

/// Renames the folder.
fn put_aside(folder: &Path) -> Result<PathBuf, Failure> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut problem = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 1..=NAMES {
        let aside = folder.with_file_name(format!("{name}.aside-{number}"));
        match windows::rename(folder, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => problem = error,
            Err(error) => {
                problem = error;
                break;
            }
        }
    }
    Err(format!(
        "{} is another user's, and cannot be moved away: {problem}; end the programs that use it, or \
         start Windows anew, and try again",
        folder.display()
    )
    .into())
}
