//! Build stages, and the images that instructions name.

use super::expand::{Value, expand};
use super::lines::{Instruction, Lines, could_name_an_image, is_blank, words};
use super::{Builder, Dockerfile, DockerfileError, Part, Piece};
use countersign_image::Reference;
use std::collections::{BTreeMap, BTreeSet};

/// What the command line says that a Dockerfile depends on.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// `--build-arg`.
    pub(crate) arguments: BTreeMap<String, String>,
    /// `--platform`, taken apart.
    pub(crate) platforms: Vec<String>,
    /// The names of `--build-context`, which come before images.
    pub(crate) contexts: BTreeSet<String>,
    /// Who reads the file.
    pub(crate) builder: Builder,
}

/// The only frontend whose language is known.
const FRONTENDS: [&str; 2] = ["docker.io/docker/dockerfile", "docker.io/docker/dockerfile-upstream"];

/// Variables that a builder sets for `FROM` without being asked.
const PLATFORM_VARIABLES: [&str; 9] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

impl Surroundings {
    /// Brings the name of an image or context to the form in which builders compare them.
    pub(crate) fn context_name(text: &str) -> String {
        let lower = text.to_lowercase();
        let familiar = Reference::parse(&lower).map_or(lower, |reference| reference.familiar());
        familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned()
    }

    fn is_context(&self, image: &str) -> bool {
        self.contexts.contains(&Self::context_name(image))
    }
}

/// Goes through the instructions.
pub(super) fn analyse(lines: &Lines<'_>, surroundings: &Surroundings) -> Result<Dockerfile, DockerfileError> {
    let mut stages = Stages::new(lines, surroundings);
    for instruction in &lines.instructions {
        let (keyword, rest) = instruction.split();
        let made = match keyword.as_str() {
            "ARG" if stages.begun == 0 => {
                stages.argument(instruction, rest)?;
                None
            }
            "FROM" => stages.from(instruction, rest)?,
            _ if stages.begun == 0 => {
                return Err(DockerfileError::at(instruction.lines.start, format!("{keyword} stands before FROM")));
            }
            "COPY" => stages.flagged(instruction, &keyword, rest, Flagged::From)?,
            "RUN" => stages.flagged(instruction, &keyword, rest, Flagged::Mount)?,
            "ONBUILD" => {
                stages.trigger(rest);
                None
            }
            _ => None,
        };
        if let Some(parts) = made {
            let fillers = instruction.lines.len().saturating_sub(1);
            stages.made.push((instruction.lines.clone(), Piece::Made { fillers, parts }));
        }
    }
    if stages.begun == 0 {
        return Err(DockerfileError::NoFrom);
    }
    stages.syntax()?;
    Ok(stages.finish())
}

struct Stages<'a> {
    lines: &'a Lines<'a>,
    surroundings: &'a Surroundings,
    /// `ARG`s before the first `FROM`.
    variables: BTreeMap<String, Value>,
    /// How many stages there are so far.
    begun: usize,
    names: BTreeSet<String>,
    all_names: BTreeSet<String>,
    /// Whether a stage so far has a trigger that takes an image.
    has_triggers: bool,
    bases: Vec<String>,
    made: Vec<(std::ops::Range<usize>, Piece)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flagged {
    From,
    Mount,
}

enum Source {
    /// A stage, a context or `scratch`, by this name.
    Known(String),
    Image(String),
}

impl<'a> Stages<'a> {
    fn new(lines: &'a Lines<'a>, surroundings: &'a Surroundings) -> Self {
        let all_names = lines.instructions.iter().filter_map(stage_name).collect();
        Self {
            lines,
            surroundings,
            variables: BTreeMap::new(),
            begun: 0,
            names: BTreeSet::new(),
            all_names,
            has_triggers: false,
            bases: Vec::new(),
            made: Vec::new(),
        }
    }

    fn lookup(&self, name: &str, platform: Option<&str>) -> Value {
        if let Some(value) = self.variables.get(name) {
            if let Some(given) = self.surroundings.arguments.get(name) {
                return Value::Text(given.clone());
            }
            if *value != Value::Unset {
                return value.clone();
            }
        }
        if !PLATFORM_VARIABLES.contains(&name) {
            return if name == "TARGETSTAGE" { Value::Unknown } else { Value::Unset };
        }
        if self.surroundings.arguments.contains_key(name) {
            return Value::Unknown;
        }
        let mut parts = platform.unwrap_or_default().split('/');
        let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
        match (name, platform, architecture) {
            ("TARGETPLATFORM", Some(platform), Some(_)) => Value::Text(platform.to_owned()),
            ("TARGETOS", Some(_), Some(_)) => Value::Text(os.unwrap_or_default().to_owned()),
            ("TARGETARCH", Some(_), Some(architecture)) => Value::Text(architecture.to_owned()),
            // A builder may add the variant that is usual: only one that is written is certain.
            ("TARGETVARIANT", Some(_), Some(_)) if variant.is_some() => {
                Value::Text(variant.unwrap_or_default().to_owned())
            }
            _ => Value::Unknown,
        }
    }

    fn expand(&self, at: usize, word: &str) -> Result<String, DockerfileError> {
        let platforms = &self.surroundings.platforms;
        let for_one = |platform: Option<&str>| {
            expand(word, self.lines.escape, &|name| self.lookup(name, platform))
                .map_err(|reason| DockerfileError::at(at, reason))
        };
        let mut results = BTreeSet::new();
        if platforms.is_empty() {
            results.insert(for_one(None)?);
        }
        for platform in platforms {
            results.insert(for_one(Some(platform))?);
        }
        let first = results.pop_first().unwrap_or_default();
        if results.is_empty() {
            return Ok(first);
        }
        Err(DockerfileError::at(at, format!("{word} names another image for each platform: build them one by one")))
    }

    /// Takes `ARG`s before the first `FROM`.
    fn argument(&mut self, instruction: &Instruction, rest: &str) -> Result<(), DockerfileError> {
        let at = instruction.lines.start;
        for word in words(rest) {
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(DockerfileError::at(at, format!("ARG {name}: that is no name of a variable")));
            }
            let value = match value {
                // What cannot be told now matters only if an image depends on it.
                Some(value) => {
                    let expanded = expand(value, self.lines.escape, &|name| self.lookup(name, None));
                    expanded.map_or(Value::Unknown, Value::Text)
                }
                None => Value::Unset,
            };
            if value != Value::Unset || !self.variables.contains_key(name) {
                self.variables.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    fn from(&mut self, instruction: &Instruction, rest: &str) -> Result<Option<Vec<Part>>, DockerfileError> {
        let at = instruction.lines.start;
        let words: Vec<&str> = rest.split(is_blank).filter(|word| !word.is_empty()).collect();
        let flags = words.iter().take_while(|word| word.starts_with("--")).count();
        let (flags, words) = words.split_at(flags);
        if let Some(other) =
            flags.iter().find(|flag| !flag.starts_with("--platform=") || flag.contains(['"', '\'', '\\', '`']))
        {
            return Err(DockerfileError::at(at, format!("FROM {other}: this flag is not understood")));
        }
        let (word, name) = match words {
            [word] => (word, None),
            [word, keyword, name] if keyword.eq_ignore_ascii_case("as") => (word, Some(*name)),
            _ => return Err(DockerfileError::at(at, "FROM takes an image, or an image, AS and a name")),
        };
        let image = self.expand(at, word)?;
        let image = match self.source(at, &image)? {
            Source::Known(name) if self.has_triggers && name != "scratch" => {
                let reason = format!("{name} may have triggers (ONBUILD) that take images, and they would go off here");
                return Err(DockerfileError::at(at, reason));
            }
            Source::Known(name) => Part::Text(name),
            Source::Image(image) => {
                self.bases.push(image.clone());
                Part::Image(image)
            }
        };
        self.begun += 1;
        let name = name.map(|name| format!(" AS {name}")).unwrap_or_default();
        self.names.extend(stage_name(instruction));
        let words: Vec<&str> = std::iter::once("FROM").chain(flags.iter().copied()).collect();
        Ok(Some(vec![Part::Text(format!("{} ", words.join(" "))), image, Part::Text(name)]))
    }

    /// Takes an `ONBUILD`, which matters where a later stage is built upon this one.
    fn trigger(&mut self, instruction: &str) {
        self.has_triggers |= could_name_an_image(instruction);
    }

    /// Tells a stage from an image.
    fn source(&self, at: usize, word: &str) -> Result<Source, DockerfileError> {
        let lower = word.to_lowercase();
        if word.is_empty() {
            return Err(DockerfileError::at(at, "the image's name is empty"));
        }
        if self.names.contains(&lower) || self.surroundings.is_context(word) || word == "scratch" {
            return Ok(Source::Known(word.to_owned()));
        }
        if self.all_names.contains(&lower) {
            return Err(DockerfileError::at(at, format!("{word} is an image here, but a later stage has that name")));
        }
        Reference::parse(word).map_err(|error| DockerfileError::at(at, format!("{word}: {error}")))?;
        Ok(Source::Image(word.to_owned()))
    }

    /// Looks for `COPY --from=` and `RUN --mount=from=`.
    fn flagged(
        &mut self,
        instruction: &Instruction,
        keyword: &str,
        rest: &str,
        flagged: Flagged,
    ) -> Result<Option<Vec<Part>>, DockerfileError> {
        let at = instruction.lines.start;
        let mut parts = vec![Part::Text(format!("{keyword} "))];
        let mut rest = rest;
        let mut found = false;
        while let Some(flag) = FlagWord::first(rest).map_err(|reason| DockerfileError::at(at, reason))? {
            let named = match flagged {
                Flagged::From => self.copy_from(at, &flag)?,
                Flagged::Mount => self.mount_from(at, &flag)?,
            };
            match named {
                Some([before, image, after]) => {
                    found = true;
                    parts.extend([Part::Text(before), Part::Image(image), Part::Text(after)]);
                }
                None => parts.push(Part::Text(flag.raw.to_owned())),
            }
            parts.push(Part::Text(" ".to_owned()));
            rest = flag.behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(found.then_some(parts))
    }

    fn copy_from(&self, at: usize, flag: &FlagWord<'_>) -> Result<Option<[String; 3]>, DockerfileError> {
        if !flag.value.to_lowercase().starts_with("--from") {
            return Ok(None);
        }
        let value = flag.value.strip_prefix("--from=").filter(|value| flag.is_plain() && !value.is_empty());
        let value = value.ok_or_else(|| not_understood(at, "COPY", flag))?;
        if value.bytes().all(|b| b.is_ascii_digit()) {
            let before = self.begun.saturating_sub(1);
            let is_before = value.parse::<usize>().is_ok_and(|stage| stage < before);
            let reason = || DockerfileError::at(at, format!("there is no stage {value} before this one"));
            return if is_before { Ok(None) } else { Err(reason()) };
        }
        match self.source(at, value)? {
            Source::Known(_) => Ok(None),
            Source::Image(image) => Ok(Some(["--from=".to_owned(), image, String::new()])),
        }
    }

    fn mount_from(&self, at: usize, flag: &FlagWord<'_>) -> Result<Option<[String; 3]>, DockerfileError> {
        let lower = flag.value.to_lowercase();
        if !lower.starts_with("--mount") || !lower.contains("from") {
            return Ok(None);
        }
        let refused = || not_understood(at, "RUN", flag);
        let fields = flag.value.strip_prefix("--mount=").filter(|value| !value.contains('"')).ok_or_else(refused)?;
        let is_from = |field: &&str| field.split('=').next().unwrap_or_default().trim().eq_ignore_ascii_case("from");
        let mut naming = fields.split(',').filter(is_from);
        let Some(field) = naming.next() else { return Ok(None) };
        let value = field.strip_prefix("from=").filter(|_| naming.next().is_none() && flag.is_plain());
        match self.source(at, value.ok_or_else(refused)?)? {
            Source::Known(_) => Ok(None),
            Source::Image(image) => {
                let parts: Vec<&str> = fields.split(',').collect();
                let (before, after) = parts.split_at(parts.iter().position(is_from).unwrap_or(0));
                let before: String = before.iter().flat_map(|part| [part, ","]).collect();
                let after: String = after.iter().skip(1).flat_map(|part| [",", part]).collect();
                Ok(Some([format!("--mount={before}from="), image, after]))
            }
        }
    }

    /// Pins the frontend that reads the file.
    fn syntax(&mut self) -> Result<(), DockerfileError> {
        let Some((at, value)) = self.lines.syntax.filter(|_| self.surroundings.builder == Builder::BuildKit) else {
            return Ok(());
        };
        let (image, rest) =
            value.split_once(' ').map_or((value, String::new()), |(image, rest)| (image, format!(" {rest}")));
        let reference =
            Reference::parse(image).map_err(|error| DockerfileError::at(at, format!("{image}: {error}")))?;
        if !FRONTENDS.contains(&reference.repository().as_str()) {
            let reason = format!("{image} may read the file by rules of its own: images cannot be found for certain");
            return Err(DockerfileError::at(at, reason));
        }
        self.made.insert(0, (at..at + 1, Piece::Frontend { image: image.to_owned(), rest }));
        Ok(())
    }

    fn finish(self) -> Dockerfile {
        let mut pieces = Vec::new();
        let mut at = 0;
        let raw = |lines: std::ops::Range<usize>| {
            lines.filter_map(|line| self.lines.written.get(line)).map(|line| Piece::Raw((*line).to_owned()))
        };
        for (lines, piece) in self.made {
            pieces.extend(raw(at..lines.start));
            at = lines.end;
            pieces.push(piece);
        }
        pieces.extend(raw(at..self.lines.raw.len()));
        Dockerfile { pieces, bases: self.bases }
    }
}

/// A flag of an instruction.
struct FlagWord<'a> {
    /// As it is written.
    raw: &'a str,
    /// Without quotes and escapes.
    value: String,
    /// What follows.
    behind: &'a str,
}

impl<'a> FlagWord<'a> {
    /// Takes the first flag off, as the builder does; none if something else comes first.
    fn first(text: &'a str) -> Result<Option<Self>, String> {
        if !text.starts_with("--") {
            return Ok(None);
        }
        let mut value = String::new();
        let mut quote = None;
        let mut end = text.len();
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (None, c) if c.is_whitespace() => {
                    end = at;
                    break;
                }
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                (_, '\\') => value.extend(chars.next().map(|(_, c)| c)),
                (_, c) => value.push(c),
            }
        }
        let (raw, behind) = text.split_at(end);
        // The builder looks at bytes here, and takes these for blanks inside of other characters.
        if quote.is_some() || raw.bytes().any(|b| matches!(b, 0x85 | 0xa0)) {
            return Err(format!("{raw}: this is not understood"));
        }
        Ok((raw != "--").then(|| Self { raw, value, behind: behind.trim_start() }))
    }

    fn is_plain(&self) -> bool {
        self.raw == self.value && !self.raw.contains('$')
    }
}

fn not_understood(at: usize, keyword: &str, flag: &FlagWord<'_>) -> DockerfileError {
    DockerfileError::at(at, format!("{keyword} {}: this is not understood", flag.raw))
}

/// Returns the name that a `FROM` gives its stage, in lower case.
fn stage_name(instruction: &Instruction) -> Option<String> {
    let (keyword, rest) = instruction.split();
    if keyword != "FROM" {
        return None;
    }
    let words: Vec<&str> = rest.split(is_blank).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [.., keyword, name] if keyword.eq_ignore_ascii_case("as") => Some(name.to_lowercase()),
        _ => None,
    }
}
