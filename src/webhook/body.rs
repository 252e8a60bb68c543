//! Reading a request: content type, size, deadline.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::answer::Refusal;

/// Left between our answer and the moment the API server gives up.
const MARGIN: Duration = Duration::from_millis(200);
/// The API server's own deadline when the call does not say: admission's default.
const USUAL: Duration = Duration::from_secs(10);
/// The longest deadline there is (admission's maximum, and the client's for conversions).
const LONGEST: Duration = Duration::from_secs(30);

/// The declared length of the body.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How long the work may take: `?timeout=` of the API server (whole seconds, `10s`), less a margin.
pub(super) fn deadline(uri: &Uri) -> Duration {
    let said = uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(|text| text.strip_suffix('s'))
        .and_then(|seconds| seconds.parse().ok())
        .map_or(USUAL, Duration::from_secs);
    said.clamp(Duration::from_secs(1), LONGEST).saturating_sub(MARGIN)
}

/// Reads a JSON body of at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Refusal> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if let Some(found) = essence
        && !found.eq_ignore_ascii_case("application/json")
    {
        let message = format!("content type is {found:?}; expected application/json");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes, the most this webhook reads");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    if length(headers).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(within, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the body could not be read: {error}"),
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {within:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_leaves_a_margin() {
        for (uri, milliseconds) in [
            ("/validate?timeout=10s", 9_800),
            ("/validate?timeout=2s", 1_800),
            ("/convert?timeout=30s", 29_800),
            ("/convert?a=b&timeout=3s", 2_800),
            ("/validate", 9_800),
            ("/validate?timeout=0s", 800),
            ("/validate?timeout=900s", 29_800),
            ("/validate?timeout=soon", 9_800),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(deadline(&uri), Duration::from_millis(milliseconds), "{uri}");
        }
    }
}
