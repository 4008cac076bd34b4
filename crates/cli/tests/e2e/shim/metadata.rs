//! Metadata that must not be believed, on pull and on run.

#![expect(clippy::indexing_slicing, reason = "tests may index")]

use super::Shim;
use crate::client::Client;
use crate::stage::Shop;
use countersign_testkit::{FakeServer, Reply, TestCa};
use serde_json::Value;
use std::path::Path;

/// What is done to the metadata of a collection on its way, and what is said then.
type Tampering = (&'static str, fn(&mut Files), &'static str);

/// The metadata as a service would serve it, by role.
struct Files(Vec<(&'static str, Vec<u8>)>);

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

impl Files {
    fn of(folder: &Path) -> Self {
        let read = |role| std::fs::read(folder.join(format!("{role}.json"))).unwrap();
        Self(ROLES.map(|role| (role, read(role))).into())
    }

    fn edit(&mut self, role: &str, change: impl FnOnce(&mut Value)) {
        let (_, bytes) = self.0.iter_mut().find(|(known, _)| *known == role).unwrap();
        let mut document: Value = serde_json::from_slice(bytes).unwrap();
        change(&mut document);
        *bytes = serde_json::to_vec(&document).unwrap();
    }

    fn replace(&mut self, role: &str, text: &str) {
        let (_, bytes) = self.0.iter_mut().find(|(known, _)| *known == role).unwrap();
        *bytes = text.as_bytes().to_vec();
    }

    /// Serves them, whatever hash a file is asked for by.
    fn serve(self, server: &FakeServer) {
        server.handle(move |request| {
            let name = request.path.rsplit('/').next().unwrap_or_default().to_owned();
            let role = name.split('.').find(|part| ROLES.contains(part))?;
            let (_, bytes) = self.0.iter().find(|(known, _)| *known == role)?;
            Some(Reply::json(bytes.clone()))
        });
    }
}

const TAMPERINGS: [Tampering; 9] = [
    (
        "timestamp expired",
        |files| files.edit("timestamp", |file| file["signed"]["expires"] = "2001-01-01T00:00:00Z".into()),
        "",
    ),
    (
        "timestamp without signatures",
        |files| files.edit("timestamp", |file| file["signatures"] = Value::Array(Vec::new())),
        "",
    ),
    ("root without signatures", |files| files.edit("root", |file| file["signatures"] = Value::Array(Vec::new())), ""),
    ("timestamp changed", |files| files.edit("timestamp", |file| file["signed"]["version"] = 99.into()), ""),
    ("root changed", |files| files.edit("root", |file| file["signed"]["version"] = 99.into()), ""),
    ("targets replaced", |files| files.replace("targets", "{}"), "targets"),
    ("snapshot replaced", |files| files.replace("snapshot", "{}"), "snapshot"),
    (
        "targets grown",
        |files| {
            let text = "x".repeat(100_000);
            files.replace("targets", &text);
        },
        "",
    ),
    ("timestamp no JSON", |files| files.replace("timestamp", "<html>"), ""),
];

#[test]
fn nothing_is_pulled_or_run_on_the_word_of_bad_metadata() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
    let good = owner.metadata(&shop.gun());
    for (what, tamper, message) in TAMPERINGS {
        // Whoever knows a root asks for the next one only.
        let warm: &[bool] = if what.starts_with("root") { &[false] } else { &[false, true] };
        for &warm in warm {
            let ca = TestCa::new();
            let server = FakeServer::tls(ca.loopback_server().server_config());
            let mut files = Files::of(&good);
            tamper(&mut files);
            files.serve(&server);
            let shim = Shim::before_stub(Client::new().of_fake(&server, &ca));
            if warm {
                let cache = shim.client.metadata(&shop.gun());
                std::fs::create_dir_all(&cache).unwrap();
                std::fs::copy(good.join("root.json"), cache.join("root.json")).unwrap();
            }
            for (command, code) in [("pull", 3), ("create", 3), ("run", 125)] {
                let refused = shim.run(&[command, &shop.name("v1")]);
                assert_eq!((refused.code, refused.stdout.as_str()), (code, ""), "{what}, warm: {warm}\n{refused}");
                assert!(refused.stderr.contains(message), "{what}, warm: {warm}\n{refused}");
                assert_eq!(shim.calls(), 0, "{what}: the real docker was called\n{refused}");
            }
            let kept = shim.client.metadata(&shop.gun()).join("timestamp.json");
            assert!(!kept.exists(), "{what}: something of it was kept");
        }
    }
}
