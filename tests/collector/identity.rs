//! deploy/identity: a machine is who its certificate says, whatever it says of itself.

use crate::events::{self, console, event};
use crate::fleet::{
    Certificates, Operation, Process, Prometheus, export, free_port, post, shipped, until,
};
use crate::{CALLS, Gateway, counted, now, pushed, report};
use mpr_otel_lab::receiver::Receiver;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::process::Command;

const HONEST: &str = "desk-17.corp.example";
const LIAR: &str = "desk-66.corp.example";
/// As the liar's certificate has it: names of machines are told apart without regard to case.
const CERTIFIED: &str = "DESK-66.corp.example";
const SERVER: &str = "files01.corp.example";
/// How many machines the liar makes up.
const MACHINES: usize = 10_000;

/// haproxy as deploy/identity has it, before a gateway.
pub(crate) struct Balancer {
    /// What machines have.
    pub(crate) machines: Certificates,
    pub(crate) endpoint: String,
    pub(crate) process: Process,
}

impl Balancer {
    fn before(gateway: &Gateway) -> Self {
        // Tests look again and again.
        Self::of(gateway, &[("MPR_HOST_REQUESTS", "1000000")])
    }

    /// One with these settings, which has found the gateway.
    pub(crate) fn of(gateway: &Gateway, settings: &[(&str, &str)]) -> Self {
        let balancer = Self::trusting(&gateway.certificates, gateway, settings);
        let url = format!("{}/v1/traces", balancer.endpoint);
        // Each time as another machine, because no machine may ask that often.
        let mut looks = 0;
        until("the gateway behind the balancer", || {
            looks += 1;
            let client = balancer.machines.client_of(&format!("look-{looks}.corp.example"));
            (post(&client, &url, &[], &[]) == 200).then_some(())
        });
        balancer
    }

    /// One that takes servers of this authority for gateways.
    fn trusting(authority: &Certificates, gateway: &Gateway, settings: &[(&str, &str)]) -> Self {
        let machines = Certificates::new();
        let listen = format!("127.0.0.1:{}", free_port());
        let port = |name: &str| gateway.setup.get(name).rsplit(':').next().unwrap().to_owned();
        // The certificate of a client, of the authority that the gateway knows, is the balancer's.
        let mut command = Command::new("haproxy");
        command
            .arg("-f")
            .arg(shipped("deploy/identity/haproxy.cfg"))
            .env("MPR_BALANCER_LISTEN", &listen)
            .env("MPR_BALANCER_PEM", machines.both("server"))
            .env("MPR_HOSTS_CA", machines.file("ca.crt"))
            .env("MPR_GATEWAY", gateway.setup.get("MPR_GATEWAY_LISTEN"))
            .env("MPR_GATEWAY_HEALTH", port("MPR_HEALTH_LISTEN"))
            .env("MPR_GATEWAY_CA", authority.file("ca.crt"))
            .env("MPR_GATEWAY_PEM", gateway.certificates.both("client"))
            .envs(settings.iter().copied());
        let process = Process::start("haproxy", command, gateway.folder.path()).unwrap();
        until("haproxy", || TcpStream::connect(&listen).ok());
        Self { machines, endpoint: format!("https://{listen}"), process }
    }
}

pub(crate) fn identified() -> Gateway {
    Gateway::of(&["collector-config/gateway.yaml", "deploy/identity/identity.yaml"])
}

/// What the spans of each operation's server say about their machine: name and id.
fn machines(backend: &Receiver, servers: usize) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    until("spans of all servers", || {
        for request in backend.requests().try_iter() {
            for group in &request.export.resource_spans {
                let resource = group.resource.as_ref().unwrap().attributes.iter();
                let said = resource.filter(|attribute| {
                    ["host.name", "host.id", "service.instance.id"].contains(&&*attribute.key)
                });
                let said: BTreeSet<String> =
                    said.map(|attribute| text(attribute.value.as_ref().unwrap())).collect();
                for span in group.scope_spans.iter().flat_map(|scope| &scope.spans) {
                    let server =
                        span.attributes.iter().find(|attribute| attribute.key == "server.address");
                    let server = text(server.unwrap().value.as_ref().unwrap());
                    found.entry(server).or_default().extend(said.clone());
                }
            }
        }
        (found.len() == servers).then_some(())
    });
    found
}

fn text(value: &opentelemetry_proto::tonic::common::v1::AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_that_gives_itself_another_name_is_known_by_its_certificate() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let gateway = identified().to(&prometheus).onward(&backend).start();
    let balancer = Balancer::before(&gateway);
    let [honest, liar] = [HONEST, CERTIFIED].map(|machine| balancer.machines.client_of(machine));
    let traces = format!("{}/v1/traces", balancer.endpoint);
    let metrics = format!("{}/v1/metrics", balancer.endpoint);
    let spans = export(HONEST, &[Operation::on(SERVER)]).encode_to_vec();
    assert_eq!(post(&honest, &traces, &spans, &[]), 200);
    // In the honest machine's name, and with the balancer's own header.
    let spans = export(HONEST, &[Operation::on("files66.corp.example")]).encode_to_vec();
    let forged = [("x-mpr-host", HONEST), ("X-MPR-HOST", HONEST)];
    assert_eq!(post(&liar, &traces, &spans, &forged), 200);
    let only = |machine: &str| BTreeSet::from([machine.to_owned()]);
    let expected = BTreeMap::from([
        (SERVER.to_owned(), only(HONEST)),
        ("files66.corp.example".to_owned(), only(LIAR)),
    ]);
    assert_eq!(machines(&backend, 2), expected);
    counted(&prometheus, CALLS, 2.0);

    // Reports of the honest machine, of the liar in its name, and of machines that do not exist.
    let sent = report(HONEST, now(), 7, 0).encode_to_vec();
    assert_eq!(post(&honest, &metrics, &sent, &[]), 200);
    let sent = report(HONEST, now(), 1_000, 5).encode_to_vec();
    assert_eq!(post(&liar, &metrics, &sent, &forged), 200);
    for batch in 0..MACHINES / 500 {
        let machines =
            (0..500).map(|number| report(&format!("evil-{batch}-{number}"), now(), 1, 0));
        let resource_metrics = machines.flat_map(|report| report.resource_metrics).collect();
        let sent = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        assert_eq!(post(&liar, &metrics, &sent, &[]), 200);
    }
    let sent = report(HONEST, now(), 9, 0).encode_to_vec();
    assert_eq!(post(&honest, &metrics, &sent, &[]), 200);
    counted(&prometheus, &format!(r#"mpr_operation_seen_total{{host_name="{HONEST}"}}"#), 9.0);
    let all = prometheus.query(&pushed("mpr-otel-agent"));
    let names: BTreeSet<&str> = all.iter().map(|series| series.label("host_name")).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [HONEST, LIAR]);
    assert!(all.iter().all(|series| series.label("instance") == series.label("host_name")));
    assert_eq!(all.len(), 14, "seven for each");
    let lost = format!(r#"mpr_operation_lost_total{{host_name="{HONEST}"}} > 0"#);
    assert!(prometheus.query(&lost).is_empty());
}

#[test]
fn an_event_is_of_the_computer_that_the_certificate_names() {
    let folder = tempfile::tempdir().unwrap();
    let (setup, endpoint) = console();
    let shown = setup.start(folder.path());
    let gateway = identified().with("MPR_LOGS_ENDPOINT", endpoint).start();
    let balancer = Balancer::before(&gateway);
    let liar = balancer.machines.client_of(LIAR);
    let event = event(HONEST, "the event");
    assert_eq!(events::send(&liar, &balancer.endpoint, &event, &[]), 200);
    let said = until("the event", || {
        let said = shown.said();
        said.contains("the event").then_some(said)
    });
    assert!(said.contains(&format!(r#""computer":"{LIAR}""#)), "{said}");
    assert!(!said.contains(HONEST), "{said}");
}

#[test]
fn nobody_reaches_the_gateway_past_the_balancer() {
    let gateway = identified().start();
    let balancer = Balancer::before(&gateway);
    let spans = export(LIAR, &[Operation::on(SERVER)]).encode_to_vec();
    // The gateway knows balancers only.
    let machine = gateway.certificates.client(Some(&balancer.machines));
    let answer = machine.post(format!("{}/v1/traces", gateway.endpoint())).send(&spans[..]);
    assert!(answer.is_err(), "{answer:?}");
    // The balancer knows machines only.
    for stranger in [None, Some(&gateway.certificates)] {
        let client = balancer.machines.client(stranger);
        let answer = client.post(format!("{}/v1/traces", balancer.endpoint)).send(&spans[..]);
        assert!(answer.is_err(), "{answer:?}");
    }
    // A name that no machine has.
    let client = balancer.machines.client_of("*.corp.example");
    let url = format!("{}/v1/traces", balancer.endpoint);
    assert_eq!(post(&client, &url, &spans, &[]), 403);
}

#[test]
fn the_balancer_tells_nothing_to_a_server_that_is_no_gateway() {
    let gateway = identified().start();
    let balancer =
        Balancer::trusting(&Certificates::new(), &gateway, &[("MPR_HOST_REQUESTS", "1000000")]);
    let honest = balancer.machines.client_of(HONEST);
    let url = format!("{}/v1/traces", balancer.endpoint);
    let spans = export(HONEST, &[Operation::on(SERVER)]).encode_to_vec();
    until("the balancer has tried the server", || {
        assert_eq!(post(&honest, &url, &spans, &[]), 503);
        balancer.process.said().contains("gateways/gw-a ").then_some(())
    });
}

#[test]
fn what_has_no_name_from_the_balancer_is_dropped() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (setup, events) = console();
    let shown = setup.start(folder.path());
    let gateway =
        identified().to(&prometheus).onward(&backend).with("MPR_LOGS_ENDPOINT", events).start();
    gateway.take(LIAR, &[Operation::on("files66.corp.example")]);
    gateway.take_event(LIAR, "an event of nobody", &[]);
    gateway.take_metrics(&report(LIAR, now(), 7, 0));
    // As the balancer sends.
    let spans = export("somebody", &[Operation::on(SERVER)]).encode_to_vec();
    let named = [("x-mpr-host", HONEST)];
    let url = format!("{}/v1/traces", gateway.endpoint());
    assert_eq!(post(&gateway.client, &url, &spans, &named), 200);
    assert_eq!(machines(&backend, 1).into_keys().collect::<Vec<_>>(), [SERVER]);
    let url = format!("{}/v1/metrics", gateway.endpoint());
    let sent = report("somebody", now(), 9, 0).encode_to_vec();
    assert_eq!(post(&gateway.client, &url, &sent, &named), 200);
    counted(&prometheus, "mpr_operation_seen_total", 9.0);
    counted(&prometheus, CALLS, 1.0);
    gateway.take_event("somebody", "the event", &named);
    until("the event", || shown.said().contains("the event").then_some(()));
    assert!(!shown.said().contains("an event of nobody"));
}
