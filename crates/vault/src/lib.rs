//! The trust directory: keys, cache, change lists and locks.
