//! What a gateway says of itself: that it runs, that its queues are empty, and what it dropped.

use super::{Tracks, series};

/// The queues: exporter, what is in it, and how many bytes it takes.
const QUEUES: [(&str, &str, f64); 4] = [
    ("otlp_http/prometheus", "metrics", 1_073_741_824.0),
    ("otlp_http/prometheus_agents", "metrics", 1_073_741_824.0),
    ("otlp_http/traces", "traces", 4_294_967_296.0),
    ("otlp_http/logs", "logs", 1_073_741_824.0),
];
/// Log records that come in a minute.
const LOGS: u32 = 40;

/// A gateway's own numbers.
#[derive(Debug)]
pub(super) struct Telemetry {
    gateway: &'static str,
    /// The minute in which it started.
    started: u32,
    logs_dropped: u32,
}

impl Telemetry {
    pub(super) fn new(gateway: &'static str, started: u32) -> Self {
        Self { gateway, started, logs_dropped: 0 }
    }

    /// The samples of a minute.
    pub(super) fn sample(&mut self, minute: u32, drops_logs: bool, tracks: &mut Tracks) {
        let of_gateway = [("instance", self.gateway), ("job", "otelcol-mpr")];
        let mut put = |name: &str, labels: &[(&str, &str)], value: f64| {
            let number = tracks.number(series(name, &[&of_gateway, labels].concat()));
            tracks.put(number, minute, value);
        };
        let uptime = f64::from(minute - self.started) * 60.0;
        put("otelcol_process_uptime_seconds_total", &[], uptime);
        for (exporter, data_type, capacity) in QUEUES {
            let labels = [("data_type", data_type), ("exporter", exporter)];
            put("otelcol_exporter_queue_size", &labels, 0.0);
            put("otelcol_exporter_queue_capacity", &labels, capacity);
        }
        self.logs_dropped += if drops_logs { LOGS } else { 0 };
        // A counter appears with its first count.
        if self.logs_dropped > 0 {
            let labels = [("data_type", "logs"), ("exporter", "otlp_http/logs")];
            let name = "otelcol_exporter_send_failed_log_records_total";
            put(name, &labels, self.logs_dropped.into());
        }
    }
}
