//! `ci sign` and `ci key`.

use super::pipeline::{Agent, PipelineKey};
use crate::client::{Client, Ending, LOCAL, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::{Finished, Gpg};
use serde_json::Value;

/// A shop whose owner has signed `v0`, a pipeline's key, and a machine for jobs.
fn shop() -> (Shop, Client, PipelineKey, Agent) {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v0", "zero");
    let key = PipelineKey::made_by(&owner, &shop.gun());
    let agent = Agent::of(&shop.service, &key);
    (shop, owner, key, agent)
}

fn results(finished: &Finished) -> Vec<Value> {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}:\n{finished}"))
}

#[test]
fn a_pipeline_signs_several_tags_in_one_publication_and_says_so_in_json_and_in_the_audit_log() {
    let (shop, owner, key, agent) = shop();
    let digests = [shop.put("v1", "one"), shop.put("v2", "two")];
    let done = agent.ci("sign", &["--audit-log", "audit.jsonl", &shop.name("v1"), &shop.name("v2")]).succeeded();
    agent.is_clean_after(&done);
    let results = results(&done);
    for (index, (tag, digest)) in ["v1", "v2"].iter().zip(&digests).enumerate() {
        let result = &results[index];
        assert_eq!(result["image"], shop.name(tag), "{done}");
        assert_eq!((&result["tag"], &result["digest"]), (&Value::from(*tag), &Value::from(digest.as_str())));
        assert_eq!(result["service"], shop.service.url());
        assert_eq!(result["outcome"], "signed");
        assert!(result["time"].as_str().unwrap().ends_with('Z'));
        let roles: Vec<&str> =
            result["signers"].as_array().unwrap().iter().map(|signer| signer["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["targets/ci", "targets/releases"]);
        assert_eq!(result["signers"][0]["keys"][0].as_str().unwrap(), key.id);
        let verified = owner.run(&["verify", &shop.name(tag)]).succeeded();
        assert!(verified.stdout.contains(digest.as_str()), "{verified}");
    }
    let log = std::fs::read_to_string(agent.client.folder().join("audit.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"action\":\"sign\"")).count(), 2, "{log}");
    let again = agent.ci("sign", &[&shop.name("v1")]).succeeded();
    assert_eq!(self::results(&again)[0]["outcome"], "already signed");
}

#[test]
fn what_was_built_is_signed_although_the_tag_has_moved() {
    let (shop, owner, _key, agent) = shop();
    let built = shop.put("v1", "built here");
    shop.put("v1", "pushed by somebody else meanwhile");
    let done = agent.ci("sign", &[&format!("{}@{built}", shop.name("v1"))]).succeeded();
    assert_eq!(results(&done)[0]["digest"], built.as_str());
    assert!(done.stderr.contains("by now; what is signed is"), "{done}");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
    agent.ci("sign", &["--digest", &built, &shop.name("v1")]).succeeded();
    let other = format!("sha256:{}", "0".repeat(64));
    let both = agent.ci("sign", &["--digest", &other, &format!("{}@{built}", shop.name("v1"))]);
    both.refused(USER, "name two digests");
    agent.ci("sign", &[&format!("{}@{built}", shop.gun())]).refused(USER, "names no tag");
    agent.ci("sign", &[&shop.name("v1"), &shop.name("v1")]).refused(USER, "named twice");
    let absent = agent.ci("sign", &[&format!("{}@{other}", shop.name("v1"))]).failed();
    assert_eq!(absent.stdout, "");
    agent.is_clean_after(&absent);
}

#[test]
fn a_pipeline_never_makes_a_collection_whose_keys_would_be_lost() {
    let (shop, _owner, _key, agent) = shop();
    let name = format!("{}/acme/unsigned:v1", shop.registry.host());
    shop.registry.put_image("acme/unsigned", "v1", &countersign_testkit::Image::with_message("x")).unwrap();
    let refused = agent.ci("sign", &[&name]).refused(TRUST, "does not have trust data");
    agent.is_clean_after(&refused);
    let look = agent.client.run(&["verify", &name]);
    assert_eq!(look.code, TRUST, "{look}");
}

#[test]
fn the_archive_and_its_passphrase_come_from_files_variables_descriptors_and_standard_input() {
    use base64::Engine;
    let (shop, _owner, key, agent) = shop();
    shop.put("v1", "one");
    let archive = std::fs::read(key.archive()).unwrap();
    let file = key.archive().to_str().unwrap().to_owned();
    let secret = key.passphrase_file().to_str().unwrap().to_owned();
    let encoded = base64::engine::general_purpose::STANDARD.encode(&archive);
    let name = shop.name("v1");
    let sign = |options: &[&str], variables: &[(&str, &str)], input: &[u8]| {
        let mut command = agent.client.command(&["ci", "sign"]);
        command.args(options).arg(&name).envs(variables.iter().copied());
        let done = Finished::of(&mut command, input).succeeded();
        agent.is_clean_after(&done);
    };
    sign(&["--archive", "-", "--passphrase-file", &secret], &[], &archive);
    sign(&["--archive-env", "ARCHIVE", "--passphrase-file", &secret], &[("ARCHIVE", &encoded)], b"");
    sign(&["--archive", &file], &[("COUNTERSIGN_BACKUP_PASSPHRASE", &key.passphrase)], b"");
    sign(&[], &[("COUNTERSIGN_CI_ARCHIVE_FILE", &file), ("COUNTERSIGN_BACKUP_PASSPHRASE_FILE", &secret)], b"");
    sign(&["--passphrase-fd", "0"], &[("COUNTERSIGN_CI_ARCHIVE", &encoded)], key.passphrase.as_bytes());
    let armoured = Gpg::new().run("", &["--enarmor"], &archive).stdout;
    let armoured = String::from_utf8(armoured).unwrap().replace("PGP ARMORED FILE", "PGP MESSAGE");
    sign(&["--archive-env", "ARCHIVE", "--passphrase-file", &secret], &[("ARCHIVE", &armoured)], b"");
}

#[test]
fn archives_that_do_not_belong_into_a_pipeline_are_refused_in_plain_words() {
    let (shop, owner, key, agent) = shop();
    shop.put("v1", "one");
    let name = shop.name("v1");
    let with = |archive: &str, passphrase: &str, more: &[&str]| {
        let mut command = agent.client.command(&["ci", "sign", "--archive", archive, "--passphrase-env", "PASSPHRASE"]);
        Finished::of(command.args(more).arg(&name).env("PASSPHRASE", passphrase), b"")
    };
    let good = key.archive().to_str().unwrap().to_owned();
    let wrong = with(&good, "not the passphrase", &[]).refused(LOCAL, "passphrase");
    assert!(wrong.stderr.contains("mind a line break") && !wrong.stderr.contains("not the passphrase"), "{wrong}");
    with(&good, "", &[]).refused(LOCAL, "there is no passphrase for the archive");
    agent.client.run(&["ci", "sign", &name]).refused(USER, "there is no archive of keys");
    with("/nowhere/archive", "x", &[]).refused(USER, "/nowhere/archive");

    let other = agent.client.folder().join("other.gpg");
    let path = other.to_str().unwrap();
    std::fs::write(&other, Gpg::new().symmetric("secret", &[], b"a letter, and no archive")).unwrap();
    with(path, "secret", &[]).failed();
    std::fs::write(&other, b"neither").unwrap();
    with(path, "secret", &[]).refused(USER, "");
    std::fs::write(&other, b"").unwrap();
    with(path, "secret", &[]).refused(USER, "is empty");

    let all = ["key", "backup", path, "--force", "--role", "root", "--role", "targets"];
    Finished::of(owner.command(&all).env("COUNTERSIGN_BACKUP_PASSPHRASE", "the owner's secret"), b"").succeeded();
    let roots = with(path, "the owner's secret", &[]).refused(USER, "1 root key(s), and a pipeline needs none");
    assert!(roots.stderr.contains("countersign ci key") && roots.stderr.contains("--allow-root-keys"), "{roots}");
    std::fs::remove_file(&other).unwrap();
    agent.is_clean_after(&roots);
}

#[test]
fn a_clock_that_is_a_day_behind_is_told_in_plain_words() {
    let (shop, owner, _key, agent) = shop();
    shop.put("v1", "one");
    let tomorrow = jiff_tomorrow();
    let folder = agent.client.folder().join("made");
    std::fs::create_dir_all(folder.join("trust/private")).unwrap();
    for entry in std::fs::read_dir(owner.trust_dir().join("private")).unwrap() {
        let entry = entry.unwrap();
        if !std::fs::read_to_string(entry.path()).unwrap().contains("role: root") {
            std::fs::copy(entry.path(), folder.join("trust/private").join(entry.file_name())).unwrap();
        }
    }
    let manifest = serde_json::json!({
        "format": "countersign-backup", "version": 1, "created": tomorrow, "keys": [],
    });
    std::fs::write(folder.join("trust/private/countersign-backup.json"), manifest.to_string()).unwrap();
    let archive = agent.client.folder().join("tomorrow.tar.gz");
    let tar = std::process::Command::new("tar").arg("czf").arg(&archive).arg("-C").arg(&folder).arg("trust").status();
    assert!(tar.unwrap().success());
    std::fs::remove_dir_all(&folder).unwrap();
    let refused = agent.client.run(&["ci", "sign", "--archive", archive.to_str().unwrap(), &shop.name("v1")]);
    let refused = refused.refused(LOCAL, "the clock of this machine is wrong");
    std::fs::remove_file(archive).unwrap();
    agent.is_clean_after(&refused);
}

fn jiff_tomorrow() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 86_400;
    let date =
        Finished::of(std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%TZ"]), b"");
    date.succeeded().stdout.trim().to_owned()
}

#[test]
fn six_jobs_that_publish_at_once_all_end_up_signed() {
    let (shop, owner, _key, agent) = shop();
    let tags: Vec<String> = (0..6).map(|job| format!("job{job}")).collect();
    let digests: Vec<String> = tags.iter().map(|tag| shop.put(tag, tag)).collect();
    let running: Vec<_> = tags
        .iter()
        .map(|tag| {
            let mut command = agent.command("sign", &[&shop.name(tag)]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    for job in running {
        assert!(job.wait_with_output().unwrap().status.success());
    }
    assert_eq!(agent.left_in_memory().len(), 0);
    for (tag, digest) in tags.iter().zip(&digests) {
        let verified = owner.run(&["verify", &shop.name(tag)]).succeeded();
        assert!(verified.stdout.contains(digest.as_str()), "{verified}");
    }
}

#[test]
fn a_home_that_cannot_be_written_to_is_no_obstacle() {
    let (shop, owner, key, agent) = shop();
    shop.put("v1", "one");
    let archive = key.archive();
    let home = agent.client.folder().to_str().unwrap().to_owned();
    let read_only = format!("mount --bind {home} {home}; mount -o remount,ro,bind {home}");
    let arguments = [
        "ci",
        "sign",
        "--archive",
        archive.to_str().unwrap(),
        "--passphrase-env",
        super::pipeline::VARIABLE,
        &shop.name("v1"),
    ];
    let done = agent.client.run_after(&read_only, &arguments).succeeded();
    agent.is_clean_after(&done);
    owner.run(&["verify", &shop.name("v1")]).succeeded();
}

#[test]
fn where_the_owner_is_elsewhere_the_command_for_them_is_printed_and_works() {
    let (shop, owner, _key, agent) = shop();
    let folder = agent.client.folder();
    let gun = shop.gun();
    agent.client.run(&["ci", "key", &gun, "--name", "robot"]).refused(USER, "--passphrase-out");
    let made =
        agent.client.run(&["ci", "key", &gun, "--name", "robot", "--passphrase-out", "robot.secret"]).succeeded();
    let command = format!("docker trust signer add --key robot.pub robot {gun}");
    assert!(made.stdout.contains(&command), "{made}");
    let rights = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&folder.join(name).metadata().unwrap().permissions()) & 0o777
    };
    assert_eq!((rights("robot.secret"), rights("robot-keys.tar.gz.gpg")), (0o600, 0o600));
    assert!(!agent.client.trust_dir().join("private").exists());
    let again = agent.client.run(&["ci", "key", &gun, "--name", "robot", "--passphrase-out", "other.secret"]);
    again.refused(USER, "is there already");
    agent.client.run(&["ci", "key", &shop.name("v1"), "--passphrase-out", "x"]).refused(USER, "names a tag");

    std::fs::copy(folder.join("robot.pub"), owner.folder().join("robot.pub")).unwrap();
    let words: Vec<&str> = command.split(' ').skip(2).collect();
    owner.plugin(&[&["trust"], words.as_slice()].concat()).succeeded();
    shop.put("v1", "one");
    let sign =
        ["ci", "sign", "--archive", "robot-keys.tar.gz.gpg", "--passphrase-file", "robot.secret", &shop.name("v1")];
    let done = agent.client.run(&sign).succeeded();
    assert!(done.stdout.contains("targets/robot"), "{done}");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
}
