//! Two drivers serve requests, the short way and Pingora; nobody may be able to tell which of them it
//! was, but for what [`same`] takes out. Requests and responses are made up from a seed:
//! `STICKFAST_SEED` and `STICKFAST_CASES` go on where the suite stops (`make fuzz-diff`).

mod cases;

use crate::harness::{Gateway, Http2, Setup, Wire};
use cases::{Case, Script, Stream};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

const CASES: usize = 10_000;
const SEED: u64 = 20_261_122;
/// Cases of HTTP/2, whose requests say less that is odd.
const STREAMS: usize = 3_000;
const PLAYERS: usize = 48;

/// A backend that does as it is told by the case that a request names, and remembers what it was sent.
struct Scripted {
    address: SocketAddr,
    plays: Arc<Mutex<HashMap<usize, Play>>>,
}

/// One case at a backend.
struct Play {
    script: Script,
    heard: Vec<String>,
}

impl Scripted {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let plays = Arc::new(Mutex::new(HashMap::new()));
        let shared = Arc::clone(&plays);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let plays = Arc::clone(&shared);
                thread::spawn(move || Self::serve(stream, &plays));
            }
        });
        Self { address, plays }
    }

    fn serve(mut stream: TcpStream, plays: &Mutex<HashMap<usize, Play>>) {
        let mut read = Vec::new();
        let mut part = [0; 16 * 1024];
        loop {
            while whole(&read).is_none() {
                match stream.read(&mut part) {
                    Ok(count) if count > 0 => read.extend_from_slice(&part[..count]),
                    Ok(_) | Err(_) => return,
                }
            }
            let length = whole(&read).unwrap();
            let request: Vec<u8> = read.drain(..length).collect();
            let script = {
                let mut plays = plays.lock().unwrap();
                let Some(play) = number(&request).and_then(|case| plays.get_mut(&case)) else {
                    return;
                };
                let request = same(&request);
                if !play.heard.contains(&request) {
                    // a repeated try says the same
                    play.heard.push(request);
                }
                play.script.clone()
            };
            if stream.write_all(&script.says).is_err() || script.leaves {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// The case that a request is of.
fn number(request: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(request).to_lowercase();
    text.split("x-case: ").nth(1)?.lines().next()?.trim().parse().ok()
}

/// The length of the request at the start of what was read, once it is whole.
fn whole(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let fields = String::from_utf8_lossy(&read[..head]).to_lowercase();
    let body = &read[head..];
    if fields.contains("transfer-encoding: chunked") {
        let end = body.windows(5).position(|five| five == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let length = fields.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok()).unwrap_or(0);
    (body.len() >= length).then_some(head + length)
}

/// Text without what differs from one exchange to the next, or is documented to differ: times, ids,
/// sealed keys; how a body is cut into chunks, and trailers, which Pingora drops.
fn same(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (mut out, mut rest) = (String::new(), &*text);
    while let Some((head, body)) = rest.split_once("\r\n\r\n") {
        let mut chunked = false;
        let mut lines = Vec::new();
        for line in head.split("\r\n") {
            let name = line.split(':').next().unwrap_or_default().to_lowercase();
            chunked |= line.to_lowercase() == "transfer-encoding: chunked";
            match &*name {
                "date" | "x-request-id" => lines.push((name.clone(), name)),
                "set-cookie" => {
                    let cookie = line.split_once('=').map_or(line, |(cookie, _)| cookie);
                    lines.push((name, cookie.to_owned()));
                }
                _ => lines.push((name, line.to_owned())),
            }
        }
        // the order of fields with one name means something, no other does
        lines.get_mut(1..).unwrap_or_default().sort_by(|one, other| one.0.cmp(&other.0));
        let head: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
        // each try may have passed one on, and how many there are is a matter of time
        if head.starts_with("HTTP/1.1 1") && out.ends_with(&format!("{head}\n")) {
            rest = body;
            continue;
        }
        out.push_str(&head);
        out.push('\n');
        if chunked {
            let (data, left) = unchunked(body);
            out.push_str(&data);
            rest = left;
        } else {
            rest = body;
        }
    }
    out.push_str(rest);
    out
}

/// The data of chunks, and what is behind them.
fn unchunked(mut body: &str) -> (String, &str) {
    let mut data = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        if size == 0 {
            let behind = rest.strip_prefix("\r\n");
            let behind = behind.or_else(|| Some(rest.split_once("\r\n\r\n")?.1));
            data.push_str(if behind.is_some() { "<end>" } else { "" });
            return (data, behind.unwrap_or_default());
        }
        data.push_str(rest.get(..size.min(rest.len())).unwrap_or_default());
        body = rest.get(size..).and_then(|rest| rest.strip_prefix("\r\n")).unwrap_or_default();
    }
    (data, "")
}

/// A gateway and its backend.
struct Driven {
    gateway: Gateway,
    backend: Scripted,
}

impl Driven {
    fn start(hot_path: &str, http2: bool) -> Self {
        let backend = Scripted::start();
        let setup = Setup::of(&[])
            .backend("b", &backend.address.to_string())
            .sticky()
            .listener(&format!("http2: {http2}"))
            .server(&format!("hotPath: {hot_path}"))
            .server("threads: 1")
            .server("limits: { headerTimeout: 500ms, bodyTimeout: 500ms, idleTimeout: 500ms }");
        Self { gateway: Gateway::start(&setup), backend }
    }

    /// What the client got, and what the backend.
    fn play(&self, number: usize, case: &Case) -> (String, Vec<String>) {
        let play = Play { script: case.script.clone(), heard: Vec::new() };
        self.backend.plays.lock().unwrap().insert(number, play);
        let mut wire = Wire::connect(self.gateway.address(), None).unwrap();
        let _ = wire.write(&case.sends);
        let got = wire.rest().unwrap_or_default();
        let play = self.backend.plays.lock().unwrap().remove(&number).unwrap();
        (same(&got), play.heard)
    }
}

impl Driven {
    /// The same over HTTP/2.
    fn play_stream(&self, number: usize, case: &Stream) -> (String, Vec<String>) {
        let play = Play { script: case.script.clone(), heard: Vec::new() };
        self.backend.plays.lock().unwrap().insert(number, play);
        let mut client = Http2::connect(self.gateway.address());
        let fields: Vec<_> = case.fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let got = match client.try_send(case.method, &case.target, &fields, case.body) {
            Ok(answer) => {
                let mut fields: Vec<_> = answer
                    .fields
                    .into_iter()
                    .map(|(name, value)| match &*name {
                        "date" | "x-request-id" => (name, String::new()),
                        "set-cookie" => {
                            let cookie = value.split('=').next().unwrap_or_default().to_owned();
                            (name, cookie)
                        }
                        _ => (name, value),
                    })
                    .collect();
                fields.sort_by(|one, other| one.0.cmp(&other.0));
                let body = String::from_utf8_lossy(&answer.body);
                format!("{} {fields:#?} {body}", answer.status)
            }
            Err(why) => format!("{:?}", why.reason()),
        };
        let play = self.backend.plays.lock().unwrap().remove(&number).unwrap();
        let own = self.gateway.address().to_string();
        let heard = play.heard.iter().map(|request| lowered(request).replace(&own, "<own>"));
        (got.replace(&own, "<own>"), heard.collect())
    }
}

/// With the names of its fields in small letters, in which HTTP/2 has them, and nothing around values: what
/// Pingora passes on there the short way takes for what it is (RFC 9113 §8.2.1).
fn lowered(request: &str) -> String {
    let lines = request.lines().map(|line| match line.split_once(':') {
        Some((name, value)) => format!("{}:{}\n", name.to_lowercase(), value.trim()),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// How often a case is played again that came out differently: time may have had its part in it.
const AGAIN: usize = 3;

/// Plays so many cases with both drivers; fails where they differ. Gives what was served the short way.
fn compare<C: std::fmt::Display>(
    http2: bool,
    cases: usize,
    of: impl Fn(u64, usize) -> C + Sync,
    play: impl Fn(&Driven, usize, &C) -> (String, Vec<String>) + Sync,
) -> f64 {
    let from = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = from("STICKFAST_CASES").map_or(cases, |cases: u64| usize::try_from(cases).unwrap());
    let seed = from("STICKFAST_SEED").unwrap_or(SEED);
    let (short, long) = (Driven::start("on", http2), Driven::start("off", http2));
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases || faults.lock().unwrap().len() > 3 {
                        return;
                    }
                    let case = of(seed.wrapping_add(number as u64), number);
                    let differs = || {
                        let (one, other) =
                            (play(&short, number, &case), play(&long, number, &case));
                        (one != other).then(|| format!("{case}\n=> {one:#?}\nand {other:#?}"))
                    };
                    if let Some(fault) = (0..AGAIN).map_while(|_| differs()).nth(AGAIN - 1) {
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    let served = short.gateway.metric("stickfast_hot_path_requests_total", &[]);
    served / f64::from(u32::try_from(cases).unwrap())
}

#[test]
fn both_drivers_say_the_same_to_clients_and_to_backends() {
    let served = compare(false, CASES, Case::of, Driven::play);
    assert!(served > 0.25, "the short way was taken {served} times for a case");
}

#[test]
fn both_drivers_say_the_same_over_http_2() {
    let served = compare(true, STREAMS, Stream::of, Driven::play_stream);
    assert!(served > 0.25, "the short way was taken {served} times for a case");
}
