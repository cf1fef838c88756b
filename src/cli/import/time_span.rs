//! The time spans of .NET, `[days.]hours:minutes[:seconds[.fraction]]`, or a bare number of days.

use std::time::Duration;

/// `None` when it is none, or a negative one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if !text.contains(':') {
        return days(text);
    }
    let (day, clock) = match text.split_once('.') {
        Some((day, clock)) if !day.contains(':') => (days(day)?, clock),
        Some(_) | None => (Duration::ZERO, text),
    };
    let mut parts = clock.split(':');
    let hours = number(parts.next()?, 23)?;
    let minutes = number(parts.next()?, 59)?;
    let (seconds, fraction) = match parts.next() {
        Some(part) => part.split_once('.').unwrap_or((part, "0")),
        None => ("0", "0"),
    };
    let seconds = number(seconds, 59)?;
    let fine = (1..=7).contains(&fraction.len()) && parts.next().is_none();
    let ticks: u32 = format!("{fraction:0<7}").parse().ok().filter(|_| fine)?;
    let clock = Duration::new(hours * 3600 + minutes * 60 + seconds, ticks * 100);
    day.checked_add(clock)
}

fn days(text: &str) -> Option<Duration> {
    number(text, 10_675_199).map(|days| Duration::from_secs(days * 86_400))
}

fn number(text: &str, largest: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= largest)
}

/// As our language writes it; parts of a millisecond are rounded up.
pub(super) fn in_words(span: Duration) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_is_read_as_dotnet_reads_it() {
        let cases = [
            ("00:00:13", "13s"),
            ("01:30", "90m"),
            ("1.00:00:00", "1d"),
            ("7", "7d"),
            ("00:00:01.5", "1500ms"),
            ("00:00:00.0000001", "1ms"),
            ("2.03:04:05", "183845s"),
        ];
        for (text, words) in cases {
            assert_eq!(parse(text).map(in_words).as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_span_is_refused() {
        let odd = ["", "13s", "-00:00:13", "24:00:00", "00:60", "1:2:3:4", "1.", "a.01:00", "+1"];
        for text in odd.into_iter().chain(["00:00:01.", "00:00:01.12345678", "1.5", "00:"]) {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
