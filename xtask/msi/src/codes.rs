//! The codes by which Windows Installer knows products, packages and components again.

use crate::Architecture;
use uuid::Uuid;

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
    Uuid::new_v5(&of(product), content)
}

/// What is installed at this path below the product's folder.
pub(crate) fn component(path: &str) -> String {
    text(of(&format!("component {path}")))
}

fn of(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// As the tables have it (Microsoft: "GUID").
fn text(code: Uuid) -> String {
    code.braced().to_string().to_uppercase()
}
