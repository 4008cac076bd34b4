//! Metadata with good signatures that must be refused all the same: by docker's pull and run, by `docker trust inspect`,
//! by `countersign verify` and by `notary lookup`.

pub(crate) mod forge;

use super::Shim;
use crate::client::Client;
use crate::notary_hostile::tree;
use countersign_testkit::{FakeServer, Finished, Reply, TestCa};
use forge::{Forge, GUN, Key, VERSION, expiry};

const RELEASES: &str = "targets/releases";

/// Whether the person has seen the collection before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    New,
    Knowing,
}

const BOTH: [Reader; 2] = [Reader::New, Reader::Knowing];

/// A person before a docker and an engine that must not be called, and the service.
struct Scene {
    ca: TestCa,
    server: FakeServer,
    engine: FakeServer,
    shim: Shim,
}

impl Scene {
    fn set(reader: Reader, honest: &Forge) -> Self {
        let ca = TestCa::new();
        let server = FakeServer::tls(ca.loopback_server().server_config());
        let engine = FakeServer::plain();
        engine.otherwise(Reply::status(500));
        let client = Client::new().of_fake(&server, &ca).env("DOCKER_HOST", &format!("tcp://{}", engine.host()));
        let scene = Self { shim: Shim::before_stub(client), ca, server, engine };
        if reader == Reader::Knowing {
            honest.serve(&scene.server);
            let verified = scene.shim.client.run(&["verify", &name()]).succeeded();
            assert!(verified.stdout.contains(&Forge::digest()), "{verified}");
        }
        scene
    }

    /// Every command refuses what is served, says why, reaches no docker and no engine, and keeps nothing.
    #[track_caller]
    fn refused(&self, what: &str, message: &str) {
        let before = tree(&self.shim.client.trust_dir());
        self.commands_refuse(what, message);
        let looked_up = self.lookup();
        assert_eq!(looked_up.code, 3, "{what}\n{looked_up}");
        assert!(tree(&self.shim.client.trust_dir()) == before, "{what}: the trust directory changed");
    }

    /// Looks the tag up as notary does, in the trust directory that docker uses.
    fn lookup(&self) -> Finished {
        let (client, authority) = (&self.shim.client, self.shim.client.folder().join("authority.pem"));
        std::fs::write(&authority, self.ca.pem()).unwrap();
        let trust_dir = client.trust_dir();
        let [trust_dir, authority] = [&trust_dir, &authority].map(|path| path.to_str().unwrap());
        let service = ["-d", trust_dir, "-s", &self.server.url(), "--tlscacert", authority];
        client.run(&[&["notary"], service.as_slice(), &["lookup", GUN, "v1"]].concat())
    }

    #[track_caller]
    fn commands_refuse(&self, what: &str, message: &str) {
        let (client, name) = (&self.shim.client, name());
        let pulled = self.shim.run(&["pull", &name]);
        let run = self.shim.run(&["run", "--rm", &name, "true"]);
        let inspected = client.plugin(&["inspect", &name]);
        let verified = client.run(&["verify", &name]);
        let codes = [&pulled, &run, &inspected, &verified].map(|finished| finished.code);
        assert_eq!(codes, [3, 125, 3, 3], "{what}\n{pulled}\n{run}\n{inspected}\n{verified}");
        for said in [&pulled, &run, &inspected] {
            assert!(said.stderr.contains(message), "{what}: {message:?} is not in\n{said}");
        }
        let shown = [&pulled.stdout, &run.stdout, &verified.stdout].map(String::as_str);
        assert_eq!((shown, inspected.stdout.as_str()), ([""; 3], "[]\n"), "{what}");
        assert_eq!(self.shim.calls(), 0, "{what}: the real docker was called");
        assert_eq!(self.engine.take_request_lines(), [""; 0], "{what}: the engine was asked for something");
    }
}

/// What is wrong with a collection, and how it comes about.
type Wrong = (&'static str, fn(&mut Forge));

fn name() -> String {
    format!("{GUN}:v1")
}

/// The next state of an honest collection with something wrong in it is refused.
#[track_caller]
fn refused(what: &str, readers: &[Reader], message: &str, wrong: impl Fn(&mut Forge)) {
    for reader in readers {
        let mut collection = Forge::honest();
        let scene = Scene::set(*reader, &collection);
        collection = collection.at_version(VERSION + 1);
        wrong(&mut collection);
        collection.serve(&scene.server);
        scene.refused(&format!("{what}, {reader:?} reader"), message);
    }
}

#[test]
fn an_honest_collection_is_pulled_as_its_releaser_says() {
    for reader in BOTH {
        let collection = Forge::honest();
        let scene = Scene::set(reader, &collection);
        collection.at_version(VERSION + 1).serve(&scene.server);
        // This engine pulls nothing, but it is asked to.
        let pulled = scene.shim.run(&["pull", &name()]).failed();
        assert!(pulled.stdout.contains(&format!("{}@{}", name(), Forge::digest())), "{pulled}");
        assert!(!scene.engine.take_request_lines().is_empty(), "{pulled}");
        let run = scene.shim.run(&["run", "--rm", &name(), "true"]).failed();
        assert!(!scene.engine.take_request_lines().is_empty(), "{run}");
        let inspected = scene.shim.client.plugin(&["inspect", &name()]).succeeded();
        assert!(inspected.stdout.contains(Forge::digest().trim_start_matches("sha256:")), "{inspected}");
    }
}

#[test]
fn expired_files() {
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let message = format!("{role} expired at ");
        refused(&format!("expired {role}"), &BOTH, &message, |wrong| {
            wrong.edit(role, |file| file["expires"] = expiry(-1).into());
        });
    }
}

#[test]
fn what_expires_soon_is_pointed_out_and_counts_all_the_same() {
    for role in ["root", "targets", "snapshot", RELEASES] {
        let mut collection = Forge::honest();
        collection.edit(role, |file| file["expires"] = expiry(30).into());
        let scene = Scene::set(Reader::New, &collection);
        collection.serve(&scene.server);
        let inspected = scene.shim.client.plugin(&["inspect", &name()]).succeeded();
        let role = if role == "targets" { "targets metadata" } else { role };
        let warning = format!("msg=\"{role} is nearing expiry, you should re-sign the role metadata\"");
        assert!(inspected.stderr.contains(&warning), "{inspected}");
        let verified = scene.shim.client.run(&["verify", &name()]).succeeded();
        assert!(verified.stderr.contains("nearing expiry"), "{verified}");
    }
    let mut collection = Forge::honest();
    collection.rekey("root", Key::certified(GUN, 3560));
    let scene = Scene::set(Reader::New, &collection);
    collection.serve(&scene.server);
    let inspected = scene.shim.client.plugin(&["inspect", &name()]).succeeded();
    assert!(inspected.stderr.contains(&format!("msg=\"certificate with CN {GUN} is near expiry\"")), "{inspected}");
    let verified = scene.shim.client.run(&["verify", &name()]).succeeded();
    assert!(verified.stderr.contains("the root certificate") && verified.stderr.contains("near expiry"), "{verified}");
}

#[test]
fn files_of_a_key_that_is_not_the_roles() {
    for role in ["targets", "snapshot", "timestamp"] {
        let message = format!("valid signatures did not meet threshold for {role}");
        refused(&format!("foreign {role}"), &BOTH, &message, |wrong| {
            wrong.signers.insert(role, Key::new());
        });
    }
}

#[test]
fn older_versions_than_those_seen() {
    for role in ["targets", "snapshot", "timestamp"] {
        let message = format!("version {} of {role} is lower than current version {VERSION}", VERSION - 1);
        refused(&format!("older {role}"), &[Reader::Knowing], &message, |wrong| {
            wrong.edit(role, |file| file["version"] = (VERSION - 1).into());
        });
    }
    refused("older releases", &[Reader::Knowing], "lower", |wrong| {
        wrong.edit(RELEASES, |file| file["version"] = (VERSION - 1).into());
    });
    let collection = Forge::honest();
    let scene = Scene::set(Reader::Knowing, &collection);
    collection.at_version(VERSION - 1).serve(&scene.server);
    scene.refused("the whole former state", "lower");
}

#[test]
fn a_root_that_the_known_one_did_not_sign() {
    let message = "could not rotate trust to a new trusted root";
    refused("new root key", &[Reader::Knowing], message, |wrong| wrong.rekey("root", Key::certified(GUN, 1)));
    refused("root of another key", &[Reader::Knowing], message, |wrong| {
        wrong.signers.insert("root", Key::certified(GUN, 1));
    });
    let scene = Scene::set(Reader::Knowing, &Forge::honest());
    Forge::honest().serve(&scene.server);
    scene.refused("another collection of the name and the version", "");
}

#[test]
fn a_root_that_no_certificate_vouches_for() {
    let message = "could not validate the path to a trusted root: ";
    for (what, key) in [
        ("certificate of another name", Key::certified("registry.test/team/other", 1)),
        ("expired certificate", Key::certified(GUN, 3660)),
        ("certificate of the future", Key::certified(GUN, -30)),
        ("no certificate", Key::new()),
    ] {
        let mut collection = Forge::honest();
        collection.rekey("root", key);
        let scene = Scene::set(Reader::New, &collection);
        collection.serve(&scene.server);
        scene.refused(what, message);
    }
    let mut collection = Forge::honest();
    collection.signers.insert("root", Key::certified(GUN, 1));
    let scene = Scene::set(Reader::New, &collection);
    collection.serve(&scene.server);
    scene.refused("not signed by its own key", message);
}

/// Docker warns and takes the older digest of `targets` then. The other files are good and kept: nobody can go back behind
/// them; the bad one is refused from the cache as well.
#[test]
fn releases_that_do_not_count_are_not_replaced_by_an_older_signature() {
    let rows: [Wrong; 2] = [
        ("expired releases", |wrong| wrong.edit(RELEASES, |file| file["expires"] = expiry(-1).into())),
        ("releases of a foreign key", |wrong| drop(wrong.signers.insert(RELEASES, Key::new()))),
    ];
    for (what, wrong) in rows {
        for reader in BOTH {
            let what = format!("{what}, {reader:?} reader");
            let mut collection = Forge::honest();
            let scene = Scene::set(reader, &collection);
            collection = collection.at_version(VERSION + 1);
            wrong(&mut collection);
            collection.serve(&scene.server);
            scene.commands_refuse(&what, RELEASES);
            // Notary does not know of releases: `targets` speaks first there, and the loss is said.
            let looked_up = scene.lookup().succeeded();
            assert!(looked_up.stderr.contains("warning: targets/releases of "), "{what}: {looked_up}");
            scene.server.handle(|_| Some(Reply::status(503)));
            scene.commands_refuse(&format!("{what}, the service away"), RELEASES);
        }
    }
}

#[test]
fn files_that_are_listed_and_not_there() {
    for role in ["root", "targets", "snapshot", RELEASES] {
        let message = if role == "root" { "" } else { "trust data missing for remote repository" };
        refused(&format!("missing {role}"), &BOTH, message, |wrong| {
            wrong.answers.insert(role, |_| Reply::status(404));
        });
    }
}

#[test]
fn pages_in_place_of_files() {
    for role in ["root", "targets", "snapshot", "timestamp", RELEASES] {
        refused(&format!("a page for {role}"), &BOTH, "", |wrong| {
            wrong.answers.insert(role, |_| Reply::ok("<html>please pay</html>").header("Content-Type", "text/html"));
        });
    }
}

#[test]
fn longer_files_than_are_listed() {
    for role in ["root", "targets", "snapshot", RELEASES] {
        refused(&format!("longer {role}"), &[Reader::Knowing], "", |wrong| {
            wrong.answers.insert(role, |file| Reply::json([file, b"\n".to_vec()].concat()));
        });
    }
    for role in ["targets", "snapshot", RELEASES] {
        refused(&format!("longer {role}"), &[Reader::New], "", |wrong| {
            wrong.answers.insert(role, |file| Reply::json([file, b"\n".to_vec()].concat()));
        });
        refused(&format!("endless {role}"), &BOTH, "", |wrong| {
            wrong.answers.insert(role, |file| Reply::json(file).then_endlessly(" ".repeat(4096)));
        });
    }
}
