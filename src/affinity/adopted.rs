//! Keys of the load balancer that was replaced: a client that arrives with one stays where it was,
//! and gets a key of ours with the first response.

use super::formats::{Format, Reading, Table, Target};
use super::resolve::Terms;
use crate::model::UnixTime;

/// One foreign cookie that is honoured.
pub struct Adopted {
    /// Its name.
    pub cookie: Box<[u8]>,
    table: Table,
}

impl Adopted {
    /// Honours `cookie`, which was written in `format`, for the backends of one service.
    pub fn new(cookie: &str, format: &Format, targets: &[Target<'_>]) -> Self {
        Self { cookie: cookie.as_bytes().into(), table: Table::new(format, targets) }
    }

    /// The backend that `value` names, by its place among the targets. Where it carries dates, they
    /// are held to `terms`.
    pub fn backend(&self, value: &[u8], terms: Terms, now: UnixTime) -> Option<usize> {
        match self.table.read(value, now) {
            Reading::Backend { at, dates, .. } => {
                let since = |then: Option<UnixTime>| then.map_or(0, |then| now.seconds_since(then));
                let holds = since(dates.last) <= terms.idle && since(dates.first) <= terms.absolute;
                holds.then_some(at)
            }
            Reading::NoKey | Reading::Expired | Reading::Unknown | Reading::Malformed => None,
        }
    }

    /// What of `value` is the application's, and stays in the request.
    pub fn application<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        self.table.application(value)
    }
}
