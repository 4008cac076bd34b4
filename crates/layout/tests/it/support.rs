//! Images and archives for the tests.

use std::io::{Cursor, Read};
use std::path::Path;

use countersign_image::{
    Descriptor, Digest, Document, ImageIndex, ImageManifest, ImageSink, ImageSource, ImageTree, MediaType, Platform,
};
use countersign_layout::LayoutWriter;
use countersign_testkit::Image;

/// An image with one uncompressed layer whose configuration fits.
pub(crate) fn put_image(writer: &LayoutWriter, text: &str) -> Descriptor {
    let image = Image::with_message(text);
    let put = |kind: MediaType, bytes: &[u8]| {
        let descriptor = Descriptor::of(kind, bytes);
        writer.put_blob(&descriptor, &mut Cursor::new(bytes)).unwrap();
        descriptor
    };
    let manifest = ImageManifest::new(
        MediaType::OCI_MANIFEST,
        put(MediaType::OCI_CONFIG, &image.config),
        vec![put(MediaType::OCI_LAYER, &image.layer)],
    );
    put_document(writer, MediaType::OCI_MANIFEST, &manifest.to_bytes().unwrap())
}

pub(crate) fn put_document(writer: &LayoutWriter, kind: MediaType, bytes: &[u8]) -> Descriptor {
    let descriptor = Descriptor::of(kind, bytes);
    writer.put_document(&descriptor, bytes).unwrap();
    descriptor
}

pub(crate) fn put_index(writer: &LayoutWriter) -> Descriptor {
    let on =
        |platform, text| Descriptor { platform: Some(Platform::parse(platform).unwrap()), ..put_image(writer, text) };
    let index = ImageIndex::new(MediaType::OCI_INDEX, vec![on("linux/amd64", "one"), on("linux/arm64", "two")]);
    put_document(writer, MediaType::OCI_INDEX, &index.to_bytes().unwrap())
}

/// Reads everything below a document and checks each digest; returns how many pieces there are.
pub(crate) fn check_whole(source: &dyn ImageSource, root: &Descriptor) -> usize {
    let mut tree = ImageTree::new(root.clone());
    while let Some(wanted) = tree.wanted().cloned() {
        let bytes = source.document(&wanted).unwrap();
        tree.feed(wanted.digest.open(&bytes, Some(&wanted.media_type)).unwrap()).unwrap();
    }
    for blob in tree.blobs() {
        let bytes = blob_bytes(source, blob);
        blob.digest.verify(&bytes).unwrap();
        assert_eq!(bytes.len() as u64, blob.size);
    }
    tree.documents().len() + tree.blobs().len()
}

pub(crate) fn blob_bytes(source: &dyn ImageSource, blob: &Descriptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.blob(blob).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

pub(crate) fn manifest_of(source: &dyn ImageSource, descriptor: &Descriptor) -> ImageManifest {
    match Document::parse(&source.document(descriptor).unwrap(), None).unwrap() {
        Document::Manifest(manifest) => *manifest,
        Document::Index(_) => panic!("an index"),
    }
}

/// One entry of a tar archive made by hand.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: u8,
    pub(crate) link: &'a str,
    pub(crate) content: &'a [u8],
    /// The size to write in the header, if it is not the content's.
    pub(crate) size: Option<u64>,
}

pub(crate) fn file<'a>(name: &'a str, content: &'a [u8]) -> Entry<'a> {
    Entry { name, kind: b'0', link: "", content, size: None }
}

pub(crate) fn link<'a>(name: &'a str, target: &'a str) -> Entry<'a> {
    Entry { name, kind: b'2', link: target, content: b"", size: None }
}

/// Writes a tar archive without any of the checks that tar libraries make.
pub(crate) fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        let mut header = [0_u8; 512];
        let mut put = |place: usize, text: &[u8]| header[place..place + text.len()].copy_from_slice(text);
        put(0, &entry.name.as_bytes()[..entry.name.len().min(100)]);
        put(100, b"0000644\0");
        put(124, format!("{:011o}\0", entry.size.unwrap_or(entry.content.len() as u64)).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[entry.kind]);
        put(157, entry.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(entry.content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The parts of a docker archive in the old form: configuration, layer, list.
pub(crate) fn docker_parts(names: &[&str]) -> (Image, String, Vec<u8>) {
    let image = Image::with_message("docker");
    let config = format!("{}.json", Digest::of(&image.config).hex());
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let list = format!(r#"[{{"Config":"{config}","RepoTags":[{}],"Layers":["a/layer.tar"]}}]"#, names.join(","));
    (image, config, list.into_bytes())
}
