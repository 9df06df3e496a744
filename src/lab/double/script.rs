//! What the double plays: who calls, what, on which thread, how long it takes, how it ends.

use mpr_otel_core::operation::{Kind, Outcome};
use serde::{Deserialize, Serialize};

/// A script: some host programs, each with threads that perform operations one after another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    pub hosts: Vec<Host>,
}

/// One host program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    /// File name of the program, such as `explorer.exe`.
    pub executable: String,
    /// What each of its threads does, in order.
    pub threads: Vec<Vec<Step>>,
}

/// One operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What the program asks MPR for.
    pub request: ScriptedCall,
    /// How long the operation itself takes, in milliseconds.
    #[serde(default)]
    pub takes_ms: u64,
    /// The Win32 code it ends with; 0 is success.
    #[serde(default)]
    pub status: u32,
    /// The provider that did it; only a success names one.
    #[serde(default)]
    pub provider: Option<String>,
    /// Whether POST never comes, because another notifyee vetoed the operation or the host died.
    #[serde(default)]
    pub no_post: bool,
}

/// What the program asks MPR for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedCall {
    /// WNetAddConnection and its kin.
    Add(Add),
    /// WNetCancelConnection and its kin.
    Cancel(Cancel),
}

/// An add-connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Add {
    /// `lpRemoteName`.
    pub remote: Option<String>,
    /// `lpLocalName`.
    pub local: Option<String>,
    /// `dwType`.
    pub resource_type: u32,
    /// `dwAddFlags`.
    pub flags: u32,
}

/// A cancel-connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cancel {
    /// `lpName`.
    pub name: Option<String>,
    /// `dwFlags`.
    pub flags: u32,
    /// `fForce`.
    pub force: bool,
}

impl Step {
    /// How the operation ends, as its span must say.
    pub fn outcome(&self) -> Outcome {
        let kind = match self.request {
            ScriptedCall::Add(_) => Kind::Add,
            ScriptedCall::Cancel(_) => Kind::Cancel,
        };
        Outcome::of(kind, (!self.no_post).then_some(self.status))
    }
}

impl ScriptedCall {
    /// The remote name of an add, the name of a cancel.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Add(add) => add.remote.as_deref(),
            Self::Cancel(cancel) => cancel.name.as_deref(),
        }
    }
}

impl Script {
    /// Operations in all.
    pub fn operations(&self) -> usize {
        self.hosts.iter().map(Host::operations).sum()
    }
}

impl Host {
    /// Operations of all threads.
    pub fn operations(&self) -> usize {
        self.threads.iter().map(Vec::len).sum()
    }
}
