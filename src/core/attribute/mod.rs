//! The attributes of spans and resources: their keys, their types, and their rows in
//! docs/TELEMETRY.md.
//!
//! Only list.rs makes an [`Attribute`], and [`Attributes`] accept nothing else. So an attribute
//! without documentation does not compile.

mod list;

pub use list::{RESOURCE, SPAN, resource, span};

use opentelemetry::{Array, KeyValue, StringValue, Value};
use std::marker::PhantomData;

/// A key, and the type `T` that its values have.
#[derive(Debug)]
pub struct Attribute<T> {
    key: &'static str,
    value: PhantomData<fn(T)>,
}

impl<T: AttributeValue> Attribute<T> {
    /// The key.
    pub fn key(&self) -> &'static str {
        self.key
    }

    #[allow(clippy::disallowed_methods)] // The one place that may.
    fn pair(&self, value: impl Into<T>) -> KeyValue {
        KeyValue::new(self.key, value.into().into_value())
    }
}

/// What a value can be.
pub trait AttributeValue {
    /// The type's name in docs/TELEMETRY.md.
    const NAME: &'static str;

    /// The value for OTLP.
    fn into_value(self) -> Value;
}

/// A text.
pub type Text = StringValue;

impl AttributeValue for Text {
    const NAME: &'static str = "string";
    fn into_value(self) -> Value {
        Value::String(self)
    }
}

impl AttributeValue for i64 {
    const NAME: &'static str = "int";
    fn into_value(self) -> Value {
        Value::I64(self)
    }
}

impl AttributeValue for bool {
    const NAME: &'static str = "boolean";
    fn into_value(self) -> Value {
        Value::Bool(self)
    }
}

impl AttributeValue for Vec<Text> {
    const NAME: &'static str = "string[]";
    fn into_value(self) -> Value {
        Value::Array(Array::String(self))
    }
}

/// The attributes of one span or resource.
#[derive(Debug, Default)]
pub struct Attributes(Vec<KeyValue>);

impl Attributes {
    /// No attributes, and room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Adds an attribute.
    pub fn add<T: AttributeValue>(&mut self, attribute: &Attribute<T>, value: impl Into<T>) {
        self.0.push(attribute.pair(value));
    }

    /// Adds an attribute if there is a value.
    pub fn add_some<T: AttributeValue>(
        &mut self,
        attribute: &Attribute<T>,
        value: Option<impl Into<T>>,
    ) {
        self.0.extend(value.map(|value| attribute.pair(value)));
    }

    /// The attributes in the type that the SDK takes.
    pub fn into_list(self) -> Vec<KeyValue> {
        self.0
    }
}

/// One attribute's row in the page. The texts are Markdown.
#[derive(Debug)]
pub struct Row {
    /// The key.
    pub key: &'static str,
    /// The type of its values.
    pub kind: &'static str,
    /// Where the attribute is present.
    pub presence: Presence,
    /// An example of a value.
    pub example: &'static str,
    /// What the attribute means.
    pub about: &'static str,
}

/// Where an attribute is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// On every span, in every resource.
    Always,
    /// On spans of operations that ended.
    Finished,
    /// On spans of operations that failed.
    Failed,
    /// On spans of operations that failed or did not end.
    FailedOrUnfinished,
    /// On spans of adds.
    Adds,
    /// On spans of cancels.
    Cancels,
    /// If it is known, and the privacy setting lets it leave the machine.
    Known,
    /// Always on Windows, and never on other systems.
    Windows,
    /// On spans that the host itself did not send.
    Recovered,
    /// If the calling thread impersonated.
    Impersonated,
    /// If the machine slept during the operation.
    Slept,
    /// If a name was cut.
    Truncated,
    /// On the first span after a loss.
    AfterLoss,
    /// In the resource of the agent's telemetry about itself.
    Agent,
}

impl Presence {
    /// The text of the page's column.
    pub fn text(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Finished => "operations that ended",
            Self::Failed => "failures",
            Self::FailedOrUnfinished => "failures and unfinished",
            Self::Adds => "adds",
            Self::Cancels => "cancels",
            Self::Known => "if it is known",
            Self::Windows => "Windows",
            Self::Recovered => "operations of dead programs",
            Self::Impersonated => "if the thread impersonated",
            Self::Slept => "if the machine slept",
            Self::Truncated => "if a name was cut",
            Self::AfterLoss => "the first span after a loss",
            Self::Agent => "the agent's own telemetry",
        }
    }
}

/// The table of docs/TELEMETRY.md.
pub fn table(rows: &[Row]) -> String {
    let mut table =
        "| attribute | type | present | example | meaning |\n|---|---|---|---|---|".to_owned();
    for Row { key, kind, presence, example, about } in rows {
        table += &format!("\n| `{key}` | {kind} | {} | `{example}` | {about} |", presence.text());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_on_telemetry_has_the_tables_that_the_code_makes() {
        let page = include_str!("../../../docs/TELEMETRY.md");
        assert!(page.contains(crate::span::SCHEMA_URL));
        for rows in [SPAN, RESOURCE] {
            let table = table(rows);
            assert!(
                page.contains(&format!("\n\n{table}\n")),
                "a table in docs/TELEMETRY.md should be:\n\n{table}"
            );
        }
    }

    #[test]
    fn every_attribute_outside_our_namespace_is_of_the_semantic_conventions() {
        use opentelemetry_semantic_conventions::{attribute, resource};
        let standard = [
            attribute::ERROR_TYPE,
            attribute::NETWORK_PROTOCOL_NAME,
            attribute::PROCESS_EXECUTABLE_NAME,
            attribute::PROCESS_PID,
            attribute::SERVER_ADDRESS,
            attribute::SERVER_PORT,
            attribute::THREAD_ID,
            resource::HOST_ARCH,
            resource::HOST_ID,
            resource::HOST_NAME,
            resource::OS_BUILD_ID,
            resource::OS_TYPE,
            resource::OS_VERSION,
            resource::SERVICE_INSTANCE_ID,
            resource::SERVICE_NAME,
            resource::SERVICE_VERSION,
            resource::TELEMETRY_SDK_LANGUAGE,
            resource::TELEMETRY_SDK_NAME,
            resource::TELEMETRY_SDK_VERSION,
        ];
        for row in SPAN.iter().chain(RESOURCE) {
            let ours = row.key.starts_with("mpr.");
            assert_ne!(ours, standard.contains(&row.key), "{}", row.key);
        }
        assert_eq!(crate::span::SCHEMA_URL, opentelemetry_semantic_conventions::SCHEMA_URL);
    }

    #[test]
    fn the_page_on_personal_data_names_every_attribute() {
        let page = include_str!("../../../docs/PRIVACY.md");
        for row in SPAN.iter().chain(RESOURCE) {
            let name = format!("`{}`", row.key);
            assert!(page.contains(&name), "docs/PRIVACY.md names {name} in no row of its fields");
        }
    }

    #[test]
    fn no_key_is_listed_twice() {
        for rows in [SPAN, RESOURCE] {
            let mut keys: Vec<_> = rows.iter().map(|row| row.key).collect();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
        }
    }
}
