//! The trust service's repositories: metadata, change feed and keys.
