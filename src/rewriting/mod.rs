//! A key that rides in URLs, for clients without cookies: where it stands in a URL, which URLs of a
//! response it is added to, and the rewriter of HTML pages.
//!
//! ```text
//! request   /cart;jsessionid=KEY?a=1 ─► KeyPlace::cut ─► /cart?a=1, and the key
//! response  Location, Refresh, …     ─► Links::header
//!           HTML                     ─► HtmlRewriter, where `wants` says so
//! ```
//!
//! Two rules hold throughout. The key never reaches another site: what is not surely a URL of the
//! page's own origin is left alone. What is not ours stays byte for byte.

mod html;
mod links;
mod place;
mod refresh;
mod site;
mod splice;
mod wants;

pub use html::{HtmlRewriter, MAX_BUFFERED};
pub use links::{Links, Ours};
pub use place::{Cut, Found, KeyPlace, MAX_KEY, MAX_KEYS};
pub use site::Site;
pub use wants::wants;
