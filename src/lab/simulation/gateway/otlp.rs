//! Attributes of OTLP, by key.

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};

/// An attribute's value as a label has it; `None` if there is none.
pub(super) fn get(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::BoolValue(flag) => Some(flag.to_string()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}
