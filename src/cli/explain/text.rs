//! The answer in reading order for a terminal.

use super::report::{Matched, Moment, Opened, Outcome, Report, Row, Source, WhatIf, Yield};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let asked = &self.request;
        writeln!(f, "{} http://{}{} from {}", asked.method, asked.host, asked.path, asked.client)?;
        if let Some(Matched { rule, service, policy, .. }) = &self.rule {
            writeln!(f, "rule {rule} wins and leads to service {service} ({policy})")?;
        }
        if !self.sources.is_empty() {
            writeln!(f, "\nWhere a key may be, in the order tried")?;
        }
        for source in &self.sources {
            write!(f, "{source}")?;
        }
        write!(f, "\n{}", self.outcome)?;
        if !self.backends.is_empty() {
            writeln!(f, "\nBackends")?;
        }
        let wide = self.backends.iter().map(|row| row.id.len()).max().unwrap_or(0);
        let addresses = self.backends.iter().map(|row| row.address.len()).max().unwrap_or(0);
        for row in &self.backends {
            let Row { id, address, weight, duty, serves, .. } = row;
            let bound = if row.bound { "   <- bound here" } else { "" };
            writeln!(
                f,
                "  {id:wide$}  {address:addresses$}  weight {weight:<3}  {duty:11}  serves {serves}{bound}"
            )?;
        }
        if let Some(placing) = &self.placing {
            writeln!(f, "  a client that is not bound goes to {placing}")?;
        }
        if let Some(bound) = self.backends.iter().find(|row| row.bound) {
            writeln!(f, "\nIf {} were", bound.id)?;
        }
        let wide = self.what_if.iter().map(|what_if| what_if.state.len()).max().unwrap_or(0);
        for WhatIf { state, course } in &self.what_if {
            writeln!(f, "  {state:wide$}  the client {course}")?;
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "Note: {note}"))
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let decides = if self.decides { "; this one counts" } else { "" };
        write!(f, "  {}: ", self.place)?;
        match &self.yielded {
            Yield::Nothing => writeln!(f, "nothing"),
            Yield::NotAsked => writeln!(f, "not looked at"),
            Yield::Key(opened) => write!(f, "a key that opens{decides}\n{opened}"),
            Yield::Backend(id) => writeln!(f, "names {id}{decides}"),
            Yield::Nobody => writeln!(f, "names no backend of this service{decides}"),
            Yield::Expired => writeln!(f, "a key that has expired{decides}"),
            Yield::ClientName => writeln!(f, "the client's own name for its session{decides}"),
            Yield::Unreadable(why) => writeln!(f, "does not open: {why}"),
            Yield::NotHere => writeln!(
                f,
                "cannot be opened here: no `keys` are configured, and the secret that a gateway \
                 generates is not in the files"
            ),
        }
    }
}

impl Display for Opened {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let or = |text: &str, absent: &str| {
            if text.is_empty() { absent.into() } else { text.to_owned() }
        };
        writeln!(f, "      backend      {}", self.backend)?;
        writeln!(f, "      issued       {}", self.issued)?;
        writeln!(f, "      last seen    {}", self.last_seen)?;
        let (key, period) = (self.key_id >> 4, self.key_id & 15);
        writeln!(f, "      key id       {} (key {key} of `keys`, period {period})", self.key_id)?;
        writeln!(f, "      incarnation  {}", or(&self.incarnation, "not known"))?;
        writeln!(f, "      version      {}", or(&self.version, "not known"))?;
        writeln!(f, "      home         {}", or(&self.home, "there"))
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let age = humantime::format_duration(Duration::from_secs(self.age_seconds.into()));
        write!(f, "{} ({age} ago)", self.at)
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cause = self.cause.map(|cause| format!(" (cause: {cause})")).unwrap_or_default();
        writeln!(f, "Meaning  {}{cause}", self.meaning)?;
        writeln!(f, "Course   the request {}", self.course)?;
        self.stamp.iter().try_for_each(|stamp| writeln!(f, "Answer   {stamp}"))
    }
}
