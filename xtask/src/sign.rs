//! Signs what ships with Authenticode, by osslsigncode.

use crate::packages::Need;
use crate::run::Log;
use crate::{Result, folder, packages};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Signs and verifies files of Windows.
const OSSLSIGNCODE: Need = Need {
    name: "osslsigncode",
    packages: &["osslsigncode"],
    is_there: || folder::program("osslsigncode").is_some(),
};

/// Lets OpenSSL use a key in a token.
const PKCS11: Need = Need {
    name: "OpenSSL's engine for PKCS#11",
    packages: &["libengine-pkcs11-openssl"],
    is_there: || engine().is_some(),
};

/// Makes certificates, for the test.
const OPENSSL: Need = Need {
    name: "openssl",
    packages: &["openssl"],
    is_there: || folder::program("openssl").is_some(),
};

/// The certificate and the key, and how they are used.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Signer {
    /// A file with the certificate, and with the certificates up to its authority (PEM or PKCS#7).
    certificate: String,
    /// A file with the key (PEM), or the PKCS#11 URI of a key in a token.
    key: String,
    /// The token's library.
    pkcs11_module: Option<String>,
    /// A file with the key's password or the token's PIN.
    password_file: Option<String>,
    /// The URL of an RFC 3161 time stamp service. Without a time stamp, a signature expires with
    /// its certificate.
    timestamp: Option<String>,
}

impl Signer {
    /// Reads `--sign CERT KEY` and its other flags. `None` if nothing is to be signed.
    pub fn parse(arguments: &[&str]) -> Result<Option<Self>> {
        let mut signer = Self::default();
        let mut words = arguments.iter().copied();
        while let Some(word) = words.next() {
            let mut value = |what: &str| -> Result<String> {
                match words.next() {
                    Some(value) if !value.starts_with("--") => Ok(value.to_owned()),
                    _ => Err(format!("{word} needs {what}; `cargo xtask help` shows it").into()),
                }
            };
            match word {
                "--sign" => {
                    signer.certificate = value("a certificate and a key")?;
                    signer.key = value("a key after the certificate")?;
                }
                "--timestamp" => signer.timestamp = Some(value("a URL")?),
                "--pkcs11-module" => signer.pkcs11_module = Some(value("a file")?),
                "--password-file" => signer.password_file = Some(value("a file")?),
                unknown => return Err(format!("dist: unknown: `{unknown}`").into()),
            }
        }
        if signer.key.starts_with("pkcs11:") && signer.pkcs11_module.is_none() {
            return Err("a key in a token needs --pkcs11-module <file>, the token's library".into());
        }
        match (signer.key.is_empty(), signer == Self::default()) {
            (false, _) => Ok(Some(signer)),
            (true, true) => Ok(None),
            (true, false) => Err("nothing is signed without --sign <certificate> <key>".into()),
        }
    }

    /// Installs the programs that are missing.
    pub fn ensure(&self, log: &mut Log) -> Result<()> {
        let needs: &[Need] = match self.pkcs11_module {
            Some(_) => &[OSSLSIGNCODE, PKCS11],
            None => &[OSSLSIGNCODE],
        };
        packages::ensure(needs, log)
    }

    /// Signs a file and replaces it.
    pub fn sign(&self, file: &Path, log: &mut Log) -> Result<()> {
        let signed = file.with_extension("signed");
        let mut sign = Command::new("osslsigncode");
        sign.args(["sign", "-h", "sha256", "-n", "mpr-otel"]);
        if let Some(module) = &self.pkcs11_module {
            let engine = engine().ok_or("OpenSSL's engine for PKCS#11 is missing")?;
            sign.arg("-pkcs11engine").arg(engine).args(["-pkcs11module", module]);
        }
        sign.args(["-certs", &self.certificate, "-key", &self.key]);
        for (flag, value) in [("-readpass", &self.password_file), ("-ts", &self.timestamp)] {
            if let Some(value) = value {
                sign.args([flag, value]);
            }
        }
        log.run(sign.arg("-in").arg(file).arg("-out").arg(&signed))?;
        fs::rename(&signed, file)
            .map_err(|error| format!("cannot replace {}: {error}", file.display()).into())
    }
}

/// The engine's path on Debian, for each architecture of the signing machine.
fn engine() -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let engine = Path::new(&multiarch).join("engines-3").join("pkcs11.so");
    engine.exists().then_some(engine)
}

/// Signs copies of `files` with a certificate that is made for this test. Checks that osslsigncode
/// verifies the copies, and that it refuses each copy after one byte was changed.
pub fn test(files: &[&Path], log: &mut Log) -> Result<()> {
    packages::ensure(&[OSSLSIGNCODE, OPENSSL], log)?;
    let folder = folder::target().join("sign");
    fs::create_dir_all(&folder)?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    log.run(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=mpr-otel test", "-addext", "extendedKeyUsage=codeSigning"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )?;
    let [certificate, key] = [certificate, key].map(|path| path.to_string_lossy().into_owned());
    let verify = |file: &Path, log: &mut Log| {
        let mut verify = Command::new("osslsigncode");
        log.run_to_status(verify.args(["verify", "-CAfile", &certificate, "-in"]).arg(file))
    };
    let signer = Signer::parse(&["--sign", &certificate, &key])?.ok_or("a signer was asked for")?;
    for (number, file) in files.iter().enumerate() {
        let copy = folder.join(format!("{number}.bin"));
        fs::copy(file, &copy)?;
        if verify(&copy, log)? {
            return Err(format!("{} is verified before it is signed", file.display()).into());
        }
        signer.sign(&copy, log)?;
        if !verify(&copy, log)? {
            return Err(format!("the signature of {} is not verified", file.display()).into());
        }
        let mut changed = fs::read(&copy)?;
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&copy, changed)?;
        if verify(&copy, log)? {
            return Err(format!("{} is verified although it was changed", file.display()).into());
        }
    }
    log.note(format!("{} files signed, verified, and refused when changed", files.len()));
    fs::remove_dir_all(&folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_is_a_certificate_and_a_key() {
        let signer = |key: &str, module: Option<&str>| Signer {
            certificate: "c.pem".to_owned(),
            key: key.to_owned(),
            pkcs11_module: module.map(str::to_owned),
            ..Signer::default()
        };
        assert_eq!(Signer::parse(&[]).unwrap(), None);
        let parsed = Signer::parse(&["--sign", "c.pem", "k.pem"]).unwrap();
        assert_eq!(parsed, Some(signer("k.pem", None)));
        let token = ["--sign", "c.pem", "pkcs11:object=k", "--pkcs11-module", "hsm.so"];
        assert_eq!(Signer::parse(&token).unwrap(), Some(signer("pkcs11:object=k", Some("hsm.so"))));
    }

    #[test]
    fn half_a_signer_is_refused() {
        for words in [
            &["--sign"][..],
            &["--sign", "c.pem"],
            &["--sign", "c.pem", "--timestamp", "http://time.example"],
            &["--sign", "c.pem", "pkcs11:object=k"],
            &["--timestamp", "http://time.example"],
            &["--sign", "c.pem", "k.pem", "--other"],
        ] {
            assert!(Signer::parse(words).is_err(), "{words:?}");
        }
    }
}
