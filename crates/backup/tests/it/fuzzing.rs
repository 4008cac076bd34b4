//! What the fuzz targets do with an input; `fuzz/` runs the same functions under libFuzzer.
#![allow(clippy::allow_attributes, dead_code, reason = "each fuzz target uses one function of this file")]

use countersign_backup::{Container, Contents, Share};

/// An archive is read to the same keys again, and every key has the name that it is stored under.
pub(crate) fn archive(input: &[u8]) {
    let Ok(contents) = Contents::read(input) else { return };
    for key in &contents.keys {
        assert_eq!(key.file_name(), format!("{}.key", key.id()));
        assert!(contents.key(key.id()).is_some_and(|found| found.is_same(key)));
    }
    assert!(contents.keys.windows(2).all(|two| two[0].id() < two[1].id()), "each once, in order");
}

/// A message is taken apart without a secret, and what is no message is not.
pub(crate) fn message(input: &[u8]) {
    match Container::read(input) {
        Ok(Container::Plain(plain)) => assert_eq!(plain.as_slice(), input),
        Ok(Container::Locked(locked)) => assert_ne!(format!("{locked:?}"), ""),
        Ok(Container::NeedsGpg(reason)) => assert_ne!(reason, ""),
        Err(error) => assert_ne!(error.to_string(), ""),
    }
}

/// A share is written as it was read.
pub(crate) fn share(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(share) = Share::read(text) else { return };
    let again = Share::read(&share.words()).unwrap();
    assert_eq!(*again.words(), *share.words());
}
