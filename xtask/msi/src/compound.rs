//! The compound file in which the tables are, with sectors of 512 bytes.
//!
//! The crate `msi` writes version 4 of the format, whose sectors have 4096. Windows takes both;
//! osslsigncode takes version 3, up to [`LIMIT`].

use crate::Result;
use cfb::{CompoundFile, Version};
use std::io::{Cursor, Read, Write};

/// Bytes at most: the header of a version 3 file lists 109 sectors of 128 entries for 512 bytes each
/// ([MS-CFB] 2.2). What is larger needs a further list, which osslsigncode does not read.
pub(crate) const LIMIT: usize = 109 * 128 * 512;

/// The same file with small sectors. `cfb` writes no time of its making.
pub(crate) fn with_small_sectors(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut from = CompoundFile::open(Cursor::new(bytes))?;
    let mut to = CompoundFile::create_with_version(Version::V3, Cursor::new(Vec::new()))?;
    to.set_storage_clsid("/", *from.root_entry().clsid())?;
    let streams = from.walk().filter(cfb::Entry::is_stream);
    let streams: Vec<_> = streams.map(|entry| entry.path().to_owned()).collect();
    for path in streams {
        let mut content = Vec::new();
        from.open_stream(&path)?.read_to_end(&mut content)?;
        to.create_stream(&path)?.write_all(&content)?;
    }
    to.flush()?;
    Ok(to.into_inner().into_inner())
}
