//! Where something stands in the files of the operator. Every value carries its [`Origin`] on, so
//! that a fault found long after reading can still name file, line and column.

use super::fault::Fault;
use super::locate::locate;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// One configuration file.
pub struct Source {
    /// As faults show it: the path the way the user gave it.
    pub name: String,
    /// The whole file.
    pub text: String,
}

impl Source {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => Err(Fault::of_file(name, format!("cannot be read: {error}"))),
        }
    }
}

impl fmt::Debug for Source {
    /// The name only: the text holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?})", self.name)
    }
}

/// One step from a node of the tree to a node inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Item(usize),
}

/// What of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// `key` of `key: value`
    Key,
    /// `value` of `key: value`
    Value,
}

/// The steps from the root, linked upwards: children share their parents' part.
#[derive(Debug)]
struct Trail {
    up: Option<Arc<Trail>>,
    step: Step,
}

/// A place in a file. Line and column are searched only when a fault needs them.
#[derive(Clone)]
pub struct Origin {
    source: Arc<Source>,
    trail: Option<Arc<Trail>>,
    point: Point,
}

impl Origin {
    /// The whole of a file.
    pub(super) fn root(source: Arc<Source>) -> Self {
        Self { source, trail: None, point: Point::Value }
    }

    /// A value inside this one.
    pub(super) fn child(&self, step: Step) -> Self {
        let trail = Some(Arc::new(Trail { up: self.trail.clone(), step }));
        Self { source: Arc::clone(&self.source), trail, point: Point::Value }
    }

    /// The key of this value instead of the value itself.
    pub(super) fn key(&self) -> Self {
        Self { point: Point::Key, ..self.clone() }
    }

    /// How far below the root.
    pub(super) fn depth(&self) -> usize {
        self.steps().len()
    }

    /// A fault at this place. `problem` says what is wrong, `cure` what to write instead (may be
    /// empty). Parses the file once more to find line and column.
    pub fn fault(&self, problem: impl Into<String>, cure: impl Into<String>) -> Fault {
        let (file, place) = (self.source.name.clone(), Some(self.line_and_column()));
        let path = self.path();
        Fault { file, place, path, problem: problem.into(), cure: cure.into() }
    }

    /// `gateway.services.chat.backends[0]`
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Item(index) => path.extend(["[", &index.to_string(), "]"]),
            }
        }
        path
    }

    fn line_and_column(&self) -> (usize, usize) {
        locate(&self.source.text, &self.steps(), self.point)
    }

    fn steps(&self) -> Vec<&Step> {
        let trail = std::iter::successors(self.trail.as_deref(), |trail| trail.up.as_deref());
        let mut steps: Vec<_> = trail.map(|trail| &trail.step).collect();
        steps.reverse();
        steps
    }
}

impl fmt::Display for Origin {
    /// `conf/a.yaml:12:7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl fmt::Debug for Origin {
    /// Without line and column, which cost a parse.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({:?})", self.source.name, self.path(), self.point)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// What was read.
    pub value: T,
    /// Where.
    pub at: Origin,
}
