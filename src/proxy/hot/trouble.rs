//! What goes wrong, in the words of Pingora's errors: the decisions about failures take those.

#![allow(clippy::unnecessary_box_returns, reason = "Pingora's errors are boxed")]

use super::body::Malformed;
use pingora::{Error, ErrorType};
use std::io;

pub(super) fn upstream_write(why: io::Error) -> Box<Error> {
    let timed_out = why.kind() == io::ErrorKind::TimedOut;
    let kind = if timed_out { ErrorType::WriteTimedout } else { ErrorType::WriteError };
    Error::because(kind, "to the backend", why).into_up()
}

pub(super) fn upstream_read(why: io::Error) -> Box<Error> {
    Error::because(ErrorType::ReadError, "from the backend", why).into_up()
}

pub(super) fn cut_off() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the backend has left").into_up()
}

pub(super) fn client_gone() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the client has left").into_down()
}

pub(super) fn invalid(why: &str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, why.to_owned()).into_up()
}

pub(super) fn malformed(Malformed: Malformed) -> Box<Error> {
    invalid("a body without a clear end")
}

pub(super) fn backend_is_silent() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the backend is silent").into_up()
}

pub(super) fn client_is_silent() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the client is silent").into_down()
}
