//! What Windows Installer does, in which order.

/// A column of the CustomAction table that says what an action is.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    pub(crate) kind: i32,
    pub(crate) source: &'static str,
    pub(crate) target: &'static str,
}

/// The stream of the action DLL.
pub(crate) const DLL: &str = "ActionDll";
/// The folder of the product. Not public: the service's program is nowhere else.
pub(crate) const FOLDER: &str = "InstallFolder";
/// The first and the last action whose changes Windows Installer makes together, and takes back together.
pub(crate) const INITIALIZE: &str = "InstallInitialize";
pub(crate) const FINALIZE: &str = "InstallFinalize";

// msidefs.h: msidbCustomActionType*.
const IN_BINARY_DLL: i32 = 0x001;
const SETS_PROPERTY: i32 = 0x033;
const CONTINUE: i32 = 0x040;
pub(crate) const ROLLBACK: i32 = 0x100;
pub(crate) const IN_SCRIPT: i32 = 0x400;
const NO_IMPERSONATE: i32 = 0x800;
/// In the transaction, as the system.
const DEFERRED: i32 = IN_BINARY_DLL | IN_SCRIPT | NO_IMPERSONATE;

/// Those that are not Windows Installer's own.
pub(crate) const ACTIONS: [Action; 6] = [
    Action {
        name: "SetInstallLocation",
        kind: SETS_PROPERTY,
        source: "ARPINSTALLLOCATION",
        target: "[InstallFolder]",
    },
    // Reads the properties, and leaves each of the others its command line.
    Action { name: "Prepare", kind: IN_BINARY_DLL, source: DLL, target: "Prepare" },
    // `install` by the program that was there before.
    Action { name: "Restore", kind: DEFERRED | ROLLBACK | CONTINUE, source: DLL, target: "Run" },
    Action { name: "Uninstall", kind: DEFERRED, source: DLL, target: "Run" },
    // `uninstall` by the program that has just come.
    Action { name: "Undo", kind: DEFERRED | ROLLBACK | CONTINUE, source: DLL, target: "Run" },
    Action { name: "Install", kind: DEFERRED, source: DLL, target: "Run" },
];

/// A row of a sequence: an action, when, and its place.
type Step = (&'static str, &'static str, i32);

/// Installs, changes and removes. `Restore` stands before the first change, so that it is undone last: by
/// then the earlier program is back.
pub(crate) const EXECUTE: &[Step] = &[
    ("FindRelatedProducts", "", 25),
    ("AppSearch", "", 50),
    ("LaunchConditions", "", 100),
    ("ValidateProductID", "", 700),
    ("CostInitialize", "", 800),
    ("FileCost", "", 900),
    ("CostFinalize", "", 1000),
    ("SetInstallLocation", "", 1010),
    ("Prepare", "", 1020),
    ("MigrateFeatureStates", "", 1200),
    ("InstallValidate", "", 1400),
    (INITIALIZE, "", 1500),
    ("Restore", "(Installed OR OLDERFOUND OR SERVICEFOUND) AND NOT REMOVE", 1505),
    ("RemoveExistingProducts", "", 1510),
    ("ProcessComponents", "", 1600),
    ("UnpublishFeatures", "", 1800),
    ("StopServices", "VersionNT", 1900),
    ("Uninstall", "REMOVE=\"ALL\" AND NOT UPGRADINGPRODUCTCODE", 2010),
    ("RemoveFiles", "", 3500),
    ("RemoveFolders", "", 3600),
    ("CreateFolders", "", 3700),
    ("InstallFiles", "", 4000),
    ("RegisterUser", "", 6000),
    ("RegisterProduct", "", 6100),
    ("PublishFeatures", "", 6300),
    ("PublishProduct", "", 6400),
    ("Undo", "NOT (Installed OR OLDERFOUND OR SERVICEFOUND) AND NOT REMOVE", 6490),
    ("Install", "NOT REMOVE", 6500),
    (FINALIZE, "", 6600),
];

/// The rest: what a dialog does before that, what `msiexec /a` does, and what advertises.
pub(crate) const SEQUENCES: [(&str, &[Step]); 5] = [
    ("InstallExecuteSequence", EXECUTE),
    (
        "InstallUISequence",
        &[
            ("FindRelatedProducts", "", 25),
            ("AppSearch", "", 50),
            ("LaunchConditions", "", 100),
            ("ValidateProductID", "", 700),
            ("CostInitialize", "", 800),
            ("FileCost", "", 900),
            ("CostFinalize", "", 1000),
            ("MigrateFeatureStates", "", 1200),
            ("ExecuteAction", "", 1300),
        ],
    ),
    (
        "AdminExecuteSequence",
        &[
            ("CostInitialize", "", 800),
            ("FileCost", "", 900),
            ("CostFinalize", "", 1000),
            ("InstallValidate", "", 1400),
            (INITIALIZE, "", 1500),
            ("InstallAdminPackage", "", 3900),
            ("InstallFiles", "", 4000),
            (FINALIZE, "", 6600),
        ],
    ),
    (
        "AdminUISequence",
        &[
            ("CostInitialize", "", 800),
            ("FileCost", "", 900),
            ("CostFinalize", "", 1000),
            ("ExecuteAction", "", 1300),
        ],
    ),
    (
        "AdvtExecuteSequence",
        &[
            ("CostInitialize", "", 800),
            ("CostFinalize", "", 1000),
            ("InstallValidate", "", 1400),
            (INITIALIZE, "", 1500),
            ("PublishFeatures", "", 6300),
            ("PublishProduct", "", 6400),
            (FINALIZE, "", 6600),
        ],
    ),
];
