//! Bearer tokens, by the token protocol of Docker's distribution.

use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Url};
use serde::Deserialize;

use super::Credential;
use super::transport::{shown, status_error};
use crate::error::{Error, Result};

/// The largest token answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;

/// What a `Bearer` challenge asks for.
pub struct Wanted<'a> {
    pub realm: &'a str,
    pub service: Option<&'a str>,
    pub scope: &'a str,
    /// May the realm be reached by plain HTTP? As the registry itself was, or without checks of TLS.
    pub plain: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Fetches a token, anonymously without a credential. The credential is the registry's own: it goes
/// to the realm that the registry names, which may well be another host, but never in clear text
/// unless the registry was reached so too, and never on to where a realm redirects.
pub async fn fetch(
    client: &Client,
    wanted: &Wanted<'_>,
    credential: Option<&Credential>,
) -> Result<String> {
    const ACTION: &str = "get a token from";
    let mut url = Url::parse(wanted.realm).map_err(|error| Error::Protocol {
        url: wanted.realm.escape_debug().to_string(),
        reason: format!("the token realm is no URL: {error}"),
    })?;
    if url.scheme() != "https" && !(url.scheme() == "http" && wanted.plain) {
        return Err(Error::Protocol {
            url: shown(&url),
            reason: "a token realm must be https".into(),
        });
    }
    let mut query: Vec<(&str, &str)> =
        wanted.service.iter().map(|service| ("service", *service)).collect();
    query.extend(wanted.scope.split(' ').filter(|s| !s.is_empty()).map(|s| ("scope", s)));
    let builder = match credential {
        Some(Credential::IdentityToken(token)) => {
            query.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "imagectl"),
                ("refresh_token", token),
            ]);
            let mut form = url.clone();
            form.query_pairs_mut().clear().extend_pairs(&query);
            client
                .post(url.clone())
                .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.query().unwrap_or("").to_owned())
        }
        other => {
            url.query_pairs_mut().extend_pairs(&query);
            let builder = client.get(url.clone());
            match other.and_then(Credential::basic) {
                Some(basic) => builder.header(AUTHORIZATION, basic),
                None => builder,
            }
        }
    };
    let http = |source: reqwest::Error| Error::Http {
        action: ACTION,
        url: shown(&url),
        source: source.without_url(),
    };
    let mut response = builder.send().await.map_err(http)?;
    if !response.status().is_success() {
        return Err(status_error(ACTION, response).await);
    }
    let bad = |reason: &str| Error::Protocol { url: shown(&url), reason: reason.to_owned() };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(http)? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > ANSWER_LIMIT {
            return Err(bad("the token answer is larger than 1 MiB"));
        }
    }
    // No cause: serde's message could quote the token.
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|_| bad("the token answer is not JSON"))?;
    match (answer.token, answer.access_token) {
        (token, _) if !token.is_empty() => Ok(token),
        (_, token) if !token.is_empty() => Ok(token),
        _ => Err(bad("the token answer holds no token")),
    }
}
