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
pub(crate) const ACTIONS: [Action; 7] = [
    Action {
        name: "SetInstallLocation",
        kind: SETS_PROPERTY,
        source: "ARPINSTALLLOCATION",
        target: "[InstallFolder]",
    },
    // The same package again puts back what is missing, whatever else it was started for.
    Action { name: "SetReinstall", kind: SETS_PROPERTY, source: "REINSTALL", target: "ALL" },
    // Reads the properties, and leaves each of the others its command line.
    Action { name: "Prepare", kind: IN_BINARY_DLL, source: DLL, target: "Prepare" },
    // `install` by the program that was there before.
    Action {
        name: "Restore",
        kind: DEFERRED | ROLLBACK | CONTINUE,
        source: DLL,
        target: "RunIfThere",
    },
    Action { name: "Uninstall", kind: DEFERRED, source: DLL, target: "RunIfThere" },
    // `uninstall` by the program that has just come.
    Action {
        name: "Undo",
        kind: DEFERRED | ROLLBACK | CONTINUE,
        source: DLL,
        target: "RunIfThere",
    },
    Action { name: "Install", kind: DEFERRED, source: DLL, target: "Run" },
];

/// Places of actions, in every sequence that has them; Windows Installer's own where Microsoft suggests them
/// ("Suggested InstallExecuteSequence").
///
/// RemoveExistingProducts stands inside the transaction, so that an upgrade that fails brings the earlier
/// version back. `Restore` stands before the first change, so that it is undone last: by then the earlier
/// program is there again. `Install` comes last, when nothing after it can fail.
pub(crate) const PLACES: [(&str, i32); 32] = [
    ("FindRelatedProducts", 25),
    ("AppSearch", 50),
    ("LaunchConditions", 100),
    ("SetReinstall", 110),
    ("ValidateProductID", 700),
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("SetInstallLocation", 1010),
    ("Prepare", 1020),
    ("MigrateFeatureStates", 1200),
    ("ExecuteAction", 1300),
    ("InstallValidate", 1400),
    (INITIALIZE, 1500),
    ("Restore", 1505),
    ("RemoveExistingProducts", 1510),
    ("ProcessComponents", 1600),
    ("UnpublishFeatures", 1800),
    ("StopServices", 1900),
    ("Uninstall", 2010),
    ("RemoveFiles", 3500),
    ("RemoveFolders", 3600),
    ("CreateFolders", 3700),
    ("InstallAdminPackage", 3900),
    ("InstallFiles", 4000),
    ("RegisterUser", 6000),
    ("RegisterProduct", 6100),
    ("PublishFeatures", 6300),
    ("PublishProduct", 6400),
    ("Undo", 6490),
    ("Install", 6500),
    (FINALIZE, 6600),
];

/// When an action runs that does not always.
pub(crate) const CONDITIONS: [(&str, &str); 6] = [
    ("SetReinstall", "Installed AND NOT REMOVE AND NOT REINSTALL"),
    ("Restore", "(Installed OR OLDERFOUND OR SERVICEFOUND) AND NOT REMOVE"),
    ("StopServices", "VersionNT"),
    ("Uninstall", "REMOVE=\"ALL\" AND NOT UPGRADINGPRODUCTCODE"),
    ("Undo", "NOT (Installed OR OLDERFOUND OR SERVICEFOUND) AND NOT REMOVE"),
    ("Install", "NOT REMOVE"),
];

/// What installs, changes and removes has all of [`PLACES`] but these.
const ELSEWHERE: [&str; 2] = ["ExecuteAction", "InstallAdminPackage"];

/// The other sequences: what comes before if there is a dialog, what `msiexec /a` does, what advertises.
const OTHERS: [(&str, &str); 4] = [
    (
        "InstallUISequence",
        "FindRelatedProducts AppSearch LaunchConditions ValidateProductID CostInitialize FileCost \
         CostFinalize MigrateFeatureStates ExecuteAction",
    ),
    (
        "AdminExecuteSequence",
        "CostInitialize FileCost CostFinalize InstallValidate InstallInitialize InstallAdminPackage \
         InstallFiles InstallFinalize",
    ),
    ("AdminUISequence", "CostInitialize FileCost CostFinalize ExecuteAction"),
    (
        "AdvtExecuteSequence",
        "CostInitialize CostFinalize InstallValidate InstallInitialize PublishFeatures \
         PublishProduct InstallFinalize",
    ),
];

/// Every sequence, with its actions and their places.
pub(crate) fn sequences() -> impl Iterator<Item = (&'static str, Vec<(&'static str, i32)>)> {
    let of =
        |has: &dyn Fn(&str) -> bool| PLACES.into_iter().filter(|(name, _)| has(name)).collect();
    let main = ("InstallExecuteSequence", of(&|name| !ELSEWHERE.contains(&name)));
    let others = OTHERS.into_iter().map(move |(table, actions)| {
        (table, of(&|name| actions.split(' ').any(|action| action == name)))
    });
    std::iter::once(main).chain(others)
}
