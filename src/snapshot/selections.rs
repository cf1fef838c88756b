//! How new clients are placed, laid out once for all rules and services that place alike: 10,000 rules
//! over one service must not hold 10,000 rings.

use crate::balance::{Maglev, MaglevConfig, Ring, RingConfig, RoundRobin, Selection};
use crate::config::AlgorithmKind;
use crate::model::ServiceId;
use crate::pool::Pool;
use ahash::AHashMap;
use hkdf::Hkdf;
use pingora_load_balancing::selection::BackendSelection;
use sha2::Sha256;
use std::sync::Arc;

/// What there is already.
#[derive(Default)]
pub(super) struct Selections(AHashMap<(ServiceId, Layout), Arc<Selection>>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Layout {
    Turns,
    Ring(u32),
    Table,
}

impl Selections {
    /// The selection over `pool`; a ring has `replicas` points for each unit of weight.
    pub(super) fn get(
        &mut self,
        pool: &Pool,
        kind: AlgorithmKind,
        replicas: u32,
    ) -> Arc<Selection> {
        let layout = match kind {
            AlgorithmKind::RoundRobin => Layout::Turns,
            AlgorithmKind::ConsistentHash | AlgorithmKind::IpHash | AlgorithmKind::HeaderHash => {
                Layout::Ring(replicas)
            }
            AlgorithmKind::Maglev => Layout::Table,
        };
        let known = self.0.entry((pool.service.clone(), layout));
        Arc::clone(known.or_insert_with(|| Arc::new(lay_out(pool, layout))))
    }
}

fn lay_out(pool: &Pool, layout: Layout) -> Selection {
    let view = pool.pingora_view();
    let seed = seed(pool.service.as_str());
    match layout {
        Layout::Turns => Selection::RoundRobin(Arc::new(RoundRobin::build(&view))),
        Layout::Ring(replicas) => {
            let config = RingConfig { seed, replicas };
            Selection::ConsistentHash(Arc::new(Ring::build_with_config(&view, &config)))
        }
        Layout::Table => {
            let config = MaglevConfig::new(seed);
            Selection::Maglev(Arc::new(Maglev::build_with_config(&view, &config)))
        }
    }
}

/// What clients' places are computed with: the name of the service, so that gateways with one
/// configuration agree and nobody moves when a secret is rotated.
fn seed(service: &str) -> [u8; 16] {
    let mut seed = [0; 16];
    let expanded =
        Hkdf::<Sha256>::new(None, service.as_bytes()).expand(b"stickfast ring", &mut seed);
    debug_assert!(expanded.is_ok(), "16 bytes are within the limits of HKDF");
    seed
}
