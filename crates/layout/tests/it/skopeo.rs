//! What skopeo writes is read here, and what is written here skopeo reads.

use std::path::Path;

use countersign_image::{Descriptor, ImageSource, MediaType, Reference};
use countersign_layout::{LayoutError, LayoutWriter, LocalImages, choose, open};
use countersign_testkit::Finished;

use crate::support::{check_whole, manifest_of, put_image, put_index};

fn skopeo(arguments: &[&str]) -> String {
    Finished::of(std::process::Command::new("skopeo").args(arguments), b"").succeeded().stdout
}

fn layout(folder: &Path) -> (std::path::PathBuf, Descriptor) {
    let path = folder.join("layout");
    let writer = LayoutWriter::create(&path).unwrap();
    let image = put_image(&writer, "hello");
    writer.name(&image, Some(&Reference::parse("reg.test/app:v1").unwrap()));
    writer.finish_folder().unwrap();
    (path, image)
}

#[test]
fn skopeo_reads_our_layouts_and_archives() {
    let folder = tempfile::tempdir().unwrap();
    for (transport, name, finish) in [
        ("oci", "layout", LayoutWriter::finish_folder as fn(LayoutWriter) -> Result<(), LayoutError>),
        ("oci-archive", "image.tar", LayoutWriter::finish_oci_archive),
    ] {
        let path = folder.path().join(name);
        let writer = LayoutWriter::create(&path).unwrap();
        let index = put_index(&writer);
        writer.name(&index, Some(&Reference::parse("reg.test/app:v1").unwrap()));
        finish(writer).unwrap();
        let raw = skopeo(&["inspect", "--raw", &format!("{transport}:{}:v1", path.display())]);
        assert_eq!(Descriptor::of(MediaType::OCI_INDEX, raw.as_bytes()), index);
    }
}

#[test]
fn skopeo_reads_our_docker_archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let writer = LayoutWriter::create(&path).unwrap();
    let image = put_image(&writer, "hello");
    writer.name(&image, Some(&Reference::parse("reg.test/app:v1").unwrap()));
    writer.finish_docker_archive().unwrap();
    let seen = skopeo(&["inspect", "--config", "--raw", &format!("docker-archive:{}:reg.test/app:v1", path.display())]);
    assert_eq!(seen.as_bytes(), &countersign_testkit::Image::with_message("hello").config[..]);
    let copied = folder.path().join("copied");
    skopeo(&["copy", &format!("docker-archive:{}", path.display()), &format!("dir:{}", copied.display())]);
}

#[test]
fn we_read_skopeos_layouts_and_oci_archives() {
    let folder = tempfile::tempdir().unwrap();
    let (source, image) = layout(folder.path());
    for transport in ["oci", "oci-archive"] {
        let path = folder.path().join(transport);
        skopeo(&["copy", &format!("oci:{}:v1", source.display()), &format!("{transport}:{}:v2", path.display())]);
        let images = open(&path).unwrap();
        assert_eq!(matches!(images, LocalImages::OciArchive(_)), transport == "oci-archive");
        let found = choose(images.images(), Some("v2")).unwrap();
        assert_eq!(found.descriptor.media_type, image.media_type);
        assert_eq!(check_whole(&images, &found.descriptor), 3);
    }
}

#[test]
fn we_read_skopeos_docker_archives() {
    let folder = tempfile::tempdir().unwrap();
    let (source, image) = layout(folder.path());
    let path = folder.path().join("docker.tar");
    skopeo(&[
        "copy",
        &format!("oci:{}:v1", source.display()),
        &format!("docker-archive:{}:reg.test/app:v3", path.display()),
    ]);
    let images = open(&path).unwrap();
    let found = choose(images.images(), Some("reg.test/app:v3")).unwrap();
    assert_eq!(check_whole(&images, &found.descriptor), 3);
    let ours = manifest_of(&images, &found.descriptor);
    let original = manifest_of(&open(&source).unwrap(), &image);
    assert_eq!(ours.config.digest, original.config.digest);
    assert_eq!(ours.layers[0].digest, original.layers[0].digest);
    assert_eq!(found.descriptor, choose(open(&path).unwrap().images(), None).unwrap().descriptor, "the same each time");
}

#[test]
fn compressed_archives_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let (source, _) = layout(folder.path());
    let path = folder.path().join("docker.tar");
    skopeo(&["copy", &format!("oci:{}:v1", source.display()), &format!("docker-archive:{}:app:v3", path.display())]);
    let plain = choose(open(&path).unwrap().images(), None).unwrap().descriptor.clone();
    Finished::of(std::process::Command::new("gzip").arg(&path), b"").succeeded();
    let images = open(&folder.path().join("docker.tar.gz")).unwrap();
    assert_eq!(choose(images.images(), None).unwrap().descriptor, plain);
    check_whole(&images, &plain);
}

#[test]
fn an_archive_can_be_read_from_several_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (source, _) = layout(folder.path());
    let path = folder.path().join("oci.tar");
    skopeo(&["copy", &format!("oci:{}:v1", source.display()), &format!("oci-archive:{}:v2", path.display())]);
    let images = open(&path).unwrap();
    let root = &choose(images.images(), None).unwrap().descriptor;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(check_whole(&images, root), 3)));
        }
    });
    assert!(images.document(root).is_ok());
}
