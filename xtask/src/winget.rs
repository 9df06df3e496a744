//! The manifests with which winget finds and installs the package. They are three YAML files in the
//! form that the repository microsoft/winget-pkgs takes (Microsoft: "Create your package
//! manifest").

use crate::{Result, VERSION, folder};
use std::fs;
use std::path::{Path, PathBuf};

/// The publisher and the product, in the form of winget's package names.
const IDENTIFIER: &str = "mpr-otel.mpr-otel";
/// The schema's version that winget-pkgs' own tools write.
const SCHEMA: &str = "1.12.0";
/// The project, and where its releases are.
const HOME: &str = "https://github.com/mpr-otel/mpr-otel";

/// A package for one architecture.
pub struct Installer {
    /// The architecture's name in winget: `x64`, `arm64`.
    pub architecture: &'static str,
    /// The name of its file in the release.
    pub file: String,
    /// The file's SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The product code of this release.
    pub product_code: String,
}

/// The contents of one release's manifests.
pub struct Manifests {
    /// The release's version.
    pub version: String,
    /// The upgrade code, which is the same in all releases.
    pub upgrade_code: String,
    /// The installers; at least one.
    pub installers: Vec<Installer>,
}

impl Manifests {
    /// Writes the manifests below `to`, in winget-pkgs' layout. Returns their folder.
    pub fn write(&self, to: &Path) -> Result<PathBuf> {
        let folder = path(to, &self.version);
        // Removes the files of an earlier run.
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(&folder)?;
        for (part, text) in self.files() {
            fs::write(folder.join(format!("{IDENTIFIER}{part}.yaml")), text)?;
        }
        Ok(folder)
    }

    /// For each file, the part of its name after the identifier, and its text.
    fn files(&self) -> [(&'static str, String); 3] {
        [
            ("", self.manifest("version", "DefaultLocale: en-US\n")),
            (".installer", self.manifest("installer", &self.installer())),
            (".locale.en-US", self.manifest("defaultLocale", &self.locale())),
        ]
    }

    fn manifest(&self, kind: &str, fields: &str) -> String {
        format!(
            "# yaml-language-server: $schema=https://aka.ms/winget-manifest.{kind}.{SCHEMA}.schema.json\n\
             PackageIdentifier: {IDENTIFIER}\n\
             PackageVersion: {}\n\
             {fields}\
             ManifestType: {kind}\n\
             ManifestVersion: {SCHEMA}\n",
            self.version
        )
    }

    fn installer(&self) -> String {
        // `wix` is for packages that WiX wrote. An upgrade keeps the settings, so it is an ordinary
        // installation.
        let mut text = "Platform:\n- Windows.Desktop\n\
                        MinimumOSVersion: 10.0.14393.0\n\
                        InstallerType: msi\n\
                        Scope: machine\n\
                        InstallModes:\n- silent\n- silentWithProgress\n\
                        UpgradeBehavior: install\n\
                        ElevationRequirement: elevationRequired\n\
                        Installers:\n"
            .to_owned();
        for installer in &self.installers {
            text += &format!(
                "- Architecture: {}\n  \
                   InstallerUrl: {HOME}/releases/download/v{}/{}\n  \
                   InstallerSha256: {}\n  \
                   ProductCode: '{}'\n  \
                   AppsAndFeaturesEntries:\n  \
                   - DisplayName: mpr-otel\n    \
                     Publisher: mpr-otel\n    \
                     DisplayVersion: {}\n    \
                     ProductCode: '{}'\n    \
                     UpgradeCode: '{}'\n    \
                     InstallerType: msi\n",
                installer.architecture,
                self.version,
                installer.file,
                installer.sha256.to_uppercase(),
                installer.product_code,
                self.version,
                installer.product_code,
                self.upgrade_code,
            );
        }
        text
    }

    fn locale(&self) -> String {
        format!(
            "PackageLocale: en-US\n\
             Publisher: mpr-otel\n\
             PublisherUrl: {HOME}\n\
             PackageName: mpr-otel\n\
             PackageUrl: {HOME}\n\
             License: MIT OR Apache-2.0\n\
             LicenseUrl: {HOME}/blob/v{0}/LICENSE-MIT\n\
             ShortDescription: Records drive and share mappings, and sends each as an OpenTelemetry span.\n\
             Tags:\n- opentelemetry\n- otlp\n- smb\n- monitoring\n\
             ReleaseNotesUrl: {HOME}/releases/tag/v{0}\n",
            self.version
        )
    }
}

/// The folder into which `cargo xtask msi` writes them.
pub fn folder() -> PathBuf {
    folder::target().join("winget")
}

/// The files of this version that were written.
pub fn files() -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(path(&folder(), VERSION))?;
    Ok(files.map(|file| file.map(|file| file.path())).collect::<std::io::Result<_>>()?)
}

/// The folder of a version, below `root`.
fn path(root: &Path, version: &str) -> PathBuf {
    let (publisher, product) = IDENTIFIER.split_once('.').unwrap_or((IDENTIFIER, IDENTIFIER));
    let path = ["manifests", &publisher[..1], publisher, product, version];
    root.join(path.iter().collect::<PathBuf>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests() -> Manifests {
        let installer = |architecture: &'static str, digit: &str| Installer {
            architecture,
            file: format!("mpr-otel-1.2.3-{architecture}.msi"),
            sha256: digit.repeat(64),
            product_code: format!("{{{}-0000-5000-8000-000000000000}}", digit.repeat(8)),
        };
        Manifests {
            version: "1.2.3".to_owned(),
            upgrade_code: "{944DABC0-C6E4-5099-B266-9DBAA93D0168}".to_owned(),
            installers: vec![installer("x64", "a"), installer("arm64", "b")],
        }
    }

    /// The keys and values, each with its indentation.
    fn fields(text: &str) -> Vec<(usize, &str, &str)> {
        text.lines()
            .filter_map(|line| {
                let bare = line.trim_start_matches([' ', '-']);
                let (key, value) = bare.split_once(':')?;
                Some((line.len() - bare.len(), key, value.trim()))
            })
            .collect()
    }

    #[test]
    fn the_three_files_have_what_the_schema_asks_for() {
        let required: [(&str, &[&str]); 3] = [
            ("version", &["DefaultLocale"]),
            ("installer", &["Installers"]),
            (
                "defaultLocale",
                &["PackageLocale", "Publisher", "PackageName", "License", "ShortDescription"],
            ),
        ];
        for ((_, text), (kind, keys)) in manifests().files().iter().zip(required) {
            let fields: Vec<_> = fields(text).into_iter().filter(|(at, ..)| *at == 0).collect();
            let value = |key: &str| {
                let found = fields.iter().filter(|(_, name, _)| *name == key);
                let found: Vec<_> = found.map(|(.., value)| *value).collect();
                assert_eq!(found.len(), 1, "{key} in {text}");
                found[0]
            };
            assert_eq!(value("PackageIdentifier"), IDENTIFIER);
            assert_eq!(value("PackageVersion"), "1.2.3");
            assert_eq!((value("ManifestType"), value("ManifestVersion")), (kind, SCHEMA));
            for key in keys {
                value(key);
            }
        }
    }

    #[test]
    fn every_installer_says_where_it_is_and_how_windows_lists_it() {
        let text = manifests().installer();
        let fields = fields(&text);
        let values = |key: &str| -> Vec<&str> {
            fields.iter().filter(|(_, name, _)| *name == key).map(|(.., value)| *value).collect()
        };
        assert_eq!(values("Architecture"), ["x64", "arm64"]);
        for url in values("InstallerUrl") {
            assert!(url.contains("/releases/download/v1.2.3/mpr-otel-1.2.3-"), "{url}");
        }
        for hash in values("InstallerSha256") {
            let digits = hash.chars().all(|digit| matches!(digit, '0'..='9' | 'A'..='F'));
            assert!(hash.len() == 64 && digits, "{hash}");
        }
        // Once for the installer, and once for the entry in Windows' list of programs. In quotes,
        // because YAML reads a brace as something else.
        let [x64, arm64] = ["a", "b"]
            .map(|digit| format!("'{{{}-0000-5000-8000-000000000000}}'", digit.repeat(8)));
        assert_eq!(values("ProductCode"), [&x64[..], &x64, &arm64, &arm64]);
        assert_eq!(values("UpgradeCode"), ["'{944DABC0-C6E4-5099-B266-9DBAA93D0168}'"; 2]);
    }
}
