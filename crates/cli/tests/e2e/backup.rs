//! Keys backed up and restored: with gpg and tar on one side or the other, in shares, and never by halves.

use crate::client::{Client, Ending, LOCAL, TRUST, USER};
use crate::stage::{Shop, Stage, pushed_digest};
use countersign_testkit::{DockerClient, Finished, Gpg, fixtures};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const PASSPHRASE: &str = "COUNTERSIGN_BACKUP_PASSPHRASE";
pub(crate) const SECRET: &str = "the archive's own secret";

impl Client {
    /// The same with the passphrase of archives.
    pub(crate) fn with_archives(self) -> Self {
        self.env(PASSPHRASE, SECRET)
    }
}

/// The key files of a trust directory, by name and content.
pub(crate) fn key_files(trust_dir: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(trust_dir.join("private")) else { return Vec::new() };
    let read =
        |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
    let mut files: Vec<_> = entries.map(|entry| read(entry.unwrap())).collect();
    files.sort();
    files
}

pub(crate) fn tar(arguments: &[&str]) {
    let done = Command::new("tar").args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// `gpg --decrypt FILE | tar xz -C ~/.docker` as the guide has it.
pub(crate) fn restore_by_hand(archive: &Path, docker_config: &Path) {
    let plain = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(plain.path(), Gpg::new().decrypt(SECRET, &std::fs::read(archive).unwrap())).unwrap();
    tar(&["xzf", plain.path().to_str().unwrap(), "-C", docker_config.to_str().unwrap()]);
}

/// A shop with an owner who has signed `v1`, and a backup of all the owner's keys.
fn backed_up() -> (Shop, Client) {
    let shop = Shop::open();
    let owner = shop.client().with_archives();
    shop.signed_by(&owner, "v1", "one");
    owner.run(&["key", "generate", "alice"]).succeeded();
    let all = ["key", "backup", "all.gpg", "--role", "root", "--role", "targets", "--role", "alice"];
    let done = owner.run(&all).succeeded();
    assert!(done.stdout.starts_with("Backed up 3 key(s) to all.gpg"), "{done}");
    (shop, owner)
}

fn docker_signs_with_restored_keys(stage: &Stage, other: &DockerClient) {
    let owner = stage.countersign().with_archives();
    let app = stage.repository("acme/kept");
    stage.engine.build(&format!("{app}:v1"), "one");
    owner.run(&["push", &format!("{app}:v1")]).succeeded();
    let all = ["key", "backup", "all.gpg", "--role", "root", "--role", "targets", "--role", "alice"];
    owner.run(&all).succeeded();

    restore_by_hand(&owner.folder().join("all.gpg"), &other.config_dir());
    assert_eq!(key_files(&other.config_dir().join("trust")), key_files(&owner.trust_dir()));
    let name = format!("{app}:v2");
    stage.engine.build(&name, "two");
    let pushed = other.run(&["push", &name]).succeeded();
    assert!(pushed.stdout.contains(&format!("Successfully signed {name}")), "{pushed}");
    let digest = pushed_digest(&pushed);
    let verified = stage.countersign().run(&["verify", &name]).succeeded();
    assert!(verified.stdout.contains(&digest), "{verified}");
}

#[test]
fn keys_restored_with_gpg_and_tar_sign_with_docker_20() {
    let stage = Stage::set();
    docker_signs_with_restored_keys(&stage, &stage.docker20());
}

mod docker_28 {
    #[test]
    fn keys_restored_with_gpg_and_tar_sign() {
        let stage = crate::stage::Stage::set();
        super::docker_signs_with_restored_keys(&stage, &stage.docker28());
    }
}

#[test]
fn an_archive_made_with_tar_and_gpg_is_restored_and_signs() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let private = owner.trust_dir().join("private/");
    let plain = owner.folder().join("keys.tar.gz");
    // tar takes the slash away and keeps all the folders: unpacked by hand, they would not be where docker looks.
    tar(&["czf", plain.to_str().unwrap(), private.to_str().unwrap()]);
    let newcomer = shop.client().with_archives();
    let file = newcomer.folder().join("keys.tar.gz.gpg");
    let encrypted = Gpg::new().symmetric(SECRET, &[], &std::fs::read(&plain).unwrap());
    std::fs::write(&file, encrypted).unwrap();

    let shown = newcomer.run(&["key", "restore", "keys.tar.gz.gpg", "--dry-run"]).succeeded();
    assert!(
        shown.stdout.contains("to be restored: root key") && shown.stdout.contains("2 of 2 key(s) would"),
        "{shown}"
    );
    assert_eq!(key_files(&newcomer.trust_dir()), []);
    let restored = newcomer.run(&["key", "restore", "keys.tar.gz.gpg", "--check"]).succeeded();
    assert!(restored.stdout.contains("2 of 2 key(s) restored"), "{restored}");
    assert_eq!(key_files(&newcomer.trust_dir()), key_files(&owner.trust_dir()));
    shop.signed_by(&newcomer, "v2", "two");
    owner.run(&["verify", &shop.name("v2")]).succeeded();

    let again = newcomer.run(&["key", "restore", "keys.tar.gz.gpg"]).succeeded();
    assert!(again.stdout.contains("already there") && again.stdout.contains("0 of 2 key(s)"), "{again}");
    // Not encrypted at all.
    let third = shop.client();
    let restored = third.run(&["key", "restore", plain.to_str().unwrap()]).succeeded();
    assert!(restored.stderr.contains("not encrypted"), "{restored}");
    assert_eq!(key_files(&third.trust_dir()), key_files(&owner.trust_dir()));
}

#[test]
fn an_archive_for_a_public_key_is_decrypted_by_gpg() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let gpg = Gpg::new();
    gpg.make_key("ops@example.test");
    let plain = owner.folder().join("keys.tar.gz");
    tar(&["czf", plain.to_str().unwrap(), "-C", owner.trust_dir().to_str().unwrap(), "private"]);
    let newcomer = shop.client().env("GNUPGHOME", gpg.home().to_str().unwrap());
    let file = newcomer.folder().join("keys.gpg");
    std::fs::write(&file, gpg.encrypt_to("ops@example.test", &std::fs::read(&plain).unwrap())).unwrap();
    let restored = newcomer.run(&["key", "restore", "keys.gpg"]).succeeded();
    assert!(restored.stderr.contains("gpg decrypts the archive"), "{restored}");
    assert_eq!(key_files(&newcomer.trust_dir()), key_files(&owner.trust_dir()));

    let stranger = shop.client().env("GNUPGHOME", Gpg::new().home().to_str().unwrap());
    std::fs::copy(&file, stranger.folder().join("keys.gpg")).unwrap();
    stranger.run(&["key", "restore", "keys.gpg"]).refused(LOCAL, "gpg did not decrypt");
    let bare = shop.client().env("PATH", "/nowhere");
    std::fs::copy(&file, bare.folder().join("keys.gpg")).unwrap();
    bare.run(&["key", "restore", "keys.gpg"]).refused(LOCAL, "gpg is not installed");
    assert_eq!((key_files(&stranger.trust_dir()), key_files(&bare.trust_dir())), (vec![], vec![]));
}

#[test]
fn root_keys_go_along_only_when_they_are_named() {
    let (_shop, owner) = backed_up();
    let roles = |arguments: &[&str]| {
        let arguments = [&["key", "backup", "some.gpg", "--force", "--format", "json"], arguments].concat();
        let done = owner.run(&arguments).succeeded();
        let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        let mut roles: Vec<String> =
            report["keys"].as_array().unwrap().iter().map(|key| key["role"].as_str().unwrap().to_owned()).collect();
        roles.sort();
        (roles.join(" "), done)
    };
    let (default, done) = roles(&[]);
    assert_eq!(default, "alice targets");
    assert!(done.stderr.contains("1 root key(s) are not in the backup: name them with --role root"), "{done}");
    assert_eq!(roles(&["--role", "root"]).0, "root");
    assert_eq!(roles(&["--role", "targets"]).0, "targets");
    let root = owner.run(&["key", "list", "--format", "json"]).succeeded();
    let keys: serde_json::Value = serde_json::from_str(&root.stdout).unwrap();
    let root = keys.as_array().unwrap().iter().find(|key| key["role"] == "root").unwrap()["id"].as_str().unwrap();
    assert_eq!(roles(&["--key", root]).0, "root");
    let gun = keys.as_array().unwrap().iter().find_map(|key| key["gun"].as_str()).unwrap();
    assert_eq!(roles(&["--gun", gun]).0, "targets");
    assert_eq!(roles(&["--gun", gun, "--role", "root", "--role", "targets"]).0, "root targets");
    assert_eq!(roles(&["--gun", gun, "--role", "targets", "--key", root]).0, "root targets");
    owner.run(&["key", "backup", "none.gpg", "--gun", "other/app"]).refused(USER, "nothing to back up");
    owner.run(&["key", "backup", "none.gpg", "--key", &"a".repeat(64)]).refused(USER, "there is no key");
    assert!(!owner.folder().join("none.gpg").exists());
}

#[test]
fn a_backup_is_private_remembered_and_never_replaces_a_file_unasked() {
    let (_shop, owner) = backed_up();
    let file = owner.folder().join("all.gpg");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let record = owner.folder().join(".local/state/countersign/backups.json");
    let known: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    assert_eq!(known["backups"][0]["file"].as_str().unwrap(), file.canonicalize().unwrap().to_str().unwrap());
    assert_eq!(known["backups"][0]["keys"].as_array().unwrap().len(), 3);

    let before = std::fs::read(&file).unwrap();
    owner.run(&["key", "backup", "all.gpg"]).refused(USER, "exists already");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    owner.run(&["key", "backup", "all.gpg", "--force"]).succeeded();
    assert_ne!(std::fs::read(&file).unwrap(), before);

    // Whoever cannot open the keys has no proof; whoever has no passphrase, or a short one, no archive.
    let repository = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
    let wrong = Client::new().sharing(owner.config_dir()).with_archives().env(repository, "wrong passphrase");
    let refused = wrong.run(&["key", "backup", "x.gpg"]).refused(LOCAL, "no backup was made");
    assert!(refused.stderr.contains("--unopened"), "{refused}");
    wrong.run(&["key", "backup", "x.gpg", "--unopened"]).succeeded();
    let without = Client::new().sharing(owner.config_dir());
    without.run(&["key", "backup", "y.gpg"]).refused(LOCAL, "there is no passphrase for the archive");
    let short = Client::new().sharing(owner.config_dir()).env(PASSPHRASE, "short");
    short.run(&["key", "backup", "y.gpg"]).refused(USER, "too short");
    let typed = Finished::of(&mut without.command(&["key", "backup", "y.gpg"]), b"typed twice\ntyped twice\n");
    typed.succeeded();
    without.run(&["key", "backup", "no/such/y.gpg", "--unopened"]).refused(LOCAL, "passphrase");
    let left: Vec<_> = std::fs::read_dir(without.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".countersign")), "{left:?}");
}

#[test]
fn a_wrong_passphrase_and_a_damaged_archive_are_told_apart_and_nothing_is_written() {
    let (shop, owner) = backed_up();
    let newcomer = shop.client().env(PASSPHRASE, "not that one");
    let good = std::fs::read(owner.folder().join("all.gpg")).unwrap();
    std::fs::write(newcomer.folder().join("all.gpg"), &good).unwrap();
    let wrong = newcomer.run(&["key", "restore", "all.gpg"]).refused(LOCAL, "the passphrase does not open the archive");
    assert!(wrong.stderr.contains("The passphrase in COUNTERSIGN_BACKUP_PASSPHRASE does not"), "{wrong}");
    assert!(!wrong.stderr.contains("not that one") && !wrong.stderr.contains("damaged, cut"), "{wrong}");

    let newcomer = newcomer.with_archives();
    let restore = |name: &str, bytes: &[u8]| {
        std::fs::write(newcomer.folder().join(name), bytes).unwrap();
        newcomer.run(&["key", "restore", name])
    };
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    restore("flipped", &flipped).refused(LOCAL, "damaged, cut short or was tampered with");
    restore("cut", &good[..good.len() - 1]).refused(LOCAL, "damaged, cut short");
    restore("joined", &[good.as_slice(), &good].concat()).refused(LOCAL, "damaged, cut short");
    restore("text", b"no archive").refused(USER, "it is no archive of keys");
    newcomer.run(&["key", "restore", "missing"]).refused(USER, "missing");
    assert_eq!(key_files(&newcomer.trust_dir()), []);
    let silent = shop.client();
    std::fs::write(silent.folder().join("all.gpg"), &good).unwrap();
    silent.run(&["key", "restore", "all.gpg"]).refused(LOCAL, "there is no passphrase for the archive");
    let typed =
        Finished::of(&mut silent.command(&["key", "restore", "all.gpg"]), format!("oops\n{SECRET}\n").as_bytes());
    assert!(typed.succeeded().stdout.contains("3 of 3 key(s) restored"));
}

#[test]
fn an_archive_that_leads_elsewhere_is_refused_as_an_attack() {
    let (shop, owner) = backed_up();
    let newcomer = shop.client();
    let folder = newcomer.folder();
    std::fs::create_dir_all(folder.join("a/private")).unwrap();
    let (name, bytes) = key_files(&owner.trust_dir()).remove(0);
    std::fs::write(folder.join("a/private").join(&name), bytes).unwrap();
    std::os::unix::fs::symlink("/etc", folder.join("a/private/etc")).unwrap();
    tar(&["czf", folder.join("link.tgz").to_str().unwrap(), "-C", folder.join("a").to_str().unwrap(), "private"]);
    newcomer.run(&["key", "restore", "link.tgz"]).refused(TRUST, "a symbolic link");
    std::fs::remove_file(folder.join("a/private/etc")).unwrap();
    let (archive, inside) = (folder.join("up.tgz"), folder.join("a/private"));
    tar(&["czPf", archive.to_str().unwrap(), "-C", inside.to_str().unwrap(), &format!("../private/{name}")]);
    newcomer.run(&["key", "restore", "up.tgz"]).refused(TRUST, "leads out of the archive");
    assert_eq!(key_files(&newcomer.trust_dir()), []);
}

#[test]
fn what_is_there_is_never_replaced_and_broken_files_are_left_out_only_when_told() {
    let (shop, owner) = backed_up();
    let newcomer = shop.client().with_archives();
    std::fs::copy(owner.folder().join("all.gpg"), newcomer.folder().join("all.gpg")).unwrap();
    let (name, _) = key_files(&owner.trust_dir()).remove(0);
    let private = newcomer.trust_dir().join("private");
    std::fs::create_dir_all(&private).unwrap();
    std::fs::write(private.join(&name), "damaged").unwrap();
    let refused = newcomer.run(&["key", "restore", "all.gpg"]).refused(LOCAL, "nothing was written");
    assert!(refused.stderr.contains(name.trim_end_matches(".key")), "{refused}");
    newcomer.run(&["key", "restore", "all.gpg", "--dry-run"]).refused(LOCAL, "nothing was written");
    assert_eq!(key_files(&newcomer.trust_dir()), [(name.clone(), b"damaged".to_vec())]);
    let partly = newcomer.run(&["key", "restore", "all.gpg", "--partial", "--format", "json"]).succeeded();
    let report: serde_json::Value = serde_json::from_str(&partly.stdout).unwrap();
    let mut fates: Vec<&str> =
        report["keys"].as_array().unwrap().iter().map(|key| key["action"].as_str().unwrap()).collect();
    fates.sort_unstable();
    assert_eq!(fates, ["kept as it is here", "restored", "restored"]);
    assert_eq!(std::fs::read(private.join(&name)).unwrap(), b"damaged");

    // The same from the archive's side.
    let other = shop.client();
    let folder = other.folder();
    tar(&["czf", folder.join("x.tgz").to_str().unwrap(), "-C", newcomer.trust_dir().to_str().unwrap(), "private"]);
    let refused = other.run(&["key", "restore", "x.tgz"]).refused(LOCAL, "nothing was restored");
    assert!(refused.stderr.contains(&format!("not usable: private/{name}")), "{refused}");
    assert_eq!(key_files(&other.trust_dir()), []);
    other.run(&["key", "restore", "x.tgz", "--partial"]).succeeded();
    assert_eq!(key_files(&other.trust_dir()).len(), 2);
}

#[test]
fn a_passphrase_in_shares_opens_the_archive_with_enough_of_them_only() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let split = |name: &str| {
        let done = owner.run(&["key", "backup", name, "--role", "root", "--split", "3/5"]).succeeded();
        let shares: Vec<String> =
            done.stdout.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        assert_eq!(shares.len(), 5, "{done}");
        assert!(!shares.iter().any(|share| done.stderr.contains(share)), "{done}");
        shares
    };
    let (shares, others) = (split("root.gpg"), split("other.gpg"));
    let newcomer = shop.client();
    std::fs::copy(owner.folder().join("root.gpg"), newcomer.folder().join("root.gpg")).unwrap();
    let restore = |input: &str| {
        Finished::of(&mut newcomer.command(&["key", "restore", "root.gpg", "--shares"]), input.as_bytes())
    };
    let given = |chosen: &[&String]| chosen.iter().flat_map(|share| [share.as_str(), "\n"]).collect::<String>();
    restore(&given(&[&shares[0], &shares[1]])).refused(USER, "3 shares are needed, 2 were given");
    restore("").refused(USER, "0 were given");
    restore(&given(&[&shares[0], &shares[0], &shares[1]])).refused(USER, "share 1 was given twice");
    restore(&given(&[&shares[0], &others[1], &shares[2]])).refused(USER, "share 2 is for the archive");
    let mistyped = shares[1].replacen(' ', " zoo ", 1);
    restore(&given(&[&shares[0], &mistyped, &shares[2]])).refused(USER, "a share has 23 words, this has 24");
    let unknown = format!("countersign {}", shares[1].split_once(' ').unwrap().1);
    restore(&given(&[&shares[0], &unknown, &shares[2]])).refused(USER, "word 1 of the share");
    assert_eq!(key_files(&newcomer.trust_dir()), []);

    let good = std::fs::read(newcomer.folder().join("root.gpg")).unwrap();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(newcomer.folder().join("root.gpg"), damaged).unwrap();
    restore(&given(&[&shares[0], &shares[1], &shares[2]])).refused(LOCAL, "the archive is damaged");
    std::fs::write(newcomer.folder().join("root.gpg"), good).unwrap();
    // As they were printed, with comments and in any order.
    let printed = format!("# share 5\n{}\n\n{}\n{}\n", shares[4], shares[0].to_uppercase(), shares[2]);
    assert!(restore(&printed).succeeded().stdout.contains("1 of 1 key(s) restored"));
    assert_eq!(key_files(&newcomer.trust_dir()).len(), 1);
    owner.run(&["key", "backup", "z.gpg", "--split", "1/5"]).refused(USER, "3/5");
}

#[test]
fn no_secret_is_in_arguments_messages_or_files() {
    let (_shop, owner) = backed_up();
    let newcomer = Client::new().with_archives();
    std::fs::copy(owner.folder().join("all.gpg"), newcomer.folder().join("all.gpg")).unwrap();
    for arguments in [&["-vvv", "key", "restore", "all.gpg", "--check"][..], &["-vvv", "key", "backup", "new.gpg"]] {
        let done = newcomer.run(arguments).succeeded();
        for secret in [SECRET, fixtures::ROOT_PASSPHRASE, fixtures::REPOSITORY_PASSPHRASE, "BEGIN"] {
            assert!(!done.stdout.contains(secret) && !done.stderr.contains(secret), "{done}");
        }
    }
    let found = Command::new("sh")
        .args(["-c", &format!("! grep -rlF -e \"{SECRET}\" . --exclude-dir=private")])
        .current_dir(newcomer.folder())
        .output()
        .unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
}
