//! What machines cost a gateway that ends their TLS, and the Prometheus behind it. Figures for
//! docs/OPERATE.md, which nothing is compared with:
//!
//!     cargo xtask test --fleet    # builds the servers
//!     MPR_OTEL_TEST_FLEET=$PWD/target/fleet/bin cargo test --release -p mpr-otel-tests \
//!         --test collector sizing -- --ignored --nocapture --test-threads 1

use crate::fleet::{
    Operation, Prometheus, export, plain_client, post, resource, send, text, until,
};
use crate::{Gateway, now, pushed};
use mpr_otel_lab::equipment::stage::{Stage, spawn};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric::Data, number_data_point::Value,
};
use prost::Message;
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// What a logon maps.
const LOGON: usize = 4;
/// Two numbers of machines, for the line through what they cost.
const CONNECTIONS: [usize; 2] = [1_000, 4_000];
/// Two numbers of machines with agents.
const AGENTS: [usize; 2] = [2_000, 10_000];
/// Reports of each agent.
const REPORTS: usize = 3;

/// CPU time of a process, in milliseconds: the run time of all its threads (`schedstat` in proc(5)).
fn cpu(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = tasks.map(|task| {
        let run = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        run.split(' ').next().unwrap().parse::<f64>().unwrap()
    });
    nanoseconds.sum::<f64>() / 1e6
}

/// A field of `status` in proc(5), in MiB.
fn memory(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

/// A gateway with one core, as it ships otherwise, and its process.
fn gateway() -> (Gateway, u32) {
    let gateway = Gateway::new()
        .with("GOMAXPROCS", 1)
        .with("MPR_METRICS_FLUSH_INTERVAL", "15s")
        .with("MPR_TELEMETRY_INTERVAL_MS", 15_000)
        .start();
    let pid = gateway.process.as_ref().unwrap().id();
    // The first of all requests costs more than others.
    logon(&gateway, &gateway.client);
    (gateway, pid)
}

fn logon(gateway: &Gateway, client: &ureq::Agent) {
    let operations = vec![Operation::on("files01.corp.example"); LOGON];
    assert_eq!(send(client, &gateway.endpoint(), &export("desk-17", &operations)), 200);
}

/// Connections that the gateway has, of those in proc(5)'s `net/tcp` that are established.
fn connections(gateway: &Gateway) -> usize {
    let listen = gateway.setup.get("MPR_GATEWAY_LISTEN");
    let port: u16 = listen.rsplit(':').next().unwrap().parse().unwrap();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&local) && row[3] == "01").count()
}

/// The line through two points: what it is at none, and what one more adds.
fn line([(x1, y1), (x2, y2)]: [(usize, f64); 2]) -> (f64, f64) {
    let slope = (y2 - y1) / (x2 - x1) as f64;
    (y1 - slope * x1 as f64, slope)
}

#[test]
#[ignore = "measures"]
fn connections_and_handshakes() {
    let mut opened = Vec::new();
    let mut kept = Vec::new();
    let mut open = Vec::new();
    for machines in CONNECTIONS {
        let (gateway, pid) = gateway();
        let began = cpu(pid);
        for _ in 0..machines {
            // A machine of its own: no connection and no session that it could go on with.
            logon(&gateway, &gateway.certificates.client(Some(&gateway.certificates)));
        }
        let took = cpu(pid) - began;
        println!("{machines} machines connect, send {LOGON} spans, close: {took:.0} ms of CPU");
        opened.push((machines, took));
    }
    for machines in CONNECTIONS {
        let (gateway, pid) = gateway();
        let client = || gateway.certificates.client(Some(&gateway.certificates));
        let clients: Vec<ureq::Agent> = (0..machines).map(|_| client()).collect();
        let alone = memory(pid, "VmRSS:");
        let (mut took, mut turns) = (0.0, Vec::new());
        for turn in ["opening their connections", "over the connections they have"] {
            let (began, start) = (cpu(pid), Instant::now());
            clients.iter().for_each(|client| logon(&gateway, client));
            took = cpu(pid) - began;
            turns.push(start.elapsed());
            println!("{machines} machines send {LOGON} spans, {turn}: {took:.0} ms of CPU");
        }
        // And that of the first request of all.
        assert_eq!(connections(&gateway), machines + 1);
        let resident = memory(pid, "VmRSS:");
        println!(
            "{machines} connections: {resident:.0} MiB resident, {alone:.0} before; {turns:?}"
        );
        kept.push((machines, took));
        open.push((machines, resident));
    }
    let two = |points: Vec<(usize, f64)>| line(points.try_into().unwrap());
    let [(_, opened), (_, kept), (rest, open)] = [two(opened), two(kept), two(open)];
    println!("a machine that connects, sends and closes: {opened:.3} ms of CPU");
    println!("a machine that has a connection and sends: {kept:.3} ms of CPU");
    println!(
        "an open connection: {:.1} KiB; the gateway without any: {rest:.0} MiB",
        open * 1024.0
    );
}

/// What a real agent sends through a gateway: series by metric.
fn agent_series(prometheus: &Prometheus) -> BTreeMap<String, usize> {
    let mut series = BTreeMap::new();
    for one in prometheus.query(&pushed("mpr-otel-agent")) {
        *series.entry(one.label("__name__").to_owned()).or_default() += 1;
    }
    series
}

#[test]
fn a_real_agent_makes_eighteen_series_and_one_for_each_way_operations_ended() {
    let prometheus = Prometheus::start();
    let mut gateway = Gateway::new().to(&prometheus);
    // Who may send is tested elsewhere.
    gateway.setup = gateway.setup.over("receivers::otlp::protocols::http::tls: null");
    let gateway = gateway.start();
    let stage = Stage::new();
    let endpoint = format!("http://{}", gateway.setup.get("MPR_GATEWAY_LISTEN"));
    let agent = |stage: &Stage| {
        let mut agent = stage.agent();
        agent.env("MPR_OTEL_ENDPOINT", &endpoint);
        agent
    };
    let running = spawn(&mut agent(&stage));
    until("the agent's series", || {
        (agent_series(&prometheus).values().sum::<usize>() == 18).then_some(())
    });
    // One success, of a host that ended before it sent it.
    let mut host = stage.c("exit");
    host.env("MPR_OTEL_BATCH_DELAY_MS", "60000");
    assert!(spawn(&mut host).end().0.success());
    until("a success", || {
        let series = agent_series(&prometheus);
        (series.get("mpr_operation_ended_total") == Some(&1)).then_some(())
    });
    assert_eq!(agent_series(&prometheus).values().sum::<usize>(), 19);
    running.interrupt();
}

/// An agent's report at a time: its eighteen series, and four of how operations ended.
fn report(machine: &str, began: u64, at: u64) -> ResourceMetrics {
    let point = |attributes: &[(&str, &str)]| NumberDataPoint {
        attributes: attributes.iter().map(|(key, value)| text(key, value)).collect(),
        start_time_unix_nano: began,
        time_unix_nano: at,
        value: Some(Value::AsInt((at / 1_000_000_000) as i64)),
        ..Default::default()
    };
    let metric = |name: &str, data: Data| Metric {
        name: format!("mpr.{name}"),
        data: Some(data),
        ..Default::default()
    };
    let counter = |name: &str, data_points: Vec<NumberDataPoint>| {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        metric(name, Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }))
    };
    let gauge = |name: &str, attributes: &[(&str, &str)]| {
        metric(name, Data::Gauge(Gauge { data_points: vec![point(attributes)] }))
    };
    let reasons = [
        "table_full",
        "channel_full",
        "ledger_unavailable",
        "rejected",
        "expired",
        "corrupt",
        "power_loss",
        "store_full",
    ];
    let lost = reasons.map(|reason| point(&[("mpr.loss.reason", reason)]));
    let failed = |class| point(&[("mpr.outcome", "failure"), ("mpr.error.class", class)]);
    let ended = ["success", "cancelled"].map(|outcome| point(&[("mpr.outcome", outcome)]));
    let ended = ended.into_iter().chain(["unreachable", "authorization"].map(failed)).collect();
    let versions = [("service.version", "0.1.0"), ("os.build_id", "26100.2314")];
    let metrics = vec![
        counter("operation.seen", vec![point(&[])]),
        counter("operation.exported", vec![point(&[])]),
        counter("operation.lost", lost.into()),
        counter("operation.ended", ended),
        counter("operation.repeated", vec![point(&[])]),
        counter("ledger.removed", vec![point(&[])]),
        counter("ledger.quarantined", vec![point(&[])]),
        gauge("operation.pending", &[]),
        gauge("store.size", &[]),
        gauge("owner.deferred", &[]),
        gauge("agent.last_round", &[]),
        gauge("agent.info", &versions),
    ];
    ResourceMetrics {
        resource: Some(resource(machine, "mpr-otel-agent")),
        scope_metrics: vec![ScopeMetrics { metrics, ..Default::default() }],
        ..Default::default()
    }
}

#[test]
#[ignore = "measures"]
fn memory_of_a_prometheus_that_knows_machines() {
    let mut peaks = Vec::new();
    let mut gateways = Vec::new();
    for machines in AGENTS {
        let prometheus = Prometheus::start();
        let gateway = Gateway::new().to(&prometheus).start();
        let began = now();
        for _ in 0..REPORTS {
            let names: Vec<String> = (0..machines).map(|number| format!("desk-{number}")).collect();
            for names in names.chunks(200) {
                let resource_metrics =
                    names.iter().map(|machine| report(machine, began, now())).collect();
                gateway.take_metrics(&ExportMetricsServiceRequest { resource_metrics });
            }
        }
        let count = |query: &str| prometheus.query(query).first().map_or(0.0, |one| one.value);
        let series = || count(&format!("count({})", pushed("mpr-otel-agent")));
        until("all series", || (series() == (22 * machines) as f64).then_some(()));
        let [of_prometheus, of_gateway] = [prometheus.id(), gateway.process.as_ref().unwrap().id()]
            .map(|id| memory(id, "VmHWM:"));
        println!(
            "{machines} machines with agents, {} series: Prometheus at most {of_prometheus:.0} MiB, the \
             gateway {of_gateway:.0} MiB",
            series()
        );
        peaks.push((machines, of_prometheus));
        gateways.push((machines, of_gateway));
    }
    for (what, points) in [("Prometheus", peaks), ("the gateway", gateways)] {
        let (rest, one) = line(points.try_into().unwrap());
        println!("{what}: {rest:.0} MiB and {:.1} KiB for a machine", one * 1024.0);
    }
}

/// Machines whose rules are evaluated, for the line through what that takes.
const EVALUATED: [usize; 2] = [1_000, 3_000];
/// Names that a machine made up: as many series as a gateway has of counts (MPR_SERIES_LIMIT).
const NAMES: usize = 20_000;
const MINUTE: u64 = 60_000_000_000;

/// Sends an hour of samples, one each minute.
fn hour(prometheus: &Prometheus, of: impl Fn(u64, u64) -> Vec<ResourceMetrics>) {
    let began = now() - 60 * MINUTE;
    let (client, url) = (plain_client(), format!("{}/v1/metrics", prometheus.endpoint()));
    for minute in 0..=60 {
        let resources = of(began, began + minute * MINUTE);
        for resources in resources.chunks(500) {
            let resource_metrics = resources.to_vec();
            let request = ExportMetricsServiceRequest { resource_metrics };
            assert_eq!(post(&client, &url, &request.encode_to_vec(), &[]), 200);
        }
    }
}

/// How long the groups of rules took that were evaluated after now, in seconds.
fn evaluation(prometheus: &Prometheus) -> BTreeMap<String, f64> {
    let groups = || {
        let data = prometheus.ask("rules", &[]);
        let groups = data["groups"].as_array().unwrap().clone();
        groups.into_iter().map(|group| {
            let name = group["name"].as_str().unwrap().to_owned();
            (name, group["lastEvaluation"].to_string(), group["evaluationTime"].as_f64().unwrap())
        })
    };
    let before: Vec<_> = groups().collect();
    // Once a minute, and what was asked for at the beginning may have been under way.
    let after = until("each group is evaluated", || {
        let after: Vec<_> = groups().collect();
        after.iter().zip(&before).all(|(after, before)| after.1 != before.1).then_some(after)
    });
    after.into_iter().map(|(name, _, took)| (name, took)).collect()
}

#[test]
#[ignore = "measures"]
fn evaluation_of_rules() {
    let mut points = BTreeMap::<String, Vec<(usize, f64)>>::new();
    for machines in EVALUATED {
        let prometheus = Prometheus::start();
        hour(&prometheus, |began, at| {
            (0..machines).map(|number| report(&format!("desk-{number}"), began, at)).collect()
        });
        let took = evaluation(&prometheus);
        println!("{machines} machines with agents: {took:?} s");
        for (group, took) in took {
            points.entry(group).or_default().push((machines, took));
        }
    }
    for (group, points) in points {
        let (rest, one) = line(points.try_into().unwrap());
        println!("{group}: {rest:.3} s and {:.3} ms for a machine", one * 1e3);
    }
    let prometheus = Prometheus::start();
    hour(&prometheus, |began, at| {
        let points = (0..NAMES).map(|number| NumberDataPoint {
            attributes: [
                ("server.address", &*format!("name-{number}.corp.example")),
                ("mpr.operation.name", "add"),
                ("mpr.outcome", "failure"),
                ("mpr.error.class", "unreachable"),
                ("mpr.connect.mode", "plain"),
            ]
            .iter()
            .map(|(key, value)| text(key, value))
            .collect(),
            start_time_unix_nano: began,
            time_unix_nano: at,
            value: Some(Value::AsInt(((at - began) / MINUTE) as i64)),
            ..Default::default()
        });
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let data_points = points.collect();
        let calls = Sum { data_points, aggregation_temporality, is_monotonic: true };
        let calls = Metric {
            name: "mpr.calls".to_owned(),
            data: Some(Data::Sum(calls)),
            ..Default::default()
        };
        vec![ResourceMetrics {
            resource: Some(resource("gateway-1", "mpr-otel")),
            scope_metrics: vec![ScopeMetrics { metrics: vec![calls], ..Default::default() }],
            ..Default::default()
        }]
    });
    println!("{NAMES} names of servers that nobody knows: {:?} s", evaluation(&prometheus));
}
