//! The Collector's configurations, run by the real Collector.
