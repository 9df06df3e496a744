//! The folder in which a Collector on this machine keeps data that it has not sent.

use super::record::Record;
use super::secured_folder::{check_place, missing_above, secure};
use super::uninstalled::entries;
use crate::answer::{Failure, WrongUsage};
use crate::rights::Rights;
use std::path::{Path, PathBuf};

/// The path where the folder belongs.
#[derive(Debug)]
pub(super) struct CollectorFolder<'a>(pub(super) &'a Path);

impl CollectorFolder<'_> {
    /// Refuses a place that is not safe. Refuses a folder that is not empty, unless an earlier
    /// `install` made it, because its contents would become the Collector's.
    pub(super) fn check(&self, record: &Record) -> Result<(), Failure> {
        check_place(self.0, "--collector-dir")?;
        if record.folders.iter().any(|made| made == self.0) || entries(self.0).next().is_none() {
            return Ok(());
        }
        Err(WrongUsage(format!(
            "--collector-dir: {} is not empty; name an empty folder, or one that does not exist",
            self.0.display()
        ))
        .into())
    }

    /// Makes the folder. Returns the folders that were moved away.
    pub(super) fn make(&self, record: &mut Record) -> Result<Vec<PathBuf>, Failure> {
        let above = missing_above(self.0);
        for folder in above.iter().map(PathBuf::as_path).chain([self.0]) {
            record.add_folder(folder);
        }
        record.write()?;
        let mut aside = Vec::new();
        for above in above {
            aside.extend(secure(&above, Rights::Outer)?);
        }
        aside.extend(secure(self.0, Rights::Collector)?);
        Ok(aside)
    }
}
