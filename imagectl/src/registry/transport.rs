//! Requests to one registry: scheme, authentication, redirects and retries.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RANGE,
    WWW_AUTHENTICATE,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::challenge::{self, Challenge};
use super::{Config, Credential, certificates, pause, token};
use crate::error::{Error, Result};

const REDIRECT_LIMIT: usize = 10;
/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// The slowest way to send something that is waited for, in bytes a second.
const SLOWEST: u64 = 16 << 10;

/// One request, to be sent as often as it takes.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is being fetched, for errors.
    pub action: &'static str,
    /// GET, or what changes something there.
    pub method: Method,
    /// From `/v2/` on.
    pub path: &'a str,
    /// Where to, if the registry itself named the place; then `path` means nothing.
    pub url: Option<&'a Url>,
    /// The media types to ask for, or empty.
    pub accept: &'a str,
    /// The first byte wanted; 0 for all.
    pub from: u64,
    /// The byte behind the last one wanted; none for the end.
    pub to: Option<u64>,
    /// Further headers.
    pub headers: HeaderMap,
    /// What is sent along; empty for nothing.
    pub body: Bytes,
    /// Somebody else may be asked: it is not tried again.
    pub once: bool,
}

impl<'a> Request<'a> {
    /// A plain GET of `path`.
    pub fn get(action: &'static str, path: &'a str) -> Self {
        Self {
            action,
            method: Method::GET,
            path,
            url: None,
            accept: "",
            from: 0,
            to: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            once: false,
        }
    }
}

/// The clients for one kind of request.
struct Clients {
    own: Client,
    /// For every other host: what is trusted and shown for the registry's sake is for it alone.
    others: Client,
}

/// A connection pool to one registry, and what it takes to be let in.
pub struct Transport {
    reading: Clients,
    /// For what has a body: a limit on the time without an answer would be one on the time to send it.
    sending: Clients,
    stall: Duration,
    host: String,
    /// The token scope to ask for if the registry names none.
    scope: String,
    credential: Option<Credential>,
    tls_verify: bool,
    retries: u32,
    backoff: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Known once a request went through; only ever `http` without `tls_verify`.
    scheme: Option<&'static str>,
    /// The `Authorization` header that the registry took last.
    authorization: Option<HeaderValue>,
}

impl Transport {
    pub fn new(
        host: &str,
        scope: String,
        credential: Option<Credential>,
        tls_verify: bool,
        config: &Config,
    ) -> Result<Self> {
        // A second call finds the provider installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = certificates::find(host, config.cert_dir.as_deref())?;
        let clients = |sending: bool| -> Result<Clients> {
            let builder = || {
                let builder = Client::builder()
                    .user_agent(concat!("imagectl/", env!("CARGO_PKG_VERSION")))
                    .redirect(reqwest::redirect::Policy::none())
                    .tls_danger_accept_invalid_certs(!tls_verify)
                    .connect_timeout(config.stall.min(CONNECT_LIMIT));
                let builder = if past_proxies() { builder.no_proxy() } else { builder };
                match sending {
                    true => builder.tcp_user_timeout(config.stall),
                    false => builder.read_timeout(config.stall),
                }
            };
            let client = |builder: reqwest::ClientBuilder| {
                builder.build().map_err(|source| Error::Client { source })
            };
            let others = client(builder())?;
            let own = match certificates.is_empty() {
                true => others.clone(),
                false => {
                    let own = builder().tls_certs_merge(certificates.roots.clone());
                    client(match certificates.identity.clone() {
                        Some(identity) => own.identity(identity),
                        None => own,
                    })?
                }
            };
            Ok(Clients { own, others })
        };
        Ok(Self {
            reading: clients(false)?,
            sending: clients(true)?,
            stall: config.stall,
            host: host.to_owned(),
            scope,
            credential,
            tls_verify,
            retries: config.retries,
            backoff: config.backoff,
            state: Mutex::default(),
        })
    }

    /// How often a broken transfer is tried again.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// The pause before retry number `attempt`, from 0, of what failed.
    pub fn pause(&self, error: &Error, attempt: u32) -> Duration {
        pause::before(error, self.backoff, attempt)
    }

    /// Sends the request until it succeeds. Answers of 2xx only.
    ///
    /// # Errors
    /// [`Error::Http`], [`Error::Status`] or [`Error::Protocol`], after the last retry.
    pub async fn send(&self, request: &Request<'_>) -> Result<Response> {
        let mut attempt = 0;
        let mut authenticated = false;
        loop {
            let error = match self.try_schemes(request).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if self.asks_for_credentials(&response) && !authenticated => {
                    authenticated = true;
                    self.authenticate(request, &response).await?;
                    continue;
                }
                Ok(response) => status_error(request.action, response).await,
                Err(error) => error,
            };
            if !error.is_temporary() || request.once || attempt >= self.retries {
                return Err(error);
            }
            tokio::time::sleep(self.pause(&error, attempt)).await;
            attempt += 1;
        }
    }

    /// The client for a request to a URL.
    fn client<'a>(&self, clients: &'a Clients, url: &Url) -> &'a Client {
        let own = Url::parse(&format!("https://{}", self.host));
        match own.is_ok_and(|own| own.host_str() == url.host_str()) {
            true => &clients.own,
            false => &clients.others,
        }
    }

    /// Sends by the known scheme; before one is known, HTTPS, and without `tls_verify` HTTP next.
    async fn try_schemes(&self, request: &Request<'_>) -> Result<Response> {
        let known = self.state(|state| state.scheme);
        let schemes: &[&'static str] = match known {
            Some("http") => &["http"],
            _ if self.tls_verify || known.is_some() => &["https"],
            _ => &["https", "http"],
        };
        let mut result = Err(Error::Interrupted);
        for scheme in schemes {
            result = self.follow(scheme, request).await;
            if result.is_ok() {
                self.state(|state| state.scheme = Some(scheme));
                break;
            }
        }
        result
    }

    /// Sends the request and follows redirects. The authorization goes to the registry itself and to
    /// nobody else: not to another host, port or scheme that a redirect names.
    async fn follow(&self, scheme: &str, request: &Request<'_>) -> Result<Response> {
        let text = format!("{scheme}://{}{}", self.host, request.path);
        let bad = |url: &str, reason: String| Error::Protocol { url: url.to_owned(), reason };
        let first = Url::parse(&text).map_err(|error| bad(&text, error.to_string()))?;
        let mut url = request.url.unwrap_or(&first).clone();
        let reading = matches!(request.method, Method::GET | Method::HEAD);
        if request.url.is_some() && self.tls_verify && url.scheme() != "https" {
            return Err(bad(
                &shown(&url),
                "the registry names a place without TLS, refused".into(),
            ));
        }
        for _ in 0..=REDIRECT_LIMIT {
            let clients = if request.body.is_empty() { &self.reading } else { &self.sending };
            let client = self.client(clients, &url);
            let mut builder = client.request(request.method.clone(), url.clone());
            builder = builder.headers(request.headers.clone());
            if !request.body.is_empty() {
                let length = request.body.len() as u64;
                let limit = self.stall + Duration::from_secs(length / SLOWEST);
                builder = builder.body(request.body.clone()).timeout(limit);
            } else if !reading {
                builder = builder.header(CONTENT_LENGTH, 0);
            }
            if !request.accept.is_empty() {
                builder = builder.header(ACCEPT, request.accept);
            }
            match (request.from, request.to) {
                (0, None) => {}
                (from, None) => builder = builder.header(RANGE, format!("bytes={from}-")),
                (from, Some(to)) => {
                    builder = builder.header(RANGE, format!("bytes={from}-{}", to - 1));
                }
            }
            if let Some(value) = self.state(|state| state.authorization.clone())
                && url.origin() == first.origin()
            {
                builder = builder.header(AUTHORIZATION, value);
            }
            let response = builder.send().await.map_err(|source| Error::Http {
                action: request.action,
                url: shown(&url),
                source: source.without_url(),
            })?;
            // What changes something is only sent on where the answer says that it must be.
            let follows = reading || matches!(response.status().as_u16(), 307 | 308);
            if !is_redirect(response.status()) || !follows {
                return Ok(response);
            }
            let next = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| bad(&shown(&url), "redirects to no URL".into()))?;
            let downgrade = url.scheme() == "https" && next.scheme() != "https" && self.tls_verify;
            if downgrade || !matches!(next.scheme(), "http" | "https") {
                return Err(bad(&shown(&url), format!("redirects to {}:, refused", next.scheme())));
            }
            url = next;
        }
        Err(bad(&shown(&url), format!("more than {REDIRECT_LIMIT} redirects")))
    }

    /// Is it the registry itself that answers 401? Where a redirect led, nobody may ask: the realm it
    /// would name gets the credentials.
    fn asks_for_credentials(&self, response: &Response) -> bool {
        let url = response.url();
        let own = Url::parse(&format!("{}://{}", url.scheme(), self.host));
        response.status() == StatusCode::UNAUTHORIZED
            && own.is_ok_and(|own| own.origin() == url.origin())
    }

    /// Gets what the registry asks for in its 401, for the requests to come.
    async fn authenticate(&self, request: &Request<'_>, response: &Response) -> Result<()> {
        let challenges: Vec<Challenge> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let find = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
        let authorization = if let Some(challenge) = find("bearer") {
            let wanted = token::Wanted {
                realm: challenge.parameters.get("realm").map_or("", String::as_str),
                service: challenge.parameters.get("service").map(String::as_str),
                scope: &self.scope_of(challenge),
                plain: response.url().scheme() == "http" || !self.tls_verify,
            };
            let token = self.token(&wanted).await?;
            format!("Bearer {token}")
        } else if let (Some(_), Some(basic)) =
            (find("basic"), self.credential.as_ref().and_then(Credential::basic))
        {
            basic
        } else {
            return Err(Error::Status {
                action: request.action,
                url: shown(response.url()),
                status: response.status(),
                detail: match &self.credential {
                    None => ": no credentials for it in any auth file".into(),
                    Some(_) => ": it offers no way to show the credentials".into(),
                },
                retry_after: None,
            });
        };
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| Error::Protocol {
            url: shown(response.url()),
            reason: "the token is no header value".into(),
        })?;
        value.set_sensitive(true);
        self.state(|state| state.authorization = Some(value));
        Ok(())
    }

    /// What the registry asks for; for a push, never less than pushing needs.
    fn scope_of(&self, challenge: &Challenge) -> String {
        match challenge.parameters.get("scope") {
            Some(scope) if !self.scope.contains("push") => scope.clone(),
            _ => self.scope.clone(),
        }
    }

    /// Fetches a token, again where that may help.
    async fn token(&self, wanted: &token::Wanted<'_>) -> Result<String> {
        let mut attempt = 0;
        loop {
            let realm = Url::parse(wanted.realm);
            let client = match &realm {
                Ok(realm) => self.client(&self.reading, realm),
                Err(_) => &self.reading.others,
            };
            match token::fetch(client, wanted, self.credential.as_ref()).await {
                Err(error) if error.is_temporary() && attempt < self.retries => {
                    tokio::time::sleep(self.pause(&error, attempt)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        // Nothing panics while the lock is held, so a poisoned one is still right.
        with(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Do all hosts go past the proxies? The client takes a lone * for all names, but for no address.
fn past_proxies() -> bool {
    ["NO_PROXY", "no_proxy"].iter().any(|name| std::env::var(name).is_ok_and(|v| v.trim() == "*"))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// A URL without what may be secret in it.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only URLs that can't have a user refuse to lose one.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The error of an answer that is no success, with the registry's own words.
pub async fn status_error(action: &'static str, response: Response) -> Error {
    let (url, status) = (shown(response.url()), response.status());
    let retry_after = pause::asked_for(response.headers());
    let body = read_limited(response, 4096).await.unwrap_or_default();
    Error::Status { action, url, status, detail: words(&body), retry_after }
}

/// Reads no more than `limit` bytes of a body; what follows is dropped.
async fn read_limited(mut response: Response, limit: usize) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
        if body.len() == limit {
            break;
        }
    }
    Ok(body)
}

/// `: code: message` of the first error in a registry's JSON answer, or nothing.
fn words(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let first = &value["errors"][0];
    let text = |key: &str| first[key].as_str().unwrap_or("").escape_debug().to_string();
    let (code, message) = (text("code"), text("message"));
    match (code.as_str(), message.as_str()) {
        ("", "") => String::new(),
        (code, "") => format!(": {code}"),
        ("", message) => format!(": {message}"),
        (code, message) => format!(": {code}: {message}"),
    }
}
