//! Misbehaviour on request.

use std::time::Duration;

use http::StatusCode;

/// The size of the pieces in which a slow reply comes, in bytes.
pub(super) const SLOW_PIECE: usize = 1_024;

/// Something that goes wrong with the requests it applies to.
#[derive(Clone, Debug)]
pub struct Fault {
    method: Option<String>,
    path_part: String,
    remaining: Option<u32>,
    pub(super) effect: Effect,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// This status and no more.
    Status(StatusCode),
    /// A wait before the reply.
    Delay(Duration),
    /// A wait before each kilobyte of the reply's body.
    Slow(Duration),
    /// The connection ends after this many bytes of the body.
    Cut(usize),
    /// Another value in a header.
    Header(http::HeaderName, http::HeaderValue),
}

impl Fault {
    /// Replies with this status and nothing else; a number that is no status stands for 500.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::new(Effect::Status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)))
    }

    /// Waits before replying.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(Effect::Delay(delay))
    }

    /// Waits before each kilobyte of the body.
    #[must_use]
    pub fn slow(pause: Duration) -> Self {
        Self::new(Effect::Slow(pause))
    }

    /// Closes the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(bytes: usize) -> Self {
        Self::new(Effect::Cut(bytes))
    }

    /// Sends this `Docker-Content-Digest`, whatever the content.
    ///
    /// A text that cannot be in a header leaves the reply as it is.
    #[must_use]
    pub fn lying_digest(digest: &str) -> Self {
        let value = http::HeaderValue::from_str(digest).ok();
        match value {
            Some(value) => Self::new(Effect::Header(super::routes::CONTENT_DIGEST, value)),
            None => Self::delay(Duration::ZERO),
        }
    }

    /// Applies only to requests with this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Applies only to requests whose path contains this text.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        part.clone_into(&mut self.path_part);
        self
    }

    /// Applies only so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.remaining = Some(times);
        self
    }

    fn new(effect: Effect) -> Self {
        Self { method: None, path_part: String::new(), remaining: None, effect }
    }

    /// Whether this fault strikes a request; counts if it does.
    fn strikes(&mut self, method: &str, path: &str) -> bool {
        let fits = self.method.as_ref().is_none_or(|wanted| wanted == method) && path.contains(&self.path_part);
        match &mut self.remaining {
            _ if !fits => false,
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What goes wrong with a request: the first fault that strikes it.
pub(super) fn strike(faults: &mut [Fault], method: &str, path: &str) -> Option<Effect> {
    faults.iter_mut().find_map(|fault| fault.strikes(method, path).then(|| fault.effect.clone()))
}
