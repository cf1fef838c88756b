//! What `/metrics` said at one moment.

/// The samples of one answer.
pub(crate) struct Scrape {
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    /// Reads Prometheus' text format.
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(sample).collect() }
    }

    /// The sum of the samples of that name that have at least these labels; `None` when there is
    /// no such sample.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(n, v)| sample.labels.iter().any(|(a, b)| a == n && b == v))
        };
        let mut found = self.samples.iter().filter(fits).peekable();
        found.peek()?;
        Some(found.map(|sample| sample.value).sum())
    }

    /// The names of the labels of a metric, of its first sample.
    pub(crate) fn labels(&self, name: &str) -> Option<Vec<&str>> {
        let sample = self.samples.iter().find(|sample| sample.name == name)?;
        Some(sample.labels.iter().map(|(label, _)| label.as_str()).collect())
    }
}

fn sample(line: &str) -> Sample {
    let (key, value) = line.rsplit_once(' ').expect("a value after a space");
    let (name, labels) = key.split_once('{').unwrap_or((key, ""));
    let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
    let pair = |label: &str| {
        let (name, value) = label.split_once("=\"").expect("a label with a value");
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    };
    let value = value.parse().expect("a number");
    Sample { name: name.to_owned(), labels: labels.map(pair).collect(), value }
}
