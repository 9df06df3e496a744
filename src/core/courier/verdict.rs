//! What a collector's answer means for the batch it was sent.

use super::client::Reply;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use std::time::Duration;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The collector has it (OTLP: full or partial success).
    Accepted {
        /// Items that it refused for good, never more than the batch has.
        rejected: u64,
        /// What it said, if anything.
        message: String,
    },
    /// The collector refused all of it for good.
    Refused {
        /// Why.
        reason: String,
    },
    /// Send it again.
    Later {
        /// Why.
        reason: String,
        /// Not before this has passed, if the server said so.
        after: Option<Duration>,
        /// Whether the server answered. If it did not, it may have the batch all the same.
        answered: bool,
    },
}

impl Verdict {
    /// What the collector did not take, and why; `None` if it took everything.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Accepted { rejected: 0, .. } => None,
            Self::Accepted { message, .. } => Some(message),
            Self::Refused { reason } | Self::Later { reason, .. } => Some(reason),
        }
    }
}

/// What an answer to a batch of `items` means (OTLP spec: OTLP/HTTP response).
pub(super) fn judge(reply: Reply, items: u64) -> Verdict {
    match reply {
        Reply::Failed(reason) => Verdict::Later { reason, after: None, answered: false },
        Reply::Answer { status: 200..=299, body, .. } => {
            // A 2xx with a body that is not OTLP still counts as accepted.
            let partial = ExportTraceServiceResponse::decode(body)
                .ok()
                .and_then(|response| response.partial_success)
                .unwrap_or_default();
            Verdict::Accepted {
                rejected: u64::try_from(partial.rejected_spans).unwrap_or(0).min(items),
                message: partial.error_message,
            }
        }
        // A redirect took nothing: a gate page of a guest network, or an endpoint to correct.
        Reply::Answer { status: status @ 300..=399, location, .. } => Verdict::Later {
            reason: format!(
                "status {status}: redirected to {}; set the endpoint to where the collector is",
                location.as_deref().unwrap_or("nowhere")
            ),
            after: None,
            answered: true,
        },
        Reply::Answer { status: status @ (429 | 502 | 503 | 504), retry_after, .. } => {
            Verdict::Later {
                reason: format!("status {status}"),
                after: retry_after,
                answered: true,
            }
        }
        Reply::Answer { status, body, .. } => {
            let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            Verdict::Refused { reason: format!("status {status}: {said:?}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    fn answer(status: u16, body: Vec<u8>) -> Verdict {
        judge(Reply::Answer { status, retry_after: None, location: None, body: body.into() }, 5)
    }

    fn accepted(rejected: u64, message: &str) -> Verdict {
        Verdict::Accepted { rejected, message: message.to_owned() }
    }

    #[test]
    fn success_is_success_whatever_its_body() {
        assert_eq!(answer(200, vec![]), accepted(0, ""));
        assert_eq!(answer(202, b"<html>".to_vec()), accepted(0, ""));
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
    fn only_the_statuses_of_the_specification_and_redirects_are_sent_again() {
        for status in [301, 302, 307, 308, 429, 502, 503, 504] {
            let verdict = answer(status, vec![]);
            assert!(matches!(verdict, Verdict::Later { answered: true, .. }), "{status}");
        }
        for status in [400, 401, 403, 404, 413, 415, 500, 501, 505] {
            assert!(matches!(answer(status, vec![]), Verdict::Refused { .. }), "{status}");
        }
        let silence = judge(Reply::Failed(String::new()), 5);
        assert!(matches!(silence, Verdict::Later { answered: false, .. }));
    }

    #[test]
    fn the_wait_a_server_asks_for_is_passed_on() {
        let after = Some(Duration::from_secs(7));
        let reply = Reply::Answer {
            status: 429,
            retry_after: after,
            location: None,
            body: Default::default(),
        };
        let later = Verdict::Later { reason: "status 429".to_owned(), after, answered: true };
        assert_eq!(judge(reply, 5), later);
    }
}
