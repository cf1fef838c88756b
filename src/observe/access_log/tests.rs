use super::*;
use crate::model::{Brought, Did, Verdict};

fn line() -> AccessLine<'static> {
    AccessLine {
        time: Duration::from_millis(1_800_000_000_123),
        client: [127, 0, 0, 1].into(),
        method: "GET",
        host: "example.com",
        path: "/cart/1",
        status: 200,
        bytes: 12,
        duration: Duration::from_micros(1204),
        rule: "cart",
        service: "carts",
        backend: "b1",
        version: "",
        verdict: Verdict { brought: Brought::Valid, did: Did::Nothing },
        retries: 0,
        request_id: "abc",
        reason: "",
    }
}

#[test]
fn a_text_line_reads_from_left_to_right() {
    insta::assert_snapshot!(
        line().render(Format::Text),
        @"2027-01-15T08:00:00.123Z 127.0.0.1 GET example.com/cart/1 200 12 1.204ms rule=cart service=carts backend=b1 affinity=VN retries=0 id=abc"
    );
}

#[test]
fn a_json_line_is_one_object() {
    insta::assert_snapshot!(
        line().render(Format::Json),
        @r#"{"time":"2027-01-15T08:00:00.123Z","client":"127.0.0.1","method":"GET","host":"example.com","path":"/cart/1","status":200,"bytes":12,"duration_ms":1.204,"rule":"cart","service":"carts","backend":"b1","affinity":"VN","retries":0,"request_id":"abc"}"#
    );
}

#[test]
fn what_a_client_chose_cannot_forge_a_line() {
    let forged = AccessLine { path: "/a b\n2027 forged\u{e9}", method: "", ..line() };
    let text = forged.render(Format::Text);
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.contains(r"127.0.0.1 - example.com/a\x20b\x0a2027\x20forged\xc3\xa9 200"),
        "{text}"
    );
}

#[test]
fn a_long_path_is_cut_so_that_the_queue_is_bounded() {
    let path = "/\u{e9}".repeat(30_000);
    let long = AccessLine { path: &path, ..line() };
    assert!(long.render(Format::Text).len() < 5000);
    assert!(long.render(Format::Json).len() < 5000);
}

#[test]
fn lines_reach_a_file_and_a_moved_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let dropped = IntCounter::new("dropped", "help").unwrap();
    let log = AccessLog::start(&Output::File(path.clone()), Format::Text, dropped).unwrap();
    log.write(&line());
    log.flush(Duration::from_secs(5));
    std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    log.reopen();
    log.write(&line());
    log.write(&line());
    log.flush(Duration::from_secs(5));
    let lines =
        |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap().lines().count();
    assert_eq!((lines("access.log.1"), lines("access.log")), (1, 2));
}

#[test]
fn a_queue_without_room_drops_and_counts() {
    let (queue, _never_read) = sync_channel(1);
    let dropped = IntCounter::new("dropped", "help").unwrap();
    let log = AccessLog { queue: Some(queue), format: Format::Text, dropped: dropped.clone() };
    (0..3).for_each(|_| log.write(&line()));
    assert_eq!(dropped.get(), 2);
}
