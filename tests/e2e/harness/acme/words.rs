//! What is said between the authority and who asks it: requests that are signed (RFC 7515), and the
//! replies.

use super::{Account, Authorities};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What goes back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// What was asked, once it is known by whom.
pub(super) struct Signed {
    pub(super) account: Option<usize>,
    pub(super) jwk: Value,
    pub(super) payload: Value,
}

impl Authorities {
    /// Who speaks, if the nonce is fresh, the URL is this one, and the signature is good.
    pub(super) fn signed(&self, path: &str, body: &str) -> Result<Signed, &'static str> {
        let body: Value = serde_json::from_str(body).map_err(|_| "malformed")?;
        let part = |name: &str| BASE64.decode(body[name].as_str().unwrap_or("*"));
        let decoded = |name: &str| part(name).map_err(|_| "malformed");
        let header: Value =
            serde_json::from_slice(&decoded("protected")?).map_err(|_| "malformed")?;
        let nonce = header["nonce"].as_str().ok_or("badNonce")?;
        let mut state = self.state();
        // the first one is turned away, good as it is
        if !state.nonces.remove(nonce) || state.accounts.is_empty() && state.made < 3 {
            return Err("badNonce");
        }
        if header["url"] != self.url(path) {
            return Err("unauthorized");
        }
        let prefix = self.url("account/");
        let known = header["kid"].as_str().and_then(|kid| kid.strip_prefix(&prefix)?.parse().ok());
        let jwk = match known {
            Some(account) => {
                let known: &Account = state.accounts.get::<usize>(account).ok_or("malformed")?;
                known.jwk.clone()
            }
            None => header["jwk"].clone(),
        };
        if jwk.is_null() {
            return Err("accountDoesNotExist");
        }
        let coordinate = |name: &str| BASE64.decode(jwk[name].as_str().unwrap_or("*")).unwrap();
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let said = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let message = format!("{}.{}", said("protected"), said("payload"));
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(message.as_bytes(), &decoded("signature")?)
            .map_err(|_| "badSignatureAlgorithm")?;
        let payload = serde_json::from_slice(&decoded("payload")?).unwrap_or(Value::Null);
        Ok(Signed { account: known, jwk, payload })
    }
}

impl Reply {
    pub(super) fn ok(body: &Value) -> Self {
        Self { status: 200, location: None, body: body.to_string() }
    }

    pub(super) fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let body = json!({ "type": kind, "detail": detail, "status": status });
        Self { status, location: None, body: body.to_string() }
    }
}

/// RFC 7638.
pub(super) fn thumbprint(jwk: &Value) -> String {
    let member = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let canonical = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        member("crv"),
        member("kty"),
        member("x"),
        member("y")
    );
    BASE64.encode(Sha256::digest(canonical))
}
