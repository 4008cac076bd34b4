//! Dockerfiles: which images they take, and the same text with each image pinned to a digest.
//!
//! A builder reads the file again by rules of its own, and builders differ. So whatever this reader is not certain of is
//! refused, and every line that names an image is written anew, on one line and without variables: what the builder sees is
//! what was verified. Everything else stays as it is, down to the line numbers.
//!
//! Not seen are triggers (`ONBUILD`) inside base images: what a verified image does when it is built upon is its signer's
//! word. Builders with source policies refuse other images there too.

mod expand;
mod lines;
mod stages;

pub(crate) use stages::Surroundings;

use std::collections::BTreeSet;

/// The largest Dockerfile, in bytes.
pub(crate) const MAX_DOCKERFILE: u64 = 4 << 20;

/// Says why a Dockerfile cannot be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DockerfileError {
    /// It is no text.
    #[error("it is not UTF-8 text without NUL bytes")]
    NotText,
    /// It has no `FROM`.
    #[error("it has no FROM instruction")]
    NoFrom,
    /// A line that builders could read in different ways, or that is not known.
    #[error("line {line}: {reason}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl DockerfileError {
    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self::Line { line: line + 1, reason: reason.into() }
    }
}

/// Which frontend reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builder {
    /// The classic builder: `# syntax=` is a comment to it.
    Classic,
    /// `BuildKit`, or perhaps `BuildKit`.
    BuildKit,
}

/// A part of the text to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Lines as they are, without the last line's end.
    Raw(String),
    /// One line made anew, preceded by empty lines in the place of those it took.
    Made { fillers: usize, parts: Vec<Part> },
    /// The directive that names the frontend's image, and what else stands in it.
    Frontend { image: String, rest: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Image(String),
}

/// A Dockerfile that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    pieces: Vec<Piece>,
    bases: Vec<String>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// It cannot be told for certain which images a builder would take.
    pub(crate) fn read(bytes: &[u8], surroundings: &Surroundings) -> Result<Self, DockerfileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| DockerfileError::NotText)?;
        if text.contains('\0') {
            return Err(DockerfileError::NotText);
        }
        let lines = lines::Lines::read(text)?;
        stages::analyse(&lines, surroundings)
    }

    /// Returns the images it takes, as they are written once variables are replaced.
    pub(crate) fn images(&self) -> BTreeSet<&str> {
        let parts = self.pieces.iter().flat_map(|piece| match piece {
            Piece::Raw(_) | Piece::Frontend { .. } => &[][..],
            Piece::Made { parts, .. } => parts,
        });
        parts.filter_map(|part| if let Part::Image(image) = part { Some(image.as_str()) } else { None }).collect()
    }

    /// Returns the image of the frontend that is to read it, if it names one.
    pub(crate) fn frontend(&self) -> Option<&str> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Frontend { image, .. } => Some(image.as_str()),
            Piece::Raw(_) | Piece::Made { .. } => None,
        })
    }

    /// Returns the images of its `FROM` instructions, in order.
    pub(crate) fn bases(&self) -> &[String] {
        &self.bases
    }

    /// Returns the text with what `pin` gives in the place of each image.
    ///
    /// Without anything for the frontend its directive becomes an empty comment: the builder's own frontend, which comes with
    /// the builder, reads the file then.
    pub(crate) fn pinned(&self, pin: impl Fn(&str) -> Option<String>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Raw(lines) => text.push_str(lines),
                Piece::Made { fillers, parts } => {
                    text.push_str(&"\n".repeat(*fillers));
                    for part in parts {
                        match part {
                            Part::Text(words) => text.push_str(words),
                            Part::Image(image) => text.push_str(&pin(image).unwrap_or_else(|| image.clone())),
                        }
                    }
                }
                Piece::Frontend { image, rest } => match pin(image) {
                    Some(pinned) => text.extend(["# syntax=", &pinned, rest]),
                    None => text.push('#'),
                },
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests;
