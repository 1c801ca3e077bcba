//! Who may ask: pages of this server alone, and on a network only people who know the secret.
//!
//! A site on the Internet can make a browser send requests to the loopback address, and can make its own name point
//! there (DNS rebinding). So the name in `Host` must be ours, and a request that another site caused is refused.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, Request, header};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// What responses say to the browser, all of them.
pub(crate) const HEADERS: [(HeaderName, &str); 9] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
];

/// The cookie that holds the secret.
const COOKIE: &str = "taper";

/// Who may ask.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    address: IpAddr,
    port: u16,
    /// What the link contains; `None` on the loopback address.
    secret: Option<String>,
}

/// Whether a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is.
    Yes,
    /// It is from the link: the secret goes into a cookie, and out of the address.
    SetCookie(String),
    /// It is for another name, or another site caused it.
    Foreign,
    /// It lacks the secret.
    Stranger,
}

impl Guard {
    pub(crate) fn new(address: IpAddr, port: u16, secret: Option<String>) -> Self {
        Self { address, port, secret }
    }

    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Answer {
        let headers = request.headers();
        let Some(host) = single(headers, &header::HOST) else { return Answer::Foreign };
        if !self.is_ours(host) || request.uri().authority().is_some_and(|named| !self.is_ours(named.as_str())) {
            return Answer::Foreign;
        }
        // browsers say where a request other than GET comes from, always
        if headers.contains_key(header::ORIGIN) || !matches!(*request.method(), Method::GET | Method::HEAD) {
            let ours = format!("http://{host}");
            if single(headers, &header::ORIGIN) != Some(&ours) {
                return Answer::Foreign;
            }
        }
        // a link on another page may lead to this one, but no other page may use it
        let is_link = request.method() == Method::GET && request.uri().path() == "/";
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        if !matches!(site, None | Some(b"same-origin" | b"none")) && !is_link {
            return Answer::Foreign;
        }
        let Some(secret) = &self.secret else { return Answer::Yes };
        let same = |given: &str| bool::from(given.as_bytes().ct_eq(secret.as_bytes()));
        if cookies(headers).any(same) {
            return Answer::Yes;
        }
        let key = request.uri().query().and_then(|query| query.strip_prefix("key="));
        match key {
            Some(key) if is_link && same(key) => {
                Answer::SetCookie(format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax"))
            }
            _ => Answer::Stranger,
        }
    }

    /// Whether this is a name of ours: the address or `localhost`, with the port. A server on all addresses has no
    /// other names than addresses, which nobody can rebind.
    fn is_ours(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        if authority.port_u16().unwrap_or(80) != self.port || authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host();
        if name == "localhost" {
            return true;
        }
        let Ok(named) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return false };
        self.address.is_unspecified() || named == self.address
    }
}

/// The value of a header that is given once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

/// The values of our cookie.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(guard: &Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        guard.answer(&request.body(()).unwrap())
    }

    fn loopback() -> Guard {
        Guard::new("127.0.0.1".parse().unwrap(), 8273, None)
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let get = |host: &str| answer(&loopback(), "GET", "/", &[("host", host)]);
        assert_eq!(get("127.0.0.1:8273"), Answer::Yes);
        assert_eq!(get("localhost:8273"), Answer::Yes);
        for host in ["evil.example:8273", "127.0.0.1", "127.0.0.1:80", "127.0.0.2:8273", "a@127.0.0.1:8273", "", "::1"]
        {
            assert_eq!(get(host), Answer::Foreign, "{host}");
        }
        assert_eq!(answer(&loopback(), "GET", "/", &[]), Answer::Foreign);
        let twice = [("host", "localhost:8273"), ("host", "evil.example")];
        assert_eq!(answer(&loopback(), "GET", "/", &twice), Answer::Foreign);
        assert_eq!(answer(&loopback(), "GET", "http://evil.example/", &[("host", "localhost:8273")]), Answer::Foreign);
        let everywhere = Guard::new("0.0.0.0".parse().unwrap(), 8273, None);
        assert_eq!(answer(&everywhere, "GET", "/", &[("host", "192.168.1.7:8273")]), Answer::Yes);
        assert_eq!(answer(&everywhere, "GET", "/", &[("host", "evil.example:8273")]), Answer::Foreign);
    }

    #[test]
    fn what_another_site_causes_is_refused() {
        let host = ("host", "127.0.0.1:8273");
        let post = |header| answer(&loopback(), "POST", "/api/undo", &[host, header]);
        assert_eq!(post(("origin", "http://127.0.0.1:8273")), Answer::Yes);
        for header in [
            ("accept", "*/*"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:8273"),
            ("origin", "http://127.0.0.1:9"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(post(header), Answer::Foreign, "{header:?}");
        }
        let link = [host, ("sec-fetch-site", "cross-site")];
        assert_eq!(answer(&loopback(), "GET", "/", &link), Answer::Yes);
        assert_eq!(answer(&loopback(), "GET", "/api/state", &link), Answer::Foreign);
    }

    #[test]
    fn the_secret_comes_with_the_link_and_then_in_a_cookie() {
        let guard = Guard::new("192.168.1.7".parse().unwrap(), 8273, Some("opensesame".into()));
        let get =
            |path: &str, cookie: &str| answer(&guard, "GET", path, &[("host", "192.168.1.7:8273"), ("cookie", cookie)]);
        assert!(matches!(get("/?key=opensesame", ""), Answer::SetCookie(cookie) if cookie.contains("HttpOnly")));
        assert_eq!(get("/api/state", "a=b; taper=opensesame"), Answer::Yes);
        for (path, cookie) in
            [("/", ""), ("/?key=opensesam", ""), ("/?key=", ""), ("/api/state?key=opensesame", ""), ("/", "taper=x")]
        {
            assert_eq!(get(path, cookie), Answer::Stranger, "{path} {cookie}");
        }
    }
}
