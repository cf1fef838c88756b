//! One exchange with the authority, from the account to a certificate that is stored.

use super::caller::Caller;
use super::store::{Kept, Lock, Store};
use crate::config::{Acme, ChallengeKind};
use crate::tls::{CallerError, Challenges, Leaf, Offer, Proof, ProofError};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Error, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long the authority may take to look at the challenges, and then to issue.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// The authority knows no such account: it was removed there, or its database is another.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority cannot be called.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// It refused, or was not understood.
    #[error("{}", in_full(.0))]
    Authority(#[from] Error),
    /// It offers no challenge of the kind that is configured.
    #[error("the authority offers no {kind} challenge for {domain}")]
    NoChallenge {
        /// The name.
        domain: String,
        /// The kind, in its own words.
        kind: &'static str,
    },
    /// It looked for the challenge and did not find it.
    #[error("the authority was not convinced that {domain} is ours: {why}")]
    NotProven {
        /// The name.
        domain: String,
        /// In the authority's words.
        why: String,
    },
    /// The challenge cannot be shown.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The certificate is not for our key, or not for our names.
    #[error("the certificate that came is not what was ordered")]
    Useless,
    /// What came cannot be kept.
    #[error("the state directory cannot be used: {0}")]
    Store(#[from] io::Error),
}

/// Orders a certificate and stores it. While this runs, `challenges` shows what the authority wants
/// to see; when it is dropped, no more.
///
/// # Errors
/// Whatever comes between. What was stored before is as it was.
pub async fn obtain(
    acme: &Acme,
    store: &Store,
    _lock: &Lock,
    challenges: &Arc<Challenges>,
) -> Result<Leaf, AcmeError> {
    let account = account(acme, store).await?;
    let names = acme.domains.iter().map(|domain| Identifier::Dns(domain.value.clone()));
    let names: Vec<_> = names.collect();
    let mut order = match account.new_order(&NewOrder::new(&names)).await {
        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
            // the next try makes a new one
            store.put_account_aside()?;
            return Err(Error::Api(problem).into());
        }
        other => other?,
    };
    let offers = prove(acme, &mut order, challenges).await?;
    if order.poll_ready(&POLLING).await? != OrderStatus::Ready {
        return Err(what_failed(&mut order).await);
    }
    drop(offers);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLLING).await?;
    let pem = format!("{}\n{key}", chain.trim_end());
    let leaf = Leaf::of(pem.as_bytes()).ok_or(AcmeError::Useless)?;
    let has = |name: &str| leaf.names.iter().any(|own| own == name);
    if !acme.names().into_iter().all(has) {
        return Err(AcmeError::Useless);
    }
    store.keep_certificate(acme, pem.as_bytes())?;
    Ok(leaf)
}

/// The account that is kept, or a new one.
async fn account(acme: &Acme, store: &Store) -> Result<Account, AcmeError> {
    let caller = Account::builder_with_http(Box::new(Caller::new(acme)?));
    let contact: Vec<&str> = acme.contact.iter().map(String::as_str).collect();
    let Some(kept) = store.account()? else {
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = caller.create(&wanted, acme.directory.clone(), None).await?;
        store.keep_account(&Kept { contact: acme.contact.clone(), credentials })?;
        tracing::info!(directory = acme.directory, "made an account with the ACME authority");
        return Ok(account);
    };
    let again = serde_json::to_value(&kept.credentials).map_err(io::Error::from)?;
    let account = caller.from_credentials(kept.credentials).await?;
    if kept.contact != acme.contact {
        account.update_contacts(&contact).await?;
        let credentials = serde_json::from_value(again).map_err(io::Error::from)?;
        store.keep_account(&Kept { contact: acme.contact.clone(), credentials })?;
    }
    Ok(account)
}

/// Shows what the authority wants to see for each name, and tells it to look.
async fn prove(
    acme: &Acme,
    order: &mut Order,
    challenges: &Arc<Challenges>,
) -> Result<Vec<Offer>, AcmeError> {
    let (kind, label) = match acme.challenge {
        ChallengeKind::Http01 => (ChallengeType::Http01, "http-01"),
        ChallengeKind::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
    };
    let mut offers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(AcmeError::NoChallenge { domain, kind: label });
        };
        offers.push(challenges.offer(proof(acme.challenge, &domain, &challenge)?)?);
        match challenge.set_ready().await {
            // it has looked already
            Err(Error::Api(problem)) => {
                return Err(AcmeError::NotProven { domain, why: problem.to_string() });
            }
            other => other?,
        }
    }
    Ok(offers)
}

fn proof(
    kind: ChallengeKind,
    domain: &str,
    challenge: &ChallengeHandle<'_>,
) -> Result<Proof, AcmeError> {
    let answer = challenge.key_authorization();
    Ok(match kind {
        ChallengeKind::Http01 => {
            Proof::Http { token: challenge.token.clone(), text: answer.as_str().to_owned() }
        }
        ChallengeKind::TlsAlpn01 => {
            let digest = answer.digest();
            let digest = digest.as_ref().try_into().map_err(|_| AcmeError::Useless)?;
            Proof::Tls { domain: domain.to_ascii_lowercase(), digest }
        }
    })
}

/// Which name the authority was not convinced of, and why: the order itself does not say.
async fn what_failed(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let why = problem.to_string();
            return AcmeError::NotProven { domain: authorization.identifier().to_string(), why };
        }
    }
    AcmeError::Authority(Error::Str("the reason why the order is invalid"))
}

/// With what lies below: `invalid peer certificate` says more than `connection error`.
fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(below) = source {
        let below_text = below.to_string();
        if !text.contains(&below_text) {
            text.extend([": ", &below_text]);
        }
        source = below.source();
    }
    text
}
