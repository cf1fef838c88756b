//! Durations (`300ms`, `30s`, `1h30m`) and sizes (`8KB`, `1MiB`) as operators write them.

use std::time::Duration;

/// Reads a duration. The units are `ms`, `s`, `m`, `h` and `d`; several may follow each other.
///
/// # Errors
/// `None` when the text is not a duration: a bare number (which unit?), an unknown unit, or a
/// number too large.
///
/// ```
/// # use std::time::Duration;
/// # use stickfast::model::units::duration;
/// assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
/// assert_eq!(duration("30"), None);
/// ```
pub fn duration(text: &str) -> Option<Duration> {
    // humantime also takes months, years and spaces, where a typing error (`1M`) turns minutes
    // into months; only the units of the documentation are let through to it.
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (_, tail) = rest.split_at_checked(digits).filter(|_| digits > 0)?;
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        matches!(unit, "ms" | "s" | "m" | "h" | "d").then_some(())?;
        rest = tail;
    }
    humantime::parse_duration(text).ok()
}

/// Reads a size in bytes: a bare number, or one with `B`, `KB` (1,000), `KiB` (1,024), and so on.
///
/// ```
/// # use stickfast::model::units::size;
/// assert_eq!(size("64KB"), Some(64_000));
/// assert_eq!(size("1MiB"), Some(1_048_576));
/// assert_eq!(size("-1"), None);
/// ```
pub fn size(text: &str) -> Option<u64> {
    text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_that_is_documented() {
        assert_eq!(duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(duration("24h"), Some(Duration::from_hours(24)));
        for odd in ["", "30", "ms", "1M", "1 h", "1month", "-1s", "1.5h", "99999999999999999999s"] {
            assert_eq!(duration(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn sizes_tell_kilo_from_kibi() {
        assert_eq!(size("8KB"), Some(8_000));
        assert_eq!(size("8KiB"), Some(8_192));
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("eight"), None);
    }
}
