use crate::folder::{cache, drive, fixtures, request, serve};
use countersign_tuf::metadata::Payload;
use countersign_tuf::{Collection, Pinning, RoleName};
use serde_json::Value;
use std::path::Path;

fn sets() -> Vec<Value> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(fixtures("manifest.json")).unwrap()).unwrap();
    let sets = &manifest["sets"];
    sets.as_array().cloned().unwrap_or_else(|| sets.as_object().unwrap().values().cloned().collect())
}

fn server_folder(set: &Value) -> std::path::PathBuf {
    let folder = fixtures(set["name"].as_str().unwrap()).join("server");
    let last = (1..100).rev().map(|n| folder.join(format!("step-{n:02}"))).find(|step| step.exists());
    last.unwrap_or(folder)
}

fn check(collection: &Collection, expect: &Value) {
    for (role, targets) in expect["targets"].as_object().unwrap() {
        let role = RoleName::parse(role).unwrap();
        let file = collection.targets(&role).unwrap_or_else(|| panic!("{role}"));
        let expected = targets.as_object().unwrap();
        assert_eq!(file.entries.len(), expected.len(), "{role}");
        for (name, meta) in expected {
            let found = file.entries.get(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(Some(found.length), meta["length"].as_u64());
            if let Some(hash) = meta["sha256"].as_str() {
                assert_eq!(found.sha256.unwrap().hex(), hash);
            }
        }
    }
    for (role, file) in collection.all_targets() {
        let keys = collection.keys_of(role).unwrap_or_else(|| panic!("{role}"));
        assert!(
            keys.threshold() >= 1 && file.signers().all(|signer| keys.iter().any(|(id, _)| id == signer)),
            "{role}"
        );
    }
    assert!(collection.keys_of(&RoleName::parse("targets/nobody/described").unwrap()).is_none());
    for (role, version) in expect["versions"].as_object().unwrap() {
        let found = match role.as_str() {
            "root" => collection.root().version(),
            "snapshot" => collection.snapshot().version(),
            "timestamp" => collection.timestamp().version(),
            other => match collection.targets(&RoleName::parse(other).unwrap()) {
                Some(file) => file.version(),
                None => continue,
            },
        };
        assert_eq!(Some(found.get()), version.as_u64(), "{role}");
    }
}

/// Every collection the real tools made is verified from nothing, and says what an independent checker says.
#[test]
fn collections_made_by_the_real_tools_verify() {
    let mut checked = Vec::new();
    for set in sets() {
        let name = set["name"].as_str().unwrap().to_owned();
        let folder = server_folder(&set);
        let (Some(gun), true) = (set["gun"].as_str(), folder.join("timestamp.json").exists()) else { continue };
        let pinning = Pinning::default();
        let collection = drive(request(gun, &pinning), cache(Path::new("/nonexistent")), |fetch| serve(&folder, fetch))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&collection, &set["expect"]);
        checked.push(name);
    }
    for name in ["docker28", "docker20", "notary-basic", "rotations", "delegations", "server-keys-ed25519"] {
        assert!(checked.iter().any(|checked| checked == name), "{name} was not checked: {checked:?}");
    }
}

/// Every file as the reference wrote it is reproduced byte for byte from what was parsed.
#[test]
fn files_of_the_reference_are_fixed_points() {
    let mut count = 0;
    for set in sets() {
        let folder = server_folder(&set);
        count += reproduce(&folder, "");
    }
    assert!(count > 50, "{count}");
}

fn reproduce(folder: &Path, prefix: &str) -> usize {
    use countersign_tuf::metadata::{Envelope, Root, Snapshot, Targets, Timestamp};
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut count = 0;
    for entry in entries.map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        if entry.is_dir() {
            count += reproduce(&entry, &format!("{prefix}{name}/"));
            continue;
        }
        let base = name.trim_end_matches(".json").trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let Ok(role) = RoleName::parse(&format!("{prefix}{base}")) else { continue };
        let file = bytes::Bytes::from(std::fs::read(&entry).unwrap());
        let envelope = Envelope::read(file.clone()).unwrap();
        let payload = match role {
            RoleName::Root => Root::read(&role, &envelope).unwrap().write(),
            RoleName::Snapshot => Snapshot::read(&role, &envelope).unwrap().write(),
            RoleName::Timestamp => Timestamp::read(&role, &envelope).unwrap().write(),
            _ => Targets::read(&role, &envelope).unwrap().write(),
        };
        let again = Envelope::compose(payload, envelope.signatures().to_vec());
        assert_eq!(String::from_utf8_lossy(again.file()), String::from_utf8_lossy(&file), "{}", entry.display());
        count += 1;
    }
    count
}

/// A client that last looked after any step of a long history of rotations reaches the end of it.
#[test]
fn clients_of_every_age_follow_the_rotations() {
    let set = sets().into_iter().find(|set| set["name"] == "rotations").unwrap();
    let gun = set["gun"].as_str().unwrap();
    let folder = server_folder(&set);
    let mut followed = 0;
    for step in 1..=12 {
        let cached = fixtures(&format!("rotations/client-cache/step-{step:02}"));
        if !cached.exists() {
            continue;
        }
        let pinning = Pinning::default();
        let collection = drive(request(gun, &pinning), cache(&cached), |fetch| serve(&folder, fetch))
            .unwrap_or_else(|error| panic!("step {step}: {error}"));
        check(&collection, &set["expect"]);
        followed += 1;
    }
    assert!(followed >= 10);
}

/// Clients' own caches, as docker and notary left them, are usable while the service is away.
#[test]
fn caches_of_the_real_clients_speak_for_an_absent_service() {
    use countersign_tuf::Note;
    use countersign_tuf::update::{Absence, Answer};
    for (cached, gun) in [
        ("docker28/fresh/trust/tuf/127.0.0.1:45100/golden/docker28/metadata", "127.0.0.1:45100/golden/docker28"),
        ("docker20/fresh/trust/tuf/127.0.0.1:45100/golden/docker20/metadata", "127.0.0.1:45100/golden/docker20"),
        ("delegations/fresh/tuf/golden.test/notary/delegations/metadata", "golden.test/notary/delegations"),
    ] {
        let pinning = Pinning::default();
        let away = |_: countersign_tuf::update::Fetch<'_>| Answer::Away(Absence::Unreachable("refused".into()));
        let collection = drive(request(gun, &pinning), cache(&fixtures(cached)), away).unwrap();
        assert!(collection.notes().iter().any(|note| matches!(note, Note::CachedTimestamp(_))));
        assert!(collection.downloaded().is_empty());
        let hostile = |_: countersign_tuf::update::Fetch<'_>| Answer::Away(Absence::Tls("unknown issuer".into()));
        assert!(drive(request(gun, &pinning), cache(&fixtures(cached)), hostile).is_err());
    }
}
