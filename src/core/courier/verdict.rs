//! What a collector's answer means for the batch that was sent.

use super::cause::Cause;
use super::client::Reply;
use super::json_answer;
use opentelemetry_http::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::time::Duration;

/// What happened to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The collector has the batch (OTLP: full or partial success).
    Accepted {
        /// How many items the collector refused for good; never more than the batch has.
        rejected: u64,
        /// The collector's message; empty if there was none.
        message: String,
    },
    /// The collector refused the whole batch for good: its answer is about the spans.
    Refused {
        /// Why.
        reason: String,
    },
    /// The collector refused a batch of more than one item. Smaller batches will show which items
    /// it refuses. They may be sent at once ([`Courier::at_most`](super::Courier::at_most)).
    Divide {
        /// Why.
        reason: String,
    },
    /// The batch is to be sent again.
    Later {
        /// Why.
        reason: String,
        /// The shortest wait before that, if the server asked for one.
        after: Option<Duration>,
        /// Why the collector does not take the batch now.
        cause: Cause,
    },
}

impl Verdict {
    /// What the collector did not take, and why. `None` if it took everything.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Accepted { rejected: 0, .. } => None,
            Self::Accepted { message, .. } => Some(message),
            Self::Refused { reason } | Self::Divide { reason } | Self::Later { reason, .. } => {
                Some(reason)
            }
        }
    }
}

/// The verdict on an answer to a batch of `items`.
///
/// An answer about the endpoint loses no span: the server may not be the collector, or the token,
/// the path or the backend may be wrong, and somebody will correct that. Only 400, 413, 415 and 422
/// are about the request's content (RFC 9110). OTLP lets a sender repeat a request after fewer
/// statuses, but that rule is for senders that cannot keep a batch.
pub(super) fn judge(reply: Reply, items: u64) -> Verdict {
    match reply {
        Reply::Failed(reason) => Verdict::Later { reason, after: None, cause: Cause::Silence },
        Reply::Withheld(cause, reason) => Verdict::Later { reason, after: None, cause },
        Reply::Answer { status: 200..=299, is_protobuf, body, .. } => {
            let Some(partial) = body.and_then(|body| partial_success(body, is_protobuf)) else {
                return Verdict::Later {
                    reason: "a success that is not an OTLP answer: is this a guest network's gate \
                             page? Set the endpoint to where the collector is"
                        .to_owned(),
                    after: None,
                    cause: Cause::Setup,
                };
            };
            Verdict::Accepted {
                rejected: u64::try_from(partial.rejected_spans).unwrap_or(0).min(items),
                message: partial.error_message,
            }
        }
        // A redirect takes no span: it is a guest network's gate page, or the endpoint is wrong.
        Reply::Answer { status: status @ 300..=399, location, .. } => Verdict::Later {
            reason: format!(
                "status {status}: redirected to {}; set the endpoint to where the collector is",
                location.as_deref().unwrap_or("nowhere")
            ),
            after: None,
            cause: Cause::Setup,
        },
        Reply::Answer { status, body, retry_after, .. } => {
            let said = body.unwrap_or_default();
            let said: String = String::from_utf8_lossy(&said).chars().take(200).collect();
            let reason = if said.is_empty() {
                format!("status {status}")
            } else {
                format!("status {status}: {said:?}")
            };
            match status {
                407 => Verdict::Later {
                    reason: format!(
                        "{reason}: a proxy asks for a logon, and no credentials are sent to one; let it \
                         take requests of this machine without, or set Proxy to one that does"
                    ),
                    after: retry_after,
                    cause: Cause::Setup,
                },
                400 | 413 | 415 | 422 if items > 1 => Verdict::Divide { reason },
                400 | 413 | 415 | 422 => Verdict::Refused { reason },
                408 | 425 | 429 => {
                    Verdict::Later { reason, after: retry_after, cause: Cause::Busy }
                }
                500..=599 => Verdict::Later { reason, after: retry_after, cause: Cause::Failing },
                _ => Verdict::Later { reason, after: retry_after, cause: Cause::Setup },
            }
        }
    }
}

/// What a success says was refused. `None` if the answer is not OTLP.
///
/// An answer has to be encoded as its request was: in protobuf, which is empty if the collector
/// took everything (OTLP specification, OTLP/HTTP response). Some gateways answer in JSON
/// nevertheless. If that counted as a gate page, no span would be lost, but the same spans would be
/// sent again for ever. So OTLP in JSON is read, and no other JSON counts as an answer. Protobuf
/// skips fields that it does not know, so it can decode many texts. If the answer does not say that
/// it is protobuf, it counts only if encoding it again gives the same bytes.
fn partial_success(body: Bytes, is_protobuf: bool) -> Option<ExportTracePartialSuccess> {
    if let Some(partial) = json_answer::partial_success(&body) {
        return Some(partial);
    }
    let response = ExportTraceServiceResponse::decode(body.clone()).ok()?;
    (is_protobuf || response.encode_to_vec() == body)
        .then(|| response.partial_success.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: Vec<u8>) -> Verdict {
        let body = Some(body.into());
        judge(
            Reply::Answer { status, retry_after: None, is_protobuf: false, location: None, body },
            5,
        )
    }

    fn is_later(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Later { cause: Cause::Busy | Cause::Failing | Cause::Setup, .. })
    }

    fn accepted(rejected: u64, message: &str) -> Verdict {
        Verdict::Accepted { rejected, message: message.to_owned() }
    }

    #[test]
    fn a_success_is_one_if_it_is_empty_or_an_answer_of_otlp() {
        for body in ["", "{}", " {\r\n}\n", r#"{ "partialSuccess": {} }"#] {
            assert_eq!(answer(200, body.into()), accepted(0, ""), "{body}");
        }
        for body in ["<html>", "OK", "\u{1}", "welcome to our network", "{\"login\": true}", "[]"] {
            assert!(is_later(&answer(200, body.into())), "{body}");
        }
        let in_json = r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#;
        assert_eq!(answer(200, in_json.into()), accepted(2, "too old"));
        let too_long = Reply::Answer {
            status: 200,
            retry_after: None,
            is_protobuf: true,
            location: None,
            body: None,
        };
        assert!(is_later(&judge(too_long, 5)));
    }

    /// A zero field and a field that this version does not know. Both are skipped, and neither
    /// would be written again.
    #[test]
    fn an_answer_that_says_it_is_protobuf_may_have_unknown_fields() {
        for body in [&[0x0A, 0x02, 0x08, 0x00][..], &[0x50, 0x01]] {
            let reply = |is_protobuf| Reply::Answer {
                status: 200,
                retry_after: None,
                is_protobuf,
                location: None,
                body: Some(Bytes::copy_from_slice(body)),
            };
            assert_eq!(judge(reply(true), 5), accepted(0, ""));
            assert!(is_later(&judge(reply(false), 5)));
        }
    }

    #[test]
    fn partial_success_says_how_many_were_refused_and_why() {
        let body = |rejected_spans| {
            ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    rejected_spans,
                    error_message: "too old".to_owned(),
                }),
            }
            .encode_to_vec()
        };
        assert_eq!(answer(200, body(3)), accepted(3, "too old"));
        assert_eq!(answer(200, body(-1)), accepted(0, "too old"));
    }

    #[test]
    fn a_collector_never_refuses_more_than_it_was_sent() {
        let body = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: i64::MAX,
                ..Default::default()
            }),
        };
        assert_eq!(answer(200, body.encode_to_vec()), accepted(5, ""));
    }

    #[test]
    fn only_an_answer_about_the_spans_loses_a_span_and_only_one_sent_alone() {
        let about_spans = [400, 413, 415, 422];
        for status in 300..600 {
            let (many, one) = (
                answer(status, vec![]),
                Reply::Answer {
                    status,
                    retry_after: None,
                    is_protobuf: false,
                    location: None,
                    body: Some(Bytes::new()),
                },
            );
            let one = judge(one, 1);
            if about_spans.contains(&status) {
                assert!(matches!(many, Verdict::Divide { .. }), "{status}");
                assert!(matches!(one, Verdict::Refused { .. }), "{status}");
            } else {
                assert!(is_later(&many) && is_later(&one), "{status}");
            }
        }
        let silence = judge(Reply::Failed(String::new()), 5);
        assert!(matches!(silence, Verdict::Later { cause: Cause::Silence, .. }));
    }

    #[test]
    fn the_wait_that_a_server_asks_for_is_passed_on() {
        let after = Some(Duration::from_secs(7));
        let reply = Reply::Answer {
            status: 429,
            retry_after: after,
            is_protobuf: false,
            location: None,
            body: Some(Bytes::new()),
        };
        let later = Verdict::Later { reason: "status 429".to_owned(), after, cause: Cause::Busy };
        assert_eq!(judge(reply, 5), later);
    }
}
