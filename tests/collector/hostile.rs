//! Who reaches a gateway may send it anything. What of that is counted, how many series it makes, and
//! what honest machines' numbers are meanwhile.

use crate::fleet::{Operation, Prometheus, Series, export, ids, resource, send, text};
use crate::{
    CALLS, DURATIONS, Gateway, arrived, counted, increased, operations, pushed, report, until,
};
use mpr_otel_lab::receiver::Receiver;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    Summary, SummaryDataPoint, metric::Data, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeSet;

const HOUR: u64 = 3_600_000_000_000;
const SERVER: &str = "files01.corp.example";
/// The fleet's account, which has no servers.
const FLEET: &str = "mpr_fleet_calls_total";
/// The programs', which has no servers either.
const PROGRAMS: &str = "mpr_program_calls_total";
/// How many series that one has.
const PROGRAM_LIMIT: usize = 1000;

/// A span of the product, with something changed about it.
fn changed(change: impl FnOnce(&mut Span)) -> ExportTraceServiceRequest {
    let mut export = export("desk-17", &[Operation::on(SERVER)]);
    change(&mut export.resource_spans[0].scope_spans[0].spans[0]);
    export
}

/// A span of the product where one attribute has another value.
fn with(key: &str, value: Value) -> ExportTraceServiceRequest {
    changed(|span| {
        span.attributes.retain(|attribute| attribute.key != key);
        span.attributes.push(attribute(key, value));
    })
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

fn string(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

/// A value of no type that the product sends there.
fn list() -> Value {
    Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(string("add")) }] })
}

fn values(prometheus: &Prometheus, metric: &str, label: &str) -> BTreeSet<String> {
    prometheus.query(metric).iter().map(|series| series.label(label).to_owned()).collect()
}

#[test]
fn of_all_spans_that_come_those_of_the_product_are_counted() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let gateway = Gateway::new().to(&prometheus).onward(&backend).start();
    let mut service = export("desk-17", &[Operation::on(SERVER)]);
    service.resource_spans[0].resource = Some(resource("desk-17", "erp"));
    let mut scope = export("desk-17", &[Operation::on(SERVER)]);
    scope.resource_spans[0].scope_spans[0].scope.as_mut().unwrap().name = "erp".to_owned();
    let foreign = [
        service,
        scope,
        changed(|span| span.name = "GET /".to_owned()),
        changed(|span| span.kind = 1),
        with("mpr.operation.name", string("delete")),
        with("mpr.operation.name", list()),
        changed(|span| span.start_time_unix_nano -= HOUR),
        // A forged record: no time at all, and an end in 2262.
        changed(|span| (span.start_time_unix_nano, span.end_time_unix_nano) = (0, 1 << 63)),
        changed(|span| (span.start_time_unix_nano, span.end_time_unix_nano) = (0, u64::MAX)),
        changed(|span| {
            span.end_time_unix_nano = span.start_time_unix_nano - 1;
        }),
    ];
    let mut sent = Vec::new();
    for spans in &foreign {
        assert_eq!(send(&gateway.client, &gateway.endpoint(), spans), 200);
        sent.extend(ids(spans));
    }
    // A span that says of itself that it stands for 2^55 others, which were not sampled.
    let many = changed(|span| span.trace_state = "ot=th:fffffffffffffe".to_owned());
    assert_eq!(send(&gateway.client, &gateway.endpoint(), &many), 200);
    sent.extend(ids(&many));
    // An hour and no more: a prompt that somebody left open.
    let long = changed(|span| span.start_time_unix_nano = span.end_time_unix_nano - HOUR);
    assert_eq!(send(&gateway.client, &gateway.endpoint(), &long), 200);
    sent.extend(ids(&long));
    sent.extend(gateway.take("desk-17", &[Operation::on(SERVER)]));
    arrived(&backend, sent);
    for metric in [CALLS, DURATIONS] {
        increased(&prometheus, metric, 3.0);
        assert_eq!(prometheus.query(metric).len(), 1, "{metric}");
    }
    let [sum] = prometheus.query("mpr_duration_seconds_sum").try_into().unwrap();
    assert!((3600.0..3601.0).contains(&sum.value), "{sum:?}");
}

#[test]
fn a_label_has_a_value_of_the_product_or_is_other() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let long = "a".repeat(254);
    let cases = [
        ("server.address", "server_address"),
        ("mpr.outcome", "mpr_outcome"),
        ("mpr.error.class", "mpr_error_class"),
        ("error.type", "error_type"),
    ];
    let mut count = 0.0;
    for (key, _) in cases {
        let hostile =
            ["[x](http://evil.example)", "a b", "<b>", "a\nb", &long].map(string).into_iter();
        for value in hostile.chain([list(), Value::IntValue(7), Value::BytesValue(vec![0xDE])]) {
            let spans = with(key, value);
            assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
            count += 1.0;
        }
    }
    // What the span has not got, the resource has.
    let mut spans = changed(|span| span.attributes.retain(|one| one.key != "server.address"));
    let resource = spans.resource_spans[0].resource.as_mut().unwrap();
    let keys = cases.iter().map(|(key, _)| *key).chain(["mpr.late"]);
    resource.attributes.extend(keys.map(|key| text(key, "<b>")));
    assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    gateway.take("desk-17", &[Operation::failed(SERVER)]);
    counted(&prometheus, CALLS, count + 2.0);
    counted(&prometheus, DURATIONS, count + 2.0);
    assert_eq!(values(&prometheus, CALLS, "mpr_late"), BTreeSet::from([String::new()]));
    let expected = [
        ["none", "other", SERVER].as_slice(),
        &["failure", "other", "success"],
        &["", "other", "unreachable"],
        &["", "ERROR_BAD_NETPATH", "other"],
    ];
    for ((_, label), expected) in cases.into_iter().zip(expected) {
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        let found = values(&prometheus, CALLS, label);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{label}");
    }
}

#[test]
fn made_up_programs_fill_the_account_of_programs_and_no_other() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    for value in [string("net.exe"), string("<b>"), list(), Value::IntValue(7)] {
        let spans = with("process.executable.name", value);
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    }
    // A program that is not known.
    gateway.take("desk-17", &[Operation::on(SERVER)]);
    for metric in [CALLS, FLEET, PROGRAMS] {
        counted(&prometheus, metric, 5.0);
    }
    let known = values(&prometheus, PROGRAMS, "process_executable_name");
    assert_eq!(known.iter().collect::<Vec<_>>(), ["net.exe", "none", "other"]);
    let mut flood = export("desk-17", &vec![Operation::on(SERVER); PROGRAM_LIMIT + 100]);
    let spans = &mut flood.resource_spans[0].scope_spans[0].spans;
    for (number, span) in spans.iter_mut().enumerate() {
        span.attributes.push(text("process.executable.name", &format!("{number}.exe")));
    }
    assert_eq!(send(&gateway.client, &gateway.endpoint(), &flood), 200);
    for metric in [CALLS, FLEET, PROGRAMS] {
        counted(&prometheus, metric, (PROGRAM_LIMIT + 105) as f64);
    }
    assert_eq!(prometheus.query(PROGRAMS).len(), PROGRAM_LIMIT + 1);
    assert_eq!(prometheus.query(CALLS).len(), 1);
}

#[test]
fn a_fleet_that_names_its_servers_counts_others_together() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new()
        .to(&prometheus)
        .with("MPR_SERVER_NAMES", "^files[0-9]+[.]corp[.]example$")
        .start();
    let names = [SERVER, "files02.corp.example", "evil.corp.example", "files01.corp.example.evil"];
    gateway.take("desk-17", &names.map(Operation::on));
    counted(&prometheus, CALLS, 4.0);
    let servers = values(&prometheus, CALLS, "server_address");
    assert_eq!(servers.iter().collect::<Vec<_>>(), [SERVER, "files02.corp.example", "other"]);
}

#[test]
fn a_fleet_with_a_service_name_of_its_own_is_counted_and_no_other() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).with("MPR_SERVICE_NAME", "drives").start();
    for (service, operations, seen) in [("mpr-otel", 5, 9), ("drives", 3, 7)] {
        let mut spans = export("desk-17", &crate::operations(operations));
        spans.resource_spans[0].resource = Some(resource("desk-17", service));
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
        let mut metrics = report("desk-17", crate::now(), seen, 0);
        let agent = resource("desk-17", &format!("{service}-agent"));
        metrics.resource_metrics[0].resource = Some(agent);
        gateway.take_metrics(&metrics);
    }
    counted(&prometheus, &format!(r#"{CALLS}{{job="mpr-otel"}}"#), 3.0);
    counted(&prometheus, r#"mpr_operation_seen_total{job="mpr-otel-agent"}"#, 7.0);
}

#[test]
fn operations_that_come_late_are_a_series_of_their_own() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    const MINUTE: u64 = HOUR / 60;
    for minutes in [0, 4, 6, 600] {
        let spans = changed(|span| {
            span.start_time_unix_nano -= minutes * MINUTE;
            span.end_time_unix_nano -= minutes * MINUTE;
        });
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    }
    // What the sender says of it is not believed.
    for said in [Value::BoolValue(true), string("no")] {
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &with("mpr.late", said)), 200);
    }
    for metric in [CALLS, DURATIONS, FLEET] {
        counted(&prometheus, metric, 6.0);
        counted(&prometheus, &format!(r#"{metric}{{mpr_late="true"}}"#), 2.0);
        counted(&prometheus, &format!(r#"{metric}{{mpr_late=""}}"#), 4.0);
        assert_eq!(prometheus.query(metric).len(), 2);
    }
}

#[test]
fn connects_that_prompt_or_are_put_off_are_series_of_their_own() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let flags = |words: &[&str]| {
        let values = words.iter().map(|word| AnyValue { value: Some(string(word)) }).collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let sent = [
        flags(&[]),
        flags(&["INTERACTIVE", "REDIRECT"]),
        // Windows ignores it alone.
        flags(&["PROMPT"]),
        flags(&["INTERACTIVE", "PROMPT"]),
        flags(&["DEFERRED", "INTERACTIVE"]),
        // What is no list of words says nothing.
        string("DEFERRED"),
        Value::ArrayValue(ArrayValue {
            values: vec![AnyValue { value: Some(Value::IntValue(7)) }],
        }),
    ];
    for flags in sent {
        let spans = with("mpr.connect.flags", flags);
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    }
    // Nor does the sender say it.
    let spans = with("mpr.connect.mode", string("<b>"));
    assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    for metric in [CALLS, DURATIONS] {
        for (mode, count) in [("plain", 6.0), ("prompt", 1.0), ("deferred", 1.0)] {
            counted(&prometheus, &format!(r#"{metric}{{mpr_connect_mode="{mode}"}}"#), count);
        }
        assert_eq!(prometheus.query(metric).len(), 3);
    }
}

/// A point with these attributes.
fn point(attributes: &[(&str, &str)]) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes.iter().map(|(key, value)| text(key, value)).collect(),
        start_time_unix_nano: crate::now() - 1_000_000,
        time_unix_nano: crate::now(),
        value: Some(number_data_point::Value::AsInt(1)),
        ..Default::default()
    }
}

fn sum(points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum {
        data_points: points,
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    })
}

fn gauge(points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points: points })
}

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), data: Some(data), ..Default::default() }
}

/// A report of a machine with these metrics.
fn of_agent(machine: &str, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let mut report = report(machine, crate::now(), 0, 0);
    report.resource_metrics[0].scope_metrics[0].metrics = metrics;
    report
}

/// The metric that an agent counts operations with.
const SEEN: &str = "mpr.operation.seen";

/// Metrics that an agent does not send: other names, kinds, and values of attributes.
fn unknown_metrics() -> Vec<Metric> {
    let histogram = Data::Histogram(Histogram {
        data_points: vec![HistogramDataPoint {
            time_unix_nano: crate::now(),
            explicit_bounds: vec![0.1, 0.2],
            bucket_counts: vec![1, 2, 3],
            ..Default::default()
        }],
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
    });
    let summary = Data::Summary(Summary {
        data_points: vec![SummaryDataPoint {
            time_unix_nano: crate::now(),
            quantile_values: vec![ValueAtQuantile { quantile: 0.123, value: 1.0 }],
            ..Default::default()
        }],
    });
    let mut delta = sum(vec![point(&[])]);
    if let Data::Sum(delta) = &mut delta {
        delta.aggregation_temporality = AggregationTemporality::Delta.into();
    }
    let mut falling = sum(vec![point(&[])]);
    if let Data::Sum(falling) = &mut falling {
        falling.is_monotonic = false;
    }
    vec![
        metric("mpr.operation.evil", sum(vec![point(&[])])),
        metric("evil", gauge(vec![point(&[])])),
        metric(SEEN, histogram),
        metric(SEEN, summary),
        metric(SEEN, gauge(vec![point(&[])])),
        metric(SEEN, delta),
        metric(SEEN, falling),
        metric("mpr.operation.pending", sum(vec![point(&[])])),
        metric("mpr.operation.lost", sum(vec![point(&[("mpr.loss.reason", "evil")]), point(&[])])),
        metric(
            "mpr.operation.ended",
            sum(vec![
                point(&[("mpr.outcome", "evil")]),
                point(&[("mpr.outcome", "failure"), ("mpr.error.class", "evil")]),
            ]),
        ),
        metric(
            "mpr.agent.info",
            gauge(vec![
                point(&[("service.version", "<b>"), ("os.build_id", "26100.1")]),
                point(&[("service.version", "0.1.0"), ("os.build_id", "<b>")]),
            ]),
        ),
    ]
}

/// Metrics that an agent sends, with something to them that it does not.
fn known_metrics() -> Vec<Metric> {
    let mut unit = metric("mpr.operation.repeated", sum(vec![point(&[])]));
    unit.unit = "evil".to_owned();
    unit.description = "evil".to_owned();
    vec![
        metric(SEEN, sum(vec![point(&[("evil", "evil"), ("mpr.loss.reason", "expired")])])),
        metric("mpr.operation.lost", sum(vec![point(&[("mpr.loss.reason", "expired")])])),
        metric(
            "mpr.operation.ended",
            sum(vec![
                point(&[("mpr.outcome", "success")]),
                point(&[("mpr.outcome", "failure"), ("mpr.error.class", "unreachable")]),
            ]),
        ),
        unit,
        metric("mpr.ledger.removed", sum(vec![point(&[])])),
        metric("mpr.store.size", gauge(vec![point(&[("evil", "evil")])])),
        metric("mpr.owner.deferred", gauge(vec![point(&[])])),
        metric("mpr.agent.last_round", gauge(vec![point(&[])])),
        metric(
            "mpr.agent.info",
            gauge(vec![point(&[
                ("service.version", "0.1.0"),
                ("os.build_id", "26100.2314"),
                ("evil", "evil"),
            ])]),
        ),
    ]
}

/// A report with this attribute of its resource.
fn of_resource(
    machine: &str,
    metrics: Vec<Metric>,
    key: &str,
    value: &str,
) -> ExportMetricsServiceRequest {
    let mut report = of_agent(machine, metrics);
    let resource = report.resource_metrics[0].resource.as_mut().unwrap();
    resource.attributes.retain(|attribute| attribute.key != key);
    resource.attributes.push(text(key, value));
    report
}

/// The agents' series in Prometheus: metric, machine, and the labels that not all have.
fn agent_series(prometheus: &Prometheus) -> BTreeSet<String> {
    let of_series = |series: Series| {
        let labels = series.labels.iter();
        let known = ["__name__", "job", "instance", "host_name"];
        let rest = labels.filter(|(key, _)| !known.contains(&key.as_str()));
        let rest: Vec<String> = rest.map(|(key, value)| format!("{key}={value}")).collect();
        format!("{} {} {}", series.label("__name__"), series.label("host_name"), rest.join(","))
    };
    prometheus.query(&pushed("mpr-otel-agent")).into_iter().map(of_series).collect()
}

#[test]
fn of_an_agents_metrics_known_ones_pass_with_known_values() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let seen = || vec![metric(SEEN, sum(vec![point(&[])]))];
    let nobody = of_resource("desk-18", seen(), "host.name", "no machine");
    let nowhere = of_resource("desk-18", seen(), "service.instance.id", "<b>");
    let mut other = of_agent("desk-19", seen());
    other.resource_metrics[0].resource = Some(resource("desk-19", "erp-agent"));
    // The machine is known, and its site is not.
    let info = point(&[("service.version", "0.1.0"), ("os.build_id", "26100.1")]);
    let info = vec![metric("mpr.agent.info", gauge(vec![info]))];
    let lost = of_resource("desk-20", info, "mpr.site", "<b>");
    let site = of_resource("desk-17", known_metrics(), "mpr.site", "Branch-North");
    for metrics in [of_agent("desk-17", unknown_metrics()), nobody, nowhere, other, lost, site] {
        gateway.take_metrics(&metrics);
    }
    counted(&prometheus, "mpr_operation_seen_total", 1.0);
    let series = agent_series(&prometheus);
    let expected = [
        "mpr_agent_info desk-17 mpr_site=Branch-North,os_build_id=26100.2314,service_version=0.1.0",
        "mpr_agent_info desk-20 os_build_id=26100.1,service_version=0.1.0",
        "mpr_agent_last_round_seconds desk-17 ",
        "mpr_ledger_removed_total desk-17 ",
        "mpr_operation_ended_total desk-17 mpr_error_class=unreachable,mpr_outcome=failure",
        "mpr_operation_ended_total desk-17 mpr_outcome=success",
        "mpr_operation_lost_total desk-17 mpr_loss_reason=expired",
        "mpr_operation_repeated_total desk-17 ",
        "mpr_operation_seen_total desk-17 ",
        "mpr_owner_deferred desk-17 ",
        "mpr_store_size_bytes desk-17 ",
    ];
    assert_eq!(series.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_report_with_two_values_for_one_series_spoils_no_other_machines() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new().to(&prometheus).start();
    let twice = || {
        let mut second = point(&[]);
        second.value = Some(number_data_point::Value::AsInt(1_000));
        second.time_unix_nano = crate::now();
        of_agent("desk-66", vec![metric("mpr.operation.seen", sum(vec![point(&[]), second]))])
    };
    // In one batch: the forged reports surround the honest one.
    let mut batch = twice();
    batch.resource_metrics.extend(report("desk-17", crate::now(), 7, 0).resource_metrics);
    batch.resource_metrics.extend(twice().resource_metrics);
    gateway.take_metrics(&batch);
    gateway.take_metrics(&report("desk-18", crate::now(), 9, 0));
    counted(&prometheus, r#"mpr_operation_seen_total{host_name="desk-17"}"#, 7.0);
    counted(&prometheus, r#"mpr_operation_seen_total{host_name="desk-18"}"#, 9.0);
}

/// As many names of servers as this, as many machines, and as many series as are kept of servers.
const SERVERS: usize = 30_000;
const MACHINES: usize = 10_000;
const LIMIT: usize = 1_000;

/// What somebody sends who wants series without an end: names of servers, each request once in the
/// product's service and once in a service of its own, and reports of machines that do not exist,
/// each point with an attribute of its own.
fn flood(gateway: &Gateway) {
    let servers = (0..SERVERS).map(|number| Operation::on(format!("srv{number}.evil.example")));
    for (number, batch) in servers.collect::<Vec<_>>().chunks(500).enumerate() {
        let mut spans = export("evil", batch);
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
        spans.resource_spans[0].resource = Some(resource("evil", &format!("service-{number}")));
        assert_eq!(send(&gateway.client, &gateway.endpoint(), &spans), 200);
    }
    for batch in 0..MACHINES / 500 {
        let machines = (0..500).map(|number| {
            let lost = [("mpr.loss.reason", "expired"), ("evil", &*format!("{batch}-{number}"))];
            let seen = metric("mpr.operation.seen", sum(vec![point(&lost[1..])]));
            let lost = metric("mpr.operation.lost", sum(vec![point(&lost)]));
            of_agent(&format!("evil-{batch}-{number}"), vec![seen, lost])
        });
        let resource_metrics = machines.flat_map(|report| report.resource_metrics).collect();
        gateway.take_metrics(&ExportMetricsServiceRequest { resource_metrics });
    }
}

#[test]
fn a_flood_of_servers_and_machines_leaves_the_numbers_of_an_honest_machine_right() {
    let prometheus = Prometheus::start();
    let gateway = Gateway::new()
        .to(&prometheus)
        .with("MPR_SERIES_LIMIT", LIMIT)
        .with("MPR_METRICS_FLUSH_INTERVAL", "2s")
        .start();
    let series = |selector: &str| {
        let count = prometheus.query(&format!("count({selector})"));
        count.first().map_or(0.0, |series| series.value)
    };
    gateway.take("desk-17", &operations(5));
    gateway.take_metrics(&report("desk-17", crate::now(), 5, 0));
    increased(&prometheus, CALLS, 5.0);
    counted(&prometheus, "mpr_operation_seen_total", 5.0);
    flood(&gateway);
    // Of a server that is known, but in a series that was not there.
    gateway.take("desk-17", &[Operation::on("files00.corp.example"), Operation::failed(SERVER)]);
    gateway.take_metrics(&report("desk-17", crate::now(), 7, 0));
    for metric in [CALLS, FLEET] {
        counted(&prometheus, metric, (SERVERS + 7) as f64);
    }
    let known = format!(r#"{CALLS}{{server_address="files00.corp.example"}}"#);
    increased(&prometheus, &known, 2.0);
    // Among so many servers it has no place any more. The fleet's account has none of servers.
    let failures = concat!(
        r#"{mpr_operation_name="add", mpr_outcome="failure", "#,
        r#"mpr_error_class="unreachable"}"#
    );
    assert_eq!(series(&format!("{CALLS}{failures}")), 0.0);
    increased(&prometheus, &format!("{FLEET}{failures}"), 1.0);
    assert_eq!(series(FLEET), 2.0);
    let servers = (LIMIT + 1) as f64;
    assert_eq!([series(CALLS), series(DURATIONS)], [servers, servers]);

    // A machine that is made up has the series of a machine, and no more; deploy/identity keeps it
    // out.
    counted(&prometheus, r#"mpr_operation_seen_total{host_name="desk-17"}"#, 7.0);
    until("all machines", || {
        (series("mpr_operation_seen_total") == (MACHINES + 1) as f64).then_some(())
    });
    assert!(series(&pushed("mpr-otel-agent")) <= (2 * MACHINES + 14) as f64);
    assert_eq!(series(r#"{evil!=""}"#), 0.0);
}
