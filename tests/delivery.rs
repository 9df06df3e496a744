//! What happens to spans if the collector is slow, broken, strict or gone.

use mpr_otel_lab::equipment::Authority;
use mpr_otel_lab::equipment::stage::{
    PATIENCE, Received, Stage, add, lane, received, spawn, start,
};
use mpr_otel_lab::receiver::{Answer, Behaviour, Receiver, Request, Stream};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// What a collector does with a request.
enum Deed {
    Answer(Answer),
    /// Answers with an answer that is made when the request comes.
    AnswerMade(Box<dyn Fn() -> Answer + Send>),
    /// Takes the request and never answers.
    Hang,
    /// Closes the connection in the middle of its answer.
    BreakOff,
    /// Closes the connection without an answer.
    Close,
}

/// A collector that does one deed after another, and accepts everything after the last.
struct Moody(Mutex<VecDeque<Deed>>);

fn moody(deeds: impl IntoIterator<Item = Deed>) -> Moody {
    Moody(Mutex::new(deeds.into_iter().collect()))
}

impl Behaviour for Moody {
    fn answer(&self, _request: &Request, connection: &mut dyn Stream) -> Option<Answer> {
        let deed = self.0.lock().unwrap().pop_front();
        match deed.unwrap_or(Deed::Answer(Answer::ok())) {
            Deed::Answer(answer) => Some(answer),
            Deed::AnswerMade(make) => Some(make()),
            Deed::Close => None,
            Deed::BreakOff => {
                connection
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                    .unwrap();
                None
            }
            Deed::Hang => loop {
                std::thread::park();
            },
        }
    }
}

fn status(status: u16) -> Deed {
    Deed::Answer(Answer::status(status))
}

/// Plays one operation against a collector that first does `deed`. Checks that the span is sent
/// again with the same ids, and counted once.
fn sent_again_after(deed: Deed) -> Stage {
    let stage = Stage::behaving(moody([deed]));
    let mut command = stage.host();
    command.env("MPR_OTEL_TIMEOUT_MS", "300");
    let (host, report) = start(command, &lane(vec![add(r"\\server\share")]));
    assert_eq!(report.breaches, Vec::<String>::new());
    let first = received(stage.request());
    let second = received(stage.request());
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].span, second[0].span);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    assert_eq!((tally.seen, tally.exported, tally.lost_in_all()), (1, 1, 0));
    host.end_quietly();
    stage
}

/// Plays one operation that the collector refuses for good with `deed`. Checks that it is counted
/// as rejected, and that the next span reports it.
fn rejected_by(deed: Deed) {
    let stage = Stage::behaving(moody([deed]));
    let (host, _) = start(stage.host(), &lane(vec![add(r"\\server\refused")]));
    assert_eq!(received(stage.request()).len(), 1);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    assert_eq!((tally.seen, tally.exported, tally.lost_in_all()), (1, 0, 1));
    assert_eq!(tally.lost[3], 1, "{tally:?}");
    stage.wait_for_error("status ");
    host.end_quietly();
}

#[test]
fn a_span_whose_collector_hangs_is_sent_again_after_one_time_out() {
    sent_again_after(Deed::Hang).wait_for_error("timeout");
}

#[test]
fn a_collector_that_breaks_off_its_answer_gets_the_span_again() {
    sent_again_after(Deed::BreakOff);
}

#[test]
fn a_collector_that_closes_without_an_answer_gets_the_span_again() {
    sent_again_after(Deed::Close);
}

#[test]
fn overload_and_gateway_errors_are_sent_again() {
    for code in [429, 502, 503, 504] {
        sent_again_after(status(code));
    }
}

#[test]
fn a_redirect_is_not_followed_but_tried_again_and_reported() {
    let moved = Answer::status(301).header("location", "http://127.0.0.1:1/v1/traces");
    sent_again_after(Deed::Answer(moved))
        .wait_for_error("redirected to http://127.0.0.1:1/v1/traces");
}

#[test]
fn a_span_that_is_refused_is_counted() {
    for code in [400, 413, 415, 422] {
        rejected_by(status(code));
    }
}

#[test]
fn a_collector_that_refuses_connections_gets_the_spans_when_it_is_back() {
    let stage = Stage::new();
    // A port on which no process listens: it was reserved and given back.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = stage.host();
    command.env("MPR_OTEL_ENDPOINT", format!("http://{address}"));
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"), add(r"\\server\share")]));
    stage.wait_for_error("refused");
    assert_eq!(stage.tally().pending(), 2);
    let back = Receiver::serving(TcpListener::bind(address).unwrap(), moody([])).unwrap();
    let mut spans = 0;
    while spans < 2 {
        spans += received(back.requests().recv_timeout(PATIENCE).unwrap()).len();
    }
    stage.tally_when(|tally| tally.exported == 2);
    host.end_quietly();
}

/// The time between two requests if the first is answered with 429 and this Retry-After.
fn asked_to_wait(retry_after: impl Fn() -> String + Send + 'static) -> Duration {
    let busy = move || Answer::status(429).header("retry-after", &retry_after());
    let stage = Stage::behaving(moody([Deed::AnswerMade(Box::new(busy))]));
    let (host, _) = start(stage.host(), &lane(vec![add(r"\\server\share")]));
    stage.request();
    let first = Instant::now();
    stage.request();
    let waited = first.elapsed();
    host.end_quietly();
    waited
}

#[test]
fn a_host_waits_the_seconds_of_retry_after() {
    assert!(asked_to_wait(|| "1".to_owned()) > Duration::from_millis(900));
}

#[test]
fn a_host_waits_until_the_date_of_retry_after() {
    // A date has whole seconds, so this one is between one and two seconds away.
    let date = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    assert!(asked_to_wait(date) > Duration::from_millis(900));
}

/// Plays three operations, of which the collector refuses two in its `answer`.
fn two_rejected_by(answer: Answer) {
    let stage = Stage::behaving(moody([Deed::Answer(answer)]));
    let mut command = stage.host();
    command.env("MPR_OTEL_BATCH_MAX", "3").env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"); 3]));
    stage.spans(3);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    assert_eq!((tally.exported, tally.lost[3]), (1, 2));
    stage.wait_for_error("two are too old");
    host.end_quietly();
}

#[test]
fn partial_success_counts_the_rejected_spans_and_keeps_the_reason() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 2,
            error_message: "two are too old".to_owned(),
        }),
    };
    two_rejected_by(Answer { body: partial.encode_to_vec(), ..Answer::ok() });
}

/// A gateway that answers in JSON although the request was protobuf.
#[test]
fn partial_success_in_json_counts_too() {
    let partial = r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"two are too old"}}"#;
    let answer = Answer { body: partial.into(), ..Answer::ok() };
    two_rejected_by(answer.header("content-type", "application/json"));
}

#[test]
fn batches_are_as_large_as_the_setting_and_no_larger() {
    let stage = Stage::new();
    let mut command = stage.host();
    command.env("MPR_OTEL_BATCH_MAX", "10").env("MPR_OTEL_BATCH_DELAY_MS", "3000");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"); 25]));
    let sizes: Vec<usize> = (0..3).map(|_| received(stage.request()).len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    host.end_quietly();
}

#[test]
fn a_full_batch_does_not_wait_for_the_delay() {
    let stage = Stage::new();
    let mut command = stage.host();
    command.env("MPR_OTEL_BATCH_MAX", "5").env("MPR_OTEL_BATCH_DELAY_MS", "600000");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"); 10]));
    stage.spans(10);
    host.end_quietly();
}

#[test]
fn the_first_span_after_a_loss_reports_how_many_operations_were_lost() {
    let stage = Stage::behaving(moody([status(400)]));
    let mut command = stage.host();
    command.env("MPR_OTEL_BATCH_MAX", "1").env("MPR_OTEL_BATCH_DELAY_MS", "600000");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share"); 3]));
    let lost = |_| received(stage.request())[0].get("mpr.lost");
    let told: Vec<_> = (0..3).map(lost).collect();
    assert_eq!(told, [None, Some("1".to_owned()), None]);
    host.end_quietly();
}

#[test]
fn a_full_table_leaves_the_context_null_and_the_loss_is_reported() {
    let stage = Stage::new();
    let mut command = stage.c("fill");
    command.env("MPR_OTEL_UNFINISHED_AFTER_MS", "500");
    let mut host = spawn(&mut command);
    // The exporter has started to send a span. It may or may not have freed the first operation's
    // slot.
    stage.spans(1);
    let line = host.ask();
    let lost: u64 = line.strip_prefix("without context: ").unwrap().parse().unwrap();
    assert!([1340, 1341].contains(&lost), "{line}");
    let spans = stage.spans(1500 - lost as usize);
    let told: Vec<_> = spans.iter().filter_map(|span| span.get("mpr.lost")).collect();
    assert_eq!(told, [lost.to_string()]);
    let unfinished = |span: &&Received| span.get("mpr.outcome").as_deref() == Some("unfinished");
    assert_eq!(spans.iter().filter(unfinished).count(), 1500 - lost as usize);
    let tally = stage.tally_when(|tally| tally.pending() == 0);
    assert_eq!((tally.seen, tally.exported, tally.lost[0]), (1501, 1501 - lost, lost));
    assert_eq!(host.line(), "played");
    host.end_quietly();
}

/// The headers of a request that come from the settings and the protocol.
fn headers(request: &Request) -> Vec<(&str, &str)> {
    let ours = |name: &str| !matches!(name, "host" | "content-length" | "accept" | "user-agent");
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| ours(name))
        .collect();
    headers.sort_unstable();
    headers
}

#[test]
fn requests_have_the_settings_headers_and_none_of_the_hosts() {
    let stage = Stage::new();
    let mut command = stage.host();
    command
        .env("MPR_OTEL_HEADERS", "authorization=Bearer%20ours,x-tenant=desk")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=theirs,x-leak=1,content-type=text/plain")
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-leak=2,bad name=\r\n,user-agent=them");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    let request = stage.request();
    assert_eq!(request.path, "/v1/traces");
    assert_eq!(request.header("user-agent"), Some(concat!("mpr-otel/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(
        headers(&request),
        [
            ("authorization", "Bearer ours"),
            ("content-encoding", "gzip"),
            ("content-type", "application/x-protobuf"),
            ("x-tenant", "desk"),
        ]
    );
    host.end_quietly();
}

#[test]
fn a_hostile_environment_changes_nothing() {
    let stage = Stage::new();
    let mut command = stage.host();
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "no url at all"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem"),
        ("OTEL_SERVICE_NAME", "theirs"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,team=theirs"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("ALL_PROXY", "socks5://127.0.0.1:1"),
        ("TRACEPARENT", "00-nonsense"),
        ("RUST_LOG", "trace"),
    ] {
        command.env(name, value);
    }
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    let request = stage.request();
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    let spans = received(request);
    assert_eq!(spans[0].resource("service.name").as_deref(), Some("mpr-otel"));
    assert_eq!(spans[0].resource("team"), None);
    assert!(spans[0].span.attributes.len() > 5);
    assert!(spans[0].span.parent_span_id.is_empty());
    host.end_quietly();
}

#[test]
fn opentelemetrys_endpoint_variable_counts_in_a_foreground_program_and_not_in_a_host() {
    let stage = Stage::new();
    let mut command = stage.host();
    // Nobody listens on port 1.
    command.env("MPR_OTEL_ENDPOINT", "http://127.0.0.1:1");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    host.end_quietly();
    let named = |mut command: std::process::Command| {
        let ended = command
            .env_remove("MPR_OTEL_ENDPOINT")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", stage.receiver.endpoint())
            .output()
            .unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    // The settings of hosts: the default, whatever this program's own environment says.
    let mut status = stage.program();
    status.args(["status", "--json"]);
    let (_, shown) = named(status);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["endpoint"]["url"], "http://127.0.0.1:4318/v1/traces");
    let mut drain = stage.program();
    drain.arg("drain");
    assert_eq!(named(drain).0, Some(0));
    assert_eq!(received(stage.request()).len(), 1);
}

#[test]
fn compression_follows_the_setting_and_not_the_hosts_environment() {
    let stage = Stage::new();
    let mut command = stage.host();
    command
        .env("MPR_OTEL_COMPRESSION", "none")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip");
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    let request = stage.request();
    assert_eq!(request.header("content-encoding"), None);
    assert_eq!(request.wire_bytes, request.export.encoded_len());
    host.end_quietly();
}

/// A collector behind TLS, with a certificate of its own authority.
struct Tls {
    config: Arc<rustls::ServerConfig>,
}

impl Behaviour for Tls {
    fn accept(&self, connection: TcpStream) -> io::Result<Box<dyn Stream>> {
        let session =
            rustls::ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        Ok(Box::new(rustls::StreamOwned::new(session, connection)))
    }

    fn answer(&self, _request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
        Some(Answer::ok())
    }
}

/// A TLS collector, and the PEM of the authority that made its certificate.
fn tls() -> (Tls, String) {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("127.0.0.1");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    (Tls { config: Arc::new(config) }, authority.pem)
}

#[test]
fn spans_go_over_tls_to_a_collector_of_a_configured_authority() {
    let (collector, pem) = tls();
    let stage = Stage::behaving(collector);
    let file = stage.folder.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let mut command = stage.host();
    command
        .env("MPR_OTEL_ENDPOINT", format!("https://{}", stage.receiver.address()))
        .env("MPR_OTEL_CA_CERTIFICATE", &file);
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    stage.spans(1);
    host.end_quietly();
}

#[test]
fn a_collector_of_another_authority_gets_nothing() {
    let (collector, _) = tls();
    let (_, stranger) = tls();
    let stage = Stage::behaving(collector);
    let file = stage.folder.path().join("ca.pem");
    std::fs::write(&file, stranger).unwrap();
    let mut command = stage.host();
    command
        .env("MPR_OTEL_ENDPOINT", format!("https://{}", stage.receiver.address()))
        .env("MPR_OTEL_CA_CERTIFICATE", &file);
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    stage.wait_for_error("certificate");
    assert!(stage.receiver.requests().try_recv().is_err());
    host.end_quietly();
}

#[test]
fn a_certificate_file_that_is_missing_is_reported_and_waited_for() {
    let (collector, pem) = tls();
    let stage = Stage::behaving(collector);
    let file = stage.folder.path().join("ca.pem");
    let mut command = stage.host();
    command
        .env("MPR_OTEL_ENDPOINT", format!("https://{}", stage.receiver.address()))
        .env("MPR_OTEL_CA_CERTIFICATE", &file);
    let (host, _) = start(command, &lane(vec![add(r"\\server\share")]));
    stage.wait_for_error("mpr_otel_ca_certificate");
    std::fs::write(&file, pem).unwrap();
    stage.spans(1);
    host.end_quietly();
}
