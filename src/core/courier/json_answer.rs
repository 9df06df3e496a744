//! Reads an OTLP answer in JSON, and no other JSON.
//!
//! The shape of that answer is so small that the DLL needs no JSON library.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

/// The partial success in an answer in OTLP/JSON. `None` if the text is anything else.
///
/// OTLP/JSON says that a reader ignores members that it does not know. Here such a member means
/// that the answer is not OTLP, because the page of a guest network may be JSON as well.
pub(super) fn partial_success(body: &[u8]) -> Option<ExportTracePartialSuccess> {
    let mut text = Text(std::str::from_utf8(body).ok()?);
    let mut partial = ExportTracePartialSuccess::default();
    text.object(&mut |name, text| match name {
        "partialSuccess" if text.skip("null") => Some(()),
        "partialSuccess" => text.object(&mut |name, text| {
            match name {
                "rejectedSpans" => partial.rejected_spans = text.integer()?,
                "errorMessage" => partial.error_message = text.string()?,
                _ => return None,
            }
            Some(())
        }),
        _ => None,
    })?;
    text.0.trim_ascii_start().is_empty().then_some(partial)
}

/// The part of a JSON text (RFC 8259) that has not been read yet.
struct Text<'a>(&'a str);

/// Reads the value of the member that has this name.
type Member<'m> = &'m mut dyn FnMut(&str, &mut Text<'_>) -> Option<()>;

impl Text<'_> {
    /// Whether `token` comes next; if so, it is read.
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.0.trim_ascii_start().strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Reads an object. `None` if `member` cannot read one of its members.
    fn object(&mut self, member: Member<'_>) -> Option<()> {
        if !self.skip("{") {
            return None;
        }
        if self.skip("}") {
            return Some(());
        }
        loop {
            let name = self.string()?;
            if !self.skip(":") {
                return None;
            }
            member(&name, self)?;
            if !self.skip(",") {
                return self.skip("}").then_some(());
            }
        }
    }

    /// Reads a 64-bit integer. OTLP/JSON writes it as a string, and some servers write it as a
    /// number.
    fn integer(&mut self) -> Option<i64> {
        if self.0.trim_ascii_start().starts_with('"') {
            return self.string()?.parse().ok();
        }
        let text = self.0.trim_ascii_start();
        let end = text.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        self.0 = rest;
        number.parse().ok()
    }

    fn string(&mut self) -> Option<String> {
        if !self.skip("\"") {
            return None;
        }
        let mut units = Vec::new();
        let mut rest = self.0.chars();
        loop {
            let character = match rest.next()? {
                '"' => break,
                '\\' => match rest.next()? {
                    'u' => {
                        let (digits, _) = rest.as_str().split_at_checked(4)?;
                        units.push(u16::from_str_radix(digits, 16).ok()?);
                        rest.nth(3);
                        continue;
                    }
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    escaped @ ('"' | '\\' | '/') => escaped,
                    _ => return None,
                },
                control if control < ' ' => return None,
                plain => plain,
            };
            units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
        }
        self.0 = rest.as_str();
        Some(String::from_utf16_lossy(&units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_any_order_spaces_and_escapes() {
        let accepted = |text: &str, rejected_spans, error_message: &str| {
            let expected =
                ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() };
            assert_eq!(partial_success(text.as_bytes()), Some(expected), "{text}");
        };
        for all in ["{}", " {\r\n}\n", r#"{"partialSuccess":{}}"#, r#"{"partialSuccess": null}"#] {
            accepted(all, 0, "");
        }
        accepted(
            r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#,
            2,
            "too old",
        );
        accepted(
            r#"{ "partialSuccess" : { "errorMessage" : "x" , "rejectedSpans" : 7 } } "#,
            7,
            "x",
        );
        accepted(r#"{"partialSuccess":{"rejectedSpans":-1}}"#, -1, "");
        accepted(
            r#"{"partialSuccess":{"errorMessage":"\"},{\\ \u00e9\ud83d\ude00\n"}}"#,
            0,
            "\"},{\\ é😀\n",
        );
    }

    #[test]
    fn other_json_and_other_text_is_not_an_answer() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            "{} {}",
            "<html>",
            "{\"partialSuccess\":{}",
            r#"{"partialSuccess":{},}"#,
            r#"{"login":"https://gate.example/"}"#,
            r#"{"partialSuccess":{},"login":true}"#,
            r#"{"partialSuccess":{"rejectedSpans":"many"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":}}"#,
            r#"{"partialSuccess":{"rejectedSpans":1e3}}"#,
            r#"{"partialSuccess":{"errorMessage":"\u12"}}"#,
            r#"{"partialSuccess":{"errorMessage":"\u12é0"}}"#,
            r#"{"partialSuccess":{"errorMessage":"\x"}}"#,
            "{\"partialSuccess\":{\"errorMessage\":\"\n\"}}",
            r#"{"partialSuccess":{"errorMessage":"open}}"#,
        ] {
            assert_eq!(partial_success(text.as_bytes()), None, "{text}");
        }
        assert_eq!(partial_success(b"{\"partialSuccess\":{\"errorMessage\":\"\xFF\"}}"), None);
    }
}
