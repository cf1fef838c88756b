//! When a certificate is due, and how long to wait after a failure. Facts in, values out.

use crate::config::Acme;
use crate::tls::Leaf;
use std::time::Duration;

/// The first pause after a failure. Authorities allow some five failures of a name within an hour;
/// with [`FACTOR`] that is what there are.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const FACTOR: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_hours(6);

/// Why a certificate is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none, or none that can be read.
    Missing,
    /// It lacks a name.
    Names,
    /// It ends soon, or has ended.
    Age,
}

impl Why {
    /// In the words of the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "there is none yet",
            Self::Names => "a name was added",
            Self::Age => "it ends soon",
        }
    }
}

/// Whether a certificate is to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now(Why),
    /// Not for so long.
    In(Duration),
}

/// Whether `acme` needs another certificate than `leaf` at `now` (seconds since 1970). `share`, from 0
/// to 1, spreads gateways that were started together over a tenth of the time that is left.
pub fn due(acme: &Acme, leaf: Option<&Leaf>, now: i64, share: f64) -> Due {
    let Some(leaf) = leaf else { return Due::Now(Why::Missing) };
    let has = |name: &str| leaf.names.iter().any(|own| own == name);
    if !acme.names().into_iter().all(has) {
        return Due::Now(Why::Names);
    }
    let life = u64::try_from(leaf.until.saturating_sub(leaf.from)).unwrap_or_default();
    let asked = acme.renew_before.map_or(life / 3, |before| before.as_secs());
    // an operator thinks of longer lives than some authorities give: never in the first third
    let before = Duration::from_secs(asked.min(life / 3 * 2));
    let before = before + before.mul_f64(share.clamp(0.0, 1.0) / 10.0);
    let left = u64::try_from(leaf.until.saturating_sub(now)).unwrap_or_default();
    match Duration::from_secs(left).saturating_sub(before) {
        Duration::ZERO => Due::Now(Why::Age),
        more => Due::In(more),
    }
}

/// How long to wait after so many failures in a row. `share`, from 0 to 1, adds up to a quarter
/// of it.
pub fn pause(failures: u32, share: f64) -> Duration {
    let times = FACTOR.saturating_pow(failures.saturating_sub(1));
    let pause = FIRST_PAUSE.saturating_mul(times).min(LONGEST_PAUSE);
    pause + pause.mul_f64(share.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};
    use proptest::prelude::{prop_assert, proptest};

    const DAY: i64 = 86_400;

    fn acme(more: &str) -> Acme {
        let yaml = format!(
            "gateway: {{server: {{listeners: [{{address: '127.0.0.1:1', tls: {{acme: \
             {{domains: [b.test, a.test], termsOfServiceAgreed: true, {more}}}}}}}]}}, \
             services: {{a: {{backends: [{{address: 'h:1'}}]}}}}}}"
        );
        let source = Source { name: "a.yaml".into(), text: yaml };
        let config = load(vec![source], &|_| None).unwrap();
        config.server.listeners[0].tls.clone().unwrap().acme.unwrap()
    }

    fn leaf(names: &[&str], days: i64) -> Leaf {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Leaf { names, from: 0, until: days * DAY }
    }

    fn days(days: i64) -> Duration {
        Duration::from_secs(u64::try_from(days * DAY).unwrap())
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let (acme, leaf) = (acme(""), leaf(&["a.test", "b.test"], 90));
        assert_eq!(due(&acme, None, 0, 0.0), Due::Now(Why::Missing));
        assert_eq!(due(&acme, Some(&leaf), 0, 0.0), Due::In(days(60)));
        assert_eq!(due(&acme, Some(&leaf), 59 * DAY, 0.0), Due::In(days(1)));
        assert_eq!(due(&acme, Some(&leaf), 60 * DAY, 0.0), Due::Now(Why::Age));
        assert_eq!(due(&acme, Some(&leaf), 99 * DAY, 0.0), Due::Now(Why::Age));
        assert_eq!(due(&acme, Some(&leaf), 0, 1.0), Due::In(days(57)), "up to a tenth earlier");
    }

    #[test]
    fn or_when_the_operator_says_but_never_in_the_first_third() {
        let names = ["a.test", "b.test"];
        let (two, thirty) = (acme("renewBefore: 2d"), acme("renewBefore: 30d"));
        assert_eq!(due(&two, Some(&leaf(&names, 90)), 0, 0.0), Due::In(days(88)));
        assert_eq!(due(&thirty, Some(&leaf(&names, 6)), 0, 0.0), Due::In(days(2)));
        assert_eq!(due(&thirty, Some(&leaf(&names, 0)), 0, 0.0), Due::Now(Why::Age));
    }

    #[test]
    fn a_name_that_is_missing_is_ordered_and_one_too_many_does_no_harm() {
        let acme = acme("");
        let lacks = leaf(&["a.test"], 90);
        assert_eq!(due(&acme, Some(&lacks), 0, 0.0), Due::Now(Why::Names));
        let more = leaf(&["a.test", "b.test", "c.test"], 90);
        assert_eq!(due(&acme, Some(&more), 0, 0.0), Due::In(days(60)));
    }

    #[test]
    fn a_broken_order_is_tried_five_times_in_the_first_hour_and_then_every_few_hours() {
        let mut at = Duration::ZERO;
        let tries: Vec<_> = (1..=12)
            .map(|failures| {
                at += pause(failures, 0.0);
                at.as_secs()
            })
            .collect();
        assert_eq!(tries[..4], [10, 60, 310, 1560]);
        assert!(tries[4] > 3600);
        assert_eq!(pause(12, 0.0), LONGEST_PAUSE);
        assert_eq!(pause(u32::MAX, 1.0), LONGEST_PAUSE * 5 / 4);
    }

    proptest! {
        #[test]
        fn no_certificate_and_no_clock_makes_it_panic_or_wait_past_the_end(
            from: i64, until: i64, now: i64, share: f64, failures: u32,
        ) {
            let leaf = Leaf { names: vec!["a.test".into(), "b.test".into()], from, until };
            if let Due::In(wait) = due(&acme("renewBefore: 30d"), Some(&leaf), now, share) {
                prop_assert!(i128::from(now) + i128::from(wait.as_secs()) <= i128::from(until));
            }
            pause(failures, share);
        }
    }
}
