//! How a setting names one of the machine's certificates.

use std::fmt;

/// Names a certificate of the store `LocalMachine\My`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The one with this SHA-1 hash.
    Thumbprint([u8; 20]),
    /// A certificate whose subject contains this text.
    Subject(String),
}

impl CertificateName {
    /// Reads a name. 40 hexadecimal digits are a thumbprint; they may have spaces, and the
    /// invisible mark that Windows' certificate window puts before them. Every other text is a part
    /// of a subject.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const LEFT_TO_RIGHT: char = '\u{200E}';
        let digits: String =
            text.chars().filter(|sign| !matches!(*sign, ' ' | ':' | LEFT_TO_RIGHT)).collect();
        if digits.len() < 32 || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Self::Subject(text.to_owned()));
        }
        let mut hash = [0; 20];
        if digits.len() != 2 * hash.len() {
            return Err(format!(
                "a thumbprint has 40 hexadecimal digits, and this has {}",
                digits.len()
            ));
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16)
                .map_err(|error| error.to_string())?;
        }
        Ok(Self::Thumbprint(hash))
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thumbprint(hash) => hash.iter().try_for_each(|byte| write!(out, "{byte:02X}")),
            Self::Subject(text) => out.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    #[test]
    fn a_thumbprint_is_read_as_windows_and_openssl_show_it() {
        let bytes = "\u{200E}01 23 45 67 89 ab cd ef 01 23 45 67 89 ab cd ef 01 23 45 67";
        let colons = "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67";
        for text in [HASH, bytes, colons] {
            let name = CertificateName::parse(text).unwrap();
            assert!(matches!(name, CertificateName::Thumbprint([0x01, 0x23, ..])), "{text}");
            assert_eq!(name.to_string(), HASH);
        }
    }

    #[test]
    fn another_text_is_a_part_of_a_subject_and_a_part_of_a_thumbprint_is_refused() {
        for text in ["agent01.corp.example", "CN=agent 01", "abc", "0123456789"] {
            let name = CertificateName::parse(text).unwrap();
            assert_eq!(name, CertificateName::Subject(text.to_owned()));
        }
        for text in [&HASH[1..], &format!("{HASH}0")] {
            assert!(CertificateName::parse(text).unwrap_err().contains("40"), "{text}");
        }
    }
}
