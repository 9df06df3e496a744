//! What the agent reports: each event's number, level and text.

use crate::printable::Printable;
use crate::rounded::rounded;
use std::path::PathBuf;
use std::time::Duration;

/// The most characters of a text that another program wrote, such as a reason or a path.
const LONGEST: usize = 1000;

/// An event that an administrator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Event {
    /// The agent has begun its work.
    Started {
        version: &'static str,
        /// The folder that it empties.
        ledgers: PathBuf,
        /// The host name of the collector's URL.
        collector: Option<String>,
    },
    /// The agent was asked to stop and has stopped.
    Stopped,
    /// The agent has ended, or could not start.
    Failed { reason: String },
    /// The agent makes no progress, so its process ends.
    Hangs {
        /// How long it made no progress.
        limit: Duration,
    },
    /// The collector has taken nothing for this long.
    CollectorTakesNothing { lasted: Duration, reason: String },
    /// The collector takes operations again.
    CollectorTakes {
        /// How long it took nothing.
        lasted: Duration,
        /// Operations that wait to be sent. `None` if the store cannot be read.
        pending: Option<u64>,
    },
    /// The store was damaged, and is kept under another name.
    StoreDamaged { aside: PathBuf },
    /// Nothing can be written to the store.
    StoreUnusable { lasted: Duration, reason: String },
    /// The store can be written again.
    StoreUsable {
        /// How long it could not be written.
        lasted: Duration,
    },
    /// Other users can remove ledgers from the folder.
    FolderExposed { folder: PathBuf, owner: String },
    /// A setting in the registry could not be read.
    SettingsUnreadable { reason: String },
    /// The agent could not read the secrets in the registry.
    SecretsUnreadable {
        /// The key, under `HKEY_LOCAL_MACHINE`.
        key: &'static str,
        /// What Windows said, as an HRESULT.
        code: i32,
    },
}

/// The level of an event, in Windows' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Level {
    /// For the record.
    Information,
    /// There will be harm if nobody acts.
    Warning,
    /// Something is lost or does not work.
    Error,
}

impl Event {
    /// The event's number, from 1 to 1000. Searches and alerts use it, so a number keeps its
    /// meaning for ever. A new event gets the next number.
    pub(in crate::agent) fn id(&self) -> u32 {
        match self {
            Self::Started { .. } => 1,
            Self::Stopped => 2,
            Self::Failed { .. } => 3,
            Self::Hangs { .. } => 4,
            Self::CollectorTakesNothing { .. } => 5,
            Self::CollectorTakes { .. } => 6,
            Self::StoreDamaged { .. } => 7,
            Self::StoreUnusable { .. } => 8,
            Self::StoreUsable { .. } => 9,
            Self::FolderExposed { .. } => 10,
            Self::SettingsUnreadable { .. } => 11,
            Self::SecretsUnreadable { .. } => 12,
        }
    }

    pub(in crate::agent) fn level(&self) -> Level {
        match self {
            Self::Started { .. }
            | Self::Stopped
            | Self::CollectorTakes { .. }
            | Self::StoreUsable { .. } => Level::Information,
            Self::CollectorTakesNothing { .. } | Self::FolderExposed { .. } => Level::Warning,
            Self::Failed { .. }
            | Self::Hangs { .. }
            | Self::StoreDamaged { .. }
            | Self::StoreUnusable { .. }
            | Self::SettingsUnreadable { .. }
            | Self::SecretsUnreadable { .. } => Level::Error,
        }
    }

    /// Whether it reports the end of an earlier event.
    pub(super) fn is_an_end(&self) -> bool {
        matches!(self, Self::Stopped | Self::CollectorTakes { .. } | Self::StoreUsable { .. })
    }

    /// What happened and what to do, as one line of whole sentences.
    pub(in crate::agent) fn text(&self) -> String {
        format!("{} {}", self.what(), self.advice())
    }

    /// What happened.
    fn what(&self) -> String {
        match self {
            Self::Started { version, ledgers, collector } => {
                let ledgers = shown(&ledgers.display().to_string());
                let sends = match collector {
                    Some(host) => format!("sends to {}", shown(host)),
                    None => "sends nothing, because no endpoint is set".to_owned(),
                };
                format!(
                    "The agent of mpr-otel {version} has started. It empties {ledgers}, and {sends}."
                )
            }
            Self::Stopped => "The agent was asked to stop, and has stopped.".to_owned(),
            Self::Failed { reason } => format!("The agent has ended: {}.", shown(reason)),
            Self::Hangs { limit } => {
                format!(
                    "The agent has made no progress for {}, so its process ends.",
                    rounded(*limit)
                )
            }
            Self::CollectorTakesNothing { lasted, reason } => {
                format!(
                    "The collector has taken nothing for {}: {}.",
                    rounded(*lasted),
                    shown(reason)
                )
            }
            Self::CollectorTakes { lasted, pending } => {
                let pending = match pending {
                    Some(pending) => format!(" {pending} operations wait to be sent."),
                    None => String::new(),
                };
                format!(
                    "The collector takes operations again, after {}.{pending}",
                    rounded(*lasted)
                )
            }
            Self::StoreDamaged { aside } => {
                let aside = shown(&aside.display().to_string());
                format!(
                    "The agent's store was damaged, and is kept as {aside}. A new one has begun."
                )
            }
            Self::StoreUnusable { lasted, reason } => format!(
                "The agent has not been able to use its store for {}: {}.",
                rounded(*lasted),
                shown(reason)
            ),
            Self::StoreUsable { lasted } => {
                format!("The agent can use its store again, after {}.", rounded(*lasted))
            }
            Self::FolderExposed { folder, owner } => {
                let folder = shown(&folder.display().to_string());
                format!(
                    "Other users can take ledgers out of {folder}, which belongs to {}.",
                    shown(owner)
                )
            }
            Self::SettingsUnreadable { reason } => {
                format!("The agent cannot read all settings: {}.", shown(reason))
            }
            Self::SecretsUnreadable { key, code } => {
                format!(r"The agent cannot read its secrets in HKLM\{key} (error {code:#010x}).")
            }
        }
    }

    /// The consequence, and what to do.
    fn advice(&self) -> &'static str {
        match self {
            Self::Started { .. } => "`mpr-otel status` shows its state.",
            Self::Stopped => {
                "Recorded operations wait in the ledgers until the service mpr-otel-agent is started."
            }
            Self::Failed { .. } => {
                "Windows starts it again. If it fails again, correct the cause that is named here. Recorded \
                 operations wait in the ledgers and in the store."
            }
            Self::Hangs { .. } => {
                "Windows starts it again, and nothing is lost. If it hangs again, find out what \
                 other programs do with the ledger folder, and report it."
            }
            Self::CollectorTakesNothing { .. } => {
                "Operations wait in the store; above StoreMaxMib or StoreMaxAgeHours they are \
                 lost, and counted. Check the collector, and the settings that `mpr-otel status` shows."
            }
            Self::CollectorTakes { .. } => "There is nothing to do.",
            Self::StoreDamaged { .. } => {
                "Operations in it that were not sent are lost and not counted. Check the disk; then delete \
                 the file, or send it with a report."
            }
            Self::StoreUnusable { .. } => {
                "Operations stay in the ledgers, and a program whose ledger is full counts \
                 its losses. Make room on the disk, and let the agent's account write to the folder."
            }
            Self::StoreUsable { .. } => "There is nothing to do.",
            Self::FolderExposed { .. } => {
                "Operations in ledgers that they take are lost without a count. Correct the folder's owner and rights, \
                 which `mpr-otel status` shows."
            }
            Self::SettingsUnreadable { .. } => {
                "Until it can, programs record nothing, and defaults replace the settings that it could not \
                 read. Correct the key's rights; the service then begins anew by itself."
            }
            Self::SecretsUnreadable { .. } => {
                "Until it can, it sends without headers. Run `mpr-otel install` with \
                 `--headers-file`, which makes the key with its rights."
            }
        }
    }
}

/// Another program's text, shown as part of a sentence.
fn shown(text: &str) -> String {
    let text = Printable::from(text.trim().trim_end_matches('.'));
    match text.char_indices().nth(LONGEST) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::testing::{first_forbidden, hostile};
    use mpr_otel_core::settings::RegistryError;
    use proptest::prelude::*;
    use std::iter;

    /// winerror.h
    const E_ACCESSDENIED: i32 = 0x8007_0005_u32.cast_signed();

    /// An example of the event after this one. A new event without an example does not compile.
    fn next(event: Option<&Event>) -> Option<Event> {
        let folder = r"C:\ProgramData\mpr-otel\ledger";
        let key = r"SOFTWARE\mpr-otel";
        Some(match event {
            None => Event::Started {
                version: "1.2.3",
                ledgers: folder.into(),
                collector: Some("collector.corp.example".to_owned()),
            },
            Some(Event::Started { .. }) => Event::Stopped,
            Some(Event::Stopped) => Event::Failed {
                reason: format!(
                    "another agent empties {folder}; `mpr-otel status` shows it. Stop it first, or \
                     leave the work to it"
                ),
            },
            Some(Event::Failed { .. }) => Event::Hangs { limit: Duration::from_secs(60) },
            Some(Event::Hangs { .. }) => Event::CollectorTakesNothing {
                lasted: Duration::from_secs(75),
                reason: "status 401".to_owned(),
            },
            Some(Event::CollectorTakesNothing { .. }) => {
                Event::CollectorTakes { lasted: Duration::from_secs(7200), pending: Some(4711) }
            }
            Some(Event::CollectorTakes { .. }) => {
                Event::StoreDamaged { aside: format!(r"{folder}\agent\store.damaged").into() }
            }
            Some(Event::StoreDamaged { .. }) => Event::StoreUnusable {
                lasted: Duration::from_secs(60),
                reason: format!(
                    r"cannot use the store {folder}\agent\store.redb: There is not enough space on the disk"
                ),
            },
            Some(Event::StoreUnusable { .. }) => {
                Event::StoreUsable { lasted: Duration::from_secs(600) }
            }
            Some(Event::StoreUsable { .. }) => Event::FolderExposed {
                folder: folder.into(),
                owner: "S-1-5-21-1-2-3-1001".to_owned(),
            },
            Some(Event::FolderExposed { .. }) => {
                let error = RegistryError { key, code: E_ACCESSDENIED };
                Event::SettingsUnreadable { reason: error.to_string() }
            }
            Some(Event::SettingsUnreadable { .. }) => {
                Event::SecretsUnreadable { key: r"SOFTWARE\mpr-otel\Agent", code: E_ACCESSDENIED }
            }
            Some(Event::SecretsUnreadable { .. }) => return None,
        })
    }

    /// One of each event.
    fn examples() -> impl Iterator<Item = Event> {
        iter::successors(next(None), |event| next(Some(event)))
    }

    /// Events that have this text wherever another program's text can be.
    fn with(text: &str) -> Vec<Event> {
        let (reason, lasted) = (text.to_owned(), Duration::ZERO);
        vec![
            Event::Started {
                version: "1.2.3",
                ledgers: text.into(),
                collector: Some(reason.clone()),
            },
            Event::Failed { reason: reason.clone() },
            Event::CollectorTakesNothing { lasted, reason: reason.clone() },
            Event::StoreDamaged { aside: text.into() },
            Event::StoreUnusable { lasted, reason: reason.clone() },
            Event::FolderExposed { folder: text.into(), owner: reason.clone() },
            Event::SettingsUnreadable { reason },
        ]
    }

    #[test]
    fn the_page_on_operation_has_the_table_of_the_events() {
        let mut table =
            "| id | level | what happened, for example | what to do |\n|---|---|---|---|\n"
                .to_owned();
        for event in examples() {
            let (id, level) = (event.id(), event.level());
            table += &format!("| {id} | {level:?} | {} | {} |\n", event.what(), event.advice());
        }
        let page = include_str!("../../../../docs/OPERATE.md");
        assert!(
            page.contains(&format!("\n\n{table}\n")),
            "the table in docs/OPERATE.md should be:\n\n{table}"
        );
    }

    #[test]
    fn numbers_are_in_a_row_and_eventcreate_has_a_message_for_each() {
        let numbers: Vec<u32> = examples().map(|event| event.id()).collect();
        let expected: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected);
        assert!(numbers.iter().all(|number| (1..=1000).contains(number)));
    }

    #[test]
    fn each_event_is_whole_sentences_on_one_line() {
        for event in examples() {
            for text in [event.what(), event.advice().to_owned()] {
                assert!(text.ends_with('.') && !text.ends_with(".."), "{text}");
                assert!(!text.contains("  ") && first_forbidden(&text).is_none(), "{text}");
                assert!(!text.contains('\n'), "{text}");
            }
        }
    }

    #[test]
    fn an_event_fits_however_long_another_programs_text_is() {
        for event in with(&"x".repeat(100_000)) {
            let units = event.text().encode_utf16().count();
            assert!((1000..3000).contains(&units), "{units}: {event:?}");
        }
    }

    proptest! {
        #[test]
        fn what_others_wrote_steers_no_reader(text in hostile()) {
            for event in with(&text) {
                let text = event.text();
                prop_assert!(first_forbidden(&text).is_none() && !text.contains('\n'), "{text:?}");
                prop_assert!(text.starts_with(char::is_uppercase), "{text:?}");
            }
        }
    }
}
