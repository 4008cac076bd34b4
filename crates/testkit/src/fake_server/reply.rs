//! What the server answers.

use std::time::Duration;

use bytes::Bytes;

/// A scripted reply: a status, headers, and a body in steps.
///
/// Without further steps the body's true length is announced.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) head: Head,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    pub(super) delay: Duration,
    pub(super) steps: Vec<Step>,
}

/// The first bytes of a reply.
#[derive(Clone, Debug)]
pub(super) enum Head {
    Status(u16),
    /// Bytes as they are, in place of status line, headers and framing.
    Raw(Bytes),
}

/// How the end of the body is told.
#[derive(Clone, Debug)]
pub(super) enum Framing {
    /// By the true length.
    Length,
    /// By a length that may be wrong.
    Announced(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A part of the body.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Bytes(Bytes),
    Pause(Duration),
    Hang,
    Endless(Bytes),
    Cut,
}

impl Reply {
    /// A reply with this status and no body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            head: Head::Status(status),
            headers: Vec::new(),
            framing: Framing::Length,
            delay: Duration::ZERO,
            steps: Vec::new(),
        }
    }

    /// Status 200 with this body.
    #[must_use]
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200).then(body)
    }

    /// Status 200 with this body of type `application/json`.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::ok(body).header("Content-Type", "application/json")
    }

    /// These bytes and no others: for replies that are not HTTP.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { head: Head::Raw(bytes.into()), framing: Framing::Close, ..Self::status(200) }
    }

    /// A connection that is accepted and never answered.
    #[must_use]
    pub fn silence() -> Self {
        Self::raw("").then_hang()
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the first byte.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the body in chunks, one for each step.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Announces this length, whatever comes.
    #[must_use]
    pub fn announcing(mut self, length: u64) -> Self {
        self.framing = Framing::Announced(length);
        self
    }

    /// Announces no length: the body ends with the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    /// Sends these bytes next.
    #[must_use]
    pub fn then(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Bytes(bytes.into()))
    }

    /// Sends these bytes next, one by one with a pause before each.
    #[must_use]
    pub fn then_dripping(mut self, bytes: &[u8], pause: Duration) -> Self {
        for byte in bytes {
            self = self.then_pause(pause).then(vec![*byte]);
        }
        self
    }

    /// Waits before going on.
    #[must_use]
    pub fn then_pause(self, pause: Duration) -> Self {
        self.step(Step::Pause(pause))
    }

    /// Sends nothing more, and keeps the connection open until the client closes it.
    #[must_use]
    pub fn then_hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// Sends these bytes again and again, until the client closes the connection.
    #[must_use]
    pub fn then_endlessly(mut self, bytes: impl Into<Bytes>) -> Self {
        if matches!(self.framing, Framing::Length) {
            self.framing = Framing::Chunked;
        }
        self.step(Step::Endless(bytes.into()))
    }

    /// Closes the connection here, without the end that the framing asks for.
    #[must_use]
    pub fn then_cut(self) -> Self {
        self.step(Step::Cut)
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The same head with no body, as the reply to HEAD.
    pub(super) fn without_body(mut self) -> Self {
        if matches!(self.framing, Framing::Length) {
            self.framing = Framing::Announced(self.length());
        }
        self.steps.clear();
        self
    }

    pub(super) fn length(&self) -> u64 {
        let lengths = self.steps.iter().map(|step| match step {
            Step::Bytes(bytes) => bytes.len() as u64,
            Step::Pause(_) | Step::Hang | Step::Endless(_) | Step::Cut => 0,
        });
        lengths.sum()
    }
}
