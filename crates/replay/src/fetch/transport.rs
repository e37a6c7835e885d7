//! HTTP for JSON-RPC, with a bound on what is taken in.
//!
//! A node is somebody else: its answer may be endless. alloy's own transport collects a body of any size; this one stops
//! at a limit. Redirects are not followed, and no proxy of the environment is asked.

use std::{
    sync::Once,
    task::{Context, Poll},
    time::Duration,
};

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use reqwest::{Client, StatusCode, Url, header::RETRY_AFTER, redirect::Policy};
use tower::Service;

/// Most bytes of one answer: as much as is read of a fixture's file.
pub(super) const LIMIT_ANSWER_BYTES: usize = 1 << 28;
/// Most bytes of a message about an error that are kept.
const LIMIT_MESSAGE_BYTES: usize = 1 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Tracing a block may take a node a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);

/// An answer that is larger than anything a block can be.
#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {limit_bytes} bytes")]
struct AnswerTooLarge {
    limit_bytes: usize,
}

/// JSON-RPC over HTTP to one node.
#[derive(Debug, Clone)]
pub(super) struct BoundedHttp {
    client: Client,
    url: Url,
    limit_bytes: usize,
}

impl BoundedHttp {
    /// A transport to `url`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub(super) fn new(url: Url, limit_bytes: usize) -> reqwest::Result<Self> {
        static TLS: Once = Once::new();
        // Whoever embeds the command line may have installed one of their own; either serves.
        TLS.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .build()?;
        Ok(Self { client, url, limit_bytes })
    }

    async fn exchange(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = request.serialize().map_err(TransportError::ser_err)?;
        let post = self.client.post(self.url).header("content-type", "application/json").body(body.get().to_owned());
        let mut response = post.send().await.map_err(TransportErrorKind::custom)?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
        let limit_bytes = if status == StatusCode::OK { self.limit_bytes } else { LIMIT_MESSAGE_BYTES };
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(TransportErrorKind::custom)? {
            if answer.len() + chunk.len() > limit_bytes {
                if status == StatusCode::OK {
                    return Err(TransportErrorKind::non_retryable(AnswerTooLarge { limit_bytes }));
                }
                break;
            }
            answer.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            let message = String::from_utf8_lossy(&answer).into_owned();
            let wait = wait.map(Duration::from_secs);
            return Err(TransportErrorKind::http_error_with_retry_after(status.as_u16(), message, wait));
        }
        let text = || String::from_utf8_lossy(&answer[..answer.len().min(LIMIT_MESSAGE_BYTES)]).into_owned();
        serde_json::from_slice(&answer).map_err(|error| TransportError::deser_err(error, text()))
    }
}

impl Service<RequestPacket> for BoundedHttp {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}
