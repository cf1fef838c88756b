//! What the command line does not say of itself: files, signals, environment, exit status.

use clap_mangen::roff::{Roff, bold, roman};

/// A word, and what is to be known of it.
type Entry = (&'static str, &'static str);

const FILES: &[Entry] = &[
    (
        "/etc/stickfast/stickfast.yaml",
        "The configuration, where the systemd unit looks for it. Any file may be named with -c; several \
         are merged in order.",
    ),
    (
        "/etc/stickfast/stickfast.env",
        "Variables for the systemd unit, such as secrets that the configuration refers to.",
    ),
    (
        "/var/lib/stickfast/affinity.key",
        "The generated key, where the configuration gives none: made at the first start, for its owner's \
         eyes only. Without it all clients are placed anew. The directory is server.stateDir.",
    ),
    (
        "/run/stickfast/",
        "A private directory for server.upgrade.socket, where a process meets its successor, and \
         server.upgrade.pidFile, which names the process that serves. Both are optional.",
    ),
];

const SIGNALS: &[Entry] = &[
    (
        "SIGTERM",
        "Let no more clients in, finish open requests, and end when nobody is left, at the latest after \
         server.upgrade.drainTimeout. WebSockets that are open then are closed with code 1012, one after \
         the other. A second SIGTERM ends the process at once. A process that has handed over drains \
         already, so that there, too, the second one ends it.",
    ),
    ("SIGINT", "End at once."),
    (
        "SIGHUP",
        "Read the files again. A fault changes nothing and is reported with its place. stickfast ctl \
         reload does the same and says what came of it.",
    ),
    ("SIGUSR1", "Open the file of the access log anew, after it has been moved away."),
    (
        "SIGUSR2",
        "Hand over to a new process of the binary and the files on disk. It takes over once it is ready \
         to serve; one that fails changes nothing. stickfast ctl upgrade does the same and waits for the \
         outcome.",
    ),
];

const ENVIRONMENT: &[Entry] = &[
    (
        "NAME",
        "Any variable that the configuration refers to as ${NAME} or ${NAME:-default}, read at the start \
         and at each reload.",
    ),
    ("STICKFAST_ADMIN", "The admin listener that stickfast ctl calls, in place of --admin."),
    ("STICKFAST_ADMIN_TOKEN", "Its token, in place of --token, which others can see."),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
        "Set by systemd, which is told of readiness, reloads, the main process and the end, and gets \
         signs of life.",
    ),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Sockets from systemd. Each goes to the listener of its address; one named admin to the admin \
         listener.",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Authorities that backends are verified with, in place of the machine's, where a service names \
         none of its own.",
    ),
    ("TMPDIR", "Where a directory for the upgrade socket is made, if none is configured."),
];

const EXIT_STATUS: &[Entry] = &[
    ("0", "Done. run: ended by a signal, or succeeded by another process."),
    ("1", "Refused or failed; standard error says why. check: the files have faults."),
    ("2", "The command line makes no sense."),
    ("3", "ctl: nobody answers."),
];

/// All of them.
pub(super) fn of_the_program() -> Roff {
    let mut roff = Roff::new();
    let sections = [
        ("FILES", FILES),
        ("SIGNALS", SIGNALS),
        ("ENVIRONMENT", ENVIRONMENT),
        ("EXIT STATUS", EXIT_STATUS),
    ];
    for (heading, entries) in sections {
        roff.control("SH", [heading]);
        for (word, told) in entries {
            roff.control("TP", []).text([bold(*word)]).text([roman(*told)]);
        }
    }
    roff
}
