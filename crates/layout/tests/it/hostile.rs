//! Archives and folders that are damaged or made to mislead.

use std::io::Write;
use std::path::Path;

use countersign_image::{ContentError, Descriptor, ImageSource, MediaType};
use countersign_layout::{LayoutError, LayoutWriter, LocalImages, choose, open};

use crate::support::{Entry, check_whole, docker_parts, file, link, put_image, tar, write};

fn refused(entries: &[Entry<'_>]) -> LayoutError {
    let folder = tempfile::tempdir().unwrap();
    open(&write(folder.path(), "x.tar", &tar(entries))).unwrap_err()
}

fn docker(folder: &Path, entries: &[Entry<'_>]) -> Result<LocalImages, LayoutError> {
    open(&write(folder, "x.tar", &tar(entries)))
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for name in ["../evil", "/etc/passwd", "a/../../b", "a//b", "a\\b", "x\n"] {
        assert!(matches!(refused(&[file(name, b"x")]), LayoutError::Archive { .. }), "{name:?}");
    }
    for entry in [link("x", "/etc/passwd"), link("x", "../../etc/passwd"), link("a/x", "../../y")] {
        assert!(matches!(refused(&[entry]), LayoutError::Archive { .. }));
    }
}

#[test]
fn what_is_no_file_is_refused() {
    for kind in [b'1', b'3', b'4', b'6', b'S', b'Z'] {
        let entry = Entry { name: "x", kind, link: "y", content: b"", size: None };
        assert!(matches!(refused(&[entry]), LayoutError::Archive { .. }), "{}", char::from(kind));
    }
}

#[test]
fn names_that_are_there_twice_are_refused() {
    for entries in
        [[file("x", b"1"), file("x", b"2")], [file("x", b"1"), file("./x", b"2")], [file("x", b"1"), link("x", "y")]]
    {
        let error = refused(&entries);
        assert!(error.to_string().contains("twice"), "{error}");
    }
}

#[test]
fn sizes_that_lie_are_refused() {
    for size in [10_000, u64::from(u32::MAX), 0o77_777_777_777] {
        assert!(matches!(refused(&[Entry { size: Some(size), ..file("x", b"1") }]), LayoutError::Archive { .. }));
    }
    let huge = "7".repeat(30);
    for record in [format!("size={huge}"), "size=-1".to_owned(), "size=99999999999".to_owned()] {
        let record = format!("{} {record}\n", record.len() + 4);
        let extension = Entry { kind: b'x', ..file("x", record.as_bytes()) };
        assert!(matches!(refused(&[extension, file("x", b"1")]), LayoutError::Archive { .. }), "{record}");
    }
}

#[test]
fn extension_headers_are_bounded_and_followed() {
    let long = vec![b'a'; 100_000];
    for kind in [b'L', b'K', b'x', b'g'] {
        assert!(matches!(refused(&[Entry { kind, ..file("x", &long) }]), LayoutError::Archive { .. }));
    }
    for (kind, content) in [(b'L', b"../evil\0".as_slice()), (b'x', b"16 path=../evil\n")] {
        let error = refused(&[Entry { kind, ..file("x", content) }, file("harmless", b"1")]);
        assert!(matches!(error, LayoutError::Archive { .. }), "{error:?}");
    }
    assert!(matches!(refused(&[Entry { kind: b'g', ..file("x", b"10 path=x\n") }]), LayoutError::Archive { .. }));
}

#[test]
fn long_names_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (image, _, _) = docker_parts(&[]);
    let name = format!("{}/config.json", "d".repeat(150));
    let list = format!(r#"[{{"Config":"{name}","RepoTags":["app:v1"],"Layers":["l"]}}]"#);
    let record = format!("path={name}\n");
    let record = format!("{} {record}", record.len() + 4);
    let entries = [
        Entry { kind: b'x', ..file("pax", record.as_bytes()) },
        file("short", &image.config),
        file("l", &image.layer),
        file("manifest.json", list.as_bytes()),
    ];
    let images = docker(folder.path(), &entries).unwrap();
    check_whole(&images, &images.images()[0].descriptor);
}

#[test]
fn damaged_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = tar(&[file("manifest.json", b"[]")]);
    let mut wrong_sum = good.clone();
    wrong_sum[0] ^= 1;
    let junk = vec![b'j'; 2000];
    for (name, bytes) in
        [("sum", &wrong_sum[..]), ("cut", &good[..513]), ("junk", &junk), ("stub", &good[..100]), ("empty", b"")]
    {
        assert!(open(&write(folder.path(), name, bytes)).is_err(), "{name}");
    }
    assert!(open(&folder.path().join("missing")).is_err());
}

#[test]
fn a_docker_archive_of_the_old_kind_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (image, config, list) = docker_parts(&["app:v1", "reg.test/app:v2"]);
    let folders = Entry { kind: b'5', ..file("a/", b"") };
    let images = docker(
        folder.path(),
        &[folders, file("a/layer.tar", &image.layer), file(&config, &image.config), file("manifest.json", &list)],
    )
    .unwrap();
    assert_eq!(images.images().len(), 2);
    assert_eq!(check_whole(&images, &choose(images.images(), Some("reg.test/app:v2")).unwrap().descriptor), 3);
}

#[test]
fn a_repeated_layer_may_be_a_link_inside_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let (image, config, list) = docker_parts(&["app:v1"]);
    let images = docker(
        folder.path(),
        &[
            file("b/layer.tar", &image.layer),
            link("a/layer.tar", "../b/layer.tar"),
            file(&config, &image.config),
            file("manifest.json", &list),
        ],
    )
    .unwrap();
    check_whole(&images, &images.images()[0].descriptor);
    let chain = [
        link("b/layer.tar", "../c/layer.tar"),
        link("a/layer.tar", "../b/layer.tar"),
        file(&config, &image.config),
        file("manifest.json", &list),
    ];
    assert!(matches!(docker(folder.path(), &chain), Err(LayoutError::Missing(_))));
}

#[test]
fn layers_that_are_not_what_the_configuration_says_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (image, config, list) = docker_parts(&["app:v1"]);
    let with = |layer: &[u8], config_bytes: &[u8]| {
        docker(folder.path(), &[file("a/layer.tar", layer), file(&config, config_bytes), file("manifest.json", &list)])
    };
    assert!(with(&image.layer, &image.config).is_ok());
    assert!(matches!(with(b"other", &image.config), Err(LayoutError::Layer { .. })));
    assert!(matches!(with(b"\x28\xb5\x2f\xfdzstd", &image.config), Err(LayoutError::Archive { .. })));
    assert!(matches!(
        with(&image.layer, br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#),
        Err(LayoutError::Layer { .. })
    ));
    assert!(matches!(with(&image.layer, br#"{"rootfs":{"diff_ids":["sha256:zz"]}}"#), Err(LayoutError::Json { .. })));
    assert!(matches!(with(&image.layer, b"{}"), Err(LayoutError::Json { .. })));
}

#[test]
fn a_compressed_layer_is_checked_as_it_unpacks() {
    let folder = tempfile::tempdir().unwrap();
    let (image, config, list) = docker_parts(&["app:v1"]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&image.layer).unwrap();
    let packed = encoder.finish().unwrap();
    let images = docker(
        folder.path(),
        &[file("a/layer.tar", &packed), file(&config, &image.config), file("manifest.json", &list)],
    )
    .unwrap();
    let descriptor = &images.images()[0].descriptor;
    check_whole(&images, descriptor);
    let layer = &crate::support::manifest_of(&images, descriptor).layers[0];
    assert_eq!(layer, &Descriptor::of(MediaType::DOCKER_LAYER_GZIP, &packed));
    let cut = &packed[..packed.len() - 20];
    assert!(
        docker(folder.path(), &[file("a/layer.tar", cut), file(&config, &image.config), file("manifest.json", &list)])
            .is_err()
    );
}

#[test]
fn lists_that_name_what_is_not_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (image, config, list) = docker_parts(&["app:v1"]);
    assert!(matches!(
        docker(folder.path(), &[file("a/layer.tar", &image.layer), file("manifest.json", &list)]),
        Err(LayoutError::Missing(_))
    ));
    assert!(matches!(
        docker(folder.path(), &[file(&config, &image.config), file("manifest.json", &list)]),
        Err(LayoutError::Missing(_))
    ));
    let (_, _, bad) = docker_parts(&["../../x:y"]);
    let entries = [file("a/layer.tar", &image.layer), file(&config, &image.config), file("manifest.json", &bad)];
    assert!(matches!(docker(folder.path(), &entries), Err(LayoutError::Name { .. })));
    assert!(matches!(docker(folder.path(), &[file("manifest.json", b"{}")]), Err(LayoutError::Json { .. })));
    assert!(matches!(docker(folder.path(), &[file("other", b"{}")]), Err(LayoutError::Unknown(_))));
}

#[test]
fn layouts_of_other_versions_and_without_their_files_are_refused() {
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    let with =
        |marker: &'static [u8], index: &'static [u8]| refused(&[file("oci-layout", marker), file("index.json", index)]);
    assert!(matches!(with(br#"{"imageLayoutVersion":"2.0.0"}"#, index), LayoutError::Version(_)));
    assert!(matches!(with(b"junk", index), LayoutError::Json { .. }));
    assert!(matches!(with(br#"{"imageLayoutVersion":"1.0.0"}"#, b"[]"), LayoutError::Document(_)));
    assert!(matches!(
        with(br#"{"imageLayoutVersion":"1.0.0"}"#, br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#),
        LayoutError::Document(_)
    ));
    assert!(matches!(refused(&[file("oci-layout", b"{}")]), LayoutError::Unknown(_)));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(folder.path()), Err(LayoutError::Unknown(_))));
    write(folder.path(), "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    assert!(matches!(open(folder.path()), Err(LayoutError::Missing(_))));
}

#[cfg(unix)]
#[test]
fn links_and_pipes_in_a_folder_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout");
    let writer = LayoutWriter::create(&path).unwrap();
    let image = put_image(&writer, "x");
    writer.name(&image, None);
    writer.finish_folder().unwrap();
    let images = open(&path).unwrap();
    let place = path.join("blobs/sha256").join(image.digest.hex());
    std::fs::rename(&place, folder.path().join("aside")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("aside"), &place).unwrap();
    assert!(matches!(images.document(&image), Err(ContentError::Medium(_))));
    std::fs::remove_file(&place).unwrap();
    countersign_testkit::Finished::of(std::process::Command::new("mkfifo").arg(&place), b"").succeeded();
    assert!(images.document(&image).is_err());
    assert!(images.blob(&image).is_err());
}

#[test]
fn more_entries_than_any_image_needs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..=countersign_layout::MAX_ENTRIES).map(|n| format!("f{n}")).collect();
    let entries: Vec<Entry<'_>> = names.iter().map(|name| file(name, b"")).collect();
    let error = open(&write(folder.path(), "x.tar", &tar(&entries))).unwrap_err();
    assert!(error.to_string().contains("entries"), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn no_damage_makes_the_reader_panic(position in 0_usize..4000, byte in proptest::prelude::any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let (image, config, list) = docker_parts(&["app:v1"]);
        let mut bytes = tar(&[file("a/layer.tar", &image.layer), file(&config, &image.config), file("manifest.json", &list)]);
        if let Some(place) = bytes.get_mut(position) {
            *place = byte;
        }
        if let Ok(images) = open(&write(folder.path(), "x.tar", &bytes)) {
            images.images().iter().for_each(|image| { check_whole(&images, &image.descriptor); });
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
        let folder = tempfile::tempdir().unwrap();
        proptest::prop_assert!(open(&write(folder.path(), "x.tar", &bytes)).is_err());
    }
}
