//! Watching an engine work.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_image::{Repository, Tag};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};

use crate::stream::Lines;
use crate::transport::{Answer, AnswerBody};
use crate::{EngineError, Event, Limits, PushedManifest};

/// The events of one operation; it is done when this ends without an error, and given up when this is dropped.
pub struct Progress<'a>(BoxStream<'a, Result<Event, EngineError>>);

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

impl Stream for Progress<'_> {
    type Item = Result<Event, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl<'a> Progress<'a> {
    /// Waits for an answer and reads its lines.
    pub(super) fn new(answer: BoxFuture<'a, Result<Answer, EngineError>>, limits: Limits) -> Self {
        let events = answer.map(move |answer| {
            let body = answer?.body;
            let reader = Reader { body: Some(body), lines: Lines::new(&limits), ready: VecDeque::new(), limits };
            Ok(futures_util::stream::try_unfold(reader, |mut reader| async move {
                Ok(reader.next().await?.map(|event| (event, reader)))
            }))
        });
        Self(events.into_stream().try_flatten().boxed())
    }

    /// Waits for the end and throws the events away.
    ///
    /// # Errors
    ///
    /// When the operation fails.
    pub async fn finish(self) -> Result<(), EngineError> {
        self.try_for_each(|_| std::future::ready(Ok(()))).await
    }

    /// Waits for the end and hands each event to `see`.
    ///
    /// # Errors
    ///
    /// When the operation fails.
    pub async fn finish_with(mut self, mut see: impl FnMut(&Event)) -> Result<(), EngineError> {
        while let Some(event) = self.try_next().await? {
            see(&event);
        }
        Ok(())
    }
}

struct Reader {
    /// Gone at the end of the stream.
    body: Option<AnswerBody>,
    lines: Lines,
    ready: VecDeque<Event>,
    limits: Limits,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Event>, EngineError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            while let Some(line) = self.lines.next()? {
                self.ready.extend(Event::parse(&line, &self.limits)?);
                if !self.ready.is_empty() {
                    break;
                }
            }
            if !self.ready.is_empty() {
                continue;
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            if let Some(bytes) = body.next().await? {
                self.lines.feed(&bytes)?;
                continue;
            }
            self.body = None;
            if let Some(rest) = self.lines.rest() {
                self.ready.extend(Event::parse(&rest, &self.limits)?);
            }
        }
    }
}

/// Watches a push of one tag to its end, hands each event to `see`, and returns the manifest that is now under the tag.
///
/// An engine may tell other things between, and the same manifest twice: in a note for programs, and in a line for people,
/// which is all that one with the image store of containerd tells. (The reference client knows only notes, and fails at the
/// second of any kind.)
///
/// # Errors
///
/// When the push fails, or the engine tells no digest for the tag, or two different ones.
pub async fn pushed_manifest(
    mut push: Progress<'_>,
    repository: &Repository,
    tag: &Tag,
    mut see: impl FnMut(&Event),
) -> Result<PushedManifest, EngineError> {
    let mut told: Option<PushedManifest> = None;
    while let Some(event) = push.try_next().await? {
        see(&event);
        let Some(pushed) = event.pushed() else { continue };
        if pushed.tag != *tag {
            continue;
        }
        if let Some(first) = told.as_ref().filter(|first| **first != pushed) {
            return Err(EngineError::TwoDigests {
                image: format!("{repository}:{tag}"),
                first: first.digest.clone(),
                second: pushed.digest,
            });
        }
        told = Some(pushed);
    }
    told.ok_or_else(|| EngineError::NoDigest { image: format!("{repository}:{tag}") })
}
