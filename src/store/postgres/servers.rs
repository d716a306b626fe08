//! Where the database is: one server or several of one cluster, of which the one that can be written is found anew whenever it moved.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{Connection as _, Row as _};

use super::super::statements::postgres as sql;
use super::super::{OpenError, StoreError};

/// How long one server may take to answer before the next is tried.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// How long after its last use a connection is believed to be one still.
pub(super) const TRUSTED: Duration = Duration::from_millis(200);
/// What `pooled` is while the pool must be told anew how to connect.
const NOWHERE: usize = usize::MAX;

/// What stands between this process and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooler {
    /// Nothing, or something that hands bytes on.
    None,
    /// A pooler that gives each client a connection for as long as it stays.
    Session,
    /// A pooler that gives each transaction any connection: nothing may be left in one, so there are no named statements, no
    /// settings and no listening, and every statement is inside a transaction.
    Transaction,
}

impl FromStr for Pooler {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        match text {
            "none" => Ok(Self::None),
            "session" => Ok(Self::Session),
            "transaction" => Ok(Self::Transaction),
            other => Err(OpenError::Parameter(format!("pooler={other:.40} is none of none, session, transaction"))),
        }
    }
}

/// Which servers may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The one that can be written.
    Primary,
    /// That one, or else a standby.
    Any,
}

/// One server of a cluster.
#[derive(Debug)]
struct Host {
    options: PgConnectOptions,
    /// Whether it was found to offer TLS that cannot be used, where its address does not demand any.
    plain: AtomicBool,
}

impl Host {
    /// How to connect to it.
    fn options(&self) -> PgConnectOptions {
        let options = self.options.clone();
        if self.plain.load(Ordering::Relaxed) { options.ssl_mode(PgSslMode::Disable) } else { options }
    }

    /// Whether `error` is one of TLS, which its address asks for only where it can be had, as is usual: Citus makes certificates of a
    /// version by itself that this library refuses to read.
    fn can_do_without_tls(&self, error: &sqlx::Error) -> bool {
        let of_tls = match error {
            sqlx::Error::Tls(_) => true,
            sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
            _ => false,
        };
        of_tls && matches!(self.options.get_ssl_mode(), PgSslMode::Prefer) && !self.plain.load(Ordering::Relaxed)
    }
}

/// The servers of one cluster.
#[derive(Debug)]
pub(super) struct Servers {
    hosts: Vec<Host>,
    /// The one that could be written when it was last looked for.
    current: AtomicUsize,
    /// The one that the pool connects to.
    pooled: AtomicUsize,
    wanted: Wanted,
    pub(super) pooler: Pooler,
    /// All of them, without secrets.
    pub(super) address: String,
}

impl Servers {
    /// Reads addresses, separated by commas.
    pub(super) fn read(urls: &str, wanted: Wanted) -> Result<Self, StoreError> {
        let mut pooler = Pooler::None;
        let mut hosts = Vec::new();
        for url in split(urls) {
            let (url, named) = take_parameter(url, "pooler");
            if let Some(named) = named {
                pooler = named.parse()?;
            }
            // The reason of the parser can hold the address, and that the password.
            let options = PgConnectOptions::from_str(&url).map_err(|error| OpenError::Parameter(why(&error)))?;
            hosts.push(options.application_name("rekindle"));
        }
        if pooler != Pooler::None {
            // PgBouncer refuses parameters at the start that it does not know.
            hosts = hosts.into_iter().map(|host| host.extra_float_digits(None)).collect();
        }
        if pooler == Pooler::Transaction {
            hosts = hosts.into_iter().map(|host| host.statement_cache_capacity(0)).collect();
        }
        let address = hosts.iter().map(describe).collect::<Vec<_>>().join(",");
        let hosts = hosts.into_iter().map(|options| Host { options, plain: AtomicBool::new(false) }).collect();
        Ok(Self { hosts, current: AtomicUsize::new(0), pooled: AtomicUsize::new(0), wanted, pooler, address })
    }

    /// A connection to the server that can be written, wherever it is now.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let begin = self.current.load(Ordering::Relaxed);
        let mut failure = None;
        let mut standby = None;
        for index in (0..self.hosts.len()).map(|step| (begin + step) % self.hosts.len()) {
            let Some(host) = self.hosts.get(index) else { continue };
            match self.connect_to(host).await {
                Ok((connection, Role::Primary)) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok((connection, Role::Standby)) => standby = Some((index, connection)),
                Err(error) => failure = Some(error),
            }
        }
        match (standby, self.wanted) {
            (Some((index, connection)), Wanted::Any) => {
                self.current.store(index, Ordering::Relaxed);
                Ok(connection)
            }
            (Some(_), Wanted::Primary) => {
                Err(sqlx::Error::Protocol("no server can be written: those that answer are standbys".to_owned()))
            }
            (None, _) => Err(failure.unwrap_or_else(|| sqlx::Error::Protocol("no server is named".to_owned()))),
        }
    }

    /// The same for statements that touch few rows by their keys.
    pub(super) async fn connect_by_key(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.connect().await?;
        if self.pooler != Pooler::Transaction {
            sqlx::raw_sql(sql::BY_KEY).execute(&mut connection).await?;
            sqlx::raw_sql(sql::COMPRESS_FAST).execute(&mut connection).await?;
        }
        Ok(connection)
    }

    async fn connect_to(&self, host: &Host) -> Result<(PgConnection, Role), sqlx::Error> {
        let connect = async {
            let mut connection = match PgConnection::connect_with(&host.options()).await {
                Err(error) if host.can_do_without_tls(&error) => {
                    let (server, reason) = (describe(&host.options), error.to_string());
                    tracing::warn!(server, reason, "connecting without TLS; sslmode=require in the address refuses that");
                    host.plain.store(true, Ordering::Relaxed);
                    self.pooled.store(NOWHERE, Ordering::Relaxed);
                    PgConnection::connect_with(&host.options()).await?
                }
                connected => connected?,
            };
            let role = self.prepare(&mut connection).await?;
            Ok((connection, role))
        };
        let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("{} did not answer", describe(&host.options)));
        tokio::time::timeout(CONNECT_WAIT, connect).await.unwrap_or_else(|_| Err(sqlx::Error::Io(late())))
    }

    /// Finds out what a new connection leads to, and makes its commits durable.
    async fn prepare(&self, connection: &mut PgConnection) -> Result<Role, sqlx::Error> {
        if self.pooler == Pooler::Transaction {
            sqlx::raw_sql(sql::BEGIN_READ).execute(&mut *connection).await?;
        }
        let server = sqlx::query(sql::SERVER).persistent(false).fetch_one(&mut *connection).await?;
        let (standby, commits): (bool, String) = (server.try_get(0)?, server.try_get(1)?);
        if self.pooler == Pooler::Transaction {
            sqlx::raw_sql(sql::COMMIT).execute(&mut *connection).await?;
        } else {
            sqlx::raw_sql(sql::NO_IDLE_TRANSACTIONS).execute(&mut *connection).await?;
            if commits == "off" {
                sqlx::raw_sql(sql::DURABLE).execute(&mut *connection).await?;
            }
        }
        Ok(if standby { Role::Standby } else { Role::Primary })
    }

    /// Connections for reading, all to the server that can be written.
    pub(super) fn pool(self: &std::sync::Arc<Self>, connections: u32, patience: Duration) -> PgPool {
        let servers = std::sync::Arc::clone(self);
        self.pooled.store(self.current.load(Ordering::Relaxed), Ordering::Relaxed);
        PgPoolOptions::new()
            .max_connections(connections)
            // Shorter than the patience, since meanwhile the server may have been found elsewhere.
            .acquire_timeout(patience.min(CONNECT_WAIT))
            // To ask the server before each use would be a second way there and back for every page.
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                // One that does not answer is let go, and another is opened.
                Box::pin(async move { Ok(known.idle_for < TRUSTED || connection.ping().await.is_ok()) })
            })
            .after_connect(move |connection, _| {
                let servers = std::sync::Arc::clone(&servers);
                Box::pin(async move {
                    match servers.prepare(connection).await? {
                        Role::Standby if servers.wanted == Wanted::Primary => {
                            Err(sqlx::Error::Io(std::io::Error::other("this server is a standby now")))
                        }
                        Role::Primary | Role::Standby => Ok(()),
                    }
                })
            })
            .connect_lazy_with(self.here())
    }

    /// Lets new connections of `pool` go where the server was found last.
    pub(super) fn lead(&self, pool: &PgPool) {
        let current = self.current.load(Ordering::Relaxed);
        if self.pooled.swap(current, Ordering::Relaxed) != current {
            pool.set_connect_options(self.here());
        }
    }

    /// How to connect to the server that could be written when it was last looked for.
    fn here(&self) -> PgConnectOptions {
        let current = self.current.load(Ordering::Relaxed);
        self.hosts.get(current).or_else(|| self.hosts.first()).map_or_else(PgConnectOptions::new, Host::options)
    }

    /// Whether statements may be kept prepared by name.
    pub(super) fn keeps_statements(&self) -> bool {
        self.pooler != Pooler::Transaction
    }
}

/// What a server is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    Standby,
}

/// The addresses of a list; a comma inside one is no end of it.
fn split(urls: &str) -> Vec<&str> {
    let mut begins: Vec<usize> = vec![0];
    begins.extend(urls.match_indices(",postgres").map(|(index, _)| index + 1));
    let ends = begins.iter().skip(1).map(|begin| begin - 1).chain([urls.len()]);
    begins.iter().zip(ends).filter_map(|(begin, end)| urls.get(*begin..end)).collect()
}

/// Takes one parameter out of an address.
fn take_parameter(url: &str, wanted: &str) -> (String, Option<String>) {
    let Some((place, parameters)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut found = None;
    let mut kept = Vec::new();
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            Some((name, value)) if name == wanted => found = Some(value.to_owned()),
            _ => kept.push(parameter),
        }
    }
    let url = if kept.is_empty() { place.to_owned() } else { format!("{place}?{}", kept.join("&")) };
    (url, found)
}

/// The reason alone; the address with its password stays out of it.
fn why(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(reason) => reason.to_string(),
        other => other.to_string(),
    }
}

fn describe(host: &PgConnectOptions) -> String {
    let database = host.get_database().unwrap_or_else(|| host.get_username());
    format!("postgres://{}:{}/{database}", host.get_host(), host.get_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_is_told_apart_and_shown_without_secrets() {
        let urls = "postgres://me:se,cret@one:5433/db?pooler=session,postgresql://me:secret@two/db";
        let servers = Servers::read(urls, Wanted::Primary).unwrap();
        assert_eq!(servers.address, "postgres://one:5433/db,postgres://two:5432/db");
        assert_eq!(servers.pooler, Pooler::Session);
    }

    #[test]
    fn a_wrong_address_is_refused_without_repeating_it() {
        for wrong in ["postgres://me:secret@host:notaport/db", "postgres://me:secret@host/db?pooler=swimming"] {
            let error = Servers::read(wrong, Wanted::Primary).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
