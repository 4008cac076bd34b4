//! The notary client 0.7 and ours side by side: the same lines on equal states have to print the same.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_testkit::{Finished, NotaryClient, TrustService};
use std::fmt::Write;

/// Our program under the name of the client.
pub(crate) fn ours(client: NotaryClient) -> NotaryClient {
    client.spoken_by(env!("CARGO_BIN_EXE_countersign"), &["notary"])
}

/// Two people with a trust directory and a collection each: one has the reference, the other has us.
pub(crate) struct Pair {
    reference: NotaryClient,
    ours: NotaryClient,
    guns: [String; 2],
    differences: String,
}

/// How a line of ours may differ from the reference's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Like {
    /// Not at all: standard output and exit code are equal.
    Reference,
    /// The words are equal, and the exit code says that it is a refusal to trust, or a question that was not answered.
    ReferenceBut(i32),
}

impl Pair {
    /// Two people at one service.
    pub(crate) fn at(service: &TrustService, collection: &str) -> Self {
        Self::of(service.notary_client(), ours(service.notary_client()), collection)
    }

    /// These two people.
    pub(crate) fn of(reference: NotaryClient, ours: NotaryClient, collection: &str) -> Self {
        let guns = ["a", "b"].map(|person| format!("{person}.example.test/{collection}"));
        Self { reference, ours, guns, differences: String::new() }
    }

    /// Both people.
    pub(crate) fn both(&self) -> [&NotaryClient; 2] {
        [&self.reference, &self.ours]
    }

    /// Gives both the same file.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        for person in self.both() {
            std::fs::write(person.folder().join(name), content.as_ref()).unwrap();
        }
    }

    /// Runs a line with both; words are separated by spaces, `GUN` stands for the collection.
    pub(crate) fn same(&mut self, line: &str) {
        self.compare(line, "", Like::Reference);
    }

    /// The same with something on the standard input.
    pub(crate) fn same_with(&mut self, line: &str, input: &str) {
        self.compare(line, input, Like::Reference);
    }

    /// Runs a line that both refuse in the same words, we with another exit code.
    pub(crate) fn same_but(&mut self, code: i32, line: &str) {
        self.compare(line, "", Like::ReferenceBut(code));
    }

    pub(crate) fn compare(&mut self, line: &str, input: &str, expected: Like) {
        let [reference, ours] = self.run(line, input);
        let code = match expected {
            Like::Reference => reference.code,
            Like::ReferenceBut(code) => code,
        };
        let texts = [self.neutral(&reference.stdout), self.neutral(&ours.stdout)];
        if texts[0] != texts[1] || ours.code != code || (expected != Like::Reference && reference.code == ours.code) {
            let _ = writeln!(self.differences, "== {line}\n{reference}\n-- ours\n{ours}\n");
        }
    }

    /// Runs a line with both.
    pub(crate) fn run(&self, line: &str, input: &str) -> [Finished; 2] {
        let [a, b] = &self.guns;
        [(&self.reference, a), (&self.ours, b)].map(|(person, gun)| {
            let words: Vec<String> = line.split(' ').map(|word| word.replace("GUN", gun).replace('_', " ")).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            person.run_with_input(&words, input)
        })
    }

    /// What both have in a file.
    pub(crate) fn read(&self, name: &str) -> [Vec<u8>; 2] {
        self.both().map(|person| std::fs::read(person.folder().join(name)).unwrap())
    }

    /// The certificates, in PEM, of the root keys of the collections.
    pub(crate) fn root_certificates(&self) -> [Vec<u8>; 2] {
        let of = |person: &NotaryClient, gun: &str| {
            let root = std::fs::read(person.trust_dir().join("tuf").join(gun).join("metadata/root.json")).unwrap();
            let root: serde_json::Value = serde_json::from_slice(&root).unwrap();
            let text = |pointer: &str| root.pointer(pointer).and_then(serde_json::Value::as_str).unwrap();
            let id = text("/signed/roles/root/keyids/0");
            let pem = text(&format!("/signed/keys/{id}/keyval/public"));
            STANDARD.decode(pem).unwrap()
        };
        let [a, b] = &self.guns;
        [of(&self.reference, a), of(&self.ours, b)]
    }

    /// Gives both the certificate of their own root key as a file.
    pub(crate) fn keep_root_certificates(&self, name: &str) {
        for (person, pem) in self.both().into_iter().zip(self.root_certificates()) {
            std::fs::write(person.folder().join(name), pem).unwrap();
        }
    }

    /// Takes out of a text what has to differ: key ids, the person's folder and collection; and which of a target's two
    /// checksums is named first, for the reference walks them in random order.
    pub(crate) fn neutral(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (person, gun) in self.both().iter().zip(&self.guns) {
            text = text.replace(gun.as_str(), "example.test/x/collection");
            text = text.replace(&*person.folder().to_string_lossy(), "/folder");
        }
        text = text.replace("sha512 checksum for", "sha256 checksum for");
        let mut neutral = String::new();
        let mut hex = String::new();
        for c in text.chars().chain(['\n']) {
            if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
                hex.push(c);
                continue;
            }
            neutral.push_str(if matches!(hex.len(), 64 | 128) { "<digits>" } else { &hex });
            hex.clear();
            neutral.push(c);
        }
        neutral.pop();
        neutral
    }
}

impl Drop for Pair {
    /// All lines are played before any difference fails the test.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.differences.is_empty(), "{}", self.differences);
        }
    }
}
