//! What docker printed, played with our program: each recorded command either equal, or listed with its reason.
//!
//! A section of `fixtures/transcripts` is one file. A test sets the stage for each command, names the recorded one by its
//! comment and plays it; [`Transcript::finish`] then holds the differences against the table "Transcripts" of the
//! compatibility page. A difference that is not listed there fails the test, and so does a listed one that is gone.

mod listed;
mod neutral;
mod recorded;

use crate::client::Client;
use countersign_testkit::{Finished, Tool, fixtures};
use neutral::Names;
use recorded::{Entry, Outcome};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The sources of the tests that play the sections: the plugin's and the shim's.
const PLAYERS: [&str; 2] = [include_str!("trust_transcripts.rs"), include_str!("shim/transcripts.rs")];

/// Which of a section's commands a test plays: two people share some sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `docker trust …`.
    Trust,
    /// Every other command of docker.
    Docker,
}

/// The program that answers to the word `docker` of a recorded command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Personality {
    /// Our plugin, as docker 29 calls it for `docker trust …`.
    Plugin,
    /// Our shim, under the name `docker` and before the real one.
    Shim,
    /// The real docker 28, which the transcripts were recorded with: it judges whether the stage is set right.
    Docker28,
}

/// One section of the transcripts while it is being played.
pub(crate) struct Transcript {
    section: &'static str,
    part: Part,
    personality: Personality,
    entries: Vec<Entry>,
    names: Names,
    /// By comment: none if it was equal, else how the two differ.
    played: BTreeMap<String, Option<String>>,
    finished: Cell<bool>,
}

impl Transcript {
    /// Opens a section: the name of a file without its ending.
    pub(crate) fn of(section: &'static str, part: Part, personality: Personality) -> Self {
        let entries = recorded::read(section).into_iter().filter(|entry| entry.part() == part).collect();
        let (names, played, finished) = (Names::default(), BTreeMap::new(), Cell::new(false));
        Self { section, part, personality, entries, names, played, finished }
    }

    /// Says what a name of the transcripts (`reg.test:5000`, `trust.test:4443`, a digest) is on this stage from now on.
    pub(crate) fn call(&mut self, recorded: &str, here: &str) -> &mut Self {
        self.names.set(recorded, here);
        self
    }

    /// Plays the recorded command with this comment, with an empty standard input.
    pub(crate) fn play(&mut self, comment: &str, person: &Client) -> Finished {
        let (section, entries) = (self.section, &self.entries);
        let entry = entries.iter().find(|entry| entry.comment == comment);
        let entry = entry.unwrap_or_else(|| panic!("{section} has no {comment:?}")).clone();
        self.names.set("<cwd>", &person.folder().display().to_string());
        self.names.set("<cfg>", &person.config_dir().display().to_string());
        let finished = Finished::of(&mut self.command(&entry, person), b"");
        let expected = Names::neutral(&entry.outcome);
        let mut seen = Names::neutral(&self.names.recorded(&Outcome::of(&finished)));
        // A refusal has an exit code of its own under every name of ours: listed once, for all commands.
        if self.personality != Personality::Docker28 && (expected.code, seen.code) == (1, 3) {
            seen.code = 1;
        }
        let difference = (seen != expected).then(|| format!("expected\n{expected}\nseen\n{seen}\n{finished}"));
        self.played.insert(comment.to_owned(), difference);
        finished
    }

    fn command(&self, entry: &Entry, person: &Client) -> Command {
        let mut command = match self.personality {
            Personality::Plugin => program("docker-trust"),
            Personality::Shim => program("docker"),
            Personality::Docker28 => Command::new(Tool::DOCKER_28.path()),
        };
        person.set(&mut command);
        if self.personality == Personality::Plugin {
            command.env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", Tool::DOCKER_20.path());
        }
        for (name, value) in &entry.environment {
            match value {
                Some(value) => command.env(name, self.names.here(value)),
                None => command.env_remove(name),
            };
        }
        command.args(entry.words.iter().map(|word| self.names.here(word)));
        command
    }

    /// Ends the section: everything was played, and what differs is what the compatibility page lists.
    ///
    /// Where docker 28 plays, nothing may differ but what is named here with the reason why it cannot be equal on this stage.
    #[track_caller]
    pub(crate) fn finish_except(&self, exceptions: &[(&str, &str)]) {
        self.finished.set(true);
        let listed = match self.personality {
            Personality::Docker28 => exceptions.iter().map(|(comment, _)| (*comment).to_owned()).collect(),
            Personality::Plugin | Personality::Shim => listed::comments(self.section),
        };
        let mut faults = Vec::new();
        for entry in &self.entries {
            match self.played.get(&entry.comment) {
                None => faults.push(format!("{:?} was not played", entry.comment)),
                Some(Some(difference)) if !listed.contains(&entry.comment) => {
                    faults.push(format!("{:?} differs and is not listed:\n{difference}", entry.comment));
                }
                // The real docker prints some things in random order, so it may be equal by chance.
                Some(None) if listed.contains(&entry.comment) && self.personality != Personality::Docker28 => {
                    faults.push(format!("{:?} is listed and does not differ any more", entry.comment));
                }
                Some(_) => {}
            }
        }
        assert!(faults.is_empty(), "{} ({:?}):\n{}", self.section, self.part, faults.join("\n\n"));
    }

    /// Ends the section for our own program.
    #[track_caller]
    pub(crate) fn finish(&self) {
        self.finish_except(&[]);
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        let finished = self.finished.get() || std::thread::panicking();
        assert!(finished, "{} ({:?}) was played and not compared", self.section, self.part);
    }
}

/// Our program under another name.
fn program(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.arg0(name);
    command
}

#[test]
fn every_listed_difference_names_a_recorded_command_and_a_reason() {
    for row in listed::rows() {
        let known = recorded::SECTIONS.contains(&row.section.as_str())
            && recorded::read(&row.section).iter().any(|entry| entry.comment == row.comment);
        assert!(known, "the compatibility page lists {}: {}, which is not recorded", row.section, row.comment);
        assert!(row.reason.len() > 10, "no reason is given for {}: {}", row.section, row.comment);
    }
}

#[test]
fn every_part_of_every_recorded_file_is_played_by_our_program() {
    let folder = fixtures::path("transcripts");
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut recorded: Vec<String> = files.collect();
    recorded.sort();
    assert_eq!(recorded, recorded::SECTIONS.map(|section| format!("{section}.txt")), "in {}", folder.display());
    // Whatever opens a part has to finish it, and finishing demands every command of the part: so it is enough that one
    // of the players opens it.
    for section in recorded::SECTIONS {
        for part in [Part::Trust, Part::Docker] {
            let said = recorded::read(section).iter().any(|entry| entry.part() == part);
            let opening = format!("Transcript::of(\"{section}\", Part::{part:?}, ");
            let plays = PLAYERS.iter().filter(|player| player.contains(&opening)).count();
            assert_eq!(plays, usize::from(said), "{section} ({part:?}) is played by so many functions");
        }
    }
}

#[test]
fn every_section_can_be_read_and_names_each_command_once() {
    for section in recorded::SECTIONS {
        let entries = recorded::read(section);
        assert!(entries.len() >= 2, "{section}");
        for entry in &entries {
            let same = entries.iter().filter(|other| other.comment == entry.comment).count();
            assert_eq!(same, 1, "{section}: {}", entry.comment);
        }
    }
}
