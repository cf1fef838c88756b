//! The normal form of a path: one form, nothing above the root, and no second one for the next hop.

use std::borrow::Cow;
use stickfast::routing::path::normalise;

/// As the path of a request, where the bytes are text.
pub fn holds(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let normal = normalise(path);
    assert!(normal.len() <= path.len());
    assert_eq!(normalise(&normal), normal, "once is enough");
    if !path.starts_with('/') {
        assert!(matches!(normal, Cow::Borrowed(same) if same == path), "that is no path");
        return;
    }
    assert!(normal.starts_with('/'));
    assert_eq!(dot_segments(&normal), 0);
    let decoded = normal.replace("%2e", ".").replace("%2E", ".");
    assert_eq!(dot_segments(&decoded), 0, "nor for a hop that decodes once more");
    if !path.contains(['%', '.']) {
        assert!(matches!(normal, Cow::Borrowed(same) if same == path), "there is nothing to do");
    }
    let slashes = |path: &str| path.to_ascii_lowercase().matches("%2f").count();
    assert!(slashes(&normal) <= slashes(path), "no slash is encoded that was not");
}

fn dot_segments(path: &str) -> usize {
    path.split('/').filter(|segment| matches!(*segment, "." | "..")).count()
}
