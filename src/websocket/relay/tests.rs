//! Both sides of a relay, in memory; silence passes in virtual time.

use super::*;
use crate::websocket::frames::Frames;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

const HELLO: [u8; 7] = [0x81, 5, b'h', b'e', b'l', b'l', b'o'];

struct Rig {
    client: DuplexStream,
    backend: DuplexStream,
    relay: JoinHandle<Carried>,
    stop: watch::Sender<bool>,
}

fn rig(idle: Duration) -> Rig {
    rig_with(idle, b"", b"")
}

fn rig_with(idle: Duration, from_client: &'static [u8], from_backend: &'static [u8]) -> Rig {
    let ((client, near), (backend, far)) = (duplex(64), duplex(64));
    let (stop, mut stopped) = watch::channel(false);
    let now = || tokio::time::Instant::now().into_std();
    let terms = Terms { idle, mask: [1, 2, 3, 4], now };
    let relay = tokio::spawn(async move {
        let client = Side { stream: near, early: Bytes::from_static(from_client) };
        let backend = Side { stream: far, early: Bytes::from_static(from_backend) };
        let stop = async move {
            if stopped.wait_for(|stopped| *stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        relay(client, backend, terms, stop).await
    });
    Rig { client, backend, relay, stop }
}

const LONG: Duration = Duration::from_hours(1);

async fn read(from: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    from.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// All that comes, and the code of the close frame at its end.
async fn rest(from: &mut DuplexStream) -> (Vec<u8>, Option<u16>) {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await.unwrap();
    let mut frames = Frames::default();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        start = at;
        at += frames.step(&bytes[at..]);
        while !frames.at_boundary() && at < bytes.len() {
            at += frames.step(&bytes[at..]);
        }
    }
    let code = frames.closed().then(|| {
        let masked = bytes[start + 1] & 0x80 != 0;
        let payload = &bytes[start + if masked { 6 } else { 2 }..];
        let mask = if masked { [1, 2] } else { [0, 0] };
        u16::from_be_bytes([payload[0] ^ mask[0], payload[1] ^ mask[1]])
    });
    bytes.truncate(if code.is_some() { start } else { bytes.len() });
    (bytes, code)
}

#[tokio::test]
async fn bytes_pass_as_they_are_and_those_that_came_early_come_first() {
    let mut rig = rig_with(LONG, b"\x81\x01a", b"\x81\x01b");
    rig.client.write_all(&HELLO).await.unwrap();
    assert_eq!(read(&mut rig.backend, 10).await, [&b"\x81\x01a"[..], &HELLO].concat());
    assert_eq!(read(&mut rig.client, 3).await, b"\x81\x01b");
    drop(rig.client);
    assert_eq!(rest(&mut rig.backend).await, (vec![], None));
    drop(rig.backend);
    let carried = rig.relay.await.unwrap();
    assert_eq!(carried, Carried { to_client: 3, to_backend: 10, end: End::ClientGone });
}

#[tokio::test]
async fn one_who_does_not_read_does_not_keep_it_from_speaking() {
    let mut rig = rig(LONG);
    let many = HELLO.repeat(4000);
    let written = many.clone();
    let (mut from_backend, mut to_client) = split(rig.backend);
    let flood = tokio::spawn(async move { to_client.write_all(&written).await });
    // the client writes more than all buffers hold, and has read nothing yet
    let (mut from_gateway, mut to_gateway) = split(&mut rig.client);
    let (sent, mut got) = (many.clone(), vec![0; many.len()]);
    let (wrote, read) =
        tokio::join!(to_gateway.write_all(&sent), from_backend.read_exact(&mut got));
    wrote.unwrap();
    read.unwrap();
    assert_eq!(got, many);
    from_gateway.read_exact(&mut got).await.unwrap();
    assert_eq!(got, many);
    flood.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_close_handshake_ends_it() {
    let mut rig = rig(LONG);
    rig.client.write_all(b"\x88\x80abcd").await.unwrap();
    assert_eq!(read(&mut rig.backend, 6).await, b"\x88\x80abcd");
    rig.backend.write_all(b"\x81\x01x\x88\x02\x03\xe8").await.unwrap();
    assert_eq!(rest(&mut rig.client).await, (b"\x81\x01x".to_vec(), Some(1000)));
    assert_eq!(rig.relay.await.unwrap().end, End::Closed);
}

#[tokio::test]
async fn a_client_learns_that_its_backend_is_gone_but_not_in_the_middle_of_a_frame() {
    for (last, code) in [(&HELLO[..], Some(1011)), (&HELLO[..4], None)] {
        let mut rig = rig(LONG);
        rig.backend.write_all(last).await.unwrap();
        drop(rig.backend);
        assert_eq!(rest(&mut rig.client).await, (last.to_vec(), code));
        drop(rig.client);
        assert_eq!(rig.relay.await.unwrap().end, End::BackendGone);
    }
}

#[tokio::test]
async fn when_told_to_end_both_get_a_close_frame_between_two_of_theirs() {
    let mut rig = rig(LONG);
    let (start, end) = HELLO.split_at(4);
    rig.backend.write_all(start).await.unwrap();
    assert_eq!(read(&mut rig.client, 4).await, start);
    rig.stop.send_replace(true);
    // at a boundary: at once
    let mut close = read(&mut rig.backend, 2).await;
    assert_eq!(close, [0x88, 0x80 | 0x12]);
    close.extend(read(&mut rig.backend, 22).await);
    assert_eq!([close[6] ^ 1, close[7] ^ 2], 1012_u16.to_be_bytes());
    // in a frame: when it is over, and what follows goes nowhere
    rig.backend.write_all(end).await.unwrap();
    rig.backend.write_all(&HELLO).await.unwrap();
    rig.backend.write_all(b"\x88\x00").await.unwrap();
    assert_eq!(read(&mut rig.client, 3).await, end);
    let mut close = read(&mut rig.client, 4).await;
    assert_eq!(close, [0x88, 18, 0x03, 0xf4]);
    close.clear();
    rig.client.write_all(b"\x88\x80abcd").await.unwrap();
    assert_eq!(rig.relay.await.unwrap().end, End::Stopped);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_and_a_word_of_either_side_is_no_silence() {
    let mut rig = rig(Duration::from_millis(300));
    for _ in 0..4 {
        // twice this is within the limit, eight times is not
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.client.write_all(b"\x89\x80abcd").await.unwrap();
        assert_eq!(read(&mut rig.backend, 6).await.len(), 6);
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.backend.write_all(b"\x8a\x00").await.unwrap();
        assert_eq!(read(&mut rig.client, 2).await.len(), 2);
    }
    assert_eq!(read(&mut rig.client, 4).await, [0x88, 6, 0x03, 0xe9]);
    drop((rig.client, rig.backend));
    assert_eq!(rig.relay.await.unwrap().end, End::Idle);
}

#[tokio::test]
async fn after_one_side_has_left_the_other_says_its_last_word() {
    let mut rig = rig(LONG);
    rig.client.write_all(&HELLO).await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(rest(&mut rig.backend).await.0, HELLO);
    rig.backend.write_all(&HELLO).await.unwrap();
    assert_eq!(read(&mut rig.client, 7).await, HELLO);
    drop(rig.backend);
    assert_eq!(rig.relay.await.unwrap().end, End::ClientGone);
}
