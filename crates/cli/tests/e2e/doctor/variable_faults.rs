//! Variables, settings, and the docker in PATH.

use super::{Clinic, Examined, commands};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn variables_that_are_dead_wrong_or_contradict_others() {
    let Clinic { shop, owner } = Clinic::open();
    let url = shop.service.url();
    // The variable, its value, the finding.
    for (name, value, id) in [
        ("DOCKER_CONTENT_TRUST", "0", "content-trust-off"),
        ("DOCKER_CONTENT_TRUST", "maybe", "content-trust-odd"),
        ("DOCKER_CONTENT_TRUST_SERVER", url.replace("https", "http").as_str(), "server-variable-invalid"),
        ("DOCKER_CONTENT_TRUST_SERVER", url.trim_start_matches("https://"), "server-variable-invalid"),
        ("DOCKER_CONTENT_TRUST_TAGGING_PASSPHRASE", "x", "passphrase-variable-dead"),
        ("NOTARY_ROOT_PASSPHRASE", "x", "passphrase-in-environment"),
        ("COUNTERSIGN_PASSPHRASE_FOR_REG_TEST__APP", "x", "passphrase-in-environment"),
        ("COUNTERSIGN_DOCKER", "/nowhere/docker", "docker-variable-invalid"),
    ] {
        let owner = owner.again().env(name, value);
        let found = owner.examined();
        let finding = found.only(id);
        assert!(finding["where"].as_str().unwrap().contains(name), "{finding}");
        assert!(!value.contains('x') || !finding.to_string().contains("\"x\""), "no passphrase is repeated: {finding}");
        let after = owner.mended_by(&commands(finding), &[]);
        let left: Vec<&str> = after.ids().into_iter().filter(|left| *left != "passphrase-in-environment").collect();
        assert_eq!(left, [""; 0], "{}", after.finished);
    }
}

#[test]
fn a_wrong_proxy_and_an_audit_log_that_cannot_be_written() {
    let Clinic { shop: _shop, owner } = Clinic::open();
    let proxied = owner.again().env("HTTPS_PROXY", "ftp://x");
    proxied.examined().only("proxy-invalid");
    proxied.mended_by(&["export HTTPS_PROXY=".to_owned()], &[]).nothing();
    for command in ["no-such-program", "/bin/no-such-program", "[\"true\""] {
        let asking = owner.again().env("COUNTERSIGN_PASSPHRASE_COMMAND", command);
        asking.examined().only("passphrase-command-unusable");
    }
    owner.again().env("COUNTERSIGN_PASSPHRASE_COMMAND", "true").examined().nothing();
    let log = owner.folder().join("logs/deep/audit.jsonl");
    let logged = owner.again().env("COUNTERSIGN_AUDIT_LOG", log.to_str().unwrap());
    let found = logged.examined();
    let named = commands(found.only("audit-log-unusable"));
    assert_eq!(named, [format!("mkdir -p {}", log.parent().unwrap().display())]);
    logged.mended_by(&named, &[]).nothing();
    assert!(!log.exists(), "looking makes no log");
}

#[test]
fn a_service_that_the_settings_name_and_the_variable_hides() {
    let Clinic { shop, owner } = Clinic::open();
    let config = owner.folder().join(".config/countersign");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), format!("service = \"{}\"\n", shop.service.url())).unwrap();
    owner.examined().nothing();
    fs::write(config.join("config.toml"), "[images.\"other.test\"]\nservice = \"https://trust.other.test\"\n").unwrap();
    let found = owner.examined();
    let finding = found.only("services-contradict");
    assert_eq!(
        (&finding["subject"], commands(finding)[0].as_str()),
        (&"other.test".into(), "unset DOCKER_CONTENT_TRUST_SERVER")
    );
    // Without the variable the settings count: the collection's service is not named there.
    fs::write(config.join("config.toml"), format!("service = \"{}\"\n", shop.service.url())).unwrap();
    owner.mended_by(&commands(finding), &[]).nothing();
}

#[test]
fn settings_that_are_not_understood_or_open_to_others() {
    let Clinic { shop: _shop, owner } = Clinic::open();
    let config = owner.folder().join(".config/countersign");
    let file = config.join("config.toml");
    fs::create_dir_all(&config).unwrap();
    fs::write(&file, "frist-use = \"deny\"\n").unwrap();
    let found = owner.examined();
    let finding = found.only("settings-invalid");
    assert!(finding["where"].as_str().unwrap().ends_with("config.toml line 1"), "{finding}");
    assert!(found.report["notChecked"][0]["what"].as_str().unwrap().contains("services"), "{}", found.finished);
    fs::write(&file, "[doctor]\nwarn-before = \"30d\"\n[keys]\nrotate-every = \"90d\"\n").unwrap();
    owner.examined().nothing();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let found = owner.examined();
    owner.mended_by(&commands(found.only("settings-open")), &[]).nothing();
}

#[test]
fn passphrases_in_startup_files_and_in_files_that_others_can_read() {
    let Clinic { shop: _shop, owner } = Clinic::open();
    let profile = owner.folder().join(".profile");
    fs::write(&profile, "PATH=/bin:$PATH\nexport NOTARY_TARGETS_PASSPHRASE='hunter2 hunter2'\n# end\n").unwrap();
    let found = owner.examined();
    let finding = found.only("passphrase-in-startup-file");
    assert!(!found.finished.stdout.contains("hunter2"), "{}", found.finished);
    owner.mended_by(&commands(finding), &[]).nothing();
    assert_eq!(fs::read_to_string(&profile).unwrap(), "PATH=/bin:$PATH\n# end\n");

    let secret = owner.folder().join("secret");
    let named = owner.again().env("NOTARY_ROOT_PASSPHRASE_FILE", secret.to_str().unwrap());
    named.examined().only("passphrase-file-unusable");
    fs::write(&secret, "hunter2 hunter2\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let found = named.examined();
    named.mended_by(&commands(found.only("passphrase-file-open")), &[]).nothing();
    let both = named.env("NOTARY_ROOT_PASSPHRASE", "x");
    let found = both.examined();
    assert_eq!(found.ids(), ["passphrases-contradict", "passphrase-in-environment"], "{}", found.finished);
    both.mended_by(&commands(&found.findings()[0]), &[]).nothing();
}

#[test]
fn a_docker_that_does_not_read_the_variable_and_a_shim_that_others_hide() {
    let Clinic { shop: _shop, owner } = Clinic::open();
    let (theirs, ours) = (owner.folder().join("theirs"), owner.folder().join(".local/bin"));
    program(&theirs.join("docker"), "#!/bin/sh\necho Docker version 29.0.1, build x\n");
    let path = |folders: &[&PathBuf]| std::env::join_paths(folders).unwrap().into_string().unwrap() + ":/usr/bin:/bin";
    let owner = owner.env("PATH", &path(&[&ours, &theirs]));
    let found = owner.examined();
    let install = commands(found.only("plugin-missing"));
    owner.mended_by(&install, &[]).nothing();
    let switched = owner.again().env("DOCKER_CONTENT_TRUST", "1");
    let found = switched.examined();
    let dead = found.only("content-trust-dead");
    assert!(dead["message"].as_str().unwrap().contains("docker 29"), "{dead}");
    switched.mended_by(&commands(dead), &[]).nothing();

    // Now that there is a shim, another docker comes before it.
    let hidden = owner.again().env("PATH", &path(&[&theirs, &ours]));
    let found = hidden.examined();
    hidden.mended_by(&commands(found.only("shim-shadowed")), &[]).nothing();
    // There is nothing behind it.
    let alone = owner.again().env("PATH", ours.to_str().unwrap());
    alone.examined().only("shim-without-docker");
    // It leads nowhere: the program was moved.
    for (link, id) in [
        (ours.join("docker"), "shim-dangling"),
        (owner.config_dir().join("cli-plugins/docker-trust"), "plugin-dangling"),
    ] {
        fs::remove_file(&link).unwrap();
        symlink("/opt/gone/countersign", &link).unwrap();
        let found = owner.examined();
        let finding = found.findings().iter().find(|finding| finding["id"] == id).unwrap();
        assert!(found.ids().iter().all(|found| *found == id || *found == "plugin-missing"), "{}", found.finished);
        owner.mended_by(&commands(finding), &[]).nothing();
    }
}

#[test]
fn dockers_configuration_is_damaged() {
    let Clinic { shop: _shop, owner } = Clinic::open();
    let file = owner.config_dir().join("config.json");
    fs::write(&file, "{\"auths\":").unwrap();
    owner.examined().only("docker-config-unusable");
    fs::write(&file, "{}").unwrap();
    owner.examined().nothing();
}
