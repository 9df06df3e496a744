//! The manifests by which winget finds and installs the package: three files of YAML, as the repository
//! microsoft/winget-pkgs takes them (Microsoft: "Create your package manifest").

use crate::{Result, VERSION, folder};
use std::fs;
use std::path::{Path, PathBuf};

/// Publisher and product, as winget names a package.
const IDENTIFIER: &str = "mpr-otel.mpr-otel";
/// The schema's version that winget-pkgs' own tools write.
const SCHEMA: &str = "1.12.0";
/// The project, and where its releases are.
const HOME: &str = "https://github.com/mpr-otel/mpr-otel";

/// A package for one kind of processor.
pub struct Installer {
    /// As winget names it: `x64`, `arm64`.
    pub architecture: &'static str,
    /// The name of its file in the release.
    pub file: String,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
    /// The code of this release.
    pub product_code: String,
}

/// All that one release says.
pub struct Manifests {
    /// Of the release.
    pub version: String,
    /// The code of all releases.
    pub upgrade_code: String,
    /// At least one.
    pub installers: Vec<Installer>,
}

impl Manifests {
    /// Writes them below `to` as winget-pkgs has them. Returns their folder.
    pub fn write(&self, to: &Path) -> Result<PathBuf> {
        let folder = path(to, &self.version);
        // Nothing of an earlier run may stay.
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(&folder)?;
        for (part, text) in self.files() {
            fs::write(folder.join(format!("{IDENTIFIER}{part}.yaml")), text)?;
        }
        Ok(folder)
    }

    /// What comes behind the identifier in a file's name, and the text.
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
        // `wix` is for packages that WiX wrote. The settings are kept, so an upgrade is an installation.
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
             ShortDescription: Measures drive and share mappings, and sends each as an OpenTelemetry span.\n\
             Tags:\n- opentelemetry\n- otlp\n- smb\n- monitoring\n\
             ReleaseNotesUrl: {HOME}/releases/tag/v{0}\n",
            self.version
        )
    }
}

/// Where `cargo xtask msi` writes them.
pub fn folder() -> PathBuf {
    folder::target().join("winget")
}

/// Those of this version, as they were written.
pub fn files() -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(path(&folder(), VERSION))?;
    Ok(files.map(|file| file.map(|file| file.path())).collect::<std::io::Result<_>>()?)
}

/// The folder of a version below `root`.
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

    /// Keys and values, with the indentation of each.
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
        // Once for the installer, once for the entry among Windows' programs. In quotes: a brace begins
        // something else in YAML.
        let [x64, arm64] = ["a", "b"]
            .map(|digit| format!("'{{{}-0000-5000-8000-000000000000}}'", digit.repeat(8)));
        assert_eq!(values("ProductCode"), [&x64[..], &x64, &arm64, &arm64]);
        assert_eq!(values("UpgradeCode"), ["'{944DABC0-C6E4-5099-B266-9DBAA93D0168}'"; 2]);
    }
}
