//! How new clients are placed, laid out once for all rules and services that place alike: 10,000 rules
//! over one service must not hold 10,000 rings.

use super::choices::Choices;
use crate::balance::{LoadFactor, Maglev, MaglevConfig, Ring, RingConfig, RoundRobin, Selection};
use crate::config::AlgorithmKind;
use crate::model::{Secret, ServiceId};
use crate::pool::{Member, Pool};
use ahash::AHashMap;
use hkdf::Hkdf;
use pingora_load_balancing::selection::BackendSelection;
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use std::sync::Arc;

/// What there is already.
pub(super) struct Selections<'a> {
    known: AHashMap<Of, Arc<Selection>>,
    /// Of those over all backends: each takes about as long as laying out, so only once.
    fingerprints: AHashMap<(ServiceId, Layout), Option<u64>>,
    /// What the places of clients are computed with; asked for only when there is a hash.
    hash_key: &'a dyn Fn() -> Secret,
    /// Services of whose versions one may be asked for.
    by_version: &'a dyn Fn(&str) -> bool,
}

/// A service, one of its versions or all, and how.
type Of = (ServiceId, Option<Arc<str>>, Layout);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Layout {
    Turns,
    Ring(u32),
    Table,
}

impl<'a> Selections<'a> {
    /// None yet.
    pub(super) fn new(
        hash_key: &'a dyn Fn() -> Secret,
        by_version: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        Self { known: AHashMap::new(), fingerprints: AHashMap::new(), hash_key, by_version }
    }

    /// How clients are placed over `pool`; a ring has `replicas` points for each unit of weight.
    pub(super) fn choices(
        &mut self,
        pool: &Pool,
        kind: AlgorithmKind,
        replicas: u32,
        factor: Option<LoadFactor>,
    ) -> Choices {
        let layout = match kind {
            AlgorithmKind::RoundRobin => Layout::Turns,
            AlgorithmKind::ConsistentHash | AlgorithmKind::IpHash | AlgorithmKind::HeaderHash => {
                Layout::Ring(replicas)
            }
            AlgorithmKind::Maglev => Layout::Table,
        };
        let mut versions: Vec<Arc<str>> = Vec::new();
        if (self.by_version)(pool.service.as_str()) {
            versions.extend(pool.members().iter().map(|m| Arc::clone(&m.backend.version)));
            versions.retain(|version| !version.is_empty());
            versions.sort();
            versions.dedup();
        }
        let of_version = |name: Arc<str>| {
            let selection = self.get(pool, Some(&name), layout);
            (name, selection)
        };
        let versions = versions.into_iter().map(of_version).collect();
        let all = self.get(pool, None, layout);
        let fingerprint = self.fingerprints.entry((pool.service.clone(), layout));
        let fingerprint = *fingerprint.or_insert_with(|| all.fingerprint());
        let service = pool.service.as_str();
        let spread = (layout != Layout::Turns)
            .then(|| SipHasher24::new_with_key(&seed(&(self.hash_key)(), b"versions", service)));
        Choices { all, versions, factor, fingerprint, spread }
    }

    fn get(&mut self, pool: &Pool, version: Option<&Arc<str>>, layout: Layout) -> Arc<Selection> {
        let hash_key = self.hash_key;
        let known = self.known.entry((pool.service.clone(), version.cloned(), layout));
        let lay_out = || Arc::new(lay_out(pool, version.map(|v| &**v), layout, hash_key));
        Arc::clone(known.or_insert_with(lay_out))
    }
}

fn lay_out(
    pool: &Pool,
    version: Option<&str>,
    layout: Layout,
    hash_key: &dyn Fn() -> Secret,
) -> Selection {
    let mut view = pool.pingora_view();
    if let Some(version) = version {
        view.retain(|b| Member::of(b).is_some_and(|m| *m.backend.version == *version));
    }
    let seed = || seed(&hash_key(), b"ring", pool.service.as_str());
    match layout {
        Layout::Turns => Selection::RoundRobin(Arc::new(RoundRobin::build(&view))),
        Layout::Ring(replicas) => {
            let config = RingConfig { seed: seed(), replicas };
            Selection::ConsistentHash(Arc::new(Ring::build_with_config(&view, &config)))
        }
        Layout::Table => {
            let config = MaglevConfig::new(seed());
            Selection::Maglev(Arc::new(Maglev::build_with_config(&view, &config)))
        }
    }
}

/// What clients' places are computed with: secret, so that nobody can aim at a backend, and apart
/// from the keys of affinity, so that nobody moves when those are rotated.
fn seed(hash_key: &Secret, of: &[u8], service: &str) -> [u8; 16] {
    let mut seed = [0; 16];
    let info = [b"stickfast ", of, service.as_bytes()].concat();
    let expanded = Hkdf::<Sha256>::new(None, hash_key.expose()).expand(&info, &mut seed);
    debug_assert!(expanded.is_ok(), "16 bytes are within the limits of HKDF");
    seed
}
