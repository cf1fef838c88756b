//! Where a request goes: the service and the version that its rule says, or that it names itself.

use super::{Rule, Snapshot};
use crate::model::fields::{Fields, text};
use crate::routing::subset::{self, Named};
use http::HeaderName;
use std::sync::Arc;

/// `serviceHeader`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHeader {
    /// The header.
    pub name: HeaderName,
    /// Whether responses carry the value that reaches the same subset again.
    pub responds: bool,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The rule whose service and affinity count.
    pub rule: usize,
    /// The only version that may serve it; `None`: any.
    pub subset: Option<Arc<str>>,
}

/// The request names a service or a version that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl Snapshot {
    /// Where a request goes that `rule` takes.
    ///
    /// # Errors
    /// [`Unknown`] when it names what is not there.
    pub fn target(&self, rule: usize, headers: &impl Fields) -> Result<Target, Unknown> {
        let Some(taken) = self.rule(rule) else { return Ok(Target { rule, subset: None }) };
        if let Some(header) = &self.service_header
            && let Some(value) = headers.first(&header.name)
        {
            let value = text(value).ok_or(Unknown)?;
            let named = subset::named(value, |named| self.knows(named)).ok_or(Unknown)?;
            let own = taken.service.pool.service.as_str() == named.service;
            let at = if own { Some(rule) } else { self.by_service.get(named.service).copied() };
            let rule = at.ok_or(Unknown)?;
            match named.version {
                Some(version) => return Ok(Target { rule, subset: Some(version.into()) }),
                None if !own => return Ok(Target { rule, subset: None }),
                // it says no more than the rule, which may go on to the version
                None => {}
            }
        }
        if let Some(header) = &taken.version_header
            && let Some(value) = headers.first(header)
        {
            let version = text(value).ok_or(Unknown)?.trim_ascii();
            if !has_version(taken, version) {
                return Err(Unknown);
            }
            return Ok(Target { rule, subset: Some(version.into()) });
        }
        Ok(Target { rule, subset: taken.subset.clone() })
    }

    /// The value by which a request reaches the same again.
    pub fn name_of(&self, named: Named<'_>) -> String {
        subset::value(named, |named| self.knows(named))
    }

    fn knows(&self, named: Named<'_>) -> bool {
        let rule = self.by_service.get(named.service).and_then(|at| self.rule(*at));
        rule.is_some_and(|rule| named.version.is_none_or(|version| has_version(rule, version)))
    }
}

fn has_version(rule: &Rule, version: &str) -> bool {
    !version.is_empty()
        && rule.service.pool.members().iter().any(|member| *member.backend.version == *version)
}
