//! A signature that names another size than the manifest has.

use crate::client::{Ending, TRUST};
use crate::stage::Shop;

#[test]
fn a_manifest_of_another_size_than_signed_is_refused_and_nothing_is_written() {
    let shop = Shop::open();
    let notary = shop.service.notary_client();
    let digest = shop.put("v1", "one");
    let hash = digest.strip_prefix("sha256:").unwrap();
    let size = countersign_testkit::Image::with_message("one").manifest().bytes.len();
    notary.run(&["init", "-p", &shop.gun()]).succeeded();
    for (tag, signed) in [("v1", size), ("short", size - 1), ("long", size + 1)] {
        shop.put(tag, "one");
        notary.run(&["addhash", "-p", &shop.gun(), tag, &signed.to_string(), "--sha256", hash]).succeeded();
    }
    let reader = shop.client();
    for tag in ["short", "long"] {
        for target in ["oci:image", "oci-archive:image", "docker-archive:image"] {
            let refused = reader.run(&["pull", "--to", target, &shop.name(tag)]);
            refused.refused(TRUST, &format!("{digest} has {size} bytes"));
            assert!(!reader.folder().join("image").exists(), "{target}");
        }
    }
    let pulled = reader.run(&["pull", "--to", "oci:image", &shop.name("v1")]).succeeded();
    assert_eq!(pulled.stdout, format!("{}@{digest}\n", shop.name("v1")), "{pulled}");
}
