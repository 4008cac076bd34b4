//! Countersign: Docker Content Trust, rebuilt.

fn main() {}
