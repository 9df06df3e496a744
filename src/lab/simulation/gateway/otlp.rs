//! Attributes of OTLP, by key.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

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

/// The texts of an attribute that is a list; none if it is not there.
pub(super) fn list(attributes: &[KeyValue], key: &str) -> Vec<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    let Some(Value::ArrayValue(list)) = value else { return Vec::new() };
    let text = |value: &AnyValue| match value.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    };
    list.values.iter().filter_map(text).collect()
}
