//! The trust service: HTTP API, validation, renewal, change feed, metrics.
