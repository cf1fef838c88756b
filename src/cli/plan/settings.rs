//! What changes in the settings of a rule's affinity, setting by setting, and what that means for
//! clients where it is not plain.

use crate::config::{
    Adopt, AdoptFormat, Affinity, Cookie, Failback, Method, OnDraining, OnFull, OnMissing,
    OnUnhealthy, SameSite, Secure, SessionSource,
};
use std::fmt::Display;
use std::time::Duration;

/// All that differs, but for names, encodings and keys.
pub(super) fn changes(before: &Affinity, after: &Affinity) -> Vec<String> {
    let mut told = Told(Vec::new());
    told.choice("onMissing", on_missing(before.on_missing), on_missing(after.on_missing));
    told.choice("onUnhealthy", on_unhealthy(before.on_unhealthy), on_unhealthy(after.on_unhealthy));
    told.choice("onDraining", on_draining(before.on_draining), on_draining(after.on_draining));
    told.choice("onFull", on_full(before.on_full), on_full(after.on_full));
    told.choice("failback", failback(before.failback), failback(after.failback));
    told.choice("rejectStatus", before.reject_status, after.reject_status);
    told.time("idleTimeout", before.idle_timeout, after.idle_timeout);
    told.time("absoluteTimeout", before.absolute_timeout, after.absolute_timeout);
    told.methods(&before.methods, &after.methods);
    if [before, after].iter().all(|side| side.methods.contains(&Method::Cookie)) {
        told.cookie(&before.cookie, &after.cookie);
    }
    told.choice("consent", or_none(before.consent.as_ref()), or_none(after.consent.as_ref()));
    told.choice("exposeBackend", quoted(&before.expose_backend), quoted(&after.expose_backend));
    let burst = |affinity: &Affinity| {
        let (connection, window) = (affinity.burst.same_connection, affinity.burst.window);
        format!("sameConnection {connection}, window {}", in_words(window))
    };
    told.choice("burst", burst(before), burst(after));
    told.learn(&before.learn, &after.learn);
    told.envelope(before.envelope.as_ref(), after.envelope.as_ref());
    told.adopt(&before.adopt, &after.adopt);
    let factor = |affinity: &Affinity| {
        let factor = affinity.algorithm.as_ref().and_then(|algorithm| algorithm.load_factor);
        factor.map_or("none".to_owned(), |factor| factor.to_string())
    };
    told.choice("loadFactor", factor(before), factor(after));
    told.0
}

struct Told(Vec<String>);

impl Told {
    fn choice(&mut self, name: &str, old: impl Display, new: impl Display) {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            self.0.push(format!("{name} {old} -> {new}"));
        }
    }

    fn time(&mut self, name: &str, old: Duration, new: Duration) {
        if old == new {
            return;
        }
        let means = if new < old { "; bindings past it end at once" } else { "" };
        self.0.push(format!("{name} {} -> {}{means}", in_words(old), in_words(new)));
    }

    fn methods(&mut self, old: &[Method], new: &[Method]) {
        if old == new {
            return;
        }
        let names = |methods: &[Method]| {
            let names: Vec<&str> = methods.iter().map(|m| method(*m)).collect();
            format!("[{}]", names.join(", "))
        };
        self.0.push(format!("methods {} -> {}", names(old), names(new)));
        let stamped = |methods: &[Method]| {
            methods
                .iter()
                .find(|m| matches!(m, Method::Cookie | Method::Header))
                .map(|m| method(*m))
        };
        let (was, is) = (stamped(old), stamped(new));
        if was != is {
            let told = is.map_or("no key is written any more, but to links".to_owned(), |is| {
                format!("new keys are written to the {is}")
            });
            self.0.push(told);
        }
    }

    fn cookie(&mut self, old: &Cookie, new: &Cookie) {
        let secure = |cookie: &Cookie| match cookie.secure {
            Secure::Auto => "auto",
            Secure::Always => "true",
            Secure::Never => "false",
        };
        let same_site = |cookie: &Cookie| match cookie.same_site {
            SameSite::Lax => "lax",
            SameSite::Strict => "strict",
            SameSite::None => "none",
            SameSite::Unspecified => "unspecified",
        };
        let age = |age: Option<u64>| {
            age.map_or("until the browser ends".to_owned(), |age| {
                in_words(Duration::from_secs(age))
            })
        };
        let expires = |expires: Option<Duration>| expires.map_or("none".to_owned(), in_words);
        if (&old.path, &old.domain) != (&new.path, &new.domain) {
            self.choice("cookie.path", quoted(&old.path), quoted(&new.path));
            self.choice("cookie.domain", quoted(&old.domain), quoted(&new.domain));
            self.0.push(
                "browsers hold cookies of another path or domain apart: the old one stays beside \
                 the new one until it ends, and the one that was written last counts"
                    .into(),
            );
        }
        self.choice("cookie.maxAge", age(old.max_age), age(new.max_age));
        self.choice("cookie.expires", expires(old.expires), expires(new.expires));
        self.choice("cookie.httpOnly", old.http_only, new.http_only);
        self.choice("cookie.secure", secure(old), secure(new));
        self.choice("cookie.sameSite", same_site(old), same_site(new));
        self.choice("cookie.isEssential", old.is_essential, new.is_essential);
        let extensions = |cookie: &Cookie| format!("[{}]", cookie.extensions.join(", "));
        self.choice("cookie.extensions", extensions(old), extensions(new));
    }

    fn learn(&mut self, old: &[SessionSource], new: &[SessionSource]) {
        for gone in old.iter().filter(|old| !new.contains(old)) {
            let name = session(gone);
            self.0.push(format!("- learn {name}: its sessions place nobody any more"));
        }
        for added in new.iter().filter(|new| !old.contains(new)) {
            let name = session(added);
            self.0.push(format!("+ learn {name}: known from when its backend writes it again"));
        }
    }

    fn envelope(&mut self, old: Option<&SessionSource>, new: Option<&SessionSource>) {
        if old == new {
            return;
        }
        let named = |envelope: Option<&SessionSource>| envelope.map_or("none".into(), session);
        self.0.push(format!("envelope {} -> {}", named(old), named(new)));
        if let Some(old) = old {
            self.0.push(format!(
                "what clients hold of {} stays wrapped and reaches the application so: it does not \
                 know these sessions any more",
                session(old)
            ));
        }
    }

    fn adopt(&mut self, old: &[Adopt], new: &[Adopt]) {
        let same = |one: &Adopt, other: &Adopt| {
            one.format == other.format && one.cookie == other.cookie && one.secret == other.secret
        };
        for gone in old.iter().filter(|one| !new.iter().any(|other| same(one, other))) {
            let (format, cookie) = (adopted(gone.format), &gone.cookie);
            let told = "clients that still have one are placed anew";
            self.0.push(format!("- adopt {format} {cookie}: {told}"));
        }
        for added in new.iter().filter(|one| !old.iter().any(|other| same(one, other))) {
            let (format, cookie) = (adopted(added.format), &added.cookie);
            self.0.push(format!(
                "+ adopt {format} {cookie}: clients that have one stay where it says"
            ));
        }
    }
}

pub(super) fn method(method: Method) -> &'static str {
    match method {
        Method::Cookie => "cookie",
        Method::Header => "header",
        Method::Query => "query",
        Method::Path => "path",
        Method::SourceIp => "sourceIP",
    }
}

pub(super) fn on_missing(choice: OnMissing) -> &'static str {
    match choice {
        OnMissing::Redistribute => "redistribute",
        OnMissing::Reject => "reject",
    }
}

pub(super) fn on_unhealthy(choice: OnUnhealthy) -> &'static str {
    match choice {
        OnUnhealthy::Redistribute => "redistribute",
        OnUnhealthy::ServeOnce => "serve-once",
        OnUnhealthy::Reject => "reject",
    }
}

pub(super) fn on_draining(choice: OnDraining) -> &'static str {
    match choice {
        OnDraining::Keep => "keep",
        OnDraining::RedistributeWhenIdle => "redistribute-when-idle",
        OnDraining::Redistribute => "redistribute",
    }
}

fn on_full(choice: OnFull) -> &'static str {
    match choice {
        OnFull::Wait => "wait",
        OnFull::ServeOnce => "serve-once",
        OnFull::Redistribute => "redistribute",
        OnFull::Reject => "reject",
    }
}

fn failback(choice: Failback) -> &'static str {
    match choice {
        Failback::Never => "never",
        Failback::Immediate => "immediate",
    }
}

fn session(source: &SessionSource) -> String {
    match source {
        SessionSource::Header(name) => format!("header {name}"),
        SessionSource::Cookie(name) => format!("cookie {name}"),
    }
}

fn adopted(format: AdoptFormat) -> &'static str {
    match format {
        AdoptFormat::Envoy => "envoy",
        AdoptFormat::HaProxy => "haproxy",
        AdoptFormat::HaProxyPrefix => "haproxy-prefix",
        AdoptFormat::Nginx => "nginx",
        AdoptFormat::Traefik => "traefik",
        AdoptFormat::Caddy => "caddy",
        AdoptFormat::YarpHash => "yarp-hash",
        AdoptFormat::YarpArr => "yarp-arr",
        AdoptFormat::VkProxyHash => "vkproxy-hash",
        AdoptFormat::Sozu => "sozu",
        AdoptFormat::Servlet => "servlet",
    }
}

fn or_none(name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(|| "none".into())
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "none".into() } else { text.into() }
}

pub(super) fn in_words(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
