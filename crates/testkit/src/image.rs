//! Small images made without any tool.

use bytes::Bytes;
use serde_json::json;

use crate::digest::oci_digest;
use crate::memory_registry::Manifest;

/// The size of a block of a tar archive, in bytes (POSIX.1-1988).
const TAR_BLOCK: usize = 512;
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";
const LAYER_TYPE: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// An image of one layer with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The configuration's bytes.
    pub config: Bytes,
    /// The layer: a tar archive, not compressed.
    pub layer: Bytes,
}

impl Image {
    /// The image for linux/amd64 whose file `/message` holds this text; the same text gives the same image.
    #[must_use]
    pub fn with_message(text: &str) -> Self {
        let layer = tar_of_one_file("message", text.as_bytes());
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2026-11-22T12:00:00Z",
            "config": {"Cmd": ["/message"], "Labels": {"message": text}},
            "rootfs": {"type": "layers", "diff_ids": [oci_digest(&layer)]},
            "history": [{"created": "2026-11-22T12:00:00Z", "created_by": "countersign-testkit"}],
        });
        Self { config: config.to_string().into(), layer }
    }

    /// The image's manifest (docker's schema 2).
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        let part = |media_type: &str, bytes: &Bytes| json!({"mediaType": media_type, "digest": oci_digest(bytes), "size": bytes.len()});
        let bytes = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": part(CONFIG_TYPE, &self.config), "layers": [part(LAYER_TYPE, &self.layer)],
        });
        Manifest { media_type: MANIFEST_TYPE.to_owned(), bytes: bytes.to_string().into() }
    }

    /// The manifest's digest: what a signature is about.
    #[must_use]
    pub fn digest(&self) -> String {
        oci_digest(&self.manifest().bytes)
    }
}

fn tar_of_one_file(name: &str, content: &[u8]) -> Bytes {
    let mut header = [0_u8; TAR_BLOCK];
    let fields = [
        (0, name.to_owned()),
        (100, "0000644\0".to_owned()),
        (108, "0000000\0".to_owned()),
        (116, "0000000\0".to_owned()),
        (124, format!("{:011o}\0", content.len())),
        (136, "00000000000\0".to_owned()),
        (148, "        ".to_owned()),
        (156, "0".to_owned()),
        (257, "ustar\x0000".to_owned()),
    ];
    for (place, text) in fields {
        put(&mut header, place, &text);
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut header, 148, &format!("{sum:06o}\0 "));
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    let padded = archive.len().next_multiple_of(TAR_BLOCK) + 2 * TAR_BLOCK;
    archive.resize(padded, 0);
    archive.into()
}

fn put(header: &mut [u8; TAR_BLOCK], place: usize, text: &str) {
    for (byte, new) in header.iter_mut().skip(place).zip(text.bytes()) {
        *byte = new;
    }
}
