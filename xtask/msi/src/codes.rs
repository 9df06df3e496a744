//! The codes by which Windows Installer knows products, packages and components again.

use crate::Architecture;
use sha1::{Digest, Sha1};
use uuid::{Builder, Uuid};

/// Names below it are this project's. Drawn once; with another one, no upgrade finds what is installed.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b1f_09c4_52a7_4d0e_9c1b_d2a8_f0c7_3e15);

/// All releases for all processors: an upgrade finds what it replaces by this.
pub(crate) fn upgrade() -> String {
    text(of("upgrade"))
}

/// One release for one kind of processor. The same version is the same product, so that running its MSI
/// again changes what is installed.
pub(crate) fn product(version: &str, architecture: Architecture) -> String {
    text(of(&format!("product {version} {}", architecture.template())))
}

/// A file of these bytes.
pub(crate) fn package(product: &str, content: &[u8]) -> Uuid {
    version_5(of(product), content)
}

/// What is installed at this path below the product's folder.
pub(crate) fn component(path: &str) -> String {
    text(of(&format!("component {path}")))
}

fn of(name: &str) -> Uuid {
    version_5(NAMESPACE, name.as_bytes())
}

/// RFC 9562, 5.5: the hash of a namespace and a name in it.
fn version_5(namespace: Uuid, name: &[u8]) -> Uuid {
    let hash = Sha1::new().chain_update(namespace.as_bytes()).chain_update(name).finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    Builder::from_sha1_bytes(first).into_uuid()
}

/// As the tables have it (Microsoft: "GUID").
fn text(code: Uuid) -> String {
    code.braced().to_string().to_uppercase()
}
