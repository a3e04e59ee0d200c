//! Which Redis: from a URL, or from the environment.

use redis::{ConnectionAddr, IntoConnectionInfo};
use std::fmt;
use std::path::PathBuf;

/// The port that Redis listens on where nothing else is said.
const PORT: u16 = 6379;

/// A password. It shows in nothing that is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the Redis is and how one gets in. Shown without user and password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Name or address of its machine.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The number of the database.
    pub db: i64,
    /// As whom; `None` is the user `default`.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<Secret>,
    /// By TLS.
    pub tls: bool,
    /// Who signed its certificate, a PEM file; `None` trusts whom this machine trusts.
    pub ca: Option<PathBuf>,
    /// What all keys begin with, so that several clusters can share a Redis.
    pub prefix: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Target {
    /// As a URL that would name it, but for user and password: they are `***`.
    #[must_use]
    pub fn masked_url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let secret = if self.user.is_some() || self.password.is_some() { "***@" } else { "" };
        let db = if self.db == 0 { String::new() } else { format!("/{}", self.db) };
        let prefix = (!self.prefix.is_empty()).then(|| format!("prefix={}", self.prefix));
        let ca = self.ca.as_ref().map(|file| format!("ca={}", file.display()));
        let options: Vec<_> = prefix.into_iter().chain(ca).collect();
        let mark = if options.is_empty() { "" } else { "?" };
        format!("{scheme}://{secret}{self}{db}{mark}{}", options.join("&"))
    }
}

/// What is wrong with a URL or with the environment. Never repeats the URL: it may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}; write redis://[user:password@]host[:port][/db][?prefix=p&ca=file], or rediss:// for TLS")]
pub struct TargetError {
    what: String,
}

fn wrong(what: impl Into<String>) -> TargetError {
    TargetError { what: what.into() }
}

impl Target {
    /// A Redis without password, TLS and prefix.
    #[must_use]
    pub fn plain(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            db: 0,
            user: None,
            password: None,
            tls: false,
            ca: None,
            prefix: String::new(),
        }
    }

    /// From `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS, with `?prefix=` for what all
    /// keys begin with and `&ca=` for a file with the certificate of who signed the server's.
    ///
    /// # Errors
    /// When it is not such a URL.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let parsed = redis::parse_redis_url(url).ok_or_else(|| wrong("that is not the URL of a Redis"))?;
        let info = url
            .into_connection_info()
            .map_err(|error| wrong(format!("the URL of the Redis is wrong ({:?})", error.kind())))?;
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, *port, false),
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(wrong("TLS without a check of the certificate protects nothing; give ?ca=file"));
            }
            ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
            _ => return Err(wrong("only TCP and TLS are understood")),
        };
        let settings = info.redis_settings();
        let mut target = Self {
            db: settings.db(),
            user: settings.username().map(str::to_owned),
            password: settings.password().map(Secret::new),
            tls,
            ..Self::plain(host.trim_matches(['[', ']']), port)
        };
        for (name, value) in parsed.query_pairs() {
            match &*name {
                "prefix" => target.prefix = value.into_owned(),
                "ca" => target.ca = Some(PathBuf::from(value.into_owned())),
                _ => return Err(wrong(format!("`{name}` is not an option of the URL of a Redis"))),
            }
        }
        Ok(target)
    }

    /// The Redis that `url` and the environment name. `url` may be just `redis`; what it leaves out is taken
    /// from `REDIS_HOST`, `REDIS_PORT`, `REDIS_USERNAME`, `REDIS_PASSWORD` and `REDIS_CA`. A password in the
    /// environment is seen by fewer than one in a command line.
    ///
    /// # Errors
    /// When the URL or `REDIS_PORT` is wrong.
    pub fn resolve(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, TargetError> {
        let given = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut target = if matches!(url, "redis" | "redis://") {
            let port = match given("REDIS_PORT") {
                None => PORT,
                Some(text) => {
                    text.parse().map_err(|_| wrong(format!("REDIS_PORT is {text:?}, which is not a port")))?
                }
            };
            Self::plain(given("REDIS_HOST").unwrap_or_else(|| "localhost".to_owned()), port)
        } else {
            Self::parse(url)?
        };
        if target.password.is_none() {
            target.password = given("REDIS_PASSWORD").map(Secret);
            target.user = target.user.or_else(|| given("REDIS_USERNAME"));
        }
        target.ca = target.ca.or_else(|| given("REDIS_CA").map(PathBuf::from));
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn urls_are_understood() {
        assert_eq!(Target::parse("redis://cache").unwrap(), Target::plain("cache", 6379));
        let target =
            Target::parse("rediss://yak:p%40ss@10.0.0.1:7000/3?prefix=blue:&ca=/etc/ca.pem").unwrap();
        let expected = Target {
            db: 3,
            user: Some("yak".to_owned()),
            password: Some(Secret::new("p@ss")),
            tls: true,
            ca: Some(PathBuf::from("/etc/ca.pem")),
            prefix: "blue:".to_owned(),
            ..Target::plain("10.0.0.1", 7000)
        };
        assert_eq!(target, expected);
        let shown = "rediss://***@10.0.0.1:7000/3?prefix=blue:&ca=/etc/ca.pem";
        assert_eq!(target.masked_url(), shown);
        assert_eq!(Target::plain("cache", 6379).masked_url(), "redis://cache:6379");
        assert_eq!(Target::parse("redis://[::1]:7000").unwrap().to_string(), "[::1]:7000");
        assert_eq!(Target::parse("redis://:only@h").unwrap().password, Some(Secret::new("only")));
    }

    #[test]
    fn the_password_shows_nowhere() {
        let target = Target::parse("redis://user:hunter2@host").unwrap();
        assert!(!format!("{target} {target:?}").contains("hunter2"));
        for wrong in ["http://u:hunter2@h", "redis://u:hunter2@h/x", "redis://u:hunter2@h?p=1", "hunter2"] {
            let error = Target::parse(wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_environment_names_a_redis_and_fills_in_what_a_url_leaves_out() {
        let set = |name: &str| match name {
            "REDIS_HOST" => Some("cache".to_owned()),
            "REDIS_PORT" => Some("7000".to_owned()),
            "REDIS_PASSWORD" => Some("secret".to_owned()),
            _ => None,
        };
        let with_password = |target: Target| Target { password: Some(Secret::new("secret")), ..target };
        assert_eq!(Target::resolve("redis", set).unwrap(), with_password(Target::plain("cache", 7000)));
        assert_eq!(Target::resolve("redis", nothing).unwrap(), Target::plain("localhost", 6379));
        let by_url = Target::resolve("redis://other:1", set).unwrap();
        assert_eq!(by_url, with_password(Target::plain("other", 1)), "the URL's host, not the environment's");
        let own = Target::resolve("redis://:own@other:1", set).unwrap();
        assert_eq!(own.password, Some(Secret::new("own")));
        let port = |name: &str| (name == "REDIS_PORT").then(|| "many".to_owned());
        assert!(Target::resolve("redis", port).unwrap_err().to_string().contains("\"many\""));
    }
}
