//! One flag, as a row of a table.

/// Describes a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag {
    /// The name after two dashes.
    pub(crate) long: &'static str,
    /// The letter after one dash.
    pub(crate) short: Option<char>,
    /// What comes with it.
    pub(crate) takes: Takes,
    /// What it is for.
    pub(crate) usage: &'static str,
    /// The default as usage shows it; empty for none.
    pub(crate) default: &'static str,
    /// Whether usage passes over it.
    pub(crate) hidden: bool,
}

/// What comes with a flag. The text is the type's name in usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or a boolean after `=`.
    Nothing,
    /// One value; the last one counts.
    Value(&'static str),
    /// A value that may be left out: what stands for it, and the type's name.
    Optional(&'static str, &'static str),
    /// Values, each use adding one.
    Each(&'static str),
    /// Values, each use adding what stands between commas.
    List(&'static str),
    /// A whole number.
    Integer,
    /// Whole numbers, each use adding what stands between commas.
    Integers,
}

impl Flag {
    const fn new(long: &'static str, takes: Takes, usage: &'static str) -> Self {
        Self { long, short: None, takes, usage, default: "", hidden: false }
    }

    /// A flag that is on or off.
    pub(crate) const fn switch(long: &'static str, usage: &'static str) -> Self {
        Self::new(long, Takes::Nothing, usage)
    }

    /// A flag with a value.
    pub(crate) const fn value(long: &'static str, kind: &'static str, usage: &'static str) -> Self {
        Self::new(long, Takes::Value(kind), usage)
    }

    /// A flag with a value each time it is used.
    pub(crate) const fn each(long: &'static str, kind: &'static str, usage: &'static str) -> Self {
        Self::new(long, Takes::Each(kind), usage)
    }

    /// A flag with values between commas, each time it is used.
    pub(crate) const fn list(long: &'static str, kind: &'static str, usage: &'static str) -> Self {
        Self::new(long, Takes::List(kind), usage)
    }

    /// A flag with a whole number.
    pub(crate) const fn integer(long: &'static str, usage: &'static str) -> Self {
        Self::new(long, Takes::Integer, usage)
    }

    /// A flag with whole numbers between commas.
    pub(crate) const fn integers(long: &'static str, usage: &'static str) -> Self {
        Self::new(long, Takes::Integers, usage)
    }

    /// A flag whose value may be left out.
    pub(crate) const fn optional(
        long: &'static str,
        kind: &'static str,
        implied: &'static str,
        usage: &'static str,
    ) -> Self {
        Self::new(long, Takes::Optional(implied, kind), usage)
    }

    /// Adds the one-letter form.
    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Adds the default that usage shows.
    pub(crate) const fn default(mut self, text: &'static str) -> Self {
        self.default = text;
        self
    }

    /// Leaves it out of usage.
    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Returns the value that stands for one that is left out; none means that the next argument is the value.
    pub(super) const fn implied(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Nothing => Some("true"),
            Takes::Optional(implied, _) => Some(implied),
            _ => None,
        }
    }
}
