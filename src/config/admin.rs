//! `admin`: where metrics and probes are served.

use super::At;
use super::scalar::Scalar;
use super::section::Section;
use super::written::Admin;
use crate::model::Secret;
use std::net::{Ipv4Addr, SocketAddr};

pub(super) fn read(mut admin: Section) -> Admin {
    let default = || SocketAddr::from((Ipv4Addr::LOCALHOST, 9901));
    let address = admin
        .value_at("address", |s| {
            s.text("an address such as 127.0.0.1:9901 or [::1]:9901", |text| text.parse().ok())
        })
        .unwrap_or_else(|| At { value: default(), at: admin.at.clone() });
    let token = admin.value("token", Scalar::secret);
    let has_token = match &token {
        Some(token) => !token.is_empty(),
        None => admin.says("token"), // refused: reported already
    };
    if !has_token && !address.value.ip().to_canonical().is_loopback() {
        let cure = "set `admin.token`, or use a loopback address such as 127.0.0.1:9901";
        admin.reader.report(&address.at, "other machines could reach this without a token", cure);
    }
    Admin {
        address,
        token: token.unwrap_or_else(|| Secret::new(String::new())),
        public_metrics: admin.value("publicMetrics", Scalar::flag).unwrap_or(false),
    }
}
