//! What is wrong with the files: every fault at once, each with its place and its cure.

use super::place::Origin;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

/// One fault. Shown as `file:line:column: path: problem; cure`. The order of the fields is the
/// order in which faults are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub(super) file: String,
    /// Line and column; `None` when the file as a whole is meant.
    pub(super) place: Option<(usize, usize)>,
    /// Path of keys; empty at the root.
    pub(super) path: String,
    pub(super) problem: String,
    /// May be empty.
    pub(super) cure: String,
}

impl Fault {
    /// A fault of a file that could not even be read.
    pub(super) fn of_file(file: String, problem: String) -> Self {
        Self { file, place: None, path: String::new(), problem, cure: String::new() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.cure.is_empty() {
            write!(f, "; {}", self.cure)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// All faults of a configuration, at least one, sorted by file and place. Shown one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// How many.
    #[allow(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order of the files.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl From<Vec<Fault>> for Faults {
    fn from(mut faults: Vec<Fault>) -> Self {
        faults.sort();
        // what many rules inherit is looked at for each of them
        faults.dedup();
        Self(faults)
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Why a value was not taken; where is known to the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) problem: String,
    pub(super) cure: String,
}

impl Refused {
    pub(super) fn new(problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { problem: problem.into(), cure: cure.into() }
    }
}

/// Collects while reading goes on. The same fault at the same place counts once, since a section
/// that several rules inherit is read several times; places are searched only at the end.
#[derive(Default)]
pub(super) struct Reports(RefCell<BTreeMap<String, (Origin, Refused)>>);

impl Reports {
    pub(super) fn add(&self, at: &Origin, refused: Refused) {
        let key = format!("{at:?} {refused:?}");
        self.0.borrow_mut().entry(key).or_insert_with(|| (at.clone(), refused));
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        let reports = self.0.into_inner().into_values();
        reports.map(|(at, refused)| at.fault(refused.problem, refused.cure)).collect()
    }
}
