//! The metrics and labels that the gateways give Prometheus, and no others may be asked for.

use crate::promql::Query;

/// Metric, or its beginning if it ends in `*`, and its labels beside `job`.
const METRICS: &[(&str, &[&str])] = &[
    (
        "mpr_calls_total",
        &[
            "collector_instance_id",
            "server_address",
            "mpr_operation_name",
            "mpr_outcome",
            "mpr_error_class",
            "error_type",
            "mpr_connect_mode",
            "mpr_late",
            "otel_metric_overflow",
        ],
    ),
    (
        "mpr_duration_seconds_*",
        &[
            "collector_instance_id",
            "server_address",
            "mpr_operation_name",
            "mpr_outcome",
            "mpr_error_class",
            "mpr_connect_mode",
            "mpr_late",
            "le",
        ],
    ),
    (
        "mpr_fleet_calls_total",
        &[
            "collector_instance_id",
            "mpr_operation_name",
            "mpr_outcome",
            "mpr_error_class",
            "mpr_connect_mode",
            "mpr_late",
        ],
    ),
    (
        "mpr_program_calls_total",
        &[
            "collector_instance_id",
            "process_executable_name",
            "mpr_operation_name",
            "mpr_outcome",
            "mpr_error_class",
        ],
    ),
    ("mpr_loss_calls_total", &["collector_instance_id"]),
    ("mpr_operation_seen_total", &["instance", "host_name"]),
    ("mpr_operation_exported_total", &["instance", "host_name"]),
    ("mpr_operation_lost_total", &["instance", "host_name", "mpr_loss_reason"]),
    ("mpr_operation_pending", &["instance", "host_name"]),
    ("mpr_operation_ended_total", &["instance", "host_name", "mpr_outcome", "mpr_error_class"]),
    ("mpr_operation_repeated_total", &["instance", "host_name"]),
    ("mpr_ledger_removed_total", &["instance", "host_name"]),
    ("mpr_ledger_quarantined_total", &["instance", "host_name"]),
    ("mpr_store_size_bytes", &["instance", "host_name"]),
    ("mpr_owner_deferred", &["instance", "host_name"]),
    ("mpr_agent_last_round_seconds", &["instance", "host_name"]),
    ("mpr_agent_info", &["instance", "host_name", "service_version", "os_build_id", "mpr_site"]),
    ("otelcol_receiver_*", &["instance", "receiver", "transport"]),
    ("otelcol_exporter_queue_*", &["instance", "exporter", "data_type"]),
    ("otelcol_exporter_*", &["instance", "exporter"]),
    ("otelcol_process_*", &["instance"]),
    ("http_server_request_duration_seconds_count", &["instance", "http_response_status_code"]),
    ("prometheus_rule_*", &["instance", "rule_group"]),
    ("probe_ssl_earliest_cert_expiry", &["instance"]),
    ("ALERTS", &["alertname", "alertstate", "server_address", "severity"]),
];

/// What a query asks for that does not exist. `recorded` are the names of the recording rules.
pub fn unknown(query: &Query, recorded: &[String]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut known: Vec<&str> = vec!["job"];
    for selector in &query.selectors {
        let metric = selector.metric.as_str();
        let labels: Vec<&str> = if let Some((level, _)) = metric.split_once(':') {
            if !recorded.iter().any(|name| name == metric) {
                unknown.push(format!("nobody records {metric}"));
            }
            vec![level]
        } else if let Some((_, labels)) = METRICS.iter().find(|(name, _)| is(metric, name)) {
            labels.to_vec()
        } else {
            unknown.push(format!("there is no metric {metric}"));
            continue;
        };
        for (label, ..) in &selector.matchers {
            if label != "job" && !labels.contains(&label.as_str()) {
                unknown.push(format!("{metric} has no label {label}"));
            }
        }
        known.extend(labels);
    }
    let labels = query.labels.iter().filter(|label| !known.contains(&label.as_str()));
    unknown.extend(labels.map(|label| format!("no metric of the query has the label {label}")));
    unknown
}

fn is(metric: &str, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(beginning) => metric.starts_with(beginning),
        None => metric == name,
    }
}

#[test]
fn names_that_do_not_exist_are_found() {
    let complaints = |text: &str| unknown(&crate::promql::read(text), &["job:mpr_x:sum".into()]);
    let fine = r#"sum by (job, server_address) (mpr_calls_total{error_type="x"}) + job:mpr_x:sum"#;
    assert_eq!(complaints(fine), [""; 0]);
    assert_eq!(complaints("mpr_operations_seen_total").len(), 1);
    assert_eq!(complaints(r#"mpr_calls_total{host_name="x"}"#).len(), 1);
    assert_eq!(complaints("sum by (le) (mpr_calls_total)").len(), 1);
    assert_eq!(complaints("job:mpr_y:sum").len(), 1);
}
