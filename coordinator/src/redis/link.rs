//! One connection to the Redis. Every operation has a deadline; after one that was missed, or a connection
//! that broke, nobody knows what the server did, and the connection is not used any more.

use super::scripts::Keys;
use super::target::Target;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use std::time::Duration;

/// Why an operation did not succeed, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// The server refused, or the caller: nothing was changed.
    Refused(String),
    /// Whether it was done is not known; the connection must be dropped.
    Broken(String),
}

impl Trouble {
    pub(super) fn words(self) -> String {
        match self {
            Self::Refused(words) | Self::Broken(words) => words,
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// Where to, for texts.
    host: String,
}

impl Link {
    /// Connects, within so long.
    pub(super) async fn open(target: &Target, within: Duration) -> Result<Self, Trouble> {
        let host = target.to_string();
        let attempt = async {
            let client = client(target).await?;
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        match tokio::time::timeout(within, attempt).await {
            Ok(Ok(connection)) => Ok(Self { connection, host }),
            Ok(Err(error)) => Err(describe(&host, &error, "cannot be reached")),
            Err(_) => {
                Err(Trouble::Broken(format!("redis at {host} cannot be reached: no answer in {within:?}")))
            }
        }
    }

    /// Runs one script, within so long.
    pub(super) async fn eval(
        &mut self,
        script: &str,
        keys: &Keys,
        arguments: &[&[u8]],
        within: Duration,
    ) -> Result<Answer, Trouble> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.0.len()).arg(&keys.0);
        for argument in arguments {
            command.arg(argument);
        }
        let fields: Vec<Vec<u8>> = self.ask(&command, within).await?;
        Ok(Answer(fields))
    }

    /// Sends one command, within so long.
    pub(super) async fn ask<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
        within: Duration,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(within, command.query_async(&mut self.connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(describe(&self.host, &error, "does not answer any more")),
            Err(_) => {
                let host = &self.host;
                Err(Trouble::Broken(format!("redis at {host} is slow: it did not answer within {within:?}")))
            }
        }
    }
}

/// What a script answered: texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer(Vec<Vec<u8>>);

impl Answer {
    /// Its field number `n`, empty where there is none.
    pub(super) fn text(&self, n: usize) -> String {
        self.0.get(n).map(|field| String::from_utf8_lossy(field).into_owned()).unwrap_or_default()
    }

    /// The same as a number, if it is one.
    pub(super) fn number<N: std::str::FromStr>(&self, n: usize) -> Option<N> {
        self.text(n).parse().ok()
    }
}

async fn client(target: &Target) -> Result<Client, RedisError> {
    let (host, port) = (target.host.clone(), target.port);
    let address = if target.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut settings = RedisConnectionInfo::default().set_db(target.db).set_skip_set_lib_name();
    if let Some(user) = &target.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &target.password {
        settings = settings.set_password(password.reveal());
    }
    let info = address
        .into_connection_info()?
        .set_tcp_settings(TcpSettings::default().set_nodelay(true))
        .set_redis_settings(settings);
    if !target.tls {
        return Client::open(info);
    }
    // Fails where one is installed already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root_cert = match &target.ca {
        None => None,
        Some(file) => Some(tokio::fs::read(file).await.map_err(|error| {
            let what = format!("{}: {error}", file.display());
            RedisError::from((ErrorKind::InvalidClientConfig, "the file of the CA cannot be read", what))
        })?),
    };
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
}

/// What an error means for who runs the cluster.
fn describe(host: &str, error: &RedisError, broken: &str) -> Trouble {
    let said = error.to_string();
    // Before Redis 7 the code of an error inside a script is somewhere in its text.
    let is = |code: &str| error.code() == Some(code) || said.contains(&format!("-{code} "));
    let refused = if is("OOM") {
        "is full: it has reached maxmemory and refuses writes; give it more memory"
    } else if is("READONLY") {
        "is a read-only replica; name the primary instead"
    } else if is("MISCONF") {
        "cannot save to its disk and refuses writes; see its log and the space on its disk"
    } else if is("LOADING") {
        "is still loading its data"
    } else if is("WRONGPASS") || said.contains("invalid password") {
        "refused the password; check the URL's, or REDIS_PASSWORD"
    } else if is("NOAUTH") {
        "wants a password; give it in the URL or as REDIS_PASSWORD"
    } else if is("NOPERM") {
        "does not allow that to this user; its ACL needs the keys and EVAL"
    } else if is("MOVED") || is("CROSSSLOT") {
        "is part of a Redis Cluster and has not all keys of ours; give ?prefix={name}: or a Redis of its own"
    } else if is("BUSY") {
        "is busy with a script of somebody else"
    } else if is("NOREPLICAS") {
        "has too few replicas for its min-replicas-to-write and refuses writes"
    } else if error.kind() == ErrorKind::AuthenticationFailed {
        "refused user or password; check the URL's, or REDIS_USERNAME and REDIS_PASSWORD"
    } else if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) {
        "refused"
    } else {
        return Trouble::Broken(format!("redis at {host} {broken}: {said}"));
    };
    Trouble::Refused(format!("redis at {host} {refused} ({said})"))
}
