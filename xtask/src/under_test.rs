//! The library, the program and the lab that tests load and start.

use crate::folder;
use std::process::Command;

/// Variables that name the library that the tests load, and the program and the lab that they
/// start.
pub const LIBRARY: &str = "MPR_OTEL_TEST_LIBRARY";
const PROGRAM: &str = "MPR_OTEL_TEST_PROGRAM";
const LAB: &str = "MPR_OTEL_TEST_LAB";

/// The packages that contain these. One call of Cargo builds them all.
pub const PACKAGES: [&str; 6] =
    ["--package", "mpr-otel-dll", "--package", "mpr-otel", "--package", "mpr-otel-lab"];

/// Makes tests use the files that were built in this profile.
pub fn under_test<'a>(tests: &'a mut Command, profile: &str) -> &'a mut Command {
    let folder = folder::target().join(profile);
    tests
        .env(LIBRARY, folder.join("libmpr_otel.so"))
        .env(PROGRAM, folder.join("mpr-otel"))
        .env(LAB, folder.join("mpr-otel-lab"))
}
