//! What the command line of a build says about images.

use crate::cobra::Parsed;
use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use crate::shim::decision::Job;
use crate::trusted::words::user;
use countersign_image::Reference;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What begins the value of a named context that is an image.
pub(super) const IMAGE_CONTEXT: &str = "docker-image://";
/// The build argument that names a frontend's image, whatever the Dockerfile says.
const FRONTEND_ARGUMENT: &str = "BUILDKIT_SYNTAX";

/// The options that matter here.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) file: Option<String>,
    pub(super) arguments: BTreeMap<String, String>,
    pub(super) platforms: Vec<String>,
    pub(super) contexts: Vec<(String, String)>,
    pub(super) metadata_file: Option<PathBuf>,
    /// The tags that are pushed; empty if nothing is.
    pub(super) pushed: Vec<Reference>,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// They bring in images that cannot be verified.
    pub(super) fn read(job: &Job) -> Result<Self, CliError> {
        let parsed = &job.parsed;
        for cache in parsed.values("cache-from").iter().filter(|cache| is_from_registry(cache)) {
            message(format_args!("WARNING: --cache-from {}: what a cache holds is not verified", harmless(cache)));
        }
        let platforms = parsed.values("platform").into_iter().flat_map(|value| value.split(','));
        Ok(Self {
            file: parsed.value("file").map(str::to_owned),
            arguments: arguments(parsed, |name| std::env::var(name).ok())?,
            platforms: platforms.filter(|platform| !platform.is_empty()).map(str::to_owned).collect(),
            contexts: contexts(parsed)?,
            metadata_file: parsed.value("metadata-file").filter(|path| !path.is_empty()).map(PathBuf::from),
            pushed: pushed(parsed)?,
        })
    }

    /// Tells whether anything is pushed that is to be signed.
    pub(super) fn pushes(&self) -> bool {
        !self.pushed.is_empty()
    }

    /// Returns the images that named contexts stand for.
    pub(super) fn context_images(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().filter_map(|(_, value)| value.strip_prefix(IMAGE_CONTEXT))
    }
}

/// Leaves flags out of arguments, with their values.
pub(super) fn without(parsed: &Parsed, own: &[OsString], flags: &[&str]) -> Vec<OsString> {
    let left_out = |index: usize| {
        let used = parsed.occurrences.iter().filter(|used| flags.contains(&used.flag.long));
        used.into_iter().any(|used| used.index == index || (used.apart && used.index + 1 == index))
    };
    own.iter().enumerate().filter(|(index, _)| !left_out(*index)).map(|(_, argument)| argument.clone()).collect()
}

fn arguments(parsed: &Parsed, variable: impl Fn(&str) -> Option<String>) -> Result<BTreeMap<String, String>, CliError> {
    let mut arguments = BTreeMap::new();
    for given in parsed.values("build-arg") {
        let (name, value) = given.split_once('=').map_or((given, None), |(name, value)| (name, Some(value.to_owned())));
        if name == FRONTEND_ARGUMENT {
            return Err(refused(format!("--build-arg {FRONTEND_ARGUMENT} names a frontend that is not verified"))
                .hint("name it in the Dockerfile's # syntax= line"));
        }
        match value.or_else(|| variable(name)) {
            Some(value) => arguments.insert(name.to_owned(), value),
            None => None,
        };
    }
    Ok(arguments)
}

fn contexts(parsed: &Parsed) -> Result<Vec<(String, String)>, CliError> {
    let mut contexts = Vec::new();
    for given in parsed.values("build-context") {
        let (name, value) =
            given.split_once('=').ok_or_else(|| user(format!("invalid context value: {given}, expected key=value")))?;
        let unverified = ["oci-layout:", "input:", "target:"].iter().any(|scheme| value.starts_with(scheme));
        let is_image = value.to_lowercase().starts_with("docker-image:") && !value.starts_with(IMAGE_CONTEXT);
        if unverified || is_image || name.contains("::") {
            return Err(refused(format!("--build-context {given}: images of this kind are not verified")));
        }
        contexts.push((name.to_owned(), value.to_owned()));
    }
    Ok(contexts)
}

/// Finds the names under which a build is pushed.
fn pushed(parsed: &Parsed) -> Result<Vec<Reference>, CliError> {
    let checks_only =
        parsed.is_on("check") || parsed.value("call").or(parsed.value("print")).is_some_and(|call| call != "build");
    let mut pushes = parsed.is_on("push");
    let mut names: Vec<String> = parsed.values("tag").into_iter().map(str::to_owned).collect();
    for output in parsed.values("output") {
        let fields: BTreeMap<String, String> = fields(output).into_iter().collect();
        let is = |name: &str, value: &str| fields.get(name).is_some_and(|found| found == value);
        let by_digest = fields.get("push-by-digest").is_some_and(|value| value != "false" && value != "0");
        let to_registry =
            is("type", "registry") || fields.get("push").is_some_and(|value| value != "false" && value != "0");
        if by_digest && (to_registry || pushes) {
            message("WARNING: what is pushed by digest has no tag and is not signed");
            return Ok(Vec::new());
        }
        pushes |= to_registry;
        let listed = fields.get("name").map(String::as_str).unwrap_or_default();
        names.extend(listed.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    if !pushes || checks_only {
        return Ok(Vec::new());
    }
    if names.is_empty() {
        return Err(user("tag is needed when pushing to registry"));
    }
    let mut references: Vec<Reference> = Vec::new();
    for name in names {
        let reference = Reference::parse(&name).map_err(user)?.or_latest();
        if reference.digest().is_some() {
            return Err(user("cannot push a digest reference"));
        }
        if !references.contains(&reference) {
            references.push(reference);
        }
    }
    Ok(references)
}

/// Takes `key=value` fields between commas apart; fields may stand in quotes.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.iter_mut().last().into_iter().for_each(|field| field.push(c)),
        }
    }
    let pair = |field: String| {
        let (key, value) = field.split_once('=').unwrap_or((&field, ""));
        (key.trim().to_lowercase(), value.to_owned())
    };
    fields.into_iter().map(pair).collect()
}

fn is_from_registry(cache: &str) -> bool {
    let fields = fields(cache);
    let kind = fields.iter().find(|(key, _)| key == "type").map_or("registry", |(_, value)| value.as_str());
    kind == "registry"
}

fn refused(message: String) -> CliError {
    CliError::new(Kind::Trust, message).hint("--disable-content-trust builds without looking at signatures")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cobra::{self, Flag, Interspersed};

    fn parsed(line: &str) -> Parsed {
        let flags: Vec<&'static Flag> = crate::shim::flags::BUILD.iter().collect();
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        cobra::parse(&flags, &arguments, Interspersed::Yes).unwrap()
    }

    fn names(line: &str) -> Vec<String> {
        pushed(&parsed(line)).unwrap().iter().map(Reference::familiar).collect()
    }

    #[test]
    fn what_is_pushed_is_found_however_it_is_said() {
        assert_eq!(names("--push -t a/b:1 -t a/b:2 -t a/b:1 ."), ["a/b:1", "a/b:2"]);
        assert_eq!(names("-t a/b -o type=registry ."), ["a/b:latest"]);
        assert_eq!(
            names("--output type=image,\"name=r.test/a:1,r.test/a:2\",push=true ."),
            ["r.test/a:1", "r.test/a:2"]
        );
        for none in [
            "-t a .",
            "-t a --load .",
            "-t a -o type=image .",
            "-t a -o type=image,push=false .",
            "-o type=local,dest=x .",
            "--push --check -t a .",
            "--push --call outline -t a .",
            "--push -o type=image,push-by-digest=true,name=a .",
        ] {
            assert_eq!(names(none), [""; 0], "{none}");
        }
        assert!(pushed(&parsed("--push .")).is_err());
        assert!(pushed(&parsed("--push -t Alpine .")).is_err());
    }

    #[test]
    fn build_arguments_come_from_the_line_or_from_the_environment() {
        let found = |name: &str| (name == "B").then(|| "env".to_owned());
        let given = arguments(&parsed("--build-arg A=1=2 --build-arg B --build-arg C ."), found).unwrap();
        assert_eq!(given.into_iter().collect::<Vec<_>>(), [("A".into(), "1=2".into()), ("B".into(), "env".into())]);
        assert!(arguments(&parsed("--build-arg BUILDKIT_SYNTAX=evil ."), |_| None).is_err());
        assert!(arguments(&parsed("--build-arg BUILDKIT_SYNTAX ."), |_| None).is_err());
    }

    #[test]
    fn contexts_that_are_images_of_another_kind_are_refused() {
        assert!(contexts(&parsed("--build-context a=./x --build-context b=docker-image://alpine .")).is_ok());
        for line in [
            "--build-context a=oci-layout://x .",
            "--build-context a=target:x .",
            "--build-context a=Docker-Image://x .",
            "--build-context a::linux/amd64=x .",
            "--build-context a .",
        ] {
            assert!(contexts(&parsed(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn flags_are_left_out_with_their_values() {
        let own: Vec<OsString> = ["-f", "x", "-t", "a", "--file=y", "."].iter().map(OsString::from).collect();
        assert_eq!(without(&parsed("-f x -t a --file=y ."), &own, &["file"]), ["-t", "a", "."]);
    }

    #[test]
    fn caches_of_registries_are_told_from_others() {
        for (cache, is) in
            [("a/b:cache", true), ("type=registry,ref=a", true), ("type=local,src=x", false), ("type=gha", false)]
        {
            assert_eq!(is_from_registry(cache), is, "{cache}");
        }
    }
}
