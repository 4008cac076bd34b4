use super::*;

fn gun(text: &str) -> Gun {
    Gun::parse(text).unwrap()
}

fn settings(texts: &[&str]) -> Settings {
    let mut settings = Settings::default();
    for (index, text) in texts.iter().enumerate() {
        let said = document::read(Path::new(&format!("/{index}.toml")), text, Scope::Settings).unwrap();
        settings.rules.extend(said.rules);
        settings.audit_log = settings.audit_log.or(said.audit_log);
    }
    settings
}

fn service(settings: &Settings, name: &str) -> Option<String> {
    settings.service(&gun(name)).map(|(to, _)| to.address.to_string())
}

#[test]
fn prefixes_end_at_segments_and_know_no_case_in_the_registry() {
    for (prefix, name, expected) in [
        ("", "a.test/x", true),
        ("a.test", "a.test/x", true),
        ("a.test/x", "a.test/x", true),
        ("a.test/x", "a.test/x/y", true),
        ("a.test/x", "A.TEST/x/y", true),
        ("a.test/x", "a.test/xy", false),
        ("a.test/x", "a.test/y", false),
        ("a.test", "a.test.evil/x", false),
        ("a.test", "a.test:5000/x", false),
        ("a.test/x/y", "a.test/x", false),
        ("a.test/é", "a.test/è", false),
    ] {
        assert_eq!(covers(prefix, name), expected, "{prefix} {name}");
    }
}

#[test]
fn the_longest_prefix_wins_and_the_next_fills_what_it_leaves_open() {
    let settings = settings(&["
        service = \"https://all.test\"
        first-use = \"deny\"
        [images.\"a.test\"]
        service = \"https://a-trust.test\"
        service-ca = \"a.pem\"
        [images.\"a.test/acme\"]
        first-use = \"allow\"
        [images.\"a.test/acme/app\"]
        service = \"https://app.test\"
    "]);
    assert_eq!(service(&settings, "b.test/x").unwrap(), "https://all.test");
    assert_eq!(service(&settings, "a.test/acme/other").unwrap(), "https://a-trust.test");
    assert_eq!(service(&settings, "a.test/acme/app").unwrap(), "https://app.test");
    let policy = |name: &str| settings.first_use(&gun(name)).unwrap().value;
    assert_eq!(policy("a.test/x"), FirstUsePolicy::Deny);
    assert_eq!(policy("a.test/acme/app"), FirstUsePolicy::Allow);
    let authorities = |name: &str| settings.service(&gun(name)).unwrap().0.authorities;
    assert_eq!(authorities("a.test/acme/other").unwrap(), Path::new("/a.pem"));
    assert_eq!(authorities("a.test/acme/app"), None, "another service has not the same authority");
    let (_, named_by) = settings.service(&gun("a.test/x")).unwrap();
    assert_eq!(named_by.to_string(), "/0.toml line 5");
}

#[test]
fn a_persons_word_counts_before_the_administrators() {
    let person = "[images.\"a.test\"]\nservice = \"https://person.test\"\n";
    let system = "audit-log = \"/log\"\nfirst-use = \"deny\"\n[images.\"a.test\"]\nservice = \"https://system.test\"\n[images.\"a.test/x\"]\nservice = \"https://x.test\"\n";
    let settings = settings(&[person, system]);
    assert_eq!(service(&settings, "a.test/y").unwrap(), "https://person.test");
    assert_eq!(service(&settings, "a.test/x").unwrap(), "https://x.test", "the longer prefix counts more");
    assert_eq!(settings.first_use(&gun("b.test/x")).unwrap().value, FirstUsePolicy::Deny);
    assert_eq!(settings.audit_log().unwrap(), Path::new("/log"));
    assert_eq!(service(&settings, "b.test/x"), None);
}

#[test]
fn a_missing_file_is_none_unless_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::folder(&folder.path().join("countersign"));
    assert!(Settings::of_places(&[place]).unwrap().rules.is_empty());
}

#[test]
fn the_guides_example_is_understood() {
    let guide = include_str!("../../../../docs/guides/several-trust-services.md");
    let example = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let settings = settings(&[example]);
    let name = "registry.supplier.example/widgets/cog";
    let (_, named_by) = settings.service(&gun(name)).unwrap();
    assert_eq!(named_by.to_string(), "/0.toml line 11", "as the guide shows it");
    assert_eq!(settings.first_use(&gun(name)).unwrap().named_by().to_string(), "/0.toml line 13");
    assert_eq!(service(&settings, "docker.io/library/alpine").unwrap(), "https://trust.example.com/hub");
}
