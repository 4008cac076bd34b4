//! The fuzz targets on their corpus and on thousands of mutations of it.

use std::fs;
use std::path::Path;

use crate::fuzzing;
use crate::tarball::{Tarball, gz};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus")).join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {target} is empty");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A small generator, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides.max(1)
    }
}

fn mutate(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut output = input.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(output.len() + 1);
        match dice.roll(5) {
            0 => output.truncate(at),
            1 | 2 if at < output.len() => output[at] ^= 1 << dice.roll(8),
            3 => {
                let end = (at + dice.roll(64)).min(output.len());
                output.drain(at..end);
            }
            _ => {
                let end = (at + dice.roll(600)).min(output.len());
                let copy = output[at..end].to_vec();
                let to = dice.roll(output.len() + 1);
                output.splice(to..to, copy);
            }
        }
    }
    output
}

fn run(name: &str, mutations: usize, target: fn(&[u8])) {
    let mut dice = Dice(7);
    for input in corpus(name) {
        target(&input);
        for _ in 0..mutations {
            target(&mutate(&input, &mut dice));
        }
    }
}

#[test]
fn archives() {
    run("archive", 3000, fuzzing::archive);
}

#[test]
fn messages() {
    run("message", 3000, fuzzing::message);
}

#[test]
fn shares() {
    run("share", 300, fuzzing::share);
}

#[test]
fn headers_of_tar_with_any_byte_changed() {
    let name = format!("private/{}.key", "a".repeat(64));
    let tar = Tarball::default().file(&name, b"-----BEGIN").file("b", b"b").tar();
    for at in 0..tar.len().min(2048) {
        for value in [0, 0xff, b'7', b'/', tar[at] ^ 1, tar[at] ^ 0x80] {
            let mut bad = tar.clone();
            bad[at] = value;
            fuzzing::archive(&bad);
        }
    }
    fuzzing::archive(&gz(&tar));
}
