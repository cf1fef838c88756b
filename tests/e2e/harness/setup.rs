//! Configuration files for tests: only what a test is about stands in it.

use super::backend::Backend;
use super::program::{Output, stickfast};
use std::fmt::{self, Display, Formatter, Write as _};
use std::fs;

/// The secret of every sticky setup that names no other.
pub(crate) const SECRET: &str = "a-secret-that-only-tests-know-0123456789";

/// A configuration file in the making. Its [`Display`] is the YAML.
#[derive(Clone)]
pub(crate) struct Setup {
    listeners: Vec<String>,
    server: Vec<String>,
    admin: String,
    services: Vec<Service>,
    rules: Vec<String>,
    router: Vec<String>,
    websocket: Vec<String>,
    affinity: Option<Vec<String>>,
    secret: String,
}

#[derive(Clone)]
struct Service {
    id: String,
    backends: Vec<String>,
    options: Vec<String>,
}

impl Setup {
    /// One service, `app`, that serves everything; no affinity; access log in JSON.
    pub(crate) fn of(backends: &[&Backend]) -> Self {
        let empty = Self {
            listeners: vec!["address: \"127.0.0.1:0\"".to_owned()],
            server: vec!["log: { format: json }".to_owned()],
            admin: "{ address: \"127.0.0.1:0\" }".to_owned(),
            services: Vec::new(),
            rules: Vec::new(),
            router: Vec::new(),
            websocket: Vec::new(),
            affinity: None,
            secret: SECRET.to_owned(),
        };
        empty.service("app", backends)
    }

    /// Another service, below the path `/<id>/`, before the rule that serves everything.
    pub(crate) fn service(mut self, id: &str, backends: &[&Backend]) -> Self {
        let path = if self.services.is_empty() { "/*".to_owned() } else { format!("/{id}/*") };
        let entry = |b: &&Backend| format!("id: {}, address: \"{}\"", b.id(), b.address());
        let backends = backends.iter().map(entry).collect();
        self.services.push(Service { id: id.to_owned(), backends, options: Vec::new() });
        self.rules.push(format!("id: {id}, path: {path}, serviceName: {id}"));
        self
    }

    /// The weights of the last service's backends, in their order.
    pub(crate) fn weights(mut self, weights: &[u32]) -> Self {
        let service = self.services.last_mut().expect("a service");
        assert_eq!(service.backends.len(), weights.len(), "a weight for each backend");
        for (backend, weight) in service.backends.iter_mut().zip(weights) {
            let _ = write!(backend, ", weight: {weight}");
        }
        self
    }

    /// The versions of the last service's backends, in their order.
    pub(crate) fn versions(mut self, versions: &[&str]) -> Self {
        let service = self.services.last_mut().expect("a service");
        assert_eq!(service.backends.len(), versions.len(), "a version for each backend");
        for (backend, version) in service.backends.iter_mut().zip(versions) {
            let _ = write!(backend, ", version: {version}");
        }
        self
    }

    /// A line of YAML in the last service.
    pub(crate) fn option(mut self, line: &str) -> Self {
        self.services.last_mut().expect("a service").options.push(line.to_owned());
        self
    }

    /// A health check of the last service that finds out within a second.
    pub(crate) fn checked(self) -> Self {
        self.option(
            "healthCheck: { type: http, path: /healthz, interval: 100ms, timeout: 1s, \
             healthyThreshold: 1, unhealthyThreshold: 2 }",
        )
    }

    /// More keys of the first listener, the inside of a flow mapping.
    pub(crate) fn listener(mut self, keys: &str) -> Self {
        let _ = write!(self.listeners[0], ", {keys}");
        self
    }

    /// Another listener, the inside of a flow mapping.
    pub(crate) fn another_listener(mut self, listener: &str) -> Self {
        self.listeners.push(listener.to_owned());
        self
    }

    /// A backend of the last service that is no [`Backend`].
    pub(crate) fn backend(mut self, id: &str, address: &str) -> Self {
        let service = self.services.last_mut().expect("a service");
        service.backends.push(format!("id: {id}, address: \"{address}\""));
        self
    }

    /// A line of YAML under `server`. A line with the same key takes the place of the former.
    pub(crate) fn server(mut self, line: &str) -> Self {
        let key = line.split(':').next().unwrap_or_default();
        self.server.retain(|former| !former.starts_with(&format!("{key}:")));
        self.server.push(line.to_owned());
        self
    }

    /// The listeners, each the inside of a flow mapping, instead of one on any free port.
    pub(crate) fn listeners(mut self, listeners: &[&str]) -> Self {
        self.listeners = listeners.iter().map(|inside| (*inside).to_owned()).collect();
        self
    }

    /// One listener on any free port, with this `tls` (the inside of a flow mapping).
    pub(crate) fn encrypted(self, tls: &str) -> Self {
        self.listeners(&[&format!("address: \"127.0.0.1:0\", tls: {{ {tls} }}")])
    }

    /// The `admin` section, as a flow mapping.
    pub(crate) fn admin(mut self, section: &str) -> Self {
        section.clone_into(&mut self.admin);
        self
    }

    /// The rules, each the inside of a flow mapping, instead of one a service.
    pub(crate) fn rules(mut self, rules: &[&str]) -> Self {
        self.rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        self
    }

    /// A line of YAML under `router`.
    pub(crate) fn router(mut self, line: &str) -> Self {
        self.router.push(line.to_owned());
        self
    }

    /// A line of YAML under `websocket`.
    pub(crate) fn websocket(mut self, line: &str) -> Self {
        self.websocket.push(line.to_owned());
        self
    }

    /// One key for the places of clients, so that gateways agree.
    pub(crate) fn agreeing(self) -> Self {
        self.router("hashKey: one key for the gateways of a test")
    }

    /// Affinity for every rule, with [`SECRET`].
    pub(crate) fn sticky(mut self) -> Self {
        self.affinity.get_or_insert_default();
        self
    }

    /// Affinity with a line of YAML in its section.
    pub(crate) fn sticky_with(mut self, line: &str) -> Self {
        self.affinity.get_or_insert_default().push(line.to_owned());
        self
    }

    /// Another secret.
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.secret);
        self
    }
}

impl Display for Setup {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let listeners: Vec<_> = self.listeners.iter().map(|l| format!("{{ {l} }}")).collect();
        writeln!(f, "gateway:\n  server:\n    listeners: [{}]", listeners.join(", "))?;
        // Set by the harness: keeps a test's files apart and the expansion of names in use.
        writeln!(f, "    stateDir: \"${{STICKFAST_TEST_DIR}}\"")?;
        for line in &self.server {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "  admin: {}\n  services:", self.admin)?;
        for service in &self.services {
            writeln!(f, "    {}:\n      backends:", service.id)?;
            for backend in &service.backends {
                writeln!(f, "        - {{ {backend} }}")?;
            }
            for line in &service.options {
                writeln!(f, "      {line}")?;
            }
        }
        writeln!(f, "  router:\n    rules:")?;
        for rule in &self.rules {
            writeln!(f, "      - {{ {rule} }}")?;
        }
        for line in &self.router {
            writeln!(f, "    {line}")?;
        }
        if let Some(lines) = &self.affinity {
            let secret = &self.secret;
            writeln!(f, "    sessionAffinity:\n      enabled: true")?;
            writeln!(f, "      keys: [{{ id: 1, secret: \"{secret}\" }}]")?;
            for line in lines {
                writeln!(f, "      {line}")?;
            }
        }
        if !self.websocket.is_empty() {
            writeln!(f, "  websocket:")?;
        }
        for line in &self.websocket {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// What `stickfast check` says of a file with this text, which is called `stickfast.yaml`.
pub(crate) fn check(yaml: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stickfast.yaml");
    fs::write(&file, yaml).unwrap();
    stickfast(dir.path(), &["check", "-c", &file.display().to_string()])
}
