//! The real notary 0.7 and this crate in turns: each publishes what the other staged, and goes on where the other stopped.

use crate::house::{GUN, House};
use crate::person::{OnePassphrase, Person, content};
use countersign_crypto::digest::sha256;
use countersign_testkit::{Finished, NotaryClient, Passphrases, fixtures};
use countersign_trust::{
    Beginning, Consequence, Decision, DelegationRemoval, Holder, LegacyRoots, NewKeys, PathEdit, RequestError,
    Rotation, SignerName, TrustError, Unstage, WitnessSubject, read_public_key,
};
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::update::Purpose;
use countersign_tuf::{Change, RoleName};
use countersign_vault::ImportDefaults;
use jiff::Timestamp;
use std::path::Path;

/// One trust directory used by both.
struct Both {
    house: House,
    notary: NotaryClient,
    ours: Person,
}

impl Both {
    fn new() -> Self {
        let house = House::open_at(Timestamp::now());
        let notary = notary(&house);
        let ours = Person::today().sharing(notary.trust_dir());
        Self { house, notary, ours }
    }

    fn client(&self) -> countersign_trust::CollectionClient<'_> {
        self.ours.client(&self.house).new_snapshot_key(Holder::Client)
    }

    /// Runs notary, which has to succeed.
    fn notary(&self, arguments: &[&str]) -> String {
        succeed(&self.notary.run(arguments), arguments)
    }

    /// What a notary that has never been here lists, as name and role.
    fn listed_by_a_fresh_notary(&self) -> Vec<(String, String)> {
        listed(&notary(&self.house))
    }
}

fn notary(house: &House) -> NotaryClient {
    let one = || "a passphrase".to_owned();
    let all = Passphrases { root: one(), targets: one(), snapshot: one(), delegation: one() };
    NotaryClient::new(&house.server.url(), &house.ca.pem()).with_passphrases(all)
}

fn succeed(finished: &Finished, arguments: &[&str]) -> String {
    assert!(finished.code == 0, "{arguments:?}: {finished:?}");
    finished.stdout.clone()
}

fn listed(notary: &NotaryClient) -> Vec<(String, String)> {
    let table = succeed(&notary.run(&["list", GUN]), &["list"]);
    let rows = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns.as_slice() {
            [name, digest, _, role] if digest.len() == 64 => Some(((*name).to_owned(), (*role).to_owned())),
            _ => None,
        }
    });
    rows.collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, role)| ((*name).to_owned(), (*role).to_owned())).collect()
}

fn meta(name: &str) -> FileMeta {
    FileMeta::of(name.as_bytes())
}

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

fn sign_all(_: &[WitnessSubject]) -> Decision {
    Decision::Sign
}

fn refuse(_: &[WitnessSubject]) -> Decision {
    Decision::Refuse
}

/// Makes a delegation key in notary's store and returns its public key.
fn delegate(both: &Both, name: &str) -> countersign_crypto::PublicKey {
    let base = both.notary.folder().join(name);
    both.notary(&["key", "generate", "ecdsa", "--role", name, "-o", base.to_str().unwrap()]);
    let private = format!("{}-key.pem", base.display());
    let defaults = ImportDefaults { role: Some(name.to_owned()), gun: None };
    let private = std::fs::read(private).unwrap();
    let report = both.client().keys().import(&private, &defaults, &OnePassphrase).unwrap();
    assert_eq!(report.imported.len(), 1, "{report:?}");
    read_public_key(&std::fs::read(base.with_extension("pem")).unwrap(), Timestamp::now()).unwrap()
}

#[tokio::test]
async fn what_notary_initialised_and_staged_is_published_here() {
    let both = Both::new();
    both.notary(&["init", GUN]);
    both.notary(&["addhash", GUN, "v1", "2", "--sha256", &sha256(b"v1").hex()]);
    both.notary(&["addhash", GUN, "v2", "2", "--sha256", &sha256(b"v2").hex(), "--sha512", &"ab".repeat(64)]);
    let staged = both.client().staged().unwrap();
    assert_eq!(staged.entries.len(), 2);
    assert!(matches!(&staged.entries[0].change, Ok(Change::AddTarget { name, .. }) if name == "v1"));
    let published = both.client().publish_staged(&refuse).await.unwrap();
    assert_eq!(published.changes.len(), 2);
    assert!(both.client().staged().unwrap().entries.is_empty());
    assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v1", "targets"), ("v2", "targets")]));
    assert!(both.notary(&["status", GUN]).contains("No unpublished changes"));
    // The snapshot key stays here, as notary has it.
    let (found, collection) = both.client().lookup("v1", &[]).await.unwrap();
    assert_eq!(found.meta.sha256, Some(content("v1")));
    assert_eq!(collection.snapshot().version.get(), 2);
    // And notary goes on.
    both.notary(&["addhash", GUN, "v3", "2", "--sha256", &sha256(b"v3").hex(), "-p"]);
    assert_eq!(both.client().list(&[]).await.unwrap().0.len(), 3);
}

#[tokio::test]
async fn what_is_initialised_and_staged_here_notary_publishes() {
    for beginning in [Beginning::notary(), Beginning::docker()] {
        let both = Both::new();
        let keys = both.client().init(&beginning).await.unwrap();
        assert_eq!(both.client().present_root_key().unwrap(), keys.first().copied());
        let error = both.client().init(&beginning).await.unwrap_err();
        assert!(matches!(error, TrustError::Request(RequestError::Initialised(_))), "{error:?}");
        both.client().stage_target("v1", &meta("v1"), &[]).unwrap();
        both.client().stage_target("gone", &meta("gone"), &[]).unwrap();
        both.client().stage_target_removal("gone", &[]).unwrap();
        let status = both.notary(&["status", GUN]);
        assert!(status.contains("create") && status.contains("delete"), "{status}");
        both.notary(&["publish", GUN]);
        assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v1", "targets")]));
        assert_eq!(both.client().lookup("v1", &[]).await.unwrap().0.meta, meta("v1"));
    }
}

#[tokio::test]
async fn publishing_makes_a_collection_that_is_not_there_as_notary_does() {
    let both = Both::new();
    both.client().stage_target("v1", &meta("v1"), &[]).unwrap();
    both.client().publish_staged(&refuse).await.unwrap();
    assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v1", "targets")]));
    let roles: Vec<String> = both.client().keys().list().unwrap().keys.into_iter().map(|key| key.role).collect();
    for role in ["root", "targets", "snapshot"] {
        assert!(roles.iter().any(|found| found == role), "{role}: {roles:?}");
    }
    both.notary(&["addhash", GUN, "v2", "2", "--sha256", &sha256(b"v2").hex(), "-p"]);
    assert_eq!(both.client().list(&[]).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn delegations_staged_by_one_are_published_by_the_other() {
    let both = Both::new();
    both.notary(&["init", GUN, "-p"]);
    let (alice, bob) = (delegate(&both, "alice"), delegate(&both, "bob"));
    let pem = both.notary.folder().join("alice.pem");
    // Notary stages, we publish.
    both.notary(&["delegation", "add", GUN, "targets/alice", pem.to_str().unwrap(), "--paths", "a,b"]);
    both.client().publish_staged(&refuse).await.unwrap();
    let (all, _) = both.client().delegations().await.unwrap();
    assert_eq!(
        (all.len(), all[0].paths.as_slice(), all[0].keys.as_slice()),
        (1, ["a".to_owned(), "b".to_owned()].as_slice(), [alice.canonical_id()].as_slice())
    );
    // We stage, notary publishes.
    both.client().stage_delegation(&role("targets/bob"), &[bob.clone(), alice.clone()], &PathEdit::All).unwrap();
    both.client()
        .stage_delegation_removal(
            &role("targets/alice"),
            &DelegationRemoval::Parts { keys: Vec::new(), paths: PathEdit::Prefixes(vec!["b".to_owned()]) },
        )
        .unwrap();
    both.notary(&["publish", GUN]);
    let table = both.notary(&["delegation", "list", GUN]);
    assert!(table.contains("targets/bob") && table.contains("<all paths>"), "{table}");
    let (all, _) = both.client().delegations().await.unwrap();
    assert_eq!(all.iter().map(|one| one.paths.len()).collect::<Vec<_>>(), [1, 1]);
    // Each signs for a delegation of the other's making.
    both.client().stage_target("b1", &meta("b1"), &[role("targets/bob")]).unwrap();
    both.client().publish_staged(&refuse).await.unwrap();
    both.notary(&["addhash", GUN, "a1", "2", "--sha256", &sha256(b"a1").hex(), "-r", "targets/alice", "-p"]);
    assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("a1", "targets/alice"), ("b1", "targets/bob")]));
    // Keys are purged, one by each.
    both.client().stage_purge(&[alice.canonical_id()]).unwrap();
    both.notary(&["publish", GUN]);
    let (all, _) = both.client().delegations().await.unwrap();
    assert_eq!(all.iter().map(|one| one.keys.len()).collect::<Vec<_>>(), [0, 1]);
    both.notary(&["delegation", "purge", GUN, "--key", &bob.canonical_id().to_string()]);
    both.notary(&["delegation", "remove", GUN, "targets/alice", "-y"]);
    both.client().publish_staged(&refuse).await.unwrap();
    let (all, _) = both.client().delegations().await.unwrap();
    assert_eq!(all.iter().map(|one| (one.role.as_str(), one.keys.len())).collect::<Vec<_>>(), [("targets/bob", 0)]);
    both.client().stage_delegation_removal(&role("targets/bob"), &DelegationRemoval::Role).unwrap();
    both.notary(&["publish", GUN]);
    assert!(both.client().delegations().await.unwrap().0.is_empty());
    assert!(both.notary(&["delegation", "list", GUN]).contains("No delegations present"));
}

#[tokio::test]
async fn both_take_changes_out_of_one_list() {
    let both = Both::new();
    both.notary(&["init", GUN]);
    for name in ["a", "b", "c", "d"] {
        both.client().stage_target(name, &meta(name), &[]).unwrap();
    }
    both.notary(&["reset", GUN, "-n", "1"]);
    let removed = both.client().unstage(Unstage::Numbers(&[0, 7])).unwrap();
    assert_eq!(removed.len(), 1);
    both.notary(&["publish", GUN]);
    assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("c", "targets"), ("d", "targets")]));
    both.notary(&["remove", GUN, "c"]);
    assert_eq!(both.client().unstage(Unstage::All).unwrap().len(), 1);
    assert!(both.notary(&["status", GUN]).contains("No unpublished changes"));
}

#[tokio::test]
async fn custom_data_is_published_in_canonical_form() {
    let both = Both::new();
    both.client().init(&Beginning::notary()).await.unwrap();
    let custom = countersign_trust::canonical_custom(b" {\"b\": [1, null],\n \"a\": \"\\u00e9<\"} ").unwrap();
    countersign_trust::canonical_custom(b"{\"a\": 1.5}").unwrap_err();
    let meta = FileMeta { custom: Some(custom), ..meta("v1") };
    both.client().stage_target("v1", &meta, &[]).unwrap();
    both.client().publish_staged(&refuse).await.unwrap();
    assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v1", "targets")]));
    assert_eq!(both.client().lookup("v1", &[]).await.unwrap().0.meta, meta);
    // Notary publishes it too, staged here; unless it has one of <>&, with which it cannot publish anything.
    let both = Both::new();
    both.client().init(&Beginning::notary()).await.unwrap();
    let custom = countersign_trust::canonical_custom(b" {\"b\": [1, null],\n \"a\": \"\\u00e9\"} ").unwrap();
    both.client().stage_target("v2", &FileMeta { custom: Some(custom), ..meta }, &[]).unwrap();
    both.notary(&["publish", GUN]);
    assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v2", "targets")]));
}

#[tokio::test]
async fn every_rotation_is_verified_by_both_and_by_those_who_were_away() {
    let both = Both::new();
    both.notary(&["init", GUN, "-p"]);
    both.notary(&["addhash", GUN, "v1", "2", "--sha256", &sha256(b"v1").hex(), "-p"]);
    let (old_notary, old_reader) = (notary(&both.house), Person::today());
    listed(&old_notary);
    old_reader.find(&both.house, "v1").await.unwrap();
    let rotation = |role: RoleName, keys| Rotation { role, keys, legacy: LegacyRoots::None };
    let steps = [
        (rotation(RoleName::Root, NewKeys::Generate), ["key", "rotate", GUN, "root"].as_slice()),
        (rotation(RoleName::Targets, NewKeys::Generate), ["key", "rotate", GUN, "targets"].as_slice()),
        (rotation(RoleName::Snapshot, NewKeys::OfService), ["key", "rotate", GUN, "snapshot", "-r"].as_slice()),
        (rotation(RoleName::Snapshot, NewKeys::Generate), ["key", "rotate", GUN, "snapshot"].as_slice()),
        (rotation(RoleName::Timestamp, NewKeys::OfService), ["key", "rotate", GUN, "timestamp", "-r"].as_slice()),
    ];
    for (number, (ours, theirs)) in steps.into_iter().enumerate() {
        // A change that is staged stays staged.
        both.client().stage_target("later", &meta("later"), &[]).unwrap();
        let rotated = both.client().rotate(&ours).await.unwrap();
        assert_eq!(
            rotated.removed.len(),
            usize::from(rotated.keys.len() == 1 && number == 1) + usize::from(number == 2),
            "{ours:?}"
        );
        assert_eq!(both.client().unstage(Unstage::All).unwrap().len(), 1);
        let name = format!("ours-{number}");
        both.notary(&["addhash", GUN, &name, "2", "--sha256", &sha256(b"x").hex(), "-p"]);
        assert_eq!(both.listed_by_a_fresh_notary().len(), 2 + 2 * number, "{ours:?}");
        // And the same by notary, on top.
        succeed(&both.notary.run_with_input(theirs, "yes\n"), theirs);
        both.client().stage_target(&format!("theirs-{number}"), &meta("v1"), &[]).unwrap();
        both.client().publish_staged(&refuse).await.unwrap();
        assert_eq!(both.listed_by_a_fresh_notary().len(), 3 + 2 * number, "{theirs:?}");
        Person::today().find(&both.house, "v1").await.unwrap();
    }
    assert_eq!(listed(&old_notary).len(), 11);
    old_reader.find(&both.house, "v1").await.unwrap();
}

#[tokio::test]
async fn a_rotation_before_the_first_publication_is_published_with_it() {
    for role in [RoleName::Root, RoleName::Snapshot] {
        let both = Both::new();
        both.notary(&["init", GUN]);
        let keys = if role == RoleName::Snapshot { NewKeys::OfService } else { NewKeys::Generate };
        let rotated = both.client().rotate(&Rotation { role, keys, legacy: LegacyRoots::None }).await.unwrap();
        assert_eq!(rotated.collection.root().version.get(), 2);
        both.notary(&["addhash", GUN, "v1", "2", "--sha256", &sha256(b"v1").hex(), "-p"]);
        assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v1", "targets")]));
        Person::today().find(&both.house, "v1").await.unwrap();
    }
}

#[tokio::test]
async fn a_witness_staged_by_one_is_published_by_the_other() {
    let both = Both::new();
    both.notary(&["init", GUN, "-p"]);
    let (alice, bob) = (delegate(&both, "alice"), delegate(&both, "bob"));
    let releases = role("targets/releases");
    both.client().stage_delegation(&releases, std::slice::from_ref(&alice), &PathEdit::All).unwrap();
    both.client().stage_target("v1", &meta("v1"), std::slice::from_ref(&releases)).unwrap();
    both.client().publish_staged(&refuse).await.unwrap();
    for (round, (gone, next)) in [(&alice, &bob), (&bob, &alice)].into_iter().enumerate() {
        // The signer's key is replaced, and what it signed cannot be verified any more.
        both.client().stage_delegation(&releases, std::slice::from_ref(next), &PathEdit::None).unwrap();
        let removal = DelegationRemoval::Parts { keys: vec![gone.canonical_id()], paths: PathEdit::None };
        both.client().stage_delegation_removal(&releases, &removal).unwrap();
        both.client().publish_staged(&refuse).await.unwrap();
        let broken = both.client().update(Purpose::Read).await.unwrap();
        assert!(broken.broken().contains_key(&releases), "{round}");
        if round == 0 {
            both.client().stage_witness(std::slice::from_ref(&releases)).unwrap();
            both.notary(&["publish", GUN]);
        } else {
            both.notary(&["witness", GUN, "targets/releases"]);
            let error = both.client().publish_staged(&refuse).await.unwrap_err();
            assert!(matches!(error, TrustError::Request(RequestError::WitnessDeclined { .. })), "{error:?}");
            assert_eq!(both.client().staged().unwrap().entries.len(), 1);
            both.client().publish_staged(&sign_all).await.unwrap();
        }
        assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v1", "targets/releases")]));
        assert_eq!(both.client().lookup("v1", &[]).await.unwrap().0.meta, meta("v1"));
    }
}

#[tokio::test]
async fn docker_s_signers_come_and_go_and_notary_verifies_and_signs_at_every_step() {
    let both = Both::new();
    let name = |name: &str| SignerName::parse(name).unwrap();
    let (alice, bob) = (delegate(&both, "alice"), Person::today());
    let of_bob = bob.make_key("bob");
    let docker = both.client().new_snapshot_key(Holder::Service);
    docker.add_signer(&name("alice"), std::slice::from_ref(&alice)).await.unwrap();
    both.client().add_signer(&name("bob"), std::slice::from_ref(&of_bob)).await.unwrap();
    bob.sign(&both.house, "v1").await.unwrap();
    let add = |tag: &str| {
        let digest = sha256(tag.as_bytes()).hex();
        let roles = ["targets/alice", "targets/releases"];
        both.notary(&["addhash", GUN, tag, "524", "--sha256", &digest, "-r", roles[0], "-r", roles[1], "-p"]);
    };
    add("v2");
    assert_eq!(Person::today().find(&both.house, "v2").await.unwrap().key_ids, [alice.id()]);
    // Alice signed last and goes; Bob, who is elsewhere, goes on.
    let removed = both.client().remove_signer(&name("alice")).await.unwrap();
    assert_eq!(removed.consequence, Consequence::Unpullable);
    let signed = bob.sign(&both.house, "v3").await.unwrap();
    assert_eq!(signed.given_up.iter().map(|gone| gone.name.as_str()).collect::<Vec<_>>(), ["v2"]);
    let released = |tags: &[&str]| {
        let of_releases = notary(&both.house).run(&["list", GUN, "-r", "targets/releases"]).succeeded().stdout;
        for tag in tags {
            assert!(of_releases.contains(&format!("{tag} ")), "{tag}: {of_releases}");
        }
        assert_eq!(of_releases.matches("targets/releases").count(), tags.len(), "{of_releases}");
    };
    released(&["v1", "v3"]);
    // The last one goes too, and Alice comes back to roles that are made again.
    both.client().remove_signer(&name("bob")).await.unwrap();
    assert!(both.notary(&["delegation", "list", GUN]).contains("No delegations present"));
    both.client().add_signer(&name("alice"), std::slice::from_ref(&alice)).await.unwrap();
    both.ours.sign(&both.house, "v4").await.unwrap();
    add("v5");
    released(&["v4", "v5"]);
    assert_eq!(Person::today().find(&both.house, "v5").await.unwrap().sha256, content("v5"));
}

#[tokio::test]
async fn a_root_that_earlier_keys_sign_too_is_verified_by_all_notaries() {
    let both = Both::new();
    both.notary(&["init", GUN, "-p"]);
    both.notary(&["addhash", GUN, "v1", "2", "--sha256", &sha256(b"v1").hex(), "-p"]);
    let old = notary(&both.house);
    listed(&old);
    for legacy in [LegacyRoots::None, LegacyRoots::Last(1), LegacyRoots::All] {
        both.client().rotate(&Rotation { role: RoleName::Root, keys: NewKeys::Generate, legacy }).await.unwrap();
        assert_eq!(both.listed_by_a_fresh_notary(), pairs(&[("v1", "targets")]), "{legacy:?}");
    }
    succeed(&both.notary.run_with_input(&["key", "rotate", GUN, "root", "-l", "2"], "yes\n"), &["rotate"]);
    assert_eq!(listed(&old), pairs(&[("v1", "targets")]));
    both.client().lookup("v1", &[]).await.unwrap();
    Person::today().find(&both.house, "v1").await.unwrap();
}

#[tokio::test]
async fn root_keys_and_certificates_come_from_files() {
    let both = Both::new();
    let base = both.notary.folder().join("root");
    both.notary(&["key", "generate", "ecdsa", "-o", base.to_str().unwrap()]);
    let pem = std::fs::read(both.notary.folder().join("root-key.pem")).unwrap();
    let id = both.client().import_key(&RoleName::Root, &pem).unwrap();
    assert_eq!(both.client().init(&Beginning { root_keys: vec![id], ..Beginning::notary() }).await.unwrap(), [id]);
    both.notary(&["publish", GUN]);
    both.listed_by_a_fresh_notary();

    // A certificate of one's own for that key.
    let certificate = both.client().update(Purpose::Read).await.unwrap();
    let certificate = certificate.root().keys.iter().find(|(_, key)| key.canonical_id() == id).unwrap().1.clone();
    let other = House::open_at(Timestamp::now());
    let second = Person::today();
    assert_eq!(second.client(&other).import_key(&RoleName::Root, &pem).unwrap(), id);
    let read =
        countersign_trust::read_root_certificate(certificate.bytes(), second.client(&other).gun(), Timestamp::now());
    let beginning = Beginning { certificates: vec![read.unwrap()], ..Beginning::docker() };
    second.client(&other).init(&beginning).await.unwrap();
    second.sign(&other, "v1").await.unwrap();
    let collection = Person::today().client(&other).update(Purpose::Read).await.unwrap();
    assert_eq!(collection.root().trusted(&RoleName::Root).unwrap().key_ids, [certificate.id()]);

    let foreign = countersign_tuf::Gun::parse("reg.test/other").unwrap();
    let error = countersign_trust::read_root_certificate(certificate.bytes(), &foreign, Timestamp::now()).unwrap_err();
    assert!(matches!(error, RequestError::CertificateName { .. }), "{error:?}");
    let error = both.client().import_key(&RoleName::Root, fixtures::text("key-bundles/inputs/ec-p256.key").as_bytes());
    assert!(matches!(error, Err(TrustError::Request(RequestError::PlainRootKey))), "{error:?}");
}

#[tokio::test]
async fn deleting_here_and_at_the_service() {
    let both = Both::new();
    both.notary(&["init", GUN, "-p"]);
    both.client().list(&[]).await.unwrap();
    both.client().stage_target("v1", &meta("v1"), &[]).unwrap();
    both.client().delete_local().unwrap();
    assert!(both.client().staged().unwrap().entries.is_empty());
    assert!(!Path::new(&both.ours.trust_dir()).join("tuf").join(GUN).exists());
    assert_eq!(both.client().list(&[]).await.unwrap().0.len(), 0);
    both.client().delete_remote().await.unwrap();
    let answer = notary(&both.house).run(&["list", GUN]);
    assert!(answer.code != 0, "{answer:?}");
}
