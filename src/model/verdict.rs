//! The two letters that every access log line and the metrics carry: what the request brought and
//! what the response did.

/// What became of the affinity key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Brought {
    /// No key came, or the rule has no affinity.
    Nothing,
    /// A key opened and its backend serves.
    Valid,
    /// A key came that cannot be read.
    Unreadable,
    /// The bound backend is known but cannot serve.
    Down,
    /// The bound backend is no longer part of the service.
    Gone,
    /// The client was silent for longer than the idle time.
    Idle,
    /// The binding is older than the absolute time.
    Old,
    /// The bound backend drains and the policy moves its clients.
    Draining,
    /// The bound backend was restarted since.
    Incarnation,
    /// The bound backend has all the requests that it may have.
    Full,
}

/// What the response did to the client's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Did {
    /// Nothing.
    Nothing,
    /// Bound the client to the backend that answered.
    Bound,
    /// Wrote the same binding anew.
    Refreshed,
    /// Took the key back, since the policy refuses those who hold it.
    Cleared,
}

/// Both letters of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the request brought.
    pub brought: Brought,
    /// What the response did.
    pub did: Did,
}

impl Brought {
    /// Every value, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Nothing,
        Self::Valid,
        Self::Unreadable,
        Self::Down,
        Self::Gone,
        Self::Idle,
        Self::Old,
        Self::Draining,
        Self::Incarnation,
        Self::Full,
    ];

    /// The letter in the log.
    pub fn letter(self) -> char {
        match self {
            Self::Nothing => 'N',
            Self::Valid => 'V',
            Self::Unreadable => 'I',
            Self::Down => 'D',
            Self::Gone => 'G',
            Self::Idle => 'E',
            Self::Old => 'O',
            Self::Draining => 'R',
            Self::Incarnation => 'W',
            Self::Full => 'F',
        }
    }
}

impl Did {
    /// Every value, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Bound, Self::Refreshed, Self::Cleared];

    /// The letter in the log.
    pub fn letter(self) -> char {
        match self {
            Self::Nothing => 'N',
            Self::Bound => 'I',
            Self::Refreshed => 'U',
            Self::Cleared => 'D',
        }
    }
}

impl Verdict {
    /// Both letters, as in `VN`.
    pub fn letters(self) -> [char; 2] {
        [self.brought.letter(), self.did.letter()]
    }
}
