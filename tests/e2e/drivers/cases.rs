//! Requests and responses that are made up: usual ones, odd ones, and what nobody should send.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// What a backend does with the requests of a case.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// Written when a request has come; the bytes of each answer.
    pub(super) says: Vec<u8>,
    /// It ends the connection behind that.
    pub(super) leaves: bool,
}

/// One case: what the client sends, and what the backend does.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) sends: Vec<u8>,
    pub(super) script: Script,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Script { says, leaves } = &self.script;
        write!(f, "{:?}\nto {:?}, leaves: {leaves}", text(&self.sends), text(says))
    }
}

impl Case {
    /// The case of that number, made up from a seed.
    pub(super) fn of(seed: u64, number: usize) -> Self {
        Dice(StdRng::seed_from_u64(seed)).case(number)
    }
}

/// One request of HTTP/2, and what the backend does.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: &'static [u8],
    pub(super) script: Script,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Script { says, leaves } = &self.script;
        let says = String::from_utf8_lossy(says);
        write!(
            f,
            "{} {} {:?}\nto {says:?}, leaves: {leaves}",
            self.method, self.target, self.fields
        )
    }
}

impl Stream {
    /// The request of that number, made up from a seed.
    pub(super) fn of(seed: u64, number: usize) -> Self {
        Dice(StdRng::seed_from_u64(seed)).stream(number)
    }
}

struct Dice(StdRng);

impl Dice {
    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of.choose(&mut self.0).unwrap()
    }

    fn often(&mut self, usual: &str, odd: &[&str]) -> String {
        if self.0.random_ratio(4, 5) { usual } else { self.one(odd) }.to_owned()
    }

    fn request(&mut self, case: usize, last: bool) -> String {
        let method = self.often(
            "GET",
            &[
                "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "FOO", "CONNECT",
                "TRACE", "",
            ],
        );
        let target = self.often(
            "/a/b?c=d",
            &[
                "/",
                "//a",
                "/a/../b",
                "/%2e%2e/x",
                "*",
                "http://app.test/x",
                "/\u{e9}",
                "/a b",
                "/a#b",
                "a",
                "/%zz",
                "/?",
                "/a;b=c",
                "/\"<>",
                "/?q={x}&r=^`|\\[]",
                "/{x}",
            ],
        );
        let version = self.often("HTTP/1.1", &["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", ""]);
        let mut fields: Vec<String> = vec![self.often(
            "Host: app.test",
            &[
                "",
                "Host:",
                "Host: a\r\nHost: b",
                "host: APP.test:80",
                "Host: a b",
                "Host : app.test",
                "HOST:app.test",
            ],
        )];
        fields.push(format!("X-Case: {case}"));
        let mut body = String::new();
        for _ in 0..self.0.random_range(0..4) {
            fields.push(self.one(&[
                "Accept: */*", "User-Agent: test", "Cookie: a=b; c=d", "Cookie: STICKFAST-x=y; a=b", "cookie: ", "X-Empty:", "X-Odd:\t a \t",
                "X-Forwarded-For: 1.2.3.4", "x-forwarded-proto: https", "X-Affinity-Failover: no", "X-Request-Id: mine", "Via: 1.0 other",
                "Connection: keep-alive", "Connection: close", "Connection: X-Gone, close\r\nX-Gone: 1", "Connection: keep-alive, te", "Keep-Alive: timeout=5", "TE: trailers",
                "Proxy-Connection: keep-alive", "Proxy-Authorization: x", "Trailer: X-Sum", "Upgrade: h2c", "Content-Length: 0", "Expect: nothing",
                "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "X-Same: 1\r\nx-same: 2",
                " folded: 1", "No-Colon", "X-\u{e9}: 1", "X-Value: \u{e9}", "Content-Type: text/plain", "Accept-Encoding: gzip", "X-Stickfast-Reason: no",
            ]).to_owned());
        }
        if self.0.random_ratio(1, 8) {
            fields.push(
                self.one(&[
                    "Content-Length: 5",
                    "content-length: 05",
                    "Content-Length: 5, 5",
                    "Transfer-Encoding: chunked",
                    "Content-Length: 5\r\nTransfer-Encoding: chunked",
                    "Transfer-Encoding: gzip",
                ])
                .to_owned(),
            );
            body = self.often("hello", &["5\r\nhello\r\n0\r\n\r\n", "hel"]);
        }
        if last {
            fields.push("Connection: close".to_owned());
        }
        fields.retain(|field| !field.is_empty());
        let end = self.often("\r\n", &["\n"]);
        let request_line = format!("{method} {target} {version}");
        format!("{}{end}{end}{body}", [vec![request_line], fields].concat().join(&end))
    }

    fn response(&mut self) -> Script {
        let interim = self.often(
            "",
            &["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"],
        );
        let line = self.often(
            "HTTP/1.1 200 OK",
            &[
                "HTTP/1.1 204 No Content",
                "HTTP/1.1 304 Not Modified",
                "HTTP/1.0 200 OK",
                "HTTP/1.1 404",
                "HTTP/1.1 500 Oh no",
                "HTTP/1.1 200",
                "HTTP/1.1 999 Odd",
                "HTTP/1.1 20 Short",
                "ICY 200 OK",
            ],
        );
        let (framing, body) = [
            ("Content-Length: 5", "hello"),
            ("Content-Length: 5", "hello"),
            ("Content-Length: 5", "hello"),
            ("Content-Length: 0", ""),
            ("Content-Length: 5", "hello, more"),
            ("Content-Length: 9", "hello"),
            ("Content-Length: 5, 5", "hello"),
            ("Content-Length: 5\r\nContent-Length: 5", "hello"),
            ("Content-Length: 5\r\nContent-Length: 6", "hello"),
            ("Content-Length: x", "hello"),
            ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
            ("Transfer-Encoding: chunked", "2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3", "5\r\nhello\r\n0\r\n\r\n"),
            ("", "until the end"),
        ]
        .choose(&mut self.0)
        .copied()
        .unwrap();
        let mut fields = vec![framing.to_owned()];
        for _ in 0..self.0.random_range(0..3) {
            fields.push(
                self.one(&[
                    "Connection: close",
                    "Connection: keep-alive",
                    "Set-Cookie: a=b",
                    "Set-Cookie: c=d; Path=/",
                    "Cache-Control: public, max-age=9",
                    "Server: x",
                    "X-Odd:\ta ",
                    "X-Stickfast-Reason: no",
                    "Date: then",
                    "Keep-Alive: timeout=5",
                    "ETag: \"x\"",
                    "X-\u{e9}: a",
                    "x-lower: 1",
                    "X-Space : 1",
                ])
                .to_owned(),
            );
        }
        fields.retain(|field| !field.is_empty());
        let mut leaves = framing.is_empty() || self.0.random_ratio(1, 8);
        if leaves {
            // else the next request may find a connection that is about to end
            fields.push("Connection: close".to_owned());
        }
        let mut says =
            format!("{interim}{}\r\n\r\n{body}", [vec![line], fields].concat().join("\r\n"))
                .into_bytes();
        if self.0.random_ratio(1, 6) {
            let cut = self.0.random_range(0..=says.len());
            says.truncate(cut);
            leaves = true;
        }
        // one that announces more than it sends would be waited for
        leaves |= framing == "Content-Length: 9";
        Script { says, leaves }
    }

    fn stream(&mut self, number: usize) -> Stream {
        let methods = [
            "GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE", "FOO",
        ];
        let method = *methods.choose(&mut self.0).unwrap();
        let target = self.often(
            "/a/b?c=d",
            &[
                "/",
                "//a",
                "/a/../b",
                "/%2e%2e/x",
                "/%zz",
                "/?",
                "/a;b=c",
                "/a|b",
                "/a{b}",
                "/?a=/../b",
                "/?q={x}&r=`|",
            ],
        );
        let mut fields = vec![("x-case", number.to_string())];
        for _ in 0..self.0.random_range(0..5) {
            let usual = [
                ("accept", "*/*"),
                ("user-agent", "test"),
                ("cookie", "a=b; c=d"),
                ("cookie", "STICKFAST-x=y"),
                ("cookie", ""),
                ("x-empty", ""),
                ("x-odd", "\ta\t"),
                ("host", "other.test"),
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-proto", "https"),
                ("x-affinity-failover", "no"),
                ("x-request-id", "mine"),
                ("via", "1.0 other"),
                ("te", "trailers"),
                ("trailer", "x-sum"),
                ("expect", "100-continue"),
                ("proxy-authorization", "x"),
                ("content-length", "0"),
                ("accept-encoding", "gzip"),
                ("x-stickfast-reason", "no"),
                ("x-same", "1"),
                ("x-same", "2"),
            ];
            let (name, value) = *usual.choose(&mut self.0).unwrap();
            fields.push((name, value.to_owned()));
        }
        let says_length = fields.iter().any(|(name, _)| *name == "content-length");
        let body: &[u8] = if method == "POST" && !says_length { b"hello" } else { b"" };
        Stream { method, target, fields, body, script: self.response() }
    }

    fn case(&mut self, number: usize) -> Case {
        let count = self.0.random_range(1..4);
        let sends = (1..=count).map(|nth| self.request(number, nth == count)).collect::<String>();
        let mut sends = sends.into_bytes();
        if count == 1 && self.0.random_ratio(1, 10) {
            let cut = self.0.random_range(0..=sends.len());
            sends.truncate(cut);
        }
        Case { sends, script: self.response() }
    }
}
