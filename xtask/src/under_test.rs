//! The library, the program and the lab that tests load and start.

use crate::folder;
use std::process::Command;

/// Names the shared library that the tests load, the program and the lab that they start.
pub const LIBRARY: &str = "MPR_OTEL_TEST_LIBRARY";
const PROGRAM: &str = "MPR_OTEL_TEST_PROGRAM";
const LAB: &str = "MPR_OTEL_TEST_LAB";

/// The packages of these, built by one call of Cargo.
pub const PACKAGES: [&str; 6] =
    ["--package", "mpr-otel-dll", "--package", "mpr-otel", "--package", "mpr-otel-lab"];

/// Has tests start and load what was built in this profile.
pub fn under_test<'a>(tests: &'a mut Command, profile: &str) -> &'a mut Command {
    let folder = folder::target().join(profile);
    tests
        .env(LIBRARY, folder.join("libmpr_otel.so"))
        .env(PROGRAM, folder.join("mpr-otel"))
        .env(LAB, folder.join("mpr-otel-lab"))
}
