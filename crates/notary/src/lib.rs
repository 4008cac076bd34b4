//! The trust service's HTTP API, as a client.
