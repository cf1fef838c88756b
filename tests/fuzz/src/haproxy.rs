//! HAProxy's cookie: a server's name alone, with dates behind it, or before the application's value.

use super::tables::of;
use stickfast::affinity::formats::{Dates, Format, MAX_KEY, Reading};

/// In all four forms.
pub fn holds(data: &[u8]) {
    for tables in of(|format| matches!(format, Format::HaProxy { .. })) {
        let Format::HaProxy { prefix, dynamic } = &tables.format else { return };
        let names: [&[u8]; 3] = match dynamic {
            None => [b"b1", b"b2", b"b3"],
            // every digest starts with the empty text; that of one is known
            Some(_) => [b"0850e255b3ddd68b", b"", b""],
        };
        let starts_with = |at: usize| data.starts_with(names[at]);
        let reading = tables.read(data);
        if *prefix {
            let tilde = data.iter().position(|byte| *byte == b'~');
            let known = matches!(reading, Reading::Backend { .. });
            let rest = tilde.filter(|_| known).map_or(data, |at| &data[at + 1..]);
            assert_eq!(tables.three.application(data), Some(rest), "it gets its own, always");
            assert_eq!(reading == Reading::NoKey, tilde.is_none());
            if let Reading::Backend { at, dates, .. } = reading {
                assert!(starts_with(at) && dates == Dates::default());
            }
            continue;
        }
        assert_eq!(tables.three.application(data), None);
        match reading {
            Reading::Backend { at, dates, .. } => {
                assert!(data.len() <= MAX_KEY && starts_with(at));
                let bars = data.split(|byte| *byte == b'|').count() - 1;
                assert!(bars <= 2 && (bars > 0 || dates == Dates::default()), "{dates:?}");
                assert!(bars == 2 || dates.first.is_none());
            }
            Reading::Unknown | Reading::Malformed => {}
            Reading::NoKey | Reading::Expired => panic!("{reading:?}"),
        }
    }
}
