//! The answer in reading order for a terminal.

use super::placing::percent;
use super::report::{
    HomeTold, Limits, Matched, Moment, Opened, Outcome, Report, Row, Source, Versions, WhatIf,
    Yield,
};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let asked = &self.request;
        writeln!(f, "{} http://{}{} from {}", asked.method, asked.host, asked.path, asked.client)?;
        if let Some(Matched { rule, service, policy, by_name, websocket, .. }) = &self.rule {
            let leads = if *by_name { "the request names" } else { "leads to" };
            writeln!(f, "rule {rule} wins and {leads} service {service} ({policy})")?;
            if *websocket {
                writeln!(f, "a WebSocket handshake: `websocket` says how it is bound")?;
            }
        }
        if !self.sources.is_empty() {
            writeln!(f, "\nWhere a key may be, in the order tried")?;
        }
        for source in &self.sources {
            write!(f, "{source}")?;
        }
        write!(f, "\n{}", self.outcome)?;
        self.backends(f)?;
        if let Some(bound) = self.backends.iter().find(|row| row.bound) {
            writeln!(f, "\nIf {} were", bound.id)?;
        }
        let wide = self.what_if.iter().map(|what_if| what_if.state.len()).max().unwrap_or(0);
        for WhatIf { state, policies, outcome } in &self.what_if {
            write!(f, "  {state:wide$}  {}", outcome.course)?;
            let why =
                if policies.is_empty() { outcome.meaning.clone() } else { policies.join(", ") };
            writeln!(f, "  [{why}]")?;
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "Note: {note}"))
    }
}

impl Report {
    fn backends(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.backends.is_empty() {
            return Ok(());
        }
        let clients = "new clients  bound clients";
        let wide = |of: fn(&Row) -> usize| self.backends.iter().map(of).max().unwrap_or(0);
        let ids = wide(|row| row.id.len());
        let addresses = wide(|row| row.address.len());
        let versions = wide(|row| row.version.len());
        let before = ids + addresses + if versions > 0 { versions + 2 } else { 0 };
        writeln!(
            f,
            "\nBackends{:before$}  weight  state        {clients}",
            "",
            before = before - 4
        )?;
        for row in &self.backends {
            write!(f, "  {:ids$}  {:addresses$}  ", row.id, row.address)?;
            if versions > 0 {
                write!(f, "{:versions$}  ", row.version)?;
            }
            let new = match row.chance {
                Some(chance) => percent(chance),
                None if row.by_hash => "by hash".into(),
                None => "no".into(),
            };
            let bound = if row.bound { "   <- bound here" } else { "" };
            let Row { weight, state, bound_clients, .. } = row;
            writeln!(f, "{weight:<6}  {state:11}  {new:11}  {bound_clients}{bound}")?;
        }
        if let Some(Versions { allowed, by }) = &self.versions {
            let all = allowed.iter().map(|v| format!("{} ({})", v.version, percent(v.chance)));
            writeln!(f, "  version {}: {by}", all.collect::<Vec<_>>().join(", "))?;
        }
        if let Some(limits) = &self.limits {
            writeln!(f, "  {limits}")?;
        }
        let Some(placing) = &self.placing else {
            return writeln!(f, "  a client that is not bound goes nowhere");
        };
        writeln!(f, "  a client that is not bound goes to {placing}")
    }
}

impl Display for Limits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut told = Vec::new();
        if let Some(most) = self.requests_per_backend {
            let many = self.waiting.map_or("any number".into(), |most| most.to_string());
            told.push(format!(
                "a backend has at most {most} requests at once; {many} wait for up to {}",
                humantime::format_duration(Duration::from_millis(self.queue_timeout_ms))
            ));
        }
        if let Some(factor) = self.load_factor {
            told.push(format!(
                "new clients pass over one with {factor} times its share (loadFactor)"
            ));
        }
        write!(f, "{}", told.join("; "))
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
            Yield::NoKey => writeln!(f, "a value of the application's, without a key"),
            Yield::OnlyRunning => writeln!(
                f,
                "a session of the application's; only a running gateway knows whether it has learnt it"
            ),
            Yield::NotLearnt => writeln!(
                f,
                "a session of the application's that this gateway has not learnt, or knows no more"
            ),
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
        match &self.home {
            None => writeln!(f, "      home         there"),
            Some(home) if home.incarnation.is_empty() => {
                writeln!(f, "      home         {}", home.backend)
            }
            Some(HomeTold { backend, incarnation }) => {
                writeln!(f, "      home         {backend}, incarnation {incarnation}")
            }
        }
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
