//! One name for one server: what the gateway makes of short names and aliases.

use crate::fleet::{Kafka, Operation, Prometheus, until};
use crate::{CALLS, DURATIONS, Gateway, counted};
use mpr_otel_lab::receiver::Receiver;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::{BTreeMap, BTreeSet};

/// Names of servers, and what becomes of them with `ALIASES` and `SUFFIX`.
const NAMES: [(&str, &str); 15] = [
    ("files01", "files01.corp.example"),
    ("files01.corp.example", "files01.corp.example"),
    ("nas-2_a", "nas-2_a.corp.example"),
    ("büro", "büro.corp.example"),
    // Aliases, for a full name, an address and a short name.
    ("old", "files01.corp.example"),
    ("old.corp.example", "files01.corp.example"),
    ("192.0.2.9", "files01.corp.example"),
    ("nas", "files02.corp.example"),
    // The end of an alias is no alias, and its target neither.
    ("ld", "ld.corp.example"),
    // These stay.
    ("192.0.2.1", "192.0.2.1"),
    ("2001:db8::1", "2001:db8::1"),
    ("other.example", "other.example"),
    ("none", "none"),
    ("tsclient", "tsclient"),
    // This can be no host name.
    ("open http:", "other"),
];
const ALIASES: &str =
    "old=files01.corp.example,old.corp.example=files01.corp.example,192.0.2.9=files01,nas=files02";

fn server(span: &Span) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == "server.address")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(server) => Some(server.clone()),
        other => panic!("{other:?}"),
    }
}

/// Waits for the spans of these operations, and returns their servers in this order.
fn stored(gateway: &Gateway, backend: &Receiver, operations: &[Operation]) -> Vec<Option<String>> {
    let sent = gateway.take("desk-17", operations);
    let mut servers = BTreeMap::new();
    until("all spans at the trace backend", || {
        for request in backend.requests().try_iter() {
            for group in &request.export.resource_spans {
                for span in group.scope_spans.iter().flat_map(|scope| &scope.spans) {
                    servers.insert(span.span_id.clone(), server(span));
                }
            }
        }
        sent.iter().all(|id| servers.contains_key(id)).then_some(())
    });
    sent.iter().map(|id| servers[id].clone()).collect()
}

/// The servers that `metric` has series of.
fn counted_servers(prometheus: &Prometheus, metric: &str) -> BTreeSet<String> {
    prometheus
        .query(metric)
        .iter()
        .map(|series| series.label("server_address").to_owned())
        .collect()
}

#[test]
fn short_names_and_aliases_are_one_server_in_metrics_and_traces() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let gateway = Gateway::new()
        .to(&prometheus)
        .onward(&backend)
        .with("MPR_SERVER_SUFFIX", "corp.example")
        .with("MPR_SERVER_ALIASES", ALIASES)
        .start();
    let operations = NAMES.map(|(name, _)| Operation::on(name));
    let folded = NAMES.map(|(_, folded)| Some(folded.to_owned()));
    assert_eq!(stored(&gateway, &backend, &operations), folded);

    let names: BTreeSet<String> = NAMES.iter().map(|(_, folded)| (*folded).to_owned()).collect();
    for metric in [CALLS, DURATIONS] {
        counted(&prometheus, metric, NAMES.len() as f64);
        assert_eq!(counted_servers(&prometheus, metric), names, "{metric}");
    }
    let server = format!(r#"{CALLS}{{server_address="files01.corp.example"}}"#);
    counted(&prometheus, &server, 5.0);
}

/// What is left of a name where no setting says more.
fn unchanged(name: &str) -> String {
    if name == "open http:" { "other" } else { name }.to_owned()
}

#[test]
fn without_settings_every_host_name_stays_and_nothing_is_complained_of() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let gateway = Gateway::new().to(&prometheus).onward(&backend).start();
    let operations = NAMES.map(|(name, _)| Operation::on(name));
    assert_eq!(
        stored(&gateway, &backend, &operations),
        NAMES.map(|(name, _)| Some(unchanged(name)))
    );
    let names: BTreeSet<String> = NAMES.iter().map(|(name, _)| unchanged(name)).collect();
    counted(&prometheus, CALLS, NAMES.len() as f64);
    assert_eq!(counted_servers(&prometheus, CALLS), names);
    let said = gateway.process.as_ref().unwrap().said();
    assert!(!said.contains("OTTL") && !said.contains("transform"), "{said}");
}

#[test]
fn behind_kafka_those_that_count_and_those_that_store_give_the_same_name() {
    let prometheus = Prometheus::start();
    let backend = Receiver::start().unwrap();
    let mut kafka = Kafka::away();
    kafka.start();
    let front = Gateway::of(&["deploy/scaled/front.yaml"]).beside(&kafka).to(&prometheus).start();
    let files = ["collector-config/gateway.yaml", "deploy/scaled/counting.yaml"];
    let _counting = Gateway::of(&files)
        .beside(&kafka)
        .to(&prometheus)
        .onward(&backend)
        .with("MPR_SERVER_SUFFIX", "corp.example")
        .start();
    let servers = stored(&front, &backend, &[Operation::on("files01")]);
    assert_eq!(servers, [Some("files01.corp.example".to_owned())]);
    counted(&prometheus, CALLS, 1.0);
    assert_eq!(counted_servers(&prometheus, CALLS), ["files01.corp.example".to_owned()].into());
}
