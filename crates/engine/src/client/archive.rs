//! Images from and to archives, as `docker save` and `docker load` have them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};

use super::{Call, Engine, Progress};
use crate::transport::streamed;
use crate::{EngineError, ImageName};

/// The bytes of an archive, as an engine sends them; dropping it ends the transfer.
pub struct Bytestream(BoxStream<'static, Result<Bytes, EngineError>>);

impl fmt::Debug for Bytestream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytestream").finish_non_exhaustive()
    }
}

impl Stream for Bytestream {
    type Item = Result<Bytes, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl Engine {
    /// Asks for an archive of images.
    ///
    /// The bytes are whole when the stream ends without an error. Their number has no limit here: an image may have
    /// any size, and whoever stores them knows how much room there is.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached or refuses, for instance because there is no such image.
    pub async fn save(&self, images: &[ImageName]) -> Result<Bytestream, EngineError> {
        let call = images
            .iter()
            .fold(Call::new(Method::GET, "/images/get"), |call, image| call.query("names", image.as_str()));
        let body = self.send(call).await?.body;
        let bytes = futures_util::stream::try_unfold(body, |mut body| async move {
            Ok(body.next().await?.map(|bytes| (bytes, body)))
        });
        Ok(Bytestream(bytes.boxed()))
    }

    /// Sends an archive of images, also a compressed one.
    #[must_use]
    pub fn load(&self, archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Progress<'_> {
        let call = Call::new(Method::POST, "/images/load")
            .query("quiet", "true")
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))
            .body(streamed(archive));
        Progress::new(self.send(call).boxed(), self.limits().clone())
    }
}
