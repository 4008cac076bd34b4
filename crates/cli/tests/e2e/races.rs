//! Several publishers at once, and processes that are killed in the middle.

use crate::client::{Client, Ending};
use crate::stage::{Shop, Stage};
use countersign_testkit::Finished;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs commands at the same time and returns how each ended.
fn at_once(commands: Vec<Command>) -> Vec<Finished> {
    let threads: Vec<_> =
        commands.into_iter().map(|mut command| std::thread::spawn(move || Finished::of(&mut command, b""))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn two_machines_that_publish_at_once_are_both_published() {
    let shop = Shop::open();
    let first = shop.client();
    shop.signed_by(&first, "v0", "zero");
    // The same keys on another machine.
    let second = shop.client();
    let copied = Command::new("cp").arg("-a").arg(first.trust_dir()).arg(second.config_dir()).status().unwrap();
    assert!(copied.success());
    let tags: Vec<String> = (1..=16).map(|number| format!("v{number}")).collect();
    for tag in &tags {
        shop.put(tag, tag);
    }
    let commands = tags.iter().zip([&first, &second].into_iter().cycle());
    let ended = at_once(commands.map(|(tag, client)| client.command(&["sign", &shop.name(tag)])).collect());
    for ended in ended {
        assert!(ended.succeeded().stdout.starts_with("Successfully signed"));
    }
    let reader = shop.client();
    for tag in tags.iter().map(String::as_str).chain(["v0"]) {
        reader.run(&["verify", &shop.name(tag)]).succeeded();
    }
}

#[test]
fn two_processes_that_begin_a_collection_at_once_are_both_published() {
    let shop = Shop::open();
    let owner = shop.client();
    for tag in ["v1", "v2"] {
        shop.put(tag, tag);
    }
    let ended = at_once(["v1", "v2"].map(|tag| owner.command(&["sign", &shop.name(tag)])).into());
    for ended in ended {
        assert!(ended.succeeded().stdout.starts_with("Successfully signed"));
    }
    for tag in ["v1", "v2"] {
        shop.client().run(&["verify", &shop.name(tag)]).succeeded();
    }
}

#[test]
fn strangers_who_begin_a_collection_at_once_have_one_owner() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let people: Vec<Client> = (0..3).map(|_| shop.client()).collect();
    let ended = at_once(people.iter().map(|person| person.command(&["sign", &shop.name("v1")])).collect());
    let owners = ended.iter().filter(|ended| ended.stdout.starts_with("Successfully signed")).count();
    assert_eq!(owners, 1, "{ended:#?}");
    for refused in ended.into_iter().filter(|ended| ended.code != 0) {
        // Whoever came later than the owner's answer was told what is signed there already.
        let told = refused.stderr.contains("was published by somebody else") || refused.stderr.contains("signing keys");
        assert!(told && !refused.stdout.contains("signed"), "{refused}");
    }
}

#[test]
fn docker_and_we_sign_at_once_in_one_trust_directory() {
    let stage = Stage::set();
    let docker = stage.docker();
    let ours = Client::new().sharing(docker.config_dir().as_path()).of(&stage.service).with_engine(&stage.engine);
    let app = stage.repository("acme/app");
    for tag in ["v0", "v1", "v2"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    docker.run(&["push", &format!("{app}:v0")]).succeeded();
    let ours_runs = std::thread::scope(|scope| {
        let ours = scope.spawn(|| ours.run(&["push", &format!("{app}:v1")]));
        // Docker does not try again when somebody was faster: a person does.
        for _ in 0..3 {
            if docker.run(&["push", &format!("{app}:v2")]).code == 0 {
                break;
            }
        }
        ours.join().unwrap()
    });
    ours_runs.succeeded();
    for tag in ["v0", "v1", "v2"] {
        let name = format!("{app}:{tag}");
        stage.countersign().run(&["verify", &name]).succeeded();
        ours.run(&["verify", &name]).succeeded();
        docker.run(&["trust", "inspect", &name]).succeeded();
    }
}

#[test]
fn a_client_killed_at_any_moment_of_signing_leaves_a_collection_that_works() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v0", "zero");
    let began = Instant::now();
    shop.signed_by(&owner, "v00", "whole");
    let whole = began.elapsed();
    let mut killed = 0;
    for round in 0..16_u32 {
        let tag = format!("r{round}");
        shop.put(&tag, &tag);
        let mut command = owner.command(&["sign", &shop.name(&tag)]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * round / 16);
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // Nothing is lost, nothing is refused, and doing it again succeeds whether or not it had been published.
        owner.run(&["verify", &shop.name("v0")]).succeeded();
        let again = owner.run(&["sign", &shop.name(&tag)]).succeeded();
        assert!(again.stdout.contains("igned"), "{again}");
        shop.client().run(&["verify", &shop.name(&tag)]).succeeded();
    }
    assert!(killed > 4, "only {killed} were still running when they were killed");
    let files: Vec<_> =
        std::fs::read_dir(owner.metadata(&shop.gun())).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().all(|file| file.extension().is_some_and(|extension| extension == "json")), "{files:?}");
}

#[test]
fn a_first_publication_killed_at_any_moment_can_be_repeated() {
    for round in 0..8_u64 {
        let shop = Shop::open();
        let owner = shop.client();
        shop.put("v1", "one");
        let mut command = owner.command(&["sign", &shop.name("v1")]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(10 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let again = owner.run(&["sign", &shop.name("v1")]).succeeded();
        assert!(again.stdout.contains("igned"), "{again}");
        owner.run(&["verify", &shop.name("v1")]).succeeded();
        shop.client().run(&["verify", &shop.name("v1")]).succeeded();
        owner.run(&["verify", &shop.name("v2")]).refused(crate::client::TRUST, "No valid trust data");
    }
}
