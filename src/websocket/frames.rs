//! Where frames begin and end (RFC 6455 §5.2), for whoever wants to put one of its own between them.
//! Apart from the relay, as it is pure: bytes in, a place out.

use bytes::Bytes;

/// Why the gateway itself ends a WebSocket (RFC 6455 §7.4.1, and IANA's list for 1012).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// Nobody has said anything for too long.
    Idle,
    /// The backend is gone without a word. 1014 (bad gateway) would say it better, but many clients
    /// take it for a breach of the protocol.
    BackendLost,
    /// The gateway ends; another one takes the client.
    Restart,
}

impl CloseCode {
    /// The number, and a word for whoever debugs it.
    pub const fn says(self) -> (u16, &'static str) {
        match self {
            Self::Idle => (1001, "idle"),
            Self::BackendLost => (1011, "backend lost"),
            Self::Restart => (1012, "gateway restarts"),
        }
    }
}

/// A close frame. What goes to a backend comes from a client, so it is masked; `mask` is random then.
pub fn close_frame(code: CloseCode, mask: Option<[u8; 4]>) -> Bytes {
    let (number, word) = code.says();
    let payload: Vec<u8> = [&number.to_be_bytes()[..], word.as_bytes()].concat();
    // a word is shorter than the 123 bytes that there are
    let length = u8::try_from(payload.len()).unwrap_or(125);
    let mut frame = vec![0x88];
    match mask {
        None => {
            frame.push(length);
            frame.extend(payload);
        }
        Some(mask) => {
            frame.push(0x80 | length);
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
    frame.into()
}

/// The frames of one direction, as far as they have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    state: State,
    /// Whether the frame under way is a close frame.
    closes: bool,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of a header have passed.
    Head { have: u8, extended: u8, masked: bool, length: u64 },
    /// So many bytes of a payload are to come.
    Payload(u64),
    /// These are no frames.
    Lost,
}

impl Default for State {
    fn default() -> Self {
        Self::Head { have: 0, extended: 0, masked: false, length: 0 }
    }
}

impl Frames {
    /// Whether the next byte is the first one of a frame.
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, State::Head { have: 0, .. })
    }

    /// Whether a close frame has passed as a whole, after which nothing may follow.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Follows all of `bytes`.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.step(bytes);
            bytes = bytes.get(passed..).unwrap_or_default();
        }
    }

    /// Follows `bytes` to the end of the frame under way, or as far as they go; tells how many
    /// bytes that were.
    pub fn step(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        for byte in bytes {
            match &mut self.state {
                State::Lost => return bytes.len(),
                State::Payload(left) => {
                    let rest = bytes.len() - passed;
                    let part = usize::try_from(*left).unwrap_or(usize::MAX).min(rest);
                    *left -= part as u64;
                    if *left == 0 {
                        self.end();
                    }
                    return passed + part;
                }
                State::Head { .. } => {
                    passed += 1;
                    if self.head(*byte) {
                        return passed;
                    }
                }
            }
        }
        passed
    }

    /// Takes a byte of a header; tells whether the frame ends with it.
    fn head(&mut self, byte: u8) -> bool {
        let State::Head { have, extended, masked, length } = &mut self.state else { return false };
        match *have {
            0 => self.closes = byte & 0x0f == 0x8,
            1 => {
                *masked = byte & 0x80 != 0;
                match byte & 0x7f {
                    126 => *extended = 2,
                    127 => *extended = 8,
                    short => *length = u64::from(short),
                }
            }
            nth if nth < 2 + *extended => *length = (*length << 8) | u64::from(byte),
            _ => {}
        }
        *have += 1;
        if *have < 2 + *extended + if *masked { 4 } else { 0 } {
            return false;
        }
        match *length {
            0 => {
                self.end();
                true
            }
            // the first bit of a length must be 0
            length if length >> 63 == 1 => {
                self.state = State::Lost;
                false
            }
            length => {
                self.state = State::Payload(length);
                false
            }
        }
    }

    fn end(&mut self) {
        self.closed |= self.closes;
        self.state = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..=125 => frame.push(bit | u8::try_from(length).unwrap()),
            126..=0xffff => {
                frame.push(bit | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(bit | 0x7f);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    proptest! {
        #[test]
        fn a_boundary_is_where_a_frame_ends_however_the_bytes_are_cut(
            frames in prop::collection::vec((0_u8..8, any::<bool>(), prop_oneof![0_usize..300, Just(65_536), Just(70_000)]), 1..6),
            piece in 1_usize..5_000,
        ) {
            let written: Vec<Vec<u8>> = frames.iter().map(|(o, m, l)| frame(*o, *m, *l)).collect();
            let mut ends: Vec<usize> = Vec::new();
            for frame in &written {
                ends.push(ends.last().unwrap_or(&0) + frame.len());
            }
            let all = written.concat();
            let (mut at, mut found, mut follower) = (0, Vec::new(), Frames::default());
            for mut part in all.chunks(piece) {
                while !part.is_empty() {
                    let passed = follower.step(part);
                    prop_assert!(passed > 0);
                    at += passed;
                    part = &part[passed..];
                    if follower.at_boundary() {
                        found.push(at);
                    }
                }
            }
            prop_assert_eq!(found, ends);
            prop_assert!(!follower.closed());
        }

        #[test]
        fn any_bytes_are_followed_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            Frames::default().pass(&bytes);
        }
    }

    #[test]
    fn our_close_frames_are_frames_and_close() {
        for code in [CloseCode::Idle, CloseCode::BackendLost, CloseCode::Restart] {
            for mask in [None, Some([7, 8, 9, 10])] {
                let bytes = close_frame(code, mask);
                let mut frames = Frames::default();
                assert_eq!(frames.step(&bytes), bytes.len());
                assert!(frames.at_boundary() && frames.closed(), "{code:?}");
            }
        }
        let frame = close_frame(CloseCode::Restart, None);
        assert_eq!(frame[2..4], 1012_u16.to_be_bytes());
    }

    #[test]
    fn a_close_frame_counts_when_all_of_it_has_passed() {
        let mut frames = Frames::default();
        frames.pass(&[0x88, 0x02, 0x03]);
        assert!(!frames.closed() && !frames.at_boundary());
        frames.pass(&[0xe8]);
        assert!(frames.closed() && frames.at_boundary());
    }

    #[test]
    fn bytes_that_are_no_frames_have_no_boundary() {
        let mut frames = Frames::default();
        frames.pass(&[0x82, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(!frames.at_boundary());
        frames.pass(&[0x88, 0x00]);
        assert!(!frames.at_boundary() && !frames.closed());
    }
}
