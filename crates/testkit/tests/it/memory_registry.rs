use std::time::{Duration, Instant};

use countersign_testkit::digest::oci_digest;
use countersign_testkit::memory_registry::Fault;
use countersign_testkit::{Image, MemoryRegistry};

use crate::http::{get, request};

fn filled() -> (MemoryRegistry, Image, String) {
    let registry = MemoryRegistry::start().unwrap();
    let image = Image::with_message("hello");
    let digest = registry.put_image("acme/app", "v1", &image).unwrap();
    (registry, image, digest)
}

#[test]
fn a_blob_is_uploaded_in_parts_and_read_in_ranges() {
    let registry = MemoryRegistry::start().unwrap();
    let host = registry.host();
    let started = request(&host, "POST", "/v2/acme/app/blobs/uploads/", &[], b"");
    assert!(started.starts_with("HTTP/1.1 202"), "{started}");
    let place = started.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let first = request(&host, "PATCH", place, &[("Content-Range", "0-4")], b"hello");
    assert!(first.contains("range: 0-4"), "{first}");
    let gap = request(&host, "PATCH", place, &[("Content-Range", "9-9")], b"!");
    assert!(gap.starts_with("HTTP/1.1 416"), "{gap}");
    let digest = oci_digest(b"hello world");
    let done = request(&host, "PUT", &format!("{place}?digest={digest}"), &[], b" world");
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
    let blob = format!("/v2/acme/app/blobs/{digest}");
    assert!(get(&host, &blob, &[]).ends_with("\r\n\r\nhello world"));
    let part = get(&host, &blob, &[("Range", "bytes=6-8")]);
    assert!(
        part.starts_with("HTTP/1.1 206") && part.contains("bytes 6-8/11") && part.ends_with("\r\n\r\nwor"),
        "{part}"
    );
    assert!(get(&host, &blob, &[("Range", "bytes=6-")]).ends_with("\r\n\r\nworld"));
    assert!(get(&host, &blob, &[("Range", "bytes=11-")]).starts_with("HTTP/1.1 416"));
    let head = request(&host, "HEAD", &blob, &[], b"");
    assert!(head.contains("content-length: 11") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn a_blob_that_has_another_digest_is_refused() {
    let registry = MemoryRegistry::start().unwrap();
    let path = format!("/v2/acme/app/blobs/uploads/?digest={}", oci_digest(b"other"));
    let answer = request(&registry.host(), "POST", &path, &[], b"bytes");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("DIGEST_INVALID"), "{answer}");
}

#[test]
fn a_blob_is_mounted_from_another_repository() {
    let (registry, image, _) = filled();
    let digest = oci_digest(&image.layer);
    let path = format!("/v2/acme/copy/blobs/uploads/?mount={digest}&from=acme/app");
    assert!(request(&registry.host(), "POST", &path, &[], b"").starts_with("HTTP/1.1 201"));
    assert_eq!(registry.blob("acme/copy", &digest), Some(image.layer));
    let unknown = format!("/v2/acme/copy/blobs/uploads/?mount={}&from=acme/app", oci_digest(b"?"));
    assert!(request(&registry.host(), "POST", &unknown, &[], b"").starts_with("HTTP/1.1 202"));
}

#[test]
fn a_manifest_whose_parts_were_not_pushed_is_refused() {
    let registry = MemoryRegistry::start().unwrap();
    let manifest = Image::with_message("x").manifest();
    let headers = [("Content-Type", manifest.media_type.as_str())];
    let answer = request(&registry.host(), "PUT", "/v2/acme/app/manifests/v1", &headers, &manifest.bytes);
    assert!(answer.contains("MANIFEST_BLOB_UNKNOWN"), "{answer}");
    let answer = request(&registry.host(), "PUT", "/v2/acme/app/manifests/v1", &headers, b"{");
    assert!(answer.contains("MANIFEST_INVALID"), "{answer}");
}

#[test]
fn manifests_are_found_by_tag_and_digest_until_deleted() {
    let (registry, image, digest) = filled();
    assert_eq!(digest, image.digest());
    let host = registry.host();
    for reference in ["v1", &digest] {
        let answer = get(&host, &format!("/v2/acme/app/manifests/{reference}"), &[]);
        assert!(answer.contains(&format!("docker-content-digest: {digest}")), "{answer}");
        assert!(answer.as_bytes().ends_with(&image.manifest().bytes));
    }
    assert!(get(&host, "/v2/acme/app/manifests/v2", &[]).contains("MANIFEST_UNKNOWN"));
    let path = format!("/v2/acme/app/manifests/{digest}");
    assert!(request(&host, "DELETE", &path, &[], b"").starts_with("HTTP/1.1 202"));
    assert!(get(&host, "/v2/acme/app/manifests/v1", &[]).starts_with("HTTP/1.1 404"));
}

#[test]
fn tags_come_in_pages() {
    let (registry, image, _) = filled();
    for tag in ["v2", "v3"] {
        registry.put_image("acme/app", tag, &image).unwrap();
    }
    let first = get(&registry.host(), "/v2/acme/app/tags/list?n=2", &[]);
    assert!(first.contains(r#"["v1","v2"]"#) && first.contains("last=v2>; rel=\"next\""), "{first}");
    let second = get(&registry.host(), "/v2/acme/app/tags/list?n=2&last=v2", &[]);
    assert!(second.contains(r#"["v3"]"#) && !second.contains("link:"), "{second}");
}

#[test]
fn a_hostile_registry_repoints_corrupts_and_lies() {
    let (registry, image, digest) = filled();
    let other = registry.put_image("acme/app", "evil", &Image::with_message("evil")).unwrap();
    registry.repoint_tag("acme/app", "v1", &other).unwrap();
    assert_eq!(registry.tag("acme/app", "v1"), Some(other));
    registry.corrupt_manifest("acme/app", &digest, "{}").unwrap();
    assert!(get(&registry.host(), &format!("/v2/acme/app/manifests/{digest}"), &[]).ends_with("\r\n\r\n{}"));
    let layer = oci_digest(&image.layer);
    registry.corrupt_blob(&layer, "junk");
    assert!(get(&registry.host(), &format!("/v2/acme/app/blobs/{layer}"), &[]).ends_with("\r\n\r\njunk"));
    registry.inject(Fault::lying_digest("sha256:lie").path("/manifests/"));
    let answer = get(&registry.host(), "/v2/acme/app/manifests/evil", &[]);
    assert!(answer.contains("docker-content-digest: sha256:lie"), "{answer}");
}

#[test]
fn faults_strike_what_they_are_for_and_as_often_as_told() {
    let (registry, image, _) = filled();
    let (host, path) = (registry.host(), format!("/v2/acme/app/blobs/{}", oci_digest(&image.layer)));
    registry.inject(Fault::status(503).path("/blobs/").method("GET").times(2));
    for status in ["503", "503", "200"] {
        assert_eq!(get(&host, &path, &[]).split(' ').nth(1), Some(status));
    }
    assert!(get(&host, "/v2/", &[]).starts_with("HTTP/1.1 200"));
    registry.inject(Fault::cut_after(100).path("/blobs/").times(1));
    let cut = get(&host, &path, &[]);
    assert_eq!(cut.split("\r\n\r\n").nth(1).unwrap().len(), 100);
    registry.inject(Fault::slow(Duration::from_millis(50)).path("/blobs/").times(1));
    let start = Instant::now();
    assert!(get(&host, &path, &[]).as_bytes().ends_with(&image.layer));
    assert!(start.elapsed() >= Duration::from_millis(50 * (image.layer.len() as u64 / 1_024)));
    assert_eq!(registry.take_request_lines().len(), 6);
}

#[test]
fn names_that_leave_the_grammar_are_refused() {
    let registry = MemoryRegistry::start().unwrap();
    for name in ["Acme", "a//b", "../a", "a/../b", "-a"] {
        let answer = request(&registry.host(), "POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("NAME_INVALID"), "{name}: {answer}");
    }
}
