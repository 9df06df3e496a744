//! The file from which `mpr-otel install` takes a secret.

use std::fs::File;
use std::io::{self, Read};

/// A secret has at most this many bytes.
const LARGEST: u64 = 64 * 1024;

/// The place from which a secret is read.
pub(crate) enum SecretFile<'a> {
    /// A file of this name.
    Named(&'a str),
    /// Standard input.
    Input,
}

/// Why a secret could not be read. No message repeats the file's content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    #[error("cannot read {name}: {error}")]
    Unreadable { name: String, error: io::Error },
    #[error("{name} has nothing in it; to remove the setting, give an empty name")]
    Empty { name: String },
    #[error("{name} has more than {LARGEST} bytes, which no secret has")]
    TooLong { name: String },
    #[error("{name} is neither UTF-8 nor UTF-16; save it as UTF-8")]
    NoText { name: String },
}

impl<'a> SecretFile<'a> {
    /// The file that a command line names. `-` means standard input.
    pub(crate) fn named(name: &'a str) -> Self {
        match name {
            "-" => Self::Input,
            name => Self::Named(name),
        }
    }

    /// The secret: the file's lines without the spaces around them, joined by commas.
    pub(crate) fn read(&self) -> Result<String, SecretFileError> {
        let bytes = match self {
            Self::Input => bytes(io::stdin().lock()),
            Self::Named(name) => File::open(name).and_then(bytes),
        };
        let name = || self.name().to_owned();
        let bytes = bytes.map_err(|error| SecretFileError::Unreadable { name: name(), error })?;
        if bytes.len() as u64 > LARGEST {
            return Err(SecretFileError::TooLong { name: name() });
        }
        let text = text(&bytes).ok_or_else(|| SecretFileError::NoText { name: name() })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        match lines.collect::<Vec<_>>().join(",") {
            empty if empty.is_empty() => Err(SecretFileError::Empty { name: name() }),
            secret => Ok(secret),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Input => "standard input",
            Self::Named(name) => name,
        }
    }
}

/// Reads at most one byte more than a secret may have.
fn bytes(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Decodes UTF-8 with or without a byte order mark, or UTF-16 with one, as Windows PowerShell
/// writes it.
fn text(bytes: &[u8]) -> Option<String> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        bytes => String::from_utf8(bytes.to_vec()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, bytes).unwrap();
        SecretFile::named(file.to_str().unwrap()).read().map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_read_in_every_form_that_editors_and_shells_of_windows_write() {
        let utf_16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{FEFF}a=ä\r\n".encode_utf16().flat_map(unit).collect()
        };
        for bytes in [
            "a=ä".as_bytes().to_vec(),
            "\u{FEFF}a=ä\r\n".as_bytes().to_vec(),
            utf_16(u16::to_le_bytes),
            utf_16(u16::to_be_bytes),
        ] {
            assert_eq!(read(&bytes).as_deref(), Ok("a=ä"), "{bytes:?}");
        }
        assert_eq!(read(b"a=1\r\n\r\n  b=2 \n").as_deref(), Ok("a=1,b=2"));
    }

    #[test]
    fn a_file_without_a_secret_says_what_is_wrong_and_not_what_is_in_it() {
        for (bytes, problem) in [
            (&b"\r\n"[..], "has nothing in it"),
            (&b"secret\xFF"[..], "is neither UTF-8 nor UTF-16"),
            (&b"\xFF\xFEs\0e"[..], "is neither UTF-8 nor UTF-16"),
            (&[b's'; LARGEST as usize + 1][..], "has more than 65536 bytes"),
        ] {
            let said = read(bytes).unwrap_err();
            assert!(said.contains(problem) && !said.contains("secret\u{FFFD}"), "{said}");
        }
        let missing = SecretFile::named("no-such-file").read().unwrap_err().to_string();
        assert!(missing.starts_with("cannot read no-such-file: "), "{missing}");
    }
}
