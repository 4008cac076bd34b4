//! What a service accepts and refuses (Notary protocol, validation of an upload).

use crate::workshop::*;
use bytes::Bytes;
use countersign_crypto::{KeyId, PublicKey, SignError, Signer};
use countersign_tuf::accept::{self, Files, NewMetadata, Refusal, RenewBefore, Renewal, Submission};
use countersign_tuf::{RoleName, SignerSet, SignerUnavailable};
use serde_json::{Value, json};
use std::sync::Arc;

/// Uploads parts to a service that has files stored and holds keys.
fn submit(stored: &Files, parts: &[(&str, Bytes)], signers: &dyn SignerSet) -> Result<Vec<NewMetadata>, Refusal> {
    let parts: Files = parts.iter().map(|(name, file)| (role(name), file.clone())).collect();
    let needed = accept::needed(parts.keys());
    let stored: Files =
        stored.iter().filter(|(role, _)| needed.contains(role)).map(|(r, f)| (r.clone(), f.clone())).collect();
    accept::accept(Submission { gun: &gun(), now: now(), stored: &stored, parts }, signers)
}

fn file(repository: &Repository, name: &'static str) -> (&'static str, Bytes) {
    (name, repository.files[name].clone())
}

/// The state after an upload, read as a client would.
fn read_back(stored: &Files, new: &[NewMetadata]) -> countersign_tuf::Collection {
    let mut files = stored.clone();
    files.extend(new.iter().map(|new| (new.role.clone(), new.bytes.clone())));
    let history: Vec<(RoleName, Bytes)> =
        stored.iter().chain(&files).map(|(role, file)| (role.clone(), file.clone())).collect();
    Client::new(GUN).update(&Service::of(&files, &history)).unwrap()
}

fn roles(new: &[NewMetadata]) -> Vec<(String, u64)> {
    new.iter().map(|new| (new.role.to_string(), new.version.get())).collect()
}

fn nothing() -> Files {
    Files::new()
}

#[test]
fn needed_are_the_base_roles_and_the_ancestors_of_what_is_uploaded() {
    let needed: Vec<String> = accept::needed(&[role("targets/a/b")]).into_iter().map(|role| role.to_string()).collect();
    assert_eq!(needed, ["root", "snapshot", "targets", "timestamp", "targets/a"]);
    let needed: Vec<String> =
        accept::needed(&[RoleName::Root, RoleName::Targets]).into_iter().map(|role| role.to_string()).collect();
    assert_eq!(needed, ["root", "snapshot", "timestamp"], "uploaded targets replace the stored ones");
}

#[test]
fn a_first_upload_of_root_and_targets_is_completed() {
    let repository = Repository::new();
    let parts = [file(&repository, "root"), file(&repository, "targets")];
    let new = submit(&nothing(), &parts, &repository.service_signers()).unwrap();
    let expected = [("root", 1), ("targets", 1), ("snapshot", 1), ("timestamp", 1)].map(|(r, v)| (r.to_owned(), v));
    assert_eq!(roles(&new), expected);
    assert_eq!(new[0].bytes, parts[0].1, "stored is what was received");
    read_back(&nothing(), &new);
}

#[test]
fn a_first_root_may_have_version_1_or_2() {
    for (version, accepted) in [(1_u64, true), (2, true), (3, false), (7, false)] {
        let mut repository = Repository::new();
        repository.edit("root", |root| root["version"] = version.into());
        let parts = [file(&repository, "root"), file(&repository, "targets")];
        let outcome = submit(&nothing(), &parts, &repository.service_signers());
        assert_eq!(outcome.is_ok(), accepted, "{version}");
        if let Err(refusal) = outcome {
            assert!(matches!(refusal, Refusal::BadRoot(_)));
        }
    }
    let mut zero = Repository::new();
    zero.edit("root", |root| root["version"] = 0.into());
    let refusal = submit(&nothing(), &[file(&zero, "root")], &zero.service_signers()).unwrap_err();
    assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal:?}");
}

#[test]
fn a_root_that_has_the_service_look_for_hundreds_of_keys_is_refused() {
    for role in ["timestamp", "snapshot"] {
        for (more, accepted) in [(63, true), (64, false)] {
            let mut repository = Repository::new();
            repository.keys.get_mut(role).unwrap().extend((0..more).map(|_| Key::new()));
            let root = repository.root_payload(1);
            repository.put("root", &root);
            let parts = [file(&repository, "root"), file(&repository, "targets")];
            let outcome = submit(&nothing(), &parts, &repository.service_signers());
            assert_eq!(outcome.is_ok(), accepted, "{role} and {more} more: {outcome:?}");
        }
    }
}

#[test]
fn an_upload_without_any_root_or_without_targets_is_refused() {
    let repository = Repository::new();
    let signers = repository.service_signers();
    for parts in [vec![], vec![file(&repository, "targets")], vec![file(&repository, "snapshot")]] {
        let refusal = submit(&nothing(), &parts, &signers).unwrap_err();
        assert_eq!(refusal, Refusal::Validation("no pre-existing root and no root provided in update.".into()));
    }
    let refusal = submit(&nothing(), &[file(&repository, "root")], &signers).unwrap_err();
    assert_eq!(refusal, Refusal::Validation("targets must be loaded first".into()));
}

/// Attack catalogue B4-163.
#[test]
fn roots_that_clients_would_refuse_are_refused() {
    let honest = Repository::new();
    let stranger = Key::new();
    let changes: [&dyn Fn(&mut Repository); 9] = [
        &|r| r.put_bytes("root", seal(&r.payload("root"), &[Key::root()])),
        &|r| r.put_bytes("root", seal(&r.payload("root"), &[])),
        &|r| r.edit("root", |root| root["expires"] = "2020-01-01T00:00:00Z".into()),
        &|r| r.edit("root", |root| root["roles"]["root"]["threshold"] = 0.into()),
        &|r| r.edit("root", |root| root["roles"]["timestamp"]["threshold"] = 0.into()),
        &|r| {
            r.edit("root", |root| {
                root["roles"].as_object_mut().unwrap().remove("timestamp");
            });
        },
        &|r| {
            r.keys.insert("root".into(), vec![Key::new()]);
            let root = r.root_payload(1);
            r.put("root", &root);
        },
        &|r| {
            r.keys.insert("root".into(), vec![Key::new().certified("registry.test/other")]);
            let root = r.root_payload(1);
            r.put("root", &root);
        },
        &|r| {
            r.edit("root", |root| {
                root["keys"][stranger.id()] = stranger.json();
                root["roles"]["timestamp"]["keyids"] = json!([stranger.id()]);
            });
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut repository = honest.clone();
        change(&mut repository);
        let parts = [file(&repository, "root"), file(&repository, "targets")];
        let refusal = submit(&nothing(), &parts, &honest.service_signers()).unwrap_err();
        assert!(matches!(refusal, Refusal::BadRoot(_)), "{number}: {refusal:?}");
    }
    let mut expired = honest;
    expired.edit("root", |root| root["expires"] = "2020-01-01T00:00:00Z".into());
    let refusal = submit(&nothing(), &[file(&expired, "root")], &expired.service_signers()).unwrap_err();
    assert_eq!(refusal.to_string(), "root expired at Wed Jan 1 00:00:00 UTC 2020");
}

/// Attack catalogue B4-163.
#[test]
fn a_rotation_needs_old_and_new_signatures_and_the_next_version() {
    let mut keys = Repository::new().keys;
    let old = vec![Key::root(), Key::root()];
    keys.insert("root".into(), old.clone());
    let mut before = Repository::with_keys(GUN, keys);
    before.edit("root", |root| root["roles"]["root"]["threshold"] = 2.into());
    before.link();
    let new = vec![Key::root(), Key::root()];
    let next = |signers: &[Key], version: u64| {
        let mut after = before.clone();
        after.next_root(&new, signers, |root| {
            root["version"] = version.into();
            root["roles"]["root"]["threshold"] = 2.into();
        });
        submit(&before.stored(), &[file(&after, "root")], &before.service_signers())
    };
    let both = [old.clone(), new.clone()].concat();
    let stored = next(&both, 2).unwrap();
    assert_eq!(roles(&stored).first(), Some(&("root".to_owned(), 2)));
    read_back(&before.stored(), &stored);
    for signers in
        [new.clone(), old.clone(), [vec![old[0].clone()], new.clone()].concat(), [old, vec![new[0].clone()]].concat()]
    {
        assert!(matches!(next(&signers, 2), Err(Refusal::BadRoot(_))));
    }
    for version in [3, 7] {
        let refusal = next(&both, version).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::BadRoot(format!("Root modifications must increment the version. Current 1, new {version}"))
        );
    }
    assert!(matches!(next(&both, 1), Err(Refusal::BadRoot(_) | Refusal::Stale)));
}

#[test]
fn the_stored_root_again_is_stale_and_another_of_its_version_is_bad() {
    let repository = Repository::new();
    let again = submit(&repository.stored(), &[file(&repository, "root")], &repository.service_signers());
    assert_eq!(again.unwrap_err(), Refusal::Stale);
    let mut other = repository.clone();
    other.keys.insert("root".into(), vec![Key::root()]);
    let root = other.root_payload(1);
    other.put("root", &root);
    let refusal = submit(&repository.stored(), &[file(&other, "root")], &repository.service_signers()).unwrap_err();
    assert!(matches!(refusal, Refusal::BadRoot(_)));
}

#[test]
fn what_is_stored_and_unusable_is_the_service_s_own_trouble() {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    for name in ["root", "snapshot", "timestamp"] {
        let mut stored = repository.stored();
        stored.insert(role(name), "junk".into());
        let refusal = submit(&stored, &[file(&repository, "targets")], &repository.service_signers()).unwrap_err();
        assert!(matches!(refusal, Refusal::Stored(_)), "{name}: {refusal:?}");
    }
}

/// Attack catalogue B4-162.
#[test]
fn targets_that_clients_would_refuse_are_refused() {
    let repository = Repository::new();
    let upload = |change: &dyn Fn(&mut Repository)| {
        let mut after = repository.clone();
        after.tag("targets", "v1", "x");
        change(&mut after);
        submit(&repository.stored(), &[file(&after, "targets")], &repository.service_signers())
    };
    let new = upload(&|_| ()).unwrap();
    assert_eq!(roles(&new), [("targets", 2), ("snapshot", 2), ("timestamp", 2)].map(|(r, v)| (r.to_owned(), v)));
    assert!(holds(&read_back(&repository.stored(), &new), "v1", "x"));
    let bad = |change: &dyn Fn(&mut Repository)| assert!(matches!(upload(change), Err(Refusal::BadTargets(_))));
    bad(&|r| r.put_bytes("targets", seal(&r.payload("targets"), &[Key::new()])));
    bad(&|r| r.put_bytes("targets", seal(&r.payload("targets"), &[])));
    bad(&|r| r.edit("targets", |targets| targets["expires"] = "2020-01-01T00:00:00Z".into()));
    bad(&|r| r.edit("targets", |targets| targets["_type"] = "targets".into()));
    bad(&|r| {
        r.delegate("targets/a", &[""]);
        r.edit("targets", |targets| targets["delegations"]["roles"][0]["name"] = "targets/a/b".into());
    });
    bad(&|r| {
        r.delegate("targets/a", &[""]);
        r.edit("targets", |targets| targets["delegations"]["keys"] = json!({}));
    });
    bad(&|r| {
        r.delegate("targets/a", &[""]);
        r.edit("targets", |targets| targets["delegations"]["roles"][0]["threshold"] = 0.into());
    });
    let malformed = |change: &dyn Fn(&mut Repository)| {
        let outcome = upload(change);
        assert!(matches!(outcome, Err(Refusal::Malformed(_))), "{outcome:?}");
    };
    malformed(&|r| r.put_bytes("targets", "junk"));
    malformed(&|r| r.edit("targets", |targets| targets["version"] = 0.into()));
    malformed(&|r| r.edit("targets", |targets| targets["version"] = json!(-1)));
    malformed(&|r| r.edit("targets", |targets| targets["targets"]["evil"] = json!({ "length": 1 })));
    // Attack catalogue B3-161.
    malformed(&|r| r.edit("targets", |targets| targets["delegations"]["roles"] = json!([null])));
    // Attack catalogue B4-169.
    malformed(&|r| {
        let twice = [&r.files["targets"][..], b"{}"].concat();
        r.put_bytes("targets", twice);
    });
    // Attack catalogue B4-166.
    malformed(&|r| {
        let text = String::from_utf8(r.files["targets"].to_vec()).unwrap();
        r.put_bytes("targets", text.replacen("\"targets\":", "\"targets\":{},\"targets\":", 1));
    });
}

/// Attack catalogue B4-167: where the store does not say the present version, it has to keep to the limit itself.
#[test]
fn an_upload_cannot_use_up_the_versions() {
    let repository = Repository::new();
    let jumps = [(5_u64, true), (1 << 20, true), ((1 << 20) + 2, false), (2_147_483_647, false), (1 << 53, false)];
    for (version, accepted) in jumps {
        let mut after = repository.clone();
        after.edit("targets", |targets| targets["version"] = version.into());
        let first = [file(&after, "root"), file(&after, "targets")];
        let outcome = submit(&nothing(), &first, &repository.service_signers());
        assert_eq!(outcome.is_ok(), accepted, "{version}");
        assert!(accepted || matches!(outcome, Err(Refusal::BadTargets(_))));
        // The whole store at hand.
        let parts = Files::from([(RoleName::Targets, after.files["targets"].clone())]);
        let submission = Submission { gun: &gun(), now: now(), stored: &repository.stored(), parts };
        assert_eq!(accept::accept(submission, &repository.service_signers()).is_ok(), accepted, "{version}");
    }
}

/// Attack catalogue B4-165: listed are the bytes as received, so that every spelling stays readable.
#[test]
fn odd_spellings_stay_readable() {
    let repository = Repository::new();
    let mut after = repository.clone();
    after.tag("targets", "<v&1>", "x");
    let value: Value = serde_json::from_slice(&after.files["targets"]).unwrap();
    let pretty = Bytes::from(serde_json::to_vec_pretty(&value).unwrap());
    let new = submit(&repository.stored(), &[("targets", pretty.clone())], &repository.service_signers()).unwrap();
    assert_eq!(new[0].bytes, pretty);
    assert!(holds(&read_back(&repository.stored(), &new), "<v&1>", "x"));
    // An unsigned extra member would be lost on others' way.
    let text = String::from_utf8(after.files["targets"].to_vec()).unwrap().replacen('{', "{\"x\":1,", 1);
    let refusal = submit(&repository.stored(), &[("targets", text.into())], &repository.service_signers());
    assert!(matches!(refusal, Err(Refusal::Malformed(_))));
}

fn delegated() -> Repository {
    let mut repository = Repository::new();
    repository.delegate("targets/a", &["a"]);
    repository.tag("targets/a", "a1", "x");
    repository
}

#[test]
fn a_delegation_is_checked_against_its_parent_from_the_store_or_the_upload() {
    let repository = delegated();
    let mut after = repository.clone();
    after.tag("targets/a", "a2", "y");
    let new = submit(&repository.stored(), &[file(&after, "targets/a")], &repository.service_signers()).unwrap();
    assert!(holds(&read_back(&repository.stored(), &new), "a2", "y"));
    // Parent and child in one upload, child new.
    let mut deep = repository.clone();
    deep.delegate("targets/a/b", &["ab"]);
    deep.tag("targets/a/b", "ab1", "z");
    let parts = [file(&deep, "targets/a"), file(&deep, "targets/a/b")];
    let new = submit(&repository.stored(), &parts, &repository.service_signers()).unwrap();
    assert!(holds(&read_back(&repository.stored(), &new), "ab1", "z"));
    // Without the parent that describes it.
    let refusal = submit(&repository.stored(), &parts[1..], &repository.service_signers()).unwrap_err();
    assert_eq!(refusal, Refusal::BadTargets("tuf: invalid role targets/a/b. delegation does not exist".into()));
    let mut stranger = repository.clone();
    stranger.keys.insert("targets/stray".into(), vec![Key::new()]);
    stranger.tag("targets/stray", "v", "x");
    let refusal = submit(&repository.stored(), &[file(&stranger, "targets/stray")], &repository.service_signers());
    assert!(matches!(refusal, Err(Refusal::BadTargets(_))));
    let mut forged = after;
    forged.put_bytes("targets/a", seal(&forged.payload("targets/a"), &[Key::new()]));
    let refusal = submit(&repository.stored(), &[file(&forged, "targets/a")], &repository.service_signers());
    assert!(matches!(refusal, Err(Refusal::BadTargets(_))));
    // No parent anywhere.
    let mut orphan = repository.stored();
    orphan.remove(&RoleName::Targets);
    let refusal = submit(&orphan, &[file(&repository, "targets/a")], &repository.service_signers());
    assert!(matches!(refusal, Err(Refusal::BadTargets(_))));
}

#[test]
fn an_uploaded_snapshot_lists_what_will_be_current() {
    let repository = delegated();
    let timestamp_only = Signers::of(&repository.keys["timestamp"]);
    let mut after = repository.clone();
    after.tag("targets", "v1", "x");
    let upload = |change: &dyn Fn(&mut Repository)| {
        let mut after = after.clone();
        change(&mut after);
        submit(&repository.stored(), &[file(&after, "targets"), file(&after, "snapshot")], &timestamp_only)
    };
    let new = upload(&|_| ()).unwrap();
    let collection = read_back(&repository.stored(), &new);
    assert!(holds(&collection, "v1", "x") && holds(&collection, "a1", "x"));
    let bad = |change: &dyn Fn(&mut Repository)| {
        let outcome = upload(change);
        assert!(matches!(outcome, Err(Refusal::BadSnapshot(_))), "{outcome:?}");
    };
    bad(&|r| r.put_bytes("snapshot", seal(&r.payload("snapshot"), &[Key::new()])));
    bad(&|r| r.put_bytes("snapshot", seal(&r.payload("snapshot"), &[])));
    bad(&|r| r.edit("snapshot", |snapshot| snapshot["expires"] = "2020-01-01T00:00:00Z".into()));
    bad(&|r| r.edit("snapshot", |snapshot| snapshot["meta"]["targets"]["length"] = 1.into()));
    bad(&|r| r.edit("snapshot", |snapshot| snapshot["meta"]["targets"] = meta(b"other")));
    bad(&|r| r.edit("snapshot", |snapshot| snapshot["meta"]["root"] = meta(b"other")));
    // What is not part of the upload stays as it was.
    bad(&|r| r.edit("snapshot", |snapshot| snapshot["meta"]["targets/a"] = meta(b"other")));
    bad(&|r| r.edit("snapshot", |snapshot| snapshot["meta"]["targets/new"] = meta(b"other")));
    bad(&|r| {
        r.edit("snapshot", |snapshot| {
            snapshot["meta"].as_object_mut().unwrap().remove("targets/a");
        });
    });
    bad(&|r| r.edit("snapshot", |snapshot| snapshot["version"] = (1_u64 << 53).into()));
    for name in ["root", "targets"] {
        bad(&|r| {
            r.edit("snapshot", |snapshot| {
                snapshot["meta"].as_object_mut().unwrap().remove(name);
            });
        });
    }
    // A delegation that is removed is listed no more.
    let removed = upload(&|r| {
        r.edit("targets", |targets| targets["delegations"] = json!({ "keys": {}, "roles": null }));
        r.files.remove("targets/a");
        r.link();
    });
    removed.unwrap();
    // A snapshot alone, that leaves out a delegation.
    let mut alone = repository.clone();
    alone.files.remove("targets/a");
    alone.link();
    let refusal = submit(&repository.stored(), &[file(&alone, "snapshot")], &timestamp_only);
    assert!(matches!(refusal, Err(Refusal::BadSnapshot(_))), "{refusal:?}");
}

#[test]
fn a_missing_snapshot_is_made_if_the_service_holds_the_key() {
    let repository = delegated();
    let mut after = repository.clone();
    after.tag("targets", "v1", "x");
    let parts = [file(&after, "targets")];
    let refusal = submit(&repository.stored(), &parts, &Signers::of(&repository.keys["timestamp"])).unwrap_err();
    let Refusal::BadHierarchy { missing, message } = refusal else { panic!("{refusal:?}") };
    assert_eq!(missing, RoleName::Snapshot);
    assert_eq!(
        message,
        "no snapshot was included in update and server does not hold current snapshot key for repository"
    );
    let new = submit(&repository.stored(), &parts, &repository.service_signers()).unwrap();
    let snapshot: Value = serde_json::from_slice(&new[1].bytes).unwrap();
    let listed: Vec<&String> = snapshot["signed"]["meta"].as_object().unwrap().keys().collect();
    assert_eq!(listed, ["root", "targets", "targets/a"], "what was listed stays listed");
}

#[test]
fn the_timestamp_is_always_the_service_s_own() {
    let repository = Repository::new();
    let mut after = repository.clone();
    after.tag("targets", "v1", "x");
    after.edit("timestamp", |timestamp| timestamp["version"] = 100.into());
    let parts = [file(&after, "targets"), file(&after, "timestamp")];
    let new = submit(&repository.stored(), &parts, &repository.service_signers()).unwrap();
    assert_eq!(roles(&new).last(), Some(&("timestamp".to_owned(), 2)));
    let snapshot_only = Signers::of(&repository.keys["snapshot"]);
    let refusal = submit(&repository.stored(), &parts, &snapshot_only).unwrap_err();
    assert_eq!(refusal, Refusal::BadRoot("no timestamp keys exist on the server".into()));
    let mut two = Repository::new();
    two.edit("root", |root| root["roles"]["timestamp"]["threshold"] = 2.into());
    let refusal = submit(&nothing(), &[file(&two, "root"), file(&two, "targets")], &two.service_signers()).unwrap_err();
    assert_eq!(refusal, Refusal::BadRoot("no timestamp keys exist on the server".into()));
    two.edit("root", |root| root["roles"]["snapshot"]["threshold"] = 2.into());
    let refusal = submit(&nothing(), &[file(&two, "root"), file(&two, "targets")], &two.service_signers());
    assert!(matches!(refusal, Err(Refusal::BadHierarchy { .. })));
}

/// Attack catalogue A6-67.
#[test]
fn private_keys_in_an_upload_are_refused() {
    let repository = delegated();
    let with_private = |payload: &mut Value| {
        for (_, key) in payload.as_object_mut().unwrap() {
            key["keyval"]["private"] = "c2VjcmV0".into();
        }
    };
    let mut root = repository.clone();
    root.revise("root", |root| with_private(&mut root["keys"]));
    let refusal = submit(&repository.stored(), &[file(&root, "root")], &repository.service_signers()).unwrap_err();
    assert_eq!(refusal, Refusal::BadRoot("root contains a private key".into()));
    let mut targets = repository.clone();
    targets.revise("targets", |targets| with_private(&mut targets["delegations"]["keys"]));
    let refusal = submit(&repository.stored(), &[file(&targets, "targets")], &repository.service_signers());
    assert!(matches!(refusal, Err(Refusal::BadTargets(_))));
}

#[test]
fn a_new_root_under_which_the_stored_targets_do_not_verify_is_refused() {
    let repository = Repository::new();
    let mut after = repository.clone();
    after.rotate("targets");
    let refusal = submit(&repository.stored(), &[file(&after, "root")], &repository.service_signers()).unwrap_err();
    assert!(matches!(refusal, Refusal::BadTargets(_)));
    let parts = [file(&after, "root"), file(&after, "targets")];
    read_back(&repository.stored(), &submit(&repository.stored(), &parts, &repository.service_signers()).unwrap());
}

/// Attack catalogue B4-164.
#[test]
fn an_upload_of_nothing_signs_the_listings_anew() {
    let repository = delegated();
    let new = submit(&repository.stored(), &[], &repository.service_signers()).unwrap();
    let versions = [repository.version("snapshot") + 1, repository.version("timestamp") + 1];
    assert_eq!(roles(&new), [("snapshot".to_owned(), versions[0]), ("timestamp".to_owned(), versions[1])]);
    assert!(holds(&read_back(&repository.stored(), &new), "a1", "x"));
}

/// A holder of keys whose signatures are worth nothing.
struct Garbage(Signers);

struct GarbageSigner(Arc<dyn Signer>);

impl Signer for GarbageSigner {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn method(&self) -> countersign_crypto::Method {
        self.0.method()
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
        self.0.sign(b"something else")
    }
}

impl SignerSet for Garbage {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        let signer = self.0.signer(id)?;
        Ok(signer.map(|signer| Arc::new(GarbageSigner(signer)) as Arc<dyn Signer>))
    }
}

/// Attack catalogue B4-170: nothing is stored that readers would refuse.
#[test]
fn signatures_that_do_not_verify_are_not_stored() {
    let repository = Repository::new();
    let outcome = submit(&repository.stored(), &[], &Garbage(repository.service_signers()));
    assert!(matches!(outcome, Err(Refusal::Stored(_))), "{outcome:?}");
}

fn renew_at(
    repository: &Repository,
    now: &str,
    signers: &Signers,
    renewal: impl Into<Renewal>,
) -> Result<Vec<NewMetadata>, Refusal> {
    accept::renew(&gun(), at(now), &repository.stored(), signers, renewal)
}

const LONG: &str = "2126-01-01T00:00:00Z";

/// Attack catalogue B4-171.
#[test]
fn listings_are_renewed_when_they_are_due_and_not_before() {
    let repository = Repository::new();
    let signers = repository.service_signers();
    let renewed = |now: &str, before| roles(&renew_at(&repository, now, &signers, before).unwrap());
    assert!(renewed(NOW, RenewBefore::EXPIRY).is_empty());
    assert!(renewed("2026-12-06T12:00:00Z", RenewBefore::EXPIRY).is_empty(), "valid to the second");
    assert_eq!(renewed("2026-12-06T12:00:01Z", RenewBefore::EXPIRY), [("timestamp".to_owned(), 2)]);
    assert!(renewed("2026-11-29T12:00:00Z", RenewBefore::WELL_AHEAD).is_empty());
    assert_eq!(renewed("2026-11-29T12:00:01Z", RenewBefore::WELL_AHEAD), [("timestamp".to_owned(), 2)]);
    let both = [("snapshot".to_owned(), 2), ("timestamp".to_owned(), 2)];
    assert_eq!(renewed("2029-12-01T00:00:00Z", RenewBefore::EXPIRY), both);
    assert_eq!(renewed("2029-11-21T11:00:00Z", RenewBefore::WELL_AHEAD), both);
    let new = renew_at(&repository, "2026-12-06T12:00:01Z", &signers, RenewBefore::EXPIRY).unwrap();
    read_back(&repository.stored(), &new);
}

/// Attack catalogue E-234.
#[test]
fn what_was_set_back_is_signed_anew_far_ahead() {
    let repository = Repository::new();
    let renewed = |signers: &Signers| renew_at(&repository, NOW, signers, Renewal::Restored).unwrap();
    let new = renewed(&repository.service_signers());
    assert_eq!(roles(&new), [("snapshot".to_owned(), 1001), ("timestamp".to_owned(), 1001)]);
    read_back(&repository.stored(), &new);
    // The publisher has the snapshot key: the one that he has signed is vouched for anew.
    let new = renewed(&Signers::of(&repository.keys["timestamp"]));
    assert_eq!(roles(&new), [("timestamp".to_owned(), 1001)]);
    read_back(&repository.stored(), &new);
}

#[test]
fn renewal_without_the_needed_keys_or_files_fails() {
    let mut repository = Repository::new();
    let timestamp_only = Signers::of(&repository.keys["timestamp"]);
    // The publisher has the snapshot key and time left.
    let early = renew_at(&repository, "2029-11-21T11:00:00Z", &timestamp_only, RenewBefore::WELL_AHEAD).unwrap();
    assert_eq!(roles(&early), [("timestamp".to_owned(), 2)]);
    let late = renew_at(&repository, "2029-12-01T00:00:00Z", &timestamp_only, RenewBefore::EXPIRY);
    assert!(matches!(late, Err(Refusal::BadHierarchy { .. })));
    let none = renew_at(&repository, "2029-12-01T00:00:00Z", &Signers::default(), RenewBefore::EXPIRY);
    assert!(none.is_err());
    let expired = renew_at(&repository, "2037-01-01T00:00:00Z", &repository.service_signers(), RenewBefore::EXPIRY);
    assert!(matches!(expired, Err(Refusal::Stored(_))));
    for name in ["root", "snapshot", "timestamp"] {
        let mut stored = repository.stored();
        stored.remove(&role(name));
        let due = at("2026-12-07T00:00:00Z");
        let lost = accept::renew(&gun(), due, &stored, &repository.service_signers(), RenewBefore::EXPIRY);
        assert!(matches!(lost, Err(Refusal::Stored(_))), "{name}");
        stored.insert(role(name), "junk".into());
        let junk = accept::renew(&gun(), due, &stored, &repository.service_signers(), RenewBefore::EXPIRY);
        assert!(matches!(junk, Err(Refusal::Stored(_))), "{name}");
    }
    // A snapshot in the store that the root's snapshot key has not signed gets no timestamp.
    let foreign = seal(&repository.payload("snapshot"), &[Key::new()]);
    repository.put_bytes("snapshot", foreign);
    let outcome = renew_at(&repository, "2026-12-07T00:00:00Z", &repository.service_signers(), RenewBefore::EXPIRY);
    assert!(matches!(outcome, Err(Refusal::Stored(_))), "{outcome:?}");
    let beyond = renew_at(&repository, LONG, &repository.service_signers(), RenewBefore::EXPIRY);
    assert!(beyond.is_err());
}
