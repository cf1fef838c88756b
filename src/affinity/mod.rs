//! Which backend a client was on: the key it carries, what becomes of it, and what is written back.
//!
//! Everything here is a function of facts, time and random numbers that are handed in; nothing in
//! this module does I/O. The path of one request is [`cookies::Cutter::cut`], [`sealed::open`],
//! [`resolve::resolve`], [`course::course`], and for the response [`stamp::stamp`] and
//! [`sealed::seal`]. Two tables remember what no key says, both bounded: [`learned`] and [`burst`].

pub mod adopted;
pub mod app_session;
pub mod burst;
pub mod cookies;
pub mod course;
pub mod formats;
pub mod keyed;
pub mod keyring;
pub mod learned;
pub mod names;
pub mod resolve;
pub mod sealed;
pub mod set_cookie;
pub mod stamp;

pub use adopted::Adopted;
pub use app_session::AppSession;
pub use burst::{Bursts, Joined, Pick};
pub use cookies::{Cutter, Wanted};
pub use course::{Course, Policies, course};
pub use keyed::Key;
pub use keyring::KeyRing;
pub use learned::{Found, Learned, Learnt};
pub use names::CookieNames;
pub use resolve::{Presented, Resolution, Terms, resolve};
pub use sealed::{Binding, Unreadable};
pub use set_cookie::SetCookie;
pub use stamp::{Kept, Stamp, Standing, stamp};
