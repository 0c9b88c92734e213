//! Small bodies: the responses of this crate's own services, and the forms and key sets they read.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;

/// The response body of the refresh service and the key set service: a small JSON document in a single frame.
#[derive(Default)]
pub struct JsonBody {
    bytes: Option<Bytes>,
}

impl From<Bytes> for JsonBody {
    fn from(bytes: Bytes) -> Self {
        Self { bytes: (!bytes.is_empty()).then_some(bytes) }
    }
}

impl Body for JsonBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Hides the content, which may contain an access token.
impl fmt::Debug for JsonBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonBody").finish_non_exhaustive()
    }
}

/// Returns a response without a body.
pub(super) fn status(status: StatusCode) -> Response<JsonBody> {
    let mut response = Response::new(JsonBody::default());
    *response.status_mut() = status;
    response
}

pub(super) fn json_response(status_code: StatusCode, body: &Value) -> Response<JsonBody> {
    let mut response = status(status_code);
    *response.body_mut() = JsonBody::from(Bytes::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Why a body could not be read completely.
pub(crate) enum CollectError {
    TooLarge,
    /// The body ended with an error.
    Broken,
}

/// Reads a whole body of at most `max` bytes.
pub(crate) async fn collect<B: Body>(body: B, max: usize) -> Result<Vec<u8>, CollectError> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| CollectError::Broken)?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > max - bytes.len() {
            return Err(CollectError::TooLarge);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok(bytes)
}
