//! How long to wait before something is tried again.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::http_date;
use crate::error::Error;

/// The longest pause, whoever asks for it.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause before retry number `attempt`, from 0: the one that the registry asked for, else `backoff`,
/// doubled each time.
pub fn before(error: &Error, backoff: Duration, attempt: u32) -> Duration {
    let grown = || backoff.saturating_mul(1 << attempt.min(10));
    error.retry_after().unwrap_or_else(grown).min(LIMIT)
}

/// The pause that an answer asks for, in seconds or until a date by this machine's clock.
pub fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    Some(match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date that is over asks for no pause.
        Err(_) => http_date::parse(text)?.duration_since(SystemTime::now()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderValue;

    use super::*;

    const BACKOFF: Duration = Duration::from_millis(250);

    fn refusal(retry_after: Option<Duration>) -> Error {
        Error::Status {
            action: "get",
            url: String::new(),
            status: StatusCode::TOO_MANY_REQUESTS,
            detail: String::new(),
            retry_after,
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let error = refusal(None);
        let pauses: Vec<u128> =
            (0..10).map(|attempt| before(&error, BACKOFF, attempt).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        for attempt in [10, 32, 1000, u32::MAX] {
            assert_eq!(before(&error, BACKOFF, attempt), LIMIT, "{attempt}");
            assert_eq!(before(&error, Duration::MAX, attempt), LIMIT, "{attempt}");
        }
    }

    #[test]
    fn no_registry_asks_for_more_than_a_minute() {
        for (text, millis) in [
            ("0", 0),
            ("7", 7000),
            ("60", 60_000),
            ("61", 60_000),
            ("18446744073709551615", 60_000),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 60_000),
            // Nonsense asks for nothing: the usual pause.
            ("-1", 1000),
            ("1.5", 1000),
            ("soon", 1000),
            ("", 1000),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
            let error = refusal(asked_for(&headers));
            assert_eq!(before(&error, BACKOFF, 2).as_millis(), millis, "{text}");
        }
        assert_eq!(asked_for(&HeaderMap::new()), None);
    }
}
