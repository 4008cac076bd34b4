//! Real tools on loopback ports, an in-process registry, fixtures: for tests and the demo.
