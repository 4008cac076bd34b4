//! Looking for secrets wherever a pipeline could have left them.

use std::path::{Path, PathBuf};

/// What must not be found, and where to look.
pub(super) struct Search {
    needles: Vec<(String, Vec<u8>)>,
    places: Vec<PathBuf>,
}

impl Search {
    /// Looks for nothing, nowhere.
    pub(super) fn new() -> Self {
        Self { needles: Vec::new(), places: Vec::new() }
    }

    /// Looks for a passphrase, also as base64.
    pub(super) fn passphrase(mut self, secret: &str) -> Self {
        use base64::Engine;
        self.needles.push(("the passphrase".to_owned(), secret.as_bytes().to_vec()));
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
        self.needles.push(("the passphrase in base64".to_owned(), encoded.into_bytes()));
        self
    }

    /// Looks for every private key, encrypted or not, by the line that each begins with.
    pub(super) fn private_keys(mut self) -> Self {
        self.needles.push(("a private key".to_owned(), b"PRIVATE KEY-----".to_vec()));
        self
    }

    /// Looks here.
    pub(super) fn within(mut self, place: &Path) -> Self {
        self.places.push(place.to_owned());
        self
    }

    /// Says what was found, and where.
    pub(super) fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        for place in &self.places {
            self.look(place, &mut found);
        }
        found
    }

    /// Panics with what was found.
    #[track_caller]
    pub(super) fn finds_nothing(&self) {
        let found = self.found();
        assert!(found.is_empty(), "left behind:\n{}", found.join("\n"));
    }

    fn look(&self, place: &Path, found: &mut Vec<String>) {
        let Ok(metadata) = place.symlink_metadata() else { return };
        if metadata.is_dir() {
            let Ok(entries) = std::fs::read_dir(place) else { return };
            for entry in entries.flatten() {
                self.look(&entry.path(), found);
            }
        } else if metadata.is_file() {
            let Ok(bytes) = std::fs::read(place) else { return };
            found.extend(self.in_bytes(&bytes).map(|what| format!("{what} in {}", place.display())));
        }
    }

    /// Says what is in these bytes: a log for example.
    pub(super) fn in_bytes(&self, bytes: &[u8]) -> impl Iterator<Item = &str> {
        let is_in = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let names = self.needles.iter().filter(move |(_, needle)| is_in(needle)).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().into_iter()
    }
}

#[test]
fn the_search_finds_what_is_there_to_find() {
    let place = tempfile::tempdir().unwrap();
    let search = || Search::new().passphrase("hunter2hunter2").private_keys().within(place.path());
    std::fs::create_dir_all(place.path().join("a/b")).unwrap();
    std::fs::write(place.path().join("a/log"), "nothing of interest, hunter2hunter").unwrap();
    search().finds_nothing();
    for (name, text, what) in [
        ("a/b/key", "x\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "a private key"),
        ("a/config", "{\"x\":\"hunter2hunter2\"}", "the passphrase"),
        ("a/b/encoded", "aHVudGVyMmh1bnRlcjI=", "the passphrase in base64"),
    ] {
        let path = place.path().join(name);
        std::fs::write(&path, text).unwrap();
        assert_eq!(search().found(), [format!("{what} in {}", path.display())]);
        std::fs::remove_file(path).unwrap();
    }
}
