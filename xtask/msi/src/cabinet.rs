//! The files, compressed.

use crate::Result;
use crate::payload::File;
use cab::{CabinetBuilder, CompressionType};
use std::io::{Cursor, Write};
use time::{Date, Month, PrimitiveDateTime, Time};

/// All of them in one cabinet, in the order of the File table.
pub(crate) fn cabinet(files: &[File]) -> Result<Vec<u8>> {
    // The earliest time that a cabinet can say.
    let no_time = Date::from_calendar_date(1980, Month::January, 1)?;
    let mut builder = CabinetBuilder::new();
    let folder = builder.add_folder(CompressionType::MsZip);
    for file in files {
        folder.add_file(&*file.id).set_datetime(PrimitiveDateTime::new(no_time, Time::MIDNIGHT));
    }
    let mut writer = builder.build(Cursor::new(Vec::new()))?;
    let mut contents = files.iter();
    while let (Some(mut into), Some(file)) = (writer.next_file()?, contents.next()) {
        into.write_all(&file.content)?;
    }
    Ok(writer.finish()?.into_inner())
}
