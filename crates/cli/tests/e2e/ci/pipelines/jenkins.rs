//! Jenkins: the shell steps of a declarative pipeline, with the credentials that are bound where they stand.

use super::machine::{ACCOUNT, Ended, Machine};
use std::collections::BTreeMap;

/// What a block holds, in order.
#[derive(Debug)]
enum Item {
    /// A block: what stands before its brace, and what is in it.
    Block(String, Vec<Item>),
    /// `sh '''…'''`.
    Shell(String),
    /// Any other statement.
    Statement(String),
}

type Environment = BTreeMap<String, String>;

pub(in crate::ci) fn run(machine: &Machine, jenkinsfile: &str) -> Ended {
    let items = parse(&mut Source { text: jenkinsfile, pending: String::new() });
    let [.., Item::Block(header, pipeline)] = items.as_slice() else { panic!("no pipeline") };
    assert_eq!(header, "pipeline");
    let temporary = machine.temporary().display().to_string();
    let mut environment = Environment::from([
        ("JENKINS_URL".to_owned(), "https://jenkins.test/".to_owned()),
        ("BUILD_NUMBER".to_owned(), machine.number().to_owned()),
        ("WORKSPACE_TMP".to_owned(), temporary),
    ]);
    set(machine, pipeline, &mut environment);
    let mut ended = Ended::default();
    let post = |item: &&Item| matches!(item, Item::Block(header, _) if header == "post");
    for item in pipeline.iter().filter(|item| !post(item)) {
        perform(machine, std::slice::from_ref(item), &environment, &mut ended);
    }
    for item in pipeline.iter().filter(post) {
        if let Item::Block(_, always) = item {
            always_perform(machine, always, &environment, &mut ended);
        }
    }
    ended
}

/// Runs the one shell step of a library's step, with what its Groovy code sets.
pub(super) fn run_library_step(machine: &Machine, groovy: &str, image: &str) -> Ended {
    let items = parse(&mut Source { text: groovy, pending: String::new() });
    let environment = Environment::from([
        ("COUNTERSIGN_SUBJECT".to_owned(), image.to_owned()),
        ("COUNTERSIGN_TIMEOUT".to_owned(), "5m".to_owned()),
        ("DOCKER_CONTENT_TRUST_SERVER".to_owned(), machine.server()),
        ("DOCKER_CONFIG".to_owned(), machine.logged_in().display().to_string()),
    ]);
    let mut ended = Ended::default();
    perform(machine, &items, &environment, &mut ended);
    ended
}

/// Runs the shell steps below these items until one fails.
fn perform(machine: &Machine, items: &[Item], environment: &Environment, ended: &mut Ended) {
    for item in items {
        match item {
            Item::Shell(script) if ended.succeeded() => machine.step(&["sh", "-xe"], script, environment, ended),
            Item::Block(header, inner) if header != "environment" => {
                let mut environment = environment.clone();
                set(machine, inner, &mut environment);
                bind(machine, header, &mut environment);
                perform(machine, inner, &environment, ended);
            }
            _ => {}
        }
    }
}

/// `post { always { … } }`.
fn always_perform(machine: &Machine, post: &[Item], environment: &Environment, ended: &mut Ended) {
    for item in post {
        let Item::Block(header, inner) = item else { continue };
        assert_eq!(header, "always");
        for item in inner {
            if let (Item::Shell(script), false) = (item, ended.killed) {
                machine.step(&["sh", "-xe"], script, environment, ended);
            }
        }
    }
}

/// Reads the `environment` of a block.
fn set(machine: &Machine, block: &[Item], environment: &mut Environment) {
    for item in block {
        let Item::Block(header, assignments) = item else { continue };
        if header != "environment" {
            continue;
        }
        for assignment in assignments {
            let Item::Statement(statement) = assignment else { panic!("{assignment:?}") };
            let (name, value) = statement.split_once(" = ").unwrap();
            if let Some(id) = value.strip_prefix("credentials('").and_then(|rest| rest.strip_suffix("')")) {
                credential(machine, id, name, environment);
                continue;
            }
            let mut value = value[1..value.len() - 1].to_owned();
            for (known, content) in environment.clone() {
                value = value.replace(&format!("${{env.{known}}}"), &content);
            }
            environment.insert(name.to_owned(), machine.edited(name).unwrap_or(value));
        }
    }
}

/// Reads `withCredentials([…])`.
fn bind(machine: &Machine, header: &str, environment: &mut Environment) {
    let Some(bindings) = header.strip_prefix("withCredentials(") else { return };
    let quoted = |text: &str| text.split('\'').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    for binding in bindings.split("file(").flat_map(|part| part.split("string(")).skip(1) {
        let names = quoted(binding);
        let [id, .., variable] = names.as_slice() else { panic!("{binding}") };
        credential(machine, id, variable, environment);
    }
}

/// What the secret store holds.
fn credential(machine: &Machine, id: &str, variable: &str, environment: &mut Environment) {
    let mut put = |suffix: &str, value: &str| environment.insert(format!("{variable}{suffix}"), value.to_owned());
    match id {
        "DOCKER_TRUST_KEY_ARCHIVE" => drop(put("", machine.archive().to_str().unwrap())),
        "DOCKER_TRUST_KEY_PASSPHRASE" => drop(put("", &machine.passphrase)),
        "DOCKER_HUB_CREDS" => {
            put("", &format!("{}:{}", ACCOUNT.name, ACCOUNT.password));
            put("_USR", ACCOUNT.name);
            put("_PSW", ACCOUNT.password);
        }
        other => panic!("the secret store has no {other}"),
    }
}

struct Source<'a> {
    text: &'a str,
    pending: String,
}

impl Source<'_> {
    fn skip(&mut self, bytes: usize) -> &str {
        let (skipped, rest) = self.text.split_at(bytes);
        self.text = rest;
        skipped
    }

    /// Takes text up to and with an ending into the statement.
    fn keep_to(&mut self, ending: &str, from: usize) {
        let end = self.text[from..].find(ending).unwrap() + from + ending.len();
        let taken = self.skip(end).to_owned();
        self.pending.push_str(&taken);
    }

    fn statement(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.pending).split_whitespace().collect::<Vec<_>>().join(" ");
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Reads items up to the end of the block.
fn parse(source: &mut Source<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some(first) = source.text.chars().next() {
        if source.text.starts_with("//") {
            let end = source.text.find('\n').unwrap_or(source.text.len());
            source.skip(end);
        } else if source.text.starts_with("'''") {
            source.skip(3);
            let end = source.text.find("'''").unwrap();
            let script = source.skip(end).to_owned();
            source.skip(3);
            assert!(!script.contains('\\'), "Groovy would take the backslash: {script}");
            assert_eq!(source.statement().as_deref(), Some("sh"));
            items.push(Item::Shell(script));
        } else if first == '\'' || first == '"' {
            source.keep_to(&first.to_string(), 1);
        } else if first == '{' {
            source.skip(1);
            let header = source.statement().unwrap_or_default();
            items.push(Item::Block(header, parse(source)));
        } else if first == '}' {
            source.skip(1);
            break;
        } else {
            let open =
                |pending: &str, one: char, other: char| pending.matches(one).count() > pending.matches(other).count();
            let inside = open(&source.pending, '(', ')') || open(&source.pending, '[', ']');
            if first == '\n' && !inside {
                items.extend(source.statement().map(Item::Statement));
            }
            source.pending.push(first);
            source.skip(first.len_utf8());
        }
    }
    items.extend(source.statement().map(Item::Statement));
    items
}
