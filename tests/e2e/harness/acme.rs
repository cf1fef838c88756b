//! A certificate authority that speaks ACME (RFC 8555): as much of it as an order needs. It checks
//! nonces, URLs and signatures, really looks at the listeners, and issues for as long as it is told.

mod looks;
mod words;

use super::message::{Framing, Head, text};
use super::tls::{Authority, provider};
use super::{PATIENCE, within};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rcgen::{CertificateSigningRequestParams, SanType};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use words::{Reply, Signed, thumbprint};

/// Serves until the process ends.
pub(crate) struct AcmeServer(Arc<Authorities>);

struct Authorities {
    address: SocketAddr,
    /// Vouches for the server itself.
    web: Authority,
    /// Vouches for what it issues.
    issuing: Authority,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nonces: HashSet<String>,
    made: usize,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    /// How orders are refused, while they are.
    refuses: Option<&'static str>,
    refused: usize,
    life: Duration,
    /// Where it looks: ports 80 and 443 of the world.
    listeners: Option<(SocketAddr, SocketAddr)>,
}

struct Account {
    jwk: Value,
    contact: Value,
}

struct Order {
    account: usize,
    domains: Vec<String>,
    /// Of each domain.
    challenges: Vec<Challenge>,
    chain: Option<String>,
    /// It takes until the second look.
    polled: usize,
}

#[derive(Clone)]
struct Challenge {
    token: String,
    seen: Option<Result<(), String>>,
}

impl AcmeServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (web, issuing) = (Authority::new("web"), Authority::new("issuing"));
        let (chain, key) = web.issue(&["127.0.0.1"]).der();
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let config = Arc::new(config);
        let state = State { life: Duration::from_hours(24 * 90), ..State::default() };
        let all = Arc::new(Authorities { address, web, issuing, state: Mutex::new(state) });
        let serving = Arc::clone(&all);
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (config, all) = (Arc::clone(&config), Arc::clone(&serving));
                // an error is the peer's
                thread::spawn(move || all.serve(tcp, config));
            }
        });
        Self(all)
    }

    pub(crate) fn directory(&self) -> String {
        self.0.url("directory")
    }

    /// Who vouches for the server.
    pub(crate) fn web(&self) -> &Authority {
        &self.0.web
    }

    /// Who vouches for what it issues.
    pub(crate) fn issuing(&self) -> &Authority {
        &self.0.issuing
    }

    /// Where plain HTTP and TLS of all names are. Until this is said, every look waits.
    pub(crate) fn looks_at(&self, plain: SocketAddr, encrypted: SocketAddr) {
        self.0.state().listeners = Some((plain, encrypted));
    }

    /// How long certificates are valid from now on.
    pub(crate) fn issues_for(&self, life: Duration) {
        self.0.state().life = life;
    }

    /// Refuses orders with this type of problem, or takes them again.
    pub(crate) fn refuses(&self, problem: Option<&'static str>) {
        self.0.state().refuses = problem;
    }

    /// Orders that were refused.
    pub(crate) fn refused(&self) -> usize {
        self.0.state().refused
    }

    /// Forgets every account, as a database that was lost.
    pub(crate) fn forgets_accounts(&self) {
        for account in &mut self.0.state().accounts {
            account.jwk = Value::Null;
        }
    }

    /// How many accounts were made.
    pub(crate) fn accounts(&self) -> usize {
        self.0.state().accounts.len()
    }

    /// Whom the last account wants to be written to.
    pub(crate) fn contact(&self) -> Value {
        self.0.state().accounts.last().expect("an account").contact.clone()
    }

    /// How many orders there were.
    pub(crate) fn orders(&self) -> usize {
        self.0.state().orders.len()
    }

    /// How many of them have led to a certificate.
    pub(crate) fn issued(&self) -> usize {
        self.0.state().orders.iter().filter(|order| order.chain.is_some()).count()
    }

    /// The last token that was given out.
    pub(crate) fn last_token(&self) -> Option<String> {
        Some(self.0.state().orders.last()?.challenges.last()?.token.clone())
    }
}

impl Authorities {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }

    fn serve(self: Arc<Self>, tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
        let session = ServerConnection::new(config).expect("a session");
        let mut reader = BufReader::new(StreamOwned::new(session, tcp));
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        let (body, _) = head.framing().unwrap_or(Framing::Empty).read(&mut reader);
        let mut words = head.start.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let reply = self.answer(method, path.trim_start_matches('/'), &text(&body));
        let nonce = self.fresh_nonce();
        let location = reply.location.map(|url| format!("Location: {url}\r\n"));
        let stream = reader.get_mut();
        write!(
            stream,
            "HTTP/1.1 {} x\r\nReplay-Nonce: {nonce}\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n{}",
            reply.status,
            reply.body.len(),
            location.unwrap_or_default(),
            reply.body
        )?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn fresh_nonce(&self) -> String {
        let mut state = self.state();
        state.made += 1;
        let nonce = format!("nonce-{}", state.made);
        state.nonces.insert(nonce.clone());
        nonce
    }

    fn answer(self: &Arc<Self>, method: &str, path: &str, body: &str) -> Reply {
        let parts: Vec<&str> = path.split('/').collect();
        match (method, &parts[..]) {
            ("GET", ["directory"]) => Reply::ok(&json!({
                "newNonce": self.url("nonce"), "newAccount": self.url("account"),
                "newOrder": self.url("order"), "meta": {},
            })),
            ("HEAD", ["nonce"]) => Reply { status: 200, location: None, body: String::new() },
            ("POST", parts) => match self.signed(path, body) {
                Ok(signed) => self.post(parts, &signed),
                Err(problem) => Reply::problem(400, problem, "the request is not signed well"),
            },
            _ => Reply::problem(404, "malformed", "there is no such thing"),
        }
    }

    fn post(self: &Arc<Self>, parts: &[&str], signed: &Signed) -> Reply {
        let number = |text: &str| text.parse::<usize>().expect("a number of ours");
        match parts {
            ["account"] => self.new_account(signed),
            ["account", _] => {
                let account = signed.account.expect("known");
                self.state().accounts[account].contact = signed.payload["contact"].clone();
                Reply::ok(&json!({ "status": "valid" }))
            }
            ["order"] => self.new_order(signed),
            ["order", order] => {
                let order = number(order);
                self.state().orders[order].polled += 1;
                Reply::ok(&self.order(order))
            }
            ["authz", order, nth] => Reply::ok(&self.authorization(number(order), number(nth))),
            ["challenge", order, nth, kind] => {
                let (order, nth) = (number(order), number(nth));
                let (this, kind) = (Arc::clone(self), (*kind).to_owned());
                let jwk = signed.jwk.clone();
                thread::spawn(move || this.look(order, nth, &kind, &jwk));
                Reply::ok(&self.challenge(order, nth, parts[3]))
            }
            ["finalize", order] => self.finalize(number(order), &signed.payload),
            ["certificate", order] => {
                let chain = self.state().orders[number(order)].chain.clone();
                Reply { status: 200, location: None, body: chain.expect("it is issued") }
            }
            _ => Reply::problem(404, "malformed", "there is no such thing"),
        }
    }

    fn new_account(&self, signed: &Signed) -> Reply {
        if signed.payload["termsOfServiceAgreed"] != true {
            return Reply::problem(403, "userActionRequired", "agree to the terms");
        }
        let mut state = self.state();
        let contact = signed.payload["contact"].clone();
        state.accounts.push(Account { jwk: signed.jwk.clone(), contact });
        let url = self.url(&format!("account/{}", state.accounts.len() - 1));
        Reply { status: 201, location: Some(url), body: json!({ "status": "valid" }).to_string() }
    }

    fn new_order(&self, signed: &Signed) -> Reply {
        let mut state = self.state();
        if let Some(problem) = state.refuses {
            state.refused += 1;
            return Reply::problem(429, problem, "not now");
        }
        let Some(account) = signed.account else {
            return Reply::problem(403, "unauthorized", "who is it?");
        };
        let names = signed.payload["identifiers"].as_array().expect("a list");
        let domains: Vec<_> =
            names.iter().map(|name| name["value"].as_str().unwrap().to_owned()).collect();
        let order = state.orders.len();
        let token = |nth| Challenge { token: format!("token-{order}-{nth}-_x"), seen: None };
        let challenges = (0..domains.len()).map(token).collect();
        state.orders.push(Order { account, domains, challenges, chain: None, polled: 0 });
        drop(state);
        let url = self.url(&format!("order/{order}"));
        Reply { status: 201, location: Some(url), body: self.order(order).to_string() }
    }

    fn order(&self, nth: usize) -> Value {
        let state = self.state();
        let order = &state.orders[nth];
        let all = |well: bool| {
            let seen = |one: &Challenge| one.seen.as_ref().is_some_and(|seen| seen.is_ok() == well);
            order.challenges.iter().filter(|one| seen(one)).count()
        };
        let status = match order.chain {
            Some(_) if order.polled > 1 => "valid",
            Some(_) => "processing",
            None if all(false) > 0 => "invalid",
            None if all(true) == order.domains.len() => "ready",
            None => "pending",
        };
        let identifier = |name: &String| json!({ "type": "dns", "value": name });
        let authz = |one: usize| self.url(&format!("authz/{nth}/{one}"));
        json!({
            "status": status,
            "identifiers": order.domains.iter().map(identifier).collect::<Vec<_>>(),
            "authorizations": (0..order.domains.len()).map(authz).collect::<Vec<_>>(),
            "finalize": self.url(&format!("finalize/{nth}")),
            "certificate": (status == "valid").then(|| self.url(&format!("certificate/{nth}"))),
        })
    }

    fn authorization(&self, order: usize, nth: usize) -> Value {
        let challenges = ["http-01", "tls-alpn-01"].map(|kind| self.challenge(order, nth, kind));
        let domain = self.state().orders[order].domains[nth].clone();
        json!({
            "status": challenges[0]["status"], "challenges": challenges,
            "identifier": { "type": "dns", "value": domain },
        })
    }

    fn challenge(&self, order: usize, nth: usize, kind: &str) -> Value {
        let challenge = self.state().orders[order].challenges[nth].clone();
        let (status, error) = match challenge.seen {
            None => ("pending", Value::Null),
            Some(Ok(())) => ("valid", Value::Null),
            Some(Err(why)) => ("invalid", json!({ "type": "x:unauthorized", "detail": why })),
        };
        json!({
            "type": kind, "status": status, "token": challenge.token, "error": error,
            "url": self.url(&format!("challenge/{order}/{nth}/{kind}")),
        })
    }

    /// Looks at the listeners, as they are when it is known where they are.
    fn look(&self, order: usize, nth: usize, kind: &str, jwk: &Value) {
        let Some((plain, encrypted)) = within(PATIENCE, || self.state().listeners) else { return };
        let (domain, token) = {
            let state = self.state();
            let order = &state.orders[order];
            (order.domains[nth].clone(), order.challenges[nth].token.clone())
        };
        let answer = format!("{token}.{}", thumbprint(jwk));
        let seen = match kind {
            "http-01" => looks::by_http(plain, &domain, &token, &answer),
            _ => looks::by_tls(encrypted, &domain, &answer),
        };
        self.state().orders[order].challenges[nth].seen = Some(seen);
    }

    fn finalize(&self, nth: usize, payload: &Value) -> Reply {
        let der = BASE64.decode(payload["csr"].as_str().unwrap_or("*")).unwrap();
        let csr = CertificateSigningRequestDer::from(der);
        let csr =
            CertificateSigningRequestParams::from_der(&csr).expect("a request that is signed");
        let names = csr.params.subject_alt_names.iter();
        let names = names.map(|name| {
            if let SanType::DnsName(name) = name { name.to_string() } else { panic!("{name:?}") }
        });
        let mut asked: Vec<String> = names.collect();
        if self.order(nth)["status"] != "ready" {
            return Reply::problem(403, "orderNotReady", "prove it first");
        }
        {
            let mut state = self.state();
            let life = state.life;
            let order = &mut state.orders[nth];
            assert!(order.account < usize::MAX);
            let mut ordered = order.domains.clone();
            asked.sort();
            ordered.sort();
            if asked != ordered {
                return Reply::problem(400, "badCSR", "these are other names");
            }
            order.chain = Some(self.issuing.sign(csr, life) + &self.issuing.pem());
            order.polled = 0;
        }
        Reply::ok(&self.order(nth))
    }
}
