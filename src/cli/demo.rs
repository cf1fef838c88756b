//! `stickfast demo`: three toy backends and the gateway in one process, and three lines to paste.

mod toy;

use super::files;
use crate::model::Address;
use crate::server;
use std::net::SocketAddr;
use std::path::PathBuf;

const CONFIG: (&str, &str) = ("conf/demo.yaml", include_str!("../../conf/demo.yaml"));

/// Runs the demo until a signal ends it.
pub(super) fn run(overlays: Vec<PathBuf>) -> anyhow::Result<()> {
    let signals = server::Signals::take()?;
    let files = files(Some(CONFIG), overlays);
    let config = files.read()?;
    let backends = config.services.iter().flat_map(|service| &service.backends);
    let toys = backends
        .map(|backend| Ok((backend.id.value.clone(), backend.address.value.parse()?)))
        .collect::<anyhow::Result<Vec<(String, SocketAddr)>>>()?;
    toy::start(toys)?;
    server::run(server::Start {
        signals,
        files,
        on_open: Box::new(|addresses| addresses.iter().take(1).for_each(lines_to_paste)),
        // the toys live in this process
        program: None,
        predecessor: None,
    })?;
    Ok(())
}

fn lines_to_paste(gateway: &Address) {
    println!(
        "
Three backends (b1, b2, b3) and the gateway are up. Paste these into another terminal:

  curl -si -c demo.jar http://{gateway}/
      the first answer sets a cookie

  for i in 1 2 3; do curl -s -b demo.jar http://{gateway}/; done
      with the cookie, the same backend answers every time

  curl -s -b demo.jar http://{gateway}/stop; curl -si -b demo.jar -c demo.jar http://{gateway}/
      that backend stops: the client moves to another one, once, and gets a new cookie

Ctrl-C ends the demo. Each request shows below; affinity=VN means: valid key, nothing to write.
"
    );
}
