//! Image references, digests, manifests and media types.
