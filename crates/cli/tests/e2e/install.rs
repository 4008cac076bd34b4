//! The names by which others find the program: placed, told, and taken away again.

use crate::client::{Client, Ending, USER};
use std::fs;
use std::path::{Path, PathBuf};

fn places(person: &Client) -> [PathBuf; 3] {
    let programs = person.folder().join(".local/bin");
    [person.config_dir().join("cli-plugins/docker-trust"), programs.join("notary"), programs.join("docker")]
}

fn program() -> PathBuf {
    fs::canonicalize(env!("CARGO_BIN_EXE_countersign")).unwrap()
}

/// Everything below a folder.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(listed(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_placed_leads_to_this_program_and_is_taken_away_again() {
    let person = Client::new();
    let before = listed(person.folder());
    let told = person.run(&["install", "--user", "--shim", "--dry-run"]).succeeded();
    assert_eq!(told.stdout.lines().count(), 3, "{told}");
    assert_eq!(listed(person.folder()), before);
    let placed = person.run(&["install", "--user", "--shim"]).succeeded();
    for place in places(&person) {
        assert_eq!(fs::read_link(&place).unwrap(), program());
        assert!(placed.stdout.contains(&format!("Placed {} -> ", place.display())), "{placed}");
    }
    assert!(placed.stderr.contains(".local/bin is not in PATH"), "{placed}");
    let again = person.run(&["install", "--user", "--shim"]).succeeded();
    assert_eq!(again.stdout, "Everything was in place already\n");
    let removed = person.run(&["uninstall", "--user"]).succeeded();
    assert_eq!(removed.stdout.lines().count(), 3, "{removed}");
    assert_eq!(listed(person.folder()), before);
    assert_eq!(person.run(&["uninstall", "--user"]).succeeded().stdout, "Nothing is installed\n");
}

#[test]
fn the_shim_comes_only_when_asked_for() {
    let person = Client::new();
    person.run(&["install", "--user"]).succeeded();
    let [plugin, notary, docker] = places(&person);
    assert!(plugin.is_symlink() && notary.is_symlink() && !docker.is_symlink());
}

#[test]
fn a_foreign_file_is_not_overwritten_and_nothing_else_is_placed() {
    let person = Client::new();
    let [plugin, notary, docker] = places(&person);
    fs::create_dir_all(docker.parent().unwrap()).unwrap();
    fs::write(&docker, "somebody's").unwrap();
    person.run(&["install", "--user", "--shim"]).refused(USER, "was not placed by Countersign");
    assert!(!plugin.exists() && !notary.exists());
    assert_eq!(fs::read_to_string(&docker).unwrap(), "somebody's");
    fs::remove_file(&docker).unwrap();
    std::os::unix::fs::symlink("/bin/true", &docker).unwrap();
    person.run(&["install", "--user", "--shim"]).refused(USER, "was not placed by Countersign");
    assert_eq!(fs::read_link(&docker).unwrap(), Path::new("/bin/true"));
}

#[test]
fn what_somebody_has_put_in_a_links_place_stays() {
    let person = Client::new();
    person.run(&["install", "--user"]).succeeded();
    let [plugin, notary, _] = places(&person);
    fs::remove_file(&notary).unwrap();
    fs::write(&notary, "the real one").unwrap();
    let removed = person.run(&["uninstall", "--user"]).succeeded();
    assert!(removed.stderr.contains("left as it is"), "{removed}");
    assert_eq!(fs::read_to_string(&notary).unwrap(), "the real one");
    assert!(!plugin.is_symlink());
    assert_eq!(person.run(&["uninstall", "--user"]).succeeded().stdout, "Nothing is installed\n");
}

#[test]
fn another_docker_before_the_shim_and_a_docker_with_trust_of_its_own_are_pointed_out() {
    let person = Client::new();
    let (first, programs) = (person.folder().join("first"), person.folder().join(".local/bin"));
    fs::create_dir_all(&first).unwrap();
    let docker = first.join("docker");
    fs::write(&docker, "#!/bin/sh\necho Docker version 28.5.2, build x\n").unwrap();
    fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let order = |folders: [&Path; 2]| std::env::join_paths(folders).unwrap().into_string().unwrap();
    let before = person.env("PATH", &order([&first, &programs]));
    let placed = before.run(&["install", "--user", "--shim"]).succeeded();
    assert!(placed.stderr.contains("put") && placed.stderr.contains("first"), "{placed}");
    assert!(placed.stderr.contains("docker 28.5.2 has its own"), "{placed}");
    let behind = before.env("PATH", &order([&programs, &first]));
    let placed = behind.run(&["install", "--user", "--shim"]).succeeded();
    assert!(placed.stderr.contains("hash -r") && !placed.stderr.contains("comes before"), "{placed}");
}

#[test]
fn the_plugin_is_where_docker_looks_for_it() {
    let person = Client::new();
    person.run(&["install", "--user"]).succeeded();
    let mut called = std::process::Command::new(&places(&person)[0]);
    person.set(called.arg("docker-cli-plugin-metadata"));
    let answer = countersign_testkit::Finished::of(&mut called, b"").succeeded();
    assert!(answer.stdout.contains("\"SchemaVersion\": \"0.1.0\""), "{answer}");
}
