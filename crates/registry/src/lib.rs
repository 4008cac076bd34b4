//! HTTP, registry authentication, docker's configuration and the distribution API.
