//! Taking an archive: every file is put away as it arrives, and a service cannot make it endless.

use crate::house::{GUN, House};
use crate::person::Person;
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_testkit::Reply;
use countersign_trust::TrustError;
use countersign_trust::archive::{Bounds, History, Kept, Shelf, Taken, take};
use countersign_tuf::update::Which;
use countersign_tuf::{RoleName, Version};
use std::collections::BTreeMap;

/// A shelf in memory.
#[derive(Default)]
struct Files(BTreeMap<(RoleName, Version), Bytes>);

impl Shelf for Files {
    type Error = TrustError;

    fn held(&self, role: &RoleName, which: Which) -> Result<Option<Bytes>, TrustError> {
        let mut files = self.0.iter().filter(|((of, _), _)| of == role);
        let found = files.find(|((_, version), file)| match which {
            Which::Current => false,
            Which::Version(wanted) => *version == wanted,
            Which::Checksum(wanted) => sha256(file) == wanted,
        });
        Ok(found.map(|(_, file)| file.clone()))
    }

    fn keep(&mut self, role: &RoleName, version: Version, file: &Bytes) -> Result<Kept, TrustError> {
        let there = self.0.entry((role.clone(), version)).or_insert_with(|| file.clone());
        Ok(if there == file { Kept::Yes } else { Kept::Other })
    }
}

/// A collection with versions 2 to 6 of its targets.
async fn lived_in(house: &House) -> Person {
    let owner = Person::new();
    for tag in ["v1", "v2", "v3", "v4", "v5"] {
        owner.sign(house, tag).await.unwrap();
    }
    owner
}

async fn taken(house: &House, bounds: Bounds, files: &mut Files) -> Taken {
    let service = Person::new().service(&house.server.url(), &house.ca.pem(), GUN);
    take(&service, History::Signed, bounds, files).await.unwrap()
}

fn failure(taken: &Taken) -> String {
    taken.failure.as_ref().unwrap().to_string()
}

#[tokio::test]
async fn a_run_ends_at_its_bounds_with_what_it_has_and_the_next_one_goes_on() {
    let house = House::open();
    lived_in(&house).await;
    for bounds in [Bounds { files: 3, ..Bounds::default() }, Bounds { bytes: 1500, ..Bounds::default() }] {
        let (mut files, mut runs) = (Files::default(), 0);
        loop {
            let before = files.0.len();
            let taken = taken(&house, bounds, &mut files).await;
            if taken.failure.is_none() {
                break;
            }
            assert!(failure(&taken).contains("do the same again"), "{taken:?}");
            assert!(files.0.len() > before, "{taken:?}");
            runs += 1;
        }
        assert!(runs > 1, "{bounds:?}");
        let whole = house.archive().files.into_iter().filter(|(name, _)| name.ends_with(".targets"));
        for (_, file) in whole {
            assert!(files.0.values().any(|kept| *kept == file));
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_lists_roles_without_end_is_followed_to_the_bound() {
    let house = House::open();
    lived_in(&house).await;
    let snapshot = String::from_utf8(house.archive().files["snapshot"].to_vec()).unwrap();
    let hash = "A".repeat(43);
    let entry = |number| format!(r#""targets/a{number}":{{"hashes":{{"sha256":"{hash}="}},"length":1}},"#);
    let many: String = (0..100).map(entry).collect();
    let endless = snapshot.replace(r#""meta":{"#, &format!(r#""meta":{{{many}"#));
    assert_ne!(endless, snapshot);
    house.lie(move |request, _| request.path.contains("/snapshot.").then(|| Reply::json(endless.clone())));
    let mut files = Files::default();
    let taken = taken(&house, Bounds { roles: 10, ..Bounds::default() }, &mut files).await;
    let asked = house.server.requests().into_iter().filter(|request| request.path.contains("/targets/")).count();
    // By checksum, and the present one.
    assert!((1..=20).contains(&asked), "{asked}: {taken:?}");
    assert!(failure(&taken).contains("10"), "{taken:?}");
    assert!(taken.gaps.iter().any(|gap| gap.file.ends_with("and further roles")), "{taken:?}");
}

#[tokio::test]
async fn a_file_that_another_one_of_its_version_is_kept_of_is_no_present_one() {
    let house = House::open();
    lived_in(&house).await;
    let (mut files, version) = (Files::default(), Version::new(6).unwrap());
    files.0.insert((RoleName::Targets, version), Bytes::from_static(b"{}"));
    let taken = taken(&house, Bounds::default(), &mut files).await;
    assert!(!taken.present.contains_key(&RoleName::Targets), "{taken:?}");
    assert!(files.0.len() > 6, "the rest is there: {taken:?}");
    assert_eq!(taken.gaps[0].file, "6.targets", "{taken:?}");
}
