//! Whether a program could load the DLL, as the report shows it.

#![cfg_attr(not(windows), allow(dead_code))] // Elsewhere only tests make one.

use crate::printable::Printable;
use serde::Serialize;

/// The result of a trial to load a DLL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Loading {
    Loaded,
    Refused,
    NotTried,
}

/// Whether a program could load a DLL.
#[derive(Debug, Serialize)]
pub(super) struct Load {
    pub(super) result: Loading,
    /// Windows' error code if loading was refused.
    pub(super) code: Option<u32>,
    /// Why loading was refused or not tried.
    pub(super) detail: Option<Printable>,
}

impl Load {
    pub(super) fn not_tried(why: &str) -> Self {
        Self { result: Loading::NotTried, code: None, detail: Some(why.into()) }
    }
}
