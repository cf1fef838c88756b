//! The links of one response: which of them get the key, and how they look then.

use super::place::KeyPlace;
use super::refresh;
use super::site::{Site, trimmed};
use super::splice::{Splices, apply};
use http::header::{CONTENT_LOCATION, HeaderName, LOCATION, REFRESH};
use std::fmt;
use std::sync::Arc;
use url::Url;

/// Tells a key of ours from an application's own value of the same name. Shared and boxed, since a
/// rewriter outlives the call that makes it.
pub type Ours = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What a response's links get, and whose they must be.
#[derive(Clone)]
pub struct Links {
    site: Site,
    place: KeyPlace,
    /// `name=key`, escaped for a URL.
    written: String,
    key: String,
    ours: Ours,
    base: Base,
}

/// What relative URLs of a page are relative to.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// Whether that is surely the page's own site.
    pub own: bool,
    /// The last segment of its path, without a key; `None` when it is not sure.
    segment: Option<Box<str>>,
    /// Whether a `<base>` was met.
    set: bool,
}

impl fmt::Debug for Links {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("site", &self.site)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Links {
    /// Links of the page at `site` that get `key`.
    pub fn new(site: Site, place: KeyPlace, key: &str, ours: Ours) -> Self {
        let segment = segment(&place, site.url(), &ours);
        let base = Base { own: true, segment: Some(segment), set: false };
        Self { written: place.written(key), key: key.to_owned(), site, place, ours, base }
    }

    /// The URL with the key, where it is a link of this site.
    pub fn url(&self, url: &str) -> Option<String> {
        self.splices(url, &self.base).map(|splices| apply(url, &splices))
    }

    /// The value of a response header with the key in its URL: of `Location`, `Content-Location`
    /// and `Refresh`. `None` leaves it as it is.
    pub fn header(&self, name: &HeaderName, value: &str) -> Option<String> {
        if *name == LOCATION || *name == CONTENT_LOCATION {
            self.url(value)
        } else if *name == REFRESH {
            self.refresh(value, &self.base).map(|splices| apply(value, &splices))
        } else {
            None
        }
    }

    /// The changes to a URL reference of the page.
    pub(super) fn splices(&self, url: &str, base: &Base) -> Option<Splices> {
        if !self.site.owns(url, base.own) {
            return None;
        }
        self.place.splices(url, &self.written, base.segment.as_deref(), |v| (self.ours)(v))
    }

    /// The changes to the value of a refresh.
    pub(super) fn refresh(&self, value: &str, base: &Base) -> Option<Splices> {
        let at = refresh::url(value)?;
        let mut splices = self.splices(value.get(at.clone())?, base)?;
        for splice in &mut splices {
            splice.at = splice.at.start + at.start..splice.at.end + at.start;
        }
        Some(splices)
    }

    /// Whether a reference leads to this site, be it the page itself.
    pub(super) fn stays(&self, reference: &str, base: &Base) -> bool {
        let trimmed = trimmed(reference);
        let page = trimmed.is_empty() || trimmed.starts_with('#');
        (page && base.own) || self.site.owns(reference, base.own)
    }

    /// What the page is relative to before a `<base>`.
    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    /// Takes note of a `<base href>`; `None` for one that cannot be read. To browsers the first one
    /// counts that is no part of a template or a drawing. Which that is cannot be told here, so one
    /// of another site takes the page away for good.
    pub(super) fn rebase(&self, base: &mut Base, href: Option<&str>) {
        let url = href
            .filter(|href| self.stays(href, &self.base))
            .and_then(|href| self.site.url().join(href).ok())
            .filter(|url| self.site.is_origin_of(url));
        base.own &= url.is_some();
        base.segment = url.filter(|_| !base.set).map(|url| segment(&self.place, &url, &self.ours));
        base.set = true;
    }

    /// The parameter as a field of a form whose submission replaces the query of the form's URL.
    pub(super) fn field(&self) -> Option<String> {
        let KeyPlace::Query(name) = &self.place else { return None };
        let escape = |text: &str| {
            let text = text.replace('&', "&amp;").replace('"', "&quot;");
            text.replace('<', "&lt;").replace('>', "&gt;")
        };
        let (name, value) = (escape(name), escape(&self.key));
        Some(format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\"/>"))
    }
}

/// The last segment of a URL's path, without a key.
fn segment(place: &KeyPlace, url: &Url, ours: &Ours) -> Box<str> {
    let path = url.path();
    let cut = place.cut(path, |value| ours(value));
    let path = cut.rest.as_deref().unwrap_or(path);
    path.rsplit('/').next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
