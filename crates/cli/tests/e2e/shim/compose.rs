//! Compose and buildx, which a stub stands for.

use super::Shim;
use crate::client::{Client, Ending, TRUST};
use crate::stage::Shop;

/// A stub of compose: `config` prints a model, with the images of the override file if there is one.
const COMPOSE: &str = r#"
printf '%s ' "$@" >> "$here/lines"; echo >> "$here/lines"
case " $* " in *" config "*)
  files="$here/model.json"
  for argument; do case "$argument" in *override*) files="$files $argument";; esac; done
  jq -s 'reduce .[1:][] as $file (.[0]; .services *= ($file.services | del(.deaf)))' $files
;; *)
  for argument; do case "$argument" in *override*) cp "$argument" "$here/override";; esac; done
;; esac
"#;

struct Project {
    shop: Shop,
    shim: Shim,
    digest: String,
}

impl Project {
    fn with(model: &str) -> Self {
        let shop = Shop::open();
        let owner = shop.client();
        let digest = shop.signed_by(&owner, "v1", "one");
        shop.put("unsigned", "two");
        let shim = Shim::before_stub(shop.client());
        std::fs::write(shim.client.folder().join("compose.yaml"), "services: {}\n").unwrap();
        std::fs::write(shim.path("stub/model.json"), model.replace("GUN", &shop.gun())).unwrap();
        shim.answering(COMPOSE);
        Self { shop, shim, digest }
    }

    fn pinned(&self) -> String {
        format!("{}@{}", self.shop.gun(), self.digest)
    }

    fn overridden(&self) -> serde_json::Value {
        serde_json::from_slice(&self.shim.stub("override")).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.shim.stub("lines")).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }
}

#[test]
fn services_get_signed_digests_by_a_further_file() {
    let project = Project::with(
        r#"{"name":"x","services":{"web":{"image":"GUN:v1","depends_on":{"db":{}}},"db":{"image":"GUN:v1"}}}"#,
    );
    project.shim.run(&["compose", "-p", "x", "up", "-d", "web"]).succeeded();
    let services = &project.overridden()["services"];
    for name in ["web", "db"] {
        assert_eq!(services[name]["image"].as_str(), Some(&*project.pinned()));
    }
    let last = project.lines().pop().unwrap();
    assert!(last.starts_with("compose -p x --file ") && last.ends_with("up -d web"), "{last}");
    assert!(last.contains("compose.yaml --file ") && last.contains("override.json"), "{last}");
    assert!(!project.shim.environment().iter().any(|variable| variable.starts_with("DOCKER_CONTENT_TRUST=")));
    project.shim.run(&["compose", "-f", "a.yaml", "run", "--rm", "web", "x", "--build"]).succeeded();
    let last = project.lines().pop().unwrap();
    assert!(last.starts_with("compose -f a.yaml --file /") && last.ends_with("run --rm web x --build"), "{last}");
}

#[test]
fn services_that_are_not_needed_cannot_be_started_by_a_slip() {
    let project = Project::with(
        r#"{"name":"x","services":{"web":{"image":"GUN:v1"},"other":{"image":"GUN:unsigned"},"built":{"build":{"context":"."}}}}"#,
    );
    project.shim.run(&["compose", "up", "web"]).succeeded();
    let services = &project.overridden()["services"];
    assert_eq!(services["web"]["image"].as_str(), Some(&*project.pinned()));
    for other in ["other", "built"] {
        assert!(services[other]["image"].as_str().unwrap().starts_with("countersign.invalid/not-verified@sha256:000"));
    }
    project.shim.run(&["compose", "up", "other"]).refused(TRUST, "No valid trust data for unsigned");
}

#[test]
fn what_compose_would_build_or_run_otherwise_is_refused() {
    for (service, message) in [
        (r#"{"image":"GUN:unsigned"}"#, "No valid trust data for unsigned"),
        (r#"{"image":"GUN:v1","build":{"context":"."}}"#, "it is built by compose"),
        (r#"{"provider":{"type":"x"}}"#, "its provider"),
        (r#"{"image":"GUN:v1","volumes":[{"type":"image","source":"x","target":"/y"}]}"#, "mounts an image"),
    ] {
        let project = Project::with(&format!(r#"{{"name":"x","services":{{"web":{service}}}}}"#));
        project.shim.run(&["compose", "up"]).refused(TRUST, message);
        assert!(project.lines().iter().all(|line| line.contains(" config ")), "{:?}", project.lines());
    }
}

#[test]
fn compose_files_are_those_of_this_machine() {
    let project = Project::with(r#"{"name":"x","services":{"web":{"image":"GUN:v1"}}}"#);
    for elsewhere in ["https://example.com/x.git", "git@example.com:x/y", "oci://example.com/x:1"] {
        project.shim.run(&["compose", "-f", elsewhere, "up"]).refused(TRUST, "on another machine");
    }
    project.shim.run(&["compose", "-f", "-", "up"]).refused(TRUST, "on standard input");
    // What includes bring in is left to compose, which is told at every call to fetch nothing.
    project.shim.answering(&format!(
        "test \"$COMPOSE_EXPERIMENTAL_GIT_REMOTE $COMPOSE_EXPERIMENTAL_OCI_REMOTE\" = 'false false' || exit 9\n{COMPOSE}"
    ));
    project.shim.run(&["compose", "up"]).succeeded();
}

#[test]
fn a_compose_that_does_not_take_the_pins_is_not_run() {
    let project = Project::with(r#"{"name":"x","services":{"deaf":{"image":"GUN:v1"}}}"#);
    project.shim.run(&["compose", "up"]).refused(TRUST, "does not take the pinned images");
    assert!(project.lines().iter().all(|line| line.contains(" config ")));
}

/// A folder with a Dockerfile that builds upon nothing.
fn from_scratch(shim: &Shim) -> String {
    let folder = shim.path("context");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
    folder.display().to_string()
}

#[test]
fn what_buildx_pushes_is_signed_as_the_index_that_it_wrote_down() {
    let shop = Shop::open();
    let shim = Shim::before_stub(shop.client());
    let digest = shop.put("one", "one");
    shop.put("two", "another");
    shim.answering(&format!(
        r#"while test $# -gt 0; do case "$1" in
--metadata-file) echo '{{"containerimage.digest":"{digest}"}}' > "$2";;
--file) cp "$2" "$here/file";;
esac; shift; done
cp "$EXPERIMENTAL_BUILDKIT_SOURCE_POLICY" "$here/policy""#
    ));
    let folder = from_scratch(&shim);
    let (one, two) = (shop.name("one"), shop.name("two"));
    let built = shim.run(&["buildx", "build", "--push", "-t", &one, "-t", &two, &folder]).succeeded();
    for name in [&one, &two] {
        assert!(built.stdout.contains(&format!("Successfully signed {name}\n")), "{built}");
    }
    assert_eq!(built.stdout.matches("Signing and pushing trust metadata").count(), 1, "{built}");
    assert_eq!(shim.stub("file"), b"FROM scratch\n");
    assert!(String::from_utf8(shim.stub("policy")).unwrap().contains("docker-image://*"));
    let verified = shop.client().run(&["verify", &two]).succeeded();
    assert!(
        verified.stdout.contains(&digest),
        "the tag stands for what was built, not for what it points to: {verified}"
    );
}

#[test]
fn a_build_that_fails_or_pushes_nothing_signs_nothing() {
    let shim = Shim::before_stub(Client::new());
    let folder = from_scratch(&shim);
    shim.run(&["build", "-t", "x", &folder]).succeeded();
    std::fs::write(shim.path("stub/code"), "7").unwrap();
    assert_eq!(shim.run(&["build", "--push", "-t", "x", &folder]).code, 7);
    std::fs::write(shim.path("stub/code"), "0").unwrap();
    let untold = shim.run(&["build", "--push", "-t", "x", &folder]).failed();
    assert!(untold.stderr.contains("did not tell what it pushed"), "{untold}");
}
