//! The affinity of one rule, compiled: what is read, what is written, and under which keys.

use crate::affinity::course::{Failback, OnDraining, OnMissing, OnUnhealthy};
use crate::affinity::sealed::{OpenBuffer, associated, open, seal};
use crate::affinity::set_cookie::Attributes;
use crate::affinity::{Binding, CookieNames, KeyRing, Policies, Presented, SetCookie, Terms};
use crate::config::{self, Affinity, SameSite, Secure};
use crate::model::UnixTime;
use std::sync::Arc;

/// How clients of one rule are kept with their backend.
pub struct Stickiness {
    /// What the cookie is called.
    pub names: CookieNames,
    /// How long a key holds.
    pub terms: Terms,
    /// What is done when the bound backend cannot serve.
    pub policies: Policies,
    /// The status of a refusal by policy.
    pub reject_status: u16,
    /// Shared between rules with the same secrets.
    pub keys: Arc<KeyRing>,
    set_cookie: SetCookie,
    associated: Box<[u8]>,
}

impl Stickiness {
    /// Compiles `affinity` for the service that the rule leads to.
    pub(super) fn new(
        affinity: &Affinity,
        service: &str,
        shared_name: bool,
        keys: Arc<KeyRing>,
    ) -> Self {
        let cookie = &affinity.cookie;
        let names = CookieNames::new(&cookie.name, service, shared_name);
        let (secure_on_http, secure_on_https) = match cookie.secure {
            Secure::Auto => (false, true),
            Secure::Always => (true, true),
            Secure::Never => (false, false),
        };
        let attributes = Attributes {
            path: &cookie.path,
            domain: &cookie.domain,
            max_age: cookie.max_age,
            http_only: cookie.http_only,
            secure_on_http,
            secure_on_https,
            same_site: match cookie.same_site {
                SameSite::Lax => cookie::SameSite::Lax,
                SameSite::Strict => cookie::SameSite::Strict,
                SameSite::None => cookie::SameSite::None,
            },
        };
        Self {
            set_cookie: SetCookie::new(names.written(), &attributes),
            associated: associated(service, &cookie.name),
            names,
            terms: terms(affinity),
            policies: policies(affinity),
            reject_status: affinity.reject_status,
            keys,
        }
    }

    /// Opens one key as the client sent it.
    pub fn open<'b>(&self, key: &[u8], now: UnixTime, buffer: &'b mut OpenBuffer) -> Presented<'b> {
        match open(&self.keys, &self.associated, key, now, buffer) {
            Ok((binding, key_id)) => Presented::Opened(binding, key_id),
            Err(why) => Presented::Unreadable(why),
        }
    }

    /// The `Set-Cookie` value that carries `binding`. `nonce` must be fresh random bytes.
    ///
    /// # Errors
    /// `None` when the names in the binding are too long, which configuration rules out.
    pub fn set_cookie(
        &self,
        binding: &Binding<'_>,
        nonce: [u8; 12],
        now: UnixTime,
        https: bool,
    ) -> Option<String> {
        let key = seal(&self.keys, &self.associated, binding, nonce, now)?;
        Some(self.set_cookie.value(&key, https))
    }
}

fn policies(affinity: &Affinity) -> Policies {
    Policies {
        on_missing: match affinity.on_missing {
            config::OnMissing::Redistribute => OnMissing::Redistribute,
            config::OnMissing::Reject => OnMissing::Reject,
        },
        on_unhealthy: match affinity.on_unhealthy {
            config::OnUnhealthy::Redistribute => OnUnhealthy::Redistribute,
            config::OnUnhealthy::ServeOnce => OnUnhealthy::ServeOnce,
            config::OnUnhealthy::Reject => OnUnhealthy::Reject,
        },
        on_draining: match affinity.on_draining {
            config::OnDraining::Keep => OnDraining::Keep,
            config::OnDraining::RedistributeWhenIdle => OnDraining::RedistributeWhenIdle,
            config::OnDraining::Redistribute => OnDraining::Redistribute,
        },
        failback: match affinity.failback {
            config::Failback::Never => Failback::Never,
            config::Failback::Immediate => Failback::Immediate,
        },
    }
}

/// A key is written anew after a tenth of its life, be it bounded by the idle time or by the
/// browser, so that a client that comes now and then keeps it.
pub(super) fn terms(affinity: &Affinity) -> Terms {
    let seconds =
        |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let idle = seconds(affinity.idle_timeout);
    let in_browser =
        affinity.cookie.max_age.map_or(idle, |age| u32::try_from(age).unwrap_or(u32::MAX));
    Terms {
        idle,
        absolute: seconds(affinity.absolute_timeout),
        refresh: (idle.min(in_browser) / 10).max(1),
    }
}
