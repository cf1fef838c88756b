//! The report in reading order for a terminal; what does not change is left out.

use super::report::{Fate, Plan, RuleChange, ServiceChange, Share};
use std::fmt::{self, Display, Formatter};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing changes for clients");
        }
        for change in &self.changes {
            writeln!(f, "~ {change}")?;
        }
        for service in self.services.iter().filter(|service| !service.is_empty()) {
            write!(f, "{service}")?;
        }
        for rule in self.rules.iter().filter(|rule| !rule.is_empty()) {
            write!(f, "{rule}")?;
        }
        let Some(total) = self.total else { return Ok(()) };
        writeln!(f, "\nin all, {total}; clients with a key that holds stay where they are")
    }
}

impl Display for ServiceChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} service {}", sign(self.fate), self.service)?;
        for id in &self.added {
            writeln!(f, "    + {id}")?;
        }
        for id in &self.removed {
            writeln!(f, "    - {id}: bindings to it become missing")?;
        }
        for change in &self.changes {
            writeln!(f, "    ~ {change}")?;
        }
        self.moved.iter().try_for_each(|share| writeln!(f, "    {share}"))
    }
}

impl Display for RuleChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rule {}", sign(self.fate), self.rule)?;
        for change in &self.changes {
            writeln!(f, "    {change}")?;
        }
        self.moved.iter().try_for_each(|share| writeln!(f, "    by its own hash, {share}"))?;
        for id in &self.closed {
            writeln!(f, "    key id {id}: what it sealed no longer opens")?;
        }
        Ok(())
    }
}

impl Display for Share {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { moved, of } = *self;
        let percent = f64::from(moved) * 100.0 / f64::from(of.max(1));
        write!(f, "{moved} of {of} sample clients without a key move ({percent:.1} %)")
    }
}

fn sign(fate: Fate) -> char {
    match fate {
        Fate::Added => '+',
        Fate::Removed => '-',
        Fate::Stays => '~',
    }
}
