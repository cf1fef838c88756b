//! What a client may take, and what becomes of those who take more.

use crate::harness::{Answer, Backend, Gateway, Request, Setup, within};
use std::thread;
use std::time::{Duration, Instant};

fn gateway(limits: &str) -> (Backend, Gateway) {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).server(&format!("limits: {{ {limits} }}")).sticky();
    let gateway = Gateway::start(&setup);
    (b1, gateway)
}

fn assert_own(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{}", answer.text());
    assert_eq!(answer.cookies(), [""; 0]);
}

/// Fails unless something took about this long; a busy machine may take longer.
fn assert_about(time: Duration, expected: Duration) {
    assert!(time >= expected.mul_f32(0.8), "{time:?} instead of {expected:?}");
    assert!(time <= expected * 2 + Duration::from_secs(2), "{time:?} instead of {expected:?}");
}

#[test]
fn a_body_over_the_limit_is_413_whether_its_length_is_told_or_not() {
    let (b1, gateway) = gateway("maxBodyBytes: 10KiB");
    let limit = 10 * 1024;
    assert_eq!(gateway.client().send(&Request::post("/", limit)).seen()["body_length"], limit);
    let chunked = gateway.client().send(&Request::post("/", limit).chunked());
    assert_eq!(chunked.seen()["body_length"], limit);
    assert_eq!(b1.requests(), 2);
    let told = gateway.client().send(&Request::post("/", limit + 1));
    assert_own(&told, 413, "body-too-large");
    assert_eq!(b1.requests(), 2, "not even begun");
    let untold = gateway.client().send(&Request::post("/", limit + 1000).chunked());
    assert_own(&untold, 413, "body-too-large");
    assert_eq!(gateway.client().get("/").backend(), "b1");
    assert!(gateway.metric("stickfast_refusals_total", &[("reason", "body-too-large")]) >= 2.0);
}

#[test]
fn a_header_over_the_limit_is_431_and_one_within_it_is_served() {
    let (b1, gateway) = gateway("maxHeaderBytes: 8KiB");
    let padded = |bytes: usize| Request::get("/").with("X-Padding", &"a".repeat(bytes));
    assert_eq!(gateway.client().send(&padded(6000)).backend(), "b1");
    assert_own(&gateway.client().send(&padded(9000)), 431, "header-too-large");
    let value = "v".repeat(60);
    let many = (0..200).fold(Request::get("/"), |r, n| r.with(&format!("X-{n}"), &value));
    assert_own(&gateway.client().send(&many), 431, "header-too-large");
    let long = Request::get(&format!("/{}", "a".repeat(9000)));
    let answer = gateway.client().send(&long);
    assert_own(&answer, 431, "header-too-large");
    assert_eq!(b1.requests(), 1);
}

#[test]
fn a_request_without_host_is_400_and_one_for_an_unknown_place_is_404() {
    let b1 = Backend::start("b1");
    let rules = ["id: app, hosts: [app.test], path: /app/*, serviceName: app"];
    let gateway = Gateway::start(&Setup::of(&[&b1]).rules(&rules).sticky());
    let raw = |bytes: &[u8]| {
        let mut wire = gateway.connect();
        wire.write(bytes).unwrap();
        wire.answer().unwrap().expect("an answer")
    };
    assert_own(&raw(b"GET /app/ HTTP/1.1\r\n\r\n"), 400, "no-host");
    assert_own(&raw(b"GET /app/ HTTP/1.1\r\nHost: other.test\r\n\r\n"), 404, "no-route");
    assert_own(&raw(b"GET /apple HTTP/1.1\r\nHost: app.test\r\n\r\n"), 404, "no-route");
    assert_eq!(b1.requests(), 0);
    assert_eq!(raw(b"GET /app HTTP/1.1\r\nHost: app.test\r\n\r\n").backend(), "b1");
}

#[test]
fn what_is_not_http_is_refused_and_reaches_no_backend() {
    let (b1, gateway) = gateway("headerTimeout: 1s");
    for bytes in [
        b"rubbish\r\n\r\n".as_slice(),
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ] {
        let mut wire = gateway.connect();
        wire.write(bytes).unwrap();
        // A connection that is closed without a word is an answer, too.
        if let Some(answer) = wire.answer().unwrap_or_default() {
            let shown = String::from_utf8_lossy(bytes);
            assert!((400..=505).contains(&answer.status), "{} to {shown}", answer.status);
        }
    }
    assert_eq!(b1.requests(), 0);
    assert_eq!(gateway.client().get("/").backend(), "b1");
}

#[test]
fn a_request_with_two_lengths_never_smuggles_a_second_one() {
    let (b1, gateway) = gateway("headerTimeout: 1s");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n{smuggled}",
        smuggled.len() + 5
    );
    let twice = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    for bytes in [both, twice] {
        let mut wire = gateway.connect();
        wire.write(bytes.as_bytes()).unwrap();
        wire.finish().unwrap();
        let first = wire.answer().unwrap_or_default();
        if let Some(answer) = &first {
            assert!(answer.status == 200 || answer.status == 400, "{}", answer.status);
        }
        // Whatever is made of the second request, no backend may see it glued to the first.
        let rest = wire.rest().unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains("/smuggled"), "after {bytes}");
    }
    assert!(b1.requests() <= 2);
}

#[test]
fn a_length_that_is_said_twice_is_400_even_when_both_agree() {
    let (b1, gateway) = gateway("headerTimeout: 1s");
    for lengths in [
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: +3",
        "Content-Length: ",
    ] {
        let mut wire = gateway.connect();
        let message = format!("POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\nabc");
        wire.write(message.as_bytes()).unwrap();
        let answer = wire.answer().unwrap().unwrap_or_else(|| panic!("no answer to {lengths}"));
        assert_eq!(answer.status, 400, "{lengths}");
        assert_own(&answer, 400, "bad-request");
    }
    assert_eq!(b1.requests(), 0);
}

#[test]
fn requests_that_come_in_one_piece_are_answered_in_order() {
    let (_b1, gateway) = gateway("headerTimeout: 1s");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let both_gets = [get("/one"), get("/two")].concat();
    let with_a_body = [post.replace("/two", "/one"), get("/two")].concat();
    let body_last = [get("/one"), post.to_owned()].concat();
    for bytes in [both_gets, with_a_body, body_last] {
        let mut wire = gateway.connect();
        wire.write(bytes.as_bytes()).unwrap();
        for path in ["/one", "/two"] {
            let answer = wire.answer().unwrap();
            let answer = answer.unwrap_or_else(|| panic!("no answer to {path} of {bytes}"));
            assert_eq!(answer.seen_path(), path, "of {bytes}");
        }
        wire.write(get("/three").as_bytes()).unwrap();
        let third = wire.answer().unwrap().expect("the connection is kept");
        assert_eq!(third.seen_path(), "/three");
    }
}

#[test]
fn rubbish_behind_a_request_is_400_after_its_answer() {
    let (b1, gateway) = gateway("headerTimeout: 1s");
    let mut wire = gateway.connect();
    wire.write(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nrub bish\r\n\r\n").unwrap();
    assert_eq!(wire.answer().unwrap().expect("the first answer").seen_path(), "/one");
    let answer = wire.answer().unwrap().expect("the second answer");
    assert_own(&answer, 400, "bad-request");
    assert_eq!(b1.requests(), 1);
}

#[test]
fn a_client_that_goes_on_sending_still_gets_the_413() {
    let (_b1, gateway) = gateway("maxBodyBytes: 10KiB");
    for request in [Request::post("/", 400_000).chunked(), Request::post("/", 400_000)] {
        let message = request.bytes(&[]);
        let mut parts = message.chunks(message.len() / 20);
        let (mut wire, start, mut sent) = (gateway.connect(), Instant::now(), 0);
        let all = within(Duration::from_secs(10), || {
            // A part each 20 ms, also after the answer, which the client does not look at yet.
            if start.elapsed() >= Duration::from_millis(20) * sent {
                let Some(part) = parts.next() else { return Some(()) };
                wire.write(part).expect("no reset before the answer is read");
                sent += 1;
            }
            None
        });
        assert!(all.is_some());
        let answer = wire.answer().expect("no reset").expect("an answer");
        assert_own(&answer, 413, "body-too-large");
        assert!(answer.whole && answer.closes(), "{:?}", answer.fields);
    }
}

#[test]
fn an_upload_of_five_megabytes_is_not_reset_before_its_413_is_read() {
    let (_b1, gateway) = gateway("maxBodyBytes: 10KiB");
    for request in [Request::post("/", 5_000_000).chunked(), Request::post("/", 5_000_000)] {
        let mut wire = gateway.connect();
        wire.write(&request.bytes(&[])).expect("no reset before the answer is read");
        let answer = wire.answer().expect("no reset").expect("an answer");
        assert_own(&answer, 413, "body-too-large");
        assert!(answer.whole && answer.closes(), "{:?}", answer.fields);
    }
}

#[test]
fn a_client_that_dribbles_its_header_is_cut_off_while_others_are_served() {
    let (b1, gateway) = gateway("headerTimeout: 1s");
    let mut slow = gateway.connect();
    let start = Instant::now();
    slow.write(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| {
            let answer = slow.answer().unwrap().expect("an answer, not only a closed connection");
            (answer, start.elapsed())
        });
        let mut others = 0;
        while !answer.is_finished() {
            assert_eq!(gateway.client().get("/").backend(), "b1");
            others += 1;
        }
        assert!(others > 3, "others were served meanwhile");
        answer.join().unwrap()
    });
    assert_own(&answer.0, 408, "header-timeout");
    assert_about(answer.1, Duration::from_secs(1));
    assert!(b1.requests() > 0);
}

#[test]
fn single_bytes_do_not_stretch_the_time_for_a_header() {
    let (b1, gateway) = gateway("headerTimeout: 1s");
    let mut slow = gateway.connect();
    let start = Instant::now();
    slow.write(b"GET / HTTP/1.1\r\nX-Slow: ").unwrap();
    let cut_off = within(Duration::from_secs(10), || {
        gateway.client().get("/");
        // Fails only after the peer has closed.
        slow.write(b"a").is_err().then(|| start.elapsed())
    });
    let time = cut_off.expect("cut off while bytes still came");
    assert_about(time, Duration::from_secs(1));
    assert!(b1.requests() > 0);
}

#[test]
fn a_connection_that_never_asks_is_closed_after_the_header_time() {
    let (_b1, gateway) = gateway("headerTimeout: 1s, idleTimeout: 60s");
    let mut wire = gateway.connect();
    let start = Instant::now();
    assert_eq!(wire.rest().unwrap(), b"", "closed without a word");
    assert_about(start.elapsed(), Duration::from_secs(1));
}

#[test]
fn the_time_for_a_header_runs_anew_for_each_request_of_a_connection() {
    let (b1, gateway) = gateway("headerTimeout: 1s");
    let mut client = gateway.client();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(client.get("/sleep/300").backend(), "b1");
    }
    let mut wire = gateway.connect();
    wire.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").backend(), "b1");
    let start = Instant::now();
    wire.write(b"GET / HTTP/1.1\r\n").unwrap();
    let answer = wire.answer().unwrap().expect("an answer");
    assert_own(&answer, 408, "header-timeout");
    assert_about(start.elapsed(), Duration::from_secs(1));
    assert!(b1.requests() > 1);
}

#[test]
fn a_kept_connection_is_closed_after_the_idle_time() {
    let (_b1, gateway) = gateway("idleTimeout: 1s");
    let mut wire = gateway.connect();
    wire.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").backend(), "b1");
    let start = Instant::now();
    assert_eq!(wire.rest().unwrap(), b"", "closed without a word");
    assert_about(start.elapsed(), Duration::from_secs(1));
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let (_b1, gateway) = gateway("bodyTimeout: 1s");
    let mut wire = gateway.connect();
    let start = Instant::now();
    wire.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly this").unwrap();
    let answer = wire.answer().unwrap().expect("an answer");
    assert_own(&answer, 408, "body-timeout");
    assert_about(start.elapsed(), Duration::from_secs(1));
}

#[test]
fn the_word_upgrade_does_not_buy_a_body_more_time() {
    let (b1, gateway) = gateway("bodyTimeout: 1s");
    let mut wire = gateway.connect();
    let start = Instant::now();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n";
    wire.write(format!("{head}Content-Length: 100\r\n\r\nonly this").as_bytes()).unwrap();
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| wire.answer());
        within(Duration::from_secs(10), || answer.is_finished().then_some(()));
        // Ends the wait of a gateway that has no limit here.
        b1.stop();
        answer.join().unwrap()
    });
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_own(&answer.unwrap().expect("an answer"), 408, "body-timeout");
}

#[test]
fn a_slow_body_that_keeps_coming_is_taken_whole() {
    let (_b1, gateway) = gateway("bodyTimeout: 1s");
    let mut wire = gateway.connect();
    let start = Instant::now();
    wire.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n").unwrap();
    let mut sent = 0;
    let all = within(Duration::from_secs(20), || {
        // One byte each 100 ms, twice the timeout in all.
        if start.elapsed() >= Duration::from_millis(100) * sent {
            wire.write(b"x").unwrap();
            sent += 1;
        }
        (sent == 20).then_some(())
    });
    assert!(all.is_some());
    let answer = wire.answer().unwrap().expect("an answer");
    assert_eq!(answer.seen()["body_length"], 20);
}
