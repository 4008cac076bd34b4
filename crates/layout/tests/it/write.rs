//! What is written appears whole or not at all.

use std::io::{self, Cursor, Read};
use std::path::Path;

use countersign_image::{ContentError, Descriptor, Digest, HasContent, ImageSink, ImageSource, MediaType, Reference};
use countersign_layout::{LayoutError, LayoutWriter, choose, open};

use crate::support::{blob_bytes, check_whole, manifest_of, put_image, put_index};

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

#[test]
fn folders_and_archives_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for (name, finish) in [
        ("layout", LayoutWriter::finish_folder as fn(LayoutWriter) -> Result<(), LayoutError>),
        ("image.tar", LayoutWriter::finish_oci_archive),
    ] {
        let path = folder.path().join(name);
        let writer = LayoutWriter::create(&path).unwrap();
        let index = put_index(&writer);
        writer.name(&index, Some(&reference("reg.test/acme/app:v1")));
        finish(writer).unwrap();
        let images = open(&path).unwrap();
        let image = choose(images.images(), Some("reg.test/acme/app:v1")).unwrap();
        assert_eq!((image.label.as_deref(), &image.descriptor.digest), (Some("v1"), &index.digest));
        assert_eq!(check_whole(&images, &image.descriptor), 7);
    }
    assert_eq!(names_in(folder.path()), ["image.tar", "layout"]);
}

#[test]
fn a_docker_archive_holds_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let writer = LayoutWriter::create(&path).unwrap();
    let descriptor = put_image(&writer, "hello");
    writer.name(&descriptor, Some(&reference("alpine:3")));
    writer.finish_docker_archive().unwrap();
    let images = open(&path).unwrap();
    let image = choose(images.images(), Some("alpine:3")).unwrap();
    assert_eq!(image.label.as_deref(), Some("alpine:3"));
    check_whole(&images, &image.descriptor);
    let testkit = countersign_testkit::Image::with_message("hello");
    let manifest = manifest_of(&images, &image.descriptor);
    assert_eq!(blob_bytes(&images, &manifest.config), testkit.config);
    assert_eq!(blob_bytes(&images, &manifest.layers[0]), testkit.layer);
}

#[test]
fn an_index_does_not_fit_into_a_docker_archive() {
    let folder = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::create(&folder.path().join("image.tar")).unwrap();
    let index = put_index(&writer);
    writer.name(&index, None);
    assert!(matches!(writer.finish_docker_archive(), Err(LayoutError::NotOneImage)));
    assert_eq!(names_in(folder.path()), Vec::<String>::new());
}

#[test]
fn the_same_images_give_the_same_archive() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str| {
        let path = folder.path().join(name);
        let writer = LayoutWriter::create(&path).unwrap();
        let index = put_index(&writer);
        writer.name(&index, None);
        writer.finish_oci_archive().unwrap();
        std::fs::read(path).unwrap()
    };
    assert_eq!(bytes("a"), bytes("b"));
}

#[test]
fn what_exists_is_never_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("there");
    let (early, late) = (LayoutWriter::create(&path).unwrap(), LayoutWriter::create(&path).unwrap());
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(LayoutWriter::create(&path), Err(LayoutError::Exists(_))));
    assert!(matches!(early.finish_oci_archive(), Err(LayoutError::Exists(_))));
    assert!(matches!(late.finish_folder(), Err(LayoutError::Exists(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    assert_eq!(names_in(folder.path()), ["there"]);
}

#[test]
fn an_unfinished_writer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::create(&folder.path().join("layout")).unwrap();
    put_image(&writer, "x");
    drop(writer);
    assert_eq!(names_in(folder.path()), Vec::<String>::new());
}

#[test]
fn content_that_is_not_what_it_says_is_not_kept() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::create(&folder.path().join("layout")).unwrap();
    let blob = Descriptor::new(MediaType::OCI_LAYER, Digest::of(b"right"), 5);
    for wrong in [b"wrong".as_slice(), b"righ", b"rightt", b""] {
        let error = writer.put_blob(&blob, &mut Cursor::new(wrong)).unwrap_err();
        assert!(matches!(error, ContentError::Digest(_) | ContentError::Size { .. }), "{error:?}");
    }
    assert!(matches!(writer.put_blob(&blob, &mut io::repeat(0)), Err(ContentError::Size { .. })));
    assert!(matches!(writer.put_blob(&blob, &mut Broken), Err(ContentError::Io(_))));
    assert_eq!(writer.has(&blob).unwrap(), HasContent::Absent);
    writer.put_blob(&blob, &mut Cursor::new(b"right")).unwrap();
    assert_eq!(writer.has(&blob).unwrap(), HasContent::Present);
    writer.finish_folder().unwrap();
    assert_eq!(names_in(&folder.path().join("layout")), ["blobs", "index.json", "oci-layout"]);
    assert_eq!(names_in(&folder.path().join("layout/blobs/sha256")).len(), 1);
}

#[test]
fn what_is_missing_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout");
    let writer = LayoutWriter::create(&path).unwrap();
    let image = put_image(&writer, "x");
    writer.name(&image, None);
    writer.finish_folder().unwrap();
    let images = open(&path).unwrap();
    let absent = Descriptor::of(MediaType::OCI_LAYER, b"absent");
    assert!(matches!(images.blob(&absent), Err(ContentError::Missing(_))));
    assert!(matches!(images.document(&absent), Err(ContentError::Missing(_))));
    let longer = Descriptor { size: image.size + 1, ..image };
    assert!(matches!(images.blob(&longer), Err(ContentError::Size { .. })));
}

#[test]
fn the_target_needs_a_folder_to_be_in() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(LayoutWriter::create(&folder.path().join("missing/layout")), Err(LayoutError::Io(_))));
}
