//! Who can still verify after a key was rotated, lost or compromised, as `docs/reference/rotation-outcomes.md` says.
//!
//! The table is read from the documentation. Every row of it is a story below, and every story is a row.

mod story;

use crate::client::Client;
use crate::stage::{Shop, Stage};
use countersign_testkit::{DockerClient, NotaryClient, TrustService};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use story::{Certificate, STORIES, Scene, Story};

/// What a client makes of a tag.
const VERIFIES: &str = "verifies";
const REFUSES: &str = "refuses";

/// What each row says in each column.
type Table = BTreeMap<String, BTreeMap<String, String>>;

/// Reads the table of the documentation.
fn table() -> Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rotation-outcomes.md");
    let text = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut header = Vec::new();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let line = cells(line);
        if line.first().is_some_and(|cell| cell == "row") {
            header = line;
        } else if let Some(row) = line.first().and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`')) {
            assert_eq!(line.len(), header.len(), "{line:?}");
            rows.insert(row.to_owned(), header.iter().cloned().zip(line.iter().cloned()).collect());
        }
    }
    rows
}

/// Somebody who pulls or looks up.
trait Reader {
    fn verifies(&self, gun: &str, tag: &str) -> bool;
    /// Does what a text for everybody says; the commands of the other clients are not this one's.
    fn follow(&self, text: &str);
}

/// The commands of a text that begin so.
fn commands<'a>(text: &'a str, begin: &'static str) -> impl Iterator<Item = &'a str> {
    text.lines().map(str::trim).filter(move |line| line.starts_with(begin))
}

/// Removes the folder that `rm -r ~/…/PATH` names, in place of `home`.
fn remove(command: &str, home: &str, folder: &Path) {
    let rest = command.strip_prefix(&format!("rm -r {home}")).unwrap_or_else(|| panic!("{command}"));
    std::fs::remove_dir_all(folder.join(rest.trim_start_matches('/'))).unwrap();
}

impl Reader for DockerClient {
    fn verifies(&self, gun: &str, tag: &str) -> bool {
        self.run(&["pull", &format!("{gun}:{tag}")]).code == 0
    }

    fn follow(&self, text: &str) {
        commands(text, "rm -r ~/.docker").for_each(|command| remove(command, "~/.docker", &self.config_dir()));
    }
}

impl Reader for NotaryClient {
    fn verifies(&self, gun: &str, tag: &str) -> bool {
        self.run(&["lookup", gun, tag]).code == 0
    }

    fn follow(&self, text: &str) {
        for command in commands(text, "notary delete") {
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            self.run(&words).succeeded();
        }
    }
}

impl Reader for Client {
    fn verifies(&self, gun: &str, tag: &str) -> bool {
        self.run(&["verify", &format!("{gun}:{tag}")]).code == 0
    }

    fn follow(&self, text: &str) {
        for command in commands(text, "countersign ") {
            let command = command.replace(":TAG", ":v1");
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            self.run(&words).succeeded();
        }
    }
}

/// A kind of client: the name of its two columns, and how one is made.
struct Kind<'a> {
    name: &'static str,
    make: Box<dyn Fn() -> Box<dyn Reader> + 'a>,
}

/// A story that has begun, and those who saw the beginning.
struct Begun<'a> {
    story: &'static Story,
    scene: Scene<'a>,
    old: Vec<Box<dyn Reader>>,
}

fn begin<'a>(story: &'static Story, scene: Scene<'a>, kinds: &[Kind<'_>]) -> Begun<'a> {
    scene.begin(story.before);
    if story.certificate == Certificate::EndsSoon {
        scene.shorten_certificate();
    }
    let old: Vec<Box<dyn Reader>> = kinds.iter().map(|kind| (kind.make)()).collect();
    for (reader, kind) in old.iter().zip(kinds) {
        assert!(reader.verifies(&scene.gun, "v1"), "{}: {} could not verify before", story.row, kind.name);
    }
    Begun { story, scene, old }
}

impl Begun<'_> {
    /// Plays the story and notes what clients make of it otherwise than the table says.
    fn compare(self, kinds: &[Kind<'_>], table: &Table, differences: &mut String) {
        let Self { story, scene, old } = self;
        let text = (story.play)(&scene);
        for (reader, kind) in old.iter().zip(kinds) {
            if let Some(text) = &text {
                reader.follow(text);
            }
            let fresh = (kind.make)();
            for (who, reader) in [("new", &fresh), ("old", reader)] {
                let found = if reader.verifies(&scene.gun, "v1") { VERIFIES } else { REFUSES };
                let column = format!("{}, {who}", kind.name);
                let told = table.get(story.row).and_then(|row| row.get(&column));
                let told = told.unwrap_or_else(|| panic!("no column {column}"));
                if told != found {
                    let _ = writeln!(differences, "{}: {column} {found}, and the table says {told}", story.row);
                }
            }
        }
    }
}

/// Plays all stories with these clients and holds what they make of it against the table.
fn play<'a>(scene: impl Fn(&Story) -> Scene<'a>, kinds: &[Kind<'_>]) {
    let table = table();
    let rows: Vec<&str> = table.keys().map(String::as_str).collect();
    let mut stories: Vec<&str> = STORIES.iter().map(|story| story.row).collect();
    stories.sort_unstable();
    assert_eq!(rows, stories, "each row of the table is a story, and each story a row");
    // What waits for a certificate to end begins first, and is played when all else has been.
    let (waiting, others): (Vec<&Story>, Vec<&Story>) =
        STORIES.iter().partition(|story| story.certificate == Certificate::EndsSoon);
    let waiting: Vec<Begun<'_>> = waiting.into_iter().map(|story| begin(story, scene(story), kinds)).collect();
    let mut differences = String::new();
    for story in others {
        begin(story, scene(story), kinds).compare(kinds, &table, &mut differences);
    }
    let last = waiting.iter().filter_map(|begun| begun.scene.certificate_end.get()).max();
    while last.is_some_and(|end| jiff::Timestamp::now() <= end) {
        std::thread::sleep(Duration::from_millis(200));
    }
    for begun in waiting {
        begun.compare(kinds, &table, &mut differences);
    }
    assert!(differences.is_empty(), "{differences}");
}

fn owner_of(service: &TrustService) -> Client {
    Client::new().of(service)
}

#[test]
fn notary_and_countersign_verify_or_refuse_as_the_documentation_says() {
    let shop = Shop::open();
    let scene = |story: &Story| {
        let path = format!("acme/{}", story.row);
        let gun = format!("{}/{path}", shop.registry.host());
        let registry = &shop.registry;
        let put = move |tag: &str| {
            registry.put_image(&path, tag, &countersign_testkit::Image::with_message(tag)).unwrap();
        };
        Scene::new(gun, owner_of(&shop.service), &shop.service, Box::new(put))
    };
    let kinds = [
        Kind { name: "notary", make: Box::new(|| Box::new(shop.service.notary_client())) },
        Kind { name: "Countersign", make: Box::new(|| Box::new(shop.client())) },
    ];
    play(scene, &kinds);
}

/// Plays the docker columns with real pulls.
fn dockers_verify_or_refuse_as_told(make: impl Fn(&Stage) -> DockerClient) {
    let stage = Stage::set();
    let scene = |story: &Story| {
        let gun = stage.repository(&format!("acme/{}", story.row));
        let (engine, uploader, repository) = (&stage.engine, stage.docker(), gun.clone());
        let put = move |tag: &str| {
            let name = format!("{repository}:{tag}");
            engine.build(&name, &name);
            uploader.run(&["push", "--disable-content-trust", &name]).succeeded();
        };
        Scene::new(gun, owner_of(&stage.service), &stage.service, Box::new(put))
    };
    play(scene, &[Kind { name: "docker", make: Box::new(|| Box::new(make(&stage))) }]);
}

mod docker_28 {
    #[test]
    fn pulls_or_refuses_as_the_documentation_says() {
        super::dockers_verify_or_refuse_as_told(crate::stage::Stage::docker28);
    }
}
