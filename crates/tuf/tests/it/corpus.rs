//! The fuzz targets on their corpus: the fixtures, inputs that once mattered, and mutations of both.

use crate::folder::fixtures;
use crate::fuzzing;
use std::path::Path;

/// Larger files are left to the other tests: there are thousands of mutations.
const LARGEST: u64 = 32 << 10;

fn collect(folder: &Path, files: &mut Vec<Vec<u8>>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            collect(&path, files);
        } else if metadata.is_file() && metadata.len() <= LARGEST {
            files.push(std::fs::read(&path).unwrap());
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    collect(&fixtures("."), &mut files);
    files.sort();
    files.dedup();
    let own = files.len();
    collect(&fixtures("../fuzz/corpus").join(target), &mut files);
    assert!(files.len() > own, "the corpus of {target} is empty");
    files
}

/// A small generator, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides.max(1)
    }
}

const PIECES: [&[u8]; 16] = [
    b"null",
    b"[]",
    b"{}",
    b"\"\"",
    b"0",
    b"-1",
    b"9007199254740993",
    b"1e0",
    b",",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"\\\"",
    b" ",
    b"\xff",
    b"{\"signed\":{},\"signatures\":[]}",
];

fn mutate(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut output = input.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(output.len() + 1);
        match dice.roll(5) {
            0 => output.truncate(at),
            1 if at < output.len() => output[at] ^= 1 << dice.roll(8),
            2 => {
                output.splice(at..at, PIECES[dice.roll(PIECES.len())].iter().copied());
            }
            3 => {
                let end = (at + dice.roll(64)).min(output.len());
                output.drain(at..end);
            }
            _ => {
                let end = (at + dice.roll(256)).min(output.len());
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
fn canonical_json() {
    run("canonical", 200, fuzzing::canonical);
}

#[test]
fn metadata_files() {
    run("file", 200, fuzzing::file);
}

#[test]
fn staged_changes() {
    run("change", 10, fuzzing::change);
    // The fixtures hold few of them: more around those there are.
    for input in corpus("change").iter().filter(|input| input.starts_with(b"{\"action\"")) {
        let mut dice = Dice(11);
        (0..2000).for_each(|_| fuzzing::change(&mutate(input, &mut dice)));
    }
}

#[test]
fn records_of_what_was_seen() {
    run("seen", 5, fuzzing::seen);
    for input in corpus("seen").iter().filter(|input| input.starts_with(b"{\"files\"")) {
        let mut dice = Dice(13);
        (0..5000).for_each(|_| fuzzing::seen(&mutate(input, &mut dice)));
    }
}
