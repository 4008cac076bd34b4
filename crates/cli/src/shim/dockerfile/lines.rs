//! Instructions out of lines: directives, comments, continuations and heredocs.

use super::DockerfileError;
use std::ops::Range;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Its lines, without those of its heredocs.
    pub(super) lines: Range<usize>,
    /// Those lines as one.
    pub(super) text: String,
    /// The lines of its heredocs.
    pub(super) heredocs: Range<usize>,
}

impl Instruction {
    /// Returns the keyword in upper case, and what follows it.
    pub(super) fn split(&self) -> (String, &str) {
        let text = self.text.trim();
        let (keyword, rest) = text.split_once(is_blank).unwrap_or((text, ""));
        (keyword.to_ascii_uppercase(), rest.trim())
    }
}

/// Tells what separates words for the builder.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// A Dockerfile as lines and instructions.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// All lines as they stand in the file, without their line feeds.
    pub(super) written: Vec<&'a str>,
    /// All lines, without carriage returns at their ends, as builders take them.
    pub(super) raw: Vec<&'a str>,
    /// The instructions in order.
    pub(super) instructions: Vec<Instruction>,
    /// The character that continues lines and takes the meaning from others.
    pub(super) escape: char,
    /// The line with `# syntax=`, and its value.
    pub(super) syntax: Option<(usize, &'a str)>,
}

/// Instructions that a builder knows.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl<'a> Lines<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, DockerfileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let written: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let raw = written.iter().map(|line| line.trim_end_matches('\r')).collect();
        let mut lines = Self { written, raw, instructions: Vec::new(), escape: '\\', syntax: None };
        lines.directives()?;
        let mut at = 0;
        while let Some(line) = lines.raw.get(at) {
            if is_nothing(line) {
                at += 1;
                continue;
            }
            let instruction = lines.instruction(at)?;
            at = instruction.heredocs.end;
            lines.instructions.push(instruction);
        }
        Ok(lines)
    }

    /// Reads what stands before everything else: `# name=value`.
    fn directives(&mut self) -> Result<(), DockerfileError> {
        for (at, line) in self.raw.iter().enumerate() {
            if at == 0 && line.starts_with("#!") {
                continue;
            }
            let Some((name, value)) = directive(line) else { break };
            match name.as_str() {
                "escape" => {
                    let exact = line.starts_with('#') && at == 0;
                    self.escape = match value {
                        "\\" => '\\',
                        "`" if exact => '`',
                        "`" => return Err(DockerfileError::at(at, "the escape directive has to be the first line")),
                        _ => return Err(DockerfileError::at(at, "the escape directive takes \\ or `")),
                    };
                }
                "syntax" if self.syntax.is_some() => {
                    return Err(DockerfileError::at(at, "there is a second syntax directive"));
                }
                "syntax" => self.syntax = Some((at, value)),
                _ => {}
            }
        }
        Ok(())
    }

    fn instruction(&self, start: usize) -> Result<Instruction, DockerfileError> {
        let (text, end) = self.joined(start)?;
        let mut instruction = Instruction { lines: start..end, text, heredocs: end..end };
        let (keyword, rest) = instruction.split();
        if !KEYWORDS.contains(&keyword.as_str()) {
            let shown: String = keyword.chars().take(32).collect();
            return Err(DockerfileError::at(start, format!("unknown instruction: {shown}")));
        }
        let triggered = rest.split(is_blank).next().unwrap_or_default().to_ascii_uppercase();
        let takes = |keyword: &str| matches!(keyword, "RUN" | "COPY" | "ADD");
        if takes(&keyword) || (keyword == "ONBUILD" && takes(&triggered)) {
            instruction.heredocs = self.heredocs(&instruction.text, end)?;
        }
        Ok(instruction)
    }

    /// Joins a line with those that continue it; returns the line behind them as well.
    fn joined(&self, start: usize) -> Result<(String, usize), DockerfileError> {
        let mut text = String::new();
        let mut at = start;
        while let Some(line) = self.raw.get(at) {
            at += 1;
            if at > start + 1 && is_nothing(line) {
                continue;
            }
            let line = if at == start + 1 { line.trim_start() } else { line };
            let bare = line.trim_end_matches([' ', '\t']);
            let Some(content) = bare.strip_suffix(self.escape) else {
                text.push_str(line);
                break;
            };
            if content.ends_with(self.escape) {
                let reason = format!("builders differ about a line that ends with {0}{0}", self.escape);
                return Err(DockerfileError::at(at - 1, reason));
            }
            text.push_str(content);
        }
        Ok((text, at))
    }

    /// Finds the end of the heredocs that an instruction begins, and makes sure that a builder that knows none cannot take
    /// their lines for instructions with images.
    fn heredocs(&self, text: &str, start: usize) -> Result<Range<usize>, DockerfileError> {
        let mut end = start;
        if text.contains("<<") && !has_certain_words(text) {
            let reason = "builders differ about heredocs beside quotes or variables like these";
            return Err(DockerfileError::at(start.saturating_sub(1), reason));
        }
        for word in words(text) {
            let Some(heredoc) = Heredoc::of(&word).map_err(|reason| DockerfileError::at(start, reason))? else {
                continue;
            };
            loop {
                let Some(line) = self.raw.get(end) else {
                    return Err(DockerfileError::at(start, format!("the heredoc {} has no end", heredoc.name)));
                };
                end += 1;
                if heredoc.ends_with(line) {
                    break;
                }
            }
        }
        let mut at = start;
        while at < end {
            if self.raw.get(at).is_none_or(|line| is_nothing(line)) {
                at += 1;
                continue;
            }
            let (text, next) = self.joined(at)?;
            if could_name_an_image(&text) {
                let reason = "a builder that knows no heredocs would take this line for an instruction with an image";
                return Err(DockerfileError::at(at, reason));
            }
            at = next;
        }
        Ok(start..end)
    }
}

/// Tells whether a line says nothing: it is empty or a comment.
fn is_nothing(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    (named && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

/// Tells whether an instruction could take an image, however its flags are quoted.
pub(super) fn could_name_an_image(text: &str) -> bool {
    let bare: String = text.chars().filter(|c| !matches!(c, '\\' | '`' | '"' | '\'')).collect();
    let mut words = bare.split(is_blank).filter(|word| !word.is_empty());
    let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
    let rest: Vec<&str> = words.collect();
    let flagged = |prefix: &str| rest.iter().any(|word| word.to_ascii_lowercase().starts_with(prefix));
    match keyword.as_str() {
        "FROM" => {
            let plain: Vec<_> = rest.iter().filter(|word| !word.starts_with("--")).collect();
            plain.len() == 1 || (plain.len() == 3 && plain.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as")))
        }
        "COPY" | "ADD" => flagged("--from"),
        "RUN" => flagged("--mount"),
        "ONBUILD" => could_name_an_image(&rest.join(" ")),
        _ => false,
    }
}

/// Tells whether every builder splits an instruction with heredocs into the same words: quotes have ends, and variables in
/// braces stand for themselves or something simple.
fn has_certain_words(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None | Some('"'), '\\') if chars.next().is_none() => return false,
            (None | Some('"'), '$') if chars.as_str().starts_with('{') => {
                let Some((inside, behind)) = chars.as_str().split_once('}') else { return false };
                if !is_simple_variable(inside.trim_start_matches('{'), inside.len()) {
                    return false;
                }
                chars = behind.chars();
            }
            _ => {}
        }
    }
    quote.is_none()
}

/// Takes what stands in `${…}`: a name, or a name with a default that holds nothing special.
fn is_simple_variable(inside: &str, with_brace: usize) -> bool {
    let end = inside.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    let default = rest.strip_prefix(':').unwrap_or(rest);
    let simple = |c: char| !c.is_whitespace() && !matches!(c, '$' | '{' | '\\' | '"' | '\'' | '<');
    let is_default = default.starts_with(['-', '+']) && default.chars().all(simple);
    with_brace == inside.len() + 1
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && (rest.is_empty() || is_default)
}

struct Heredoc {
    name: String,
    indented: bool,
}

impl Heredoc {
    /// Reads a word like `<<EOF`, `3<<-"EOF"`; none if it is something else.
    ///
    /// # Errors
    /// It ends with a line that builders could read in different ways.
    fn of(word: &str) -> Result<Option<Self>, String> {
        let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
            return Ok(None);
        };
        let (rest, indented) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let quoted = ['"', '\''].into_iter().find_map(|quote| rest.strip_prefix(quote)?.strip_suffix(quote));
        let name = quoted.unwrap_or(rest);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
            return Err(format!("the heredoc {word} has a name that is not understood"));
        }
        Ok(Some(Self { name: name.to_owned(), indented }))
    }

    fn ends_with(&self, line: &str) -> bool {
        let line = if self.indented { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// Splits like a shell, keeping quotes and escapes in the words.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.push(String::new());
            continue;
        }
        let Some(word) = words.last_mut() else { break };
        word.push(c);
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None | Some('"'), '\\') => word.extend(chars.next()),
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
