//! Reads fleet's HTTP API, over a unix socket or TCP.
//!
//! A thin shell around connections: what the answers mean is [`wire`]'s part, and when to ask and
//! how long to wait is the caller's. Each topic has a connection of its own, kept as long as it
//! answers well. Only GET is ever sent.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex as Plain, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::header::SERVER;
use hyper::{Response, StatusCode, Uri};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;

use super::host;
use super::http::{self, Connection};
use super::rows;
use super::wire::{self, Collation, Page, Row, WireError};
use super::{FleetClient, SourceError};
use crate::cluster::{FleetList, Machine, Reading, UnitFile, UnitState};

/// fleetd has the first from 0.9 on, and before that the second alone.
const PREFIXES: [&str; 2] = ["/fleet/v1", "/v1-alpha"];
/// Pages of one list. fleetd puts 100 rows on a page, and no fleet ever bore 100,000 units.
const MAX_PAGES: usize = 1_000;
/// Bytes of one list, all its pages together.
const MAX_BYTES: usize = 64 << 20;
/// How often one poll reads a list of which rows go while it is read.
const MAX_READINGS: usize = 3;

/// Where fleet's API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket; fleet's own is `/var/run/fleet.sock`.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// A name or an IP address, an IPv6 address without its brackets, and with its zone, if
        /// any.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Default for Address {
    /// Where fleet.socket of CoreOS listens.
    fn default() -> Self {
        Address::Unix("/var/run/fleet.sock".into())
    }
}

/// Why a text is no [`Address`]. It does not quote the text, which may have credentials in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Address::Unix(path.into()))
            } else {
                Err(AddressError("the path must be absolute, as in unix:///var/run/fleet.sock"))
            };
        }
        if text.starts_with("https://") {
            return Err(AddressError("fleet speaks no TLS; use http://HOST:PORT"));
        }
        if !text.starts_with("http://") {
            return Err(AddressError("expected unix:///PATH or http://HOST:PORT"));
        }
        let uri: Uri = text.parse().map_err(|_| AddressError("expected http://HOST:PORT"))?;
        if uri.path() != "/" || uri.query().is_some() || text.contains(['@', '#']) {
            return Err(AddressError("only a host and a port may follow http://"));
        }
        let host = uri
            .host()
            .and_then(host::read_in_url)
            .ok_or(AddressError("it needs a host"))?;
        let port = uri
            .port_u16()
            .ok_or(AddressError("it needs a port, as in http://127.0.0.1:49153"))?;
        Ok(Address::Tcp { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp { host, port } => write!(f, "http://{}", host::in_url(host, *port)),
        }
    }
}

impl Address {
    /// What a request names as its host.
    fn authority(&self) -> String {
        match self {
            Address::Unix(_) => "fleet".to_owned(),
            Address::Tcp { host, port } => host::in_header(host, *port),
        }
    }

    /// Why nothing can listen there; `None` if something may, as far as can be seen without asking
    /// it.
    pub fn absence(&self) -> Option<String> {
        let Address::Unix(path) = self else {
            return None;
        };
        match path.metadata() {
            Ok(metadata) if metadata.file_type().is_socket() => None,
            Ok(_) => Some(format!("{} is {}", path.display(), kind(path))),
            Err(_) => Some(format!("there is no {self}")),
        }
    }
}

/// Why fleet's API could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The unix socket is not there.
    #[error("there is no socket {}: start it with 'systemctl start fleet.socket', or name another with --api", .0.display())]
    NoSocket(PathBuf),
    /// Something else is where the unix socket should be.
    #[error(
        "{} is {}, not a socket: docker makes a directory for a volume that was not there; remove it, start fleet.socket, \
         and then the container", path.display(), kind(path)
    )]
    NotASocket {
        /// Where it is.
        path: PathBuf,
    },
    /// The unix socket may not be used.
    #[error("no permission to use {}: run as a user of the group fleet", .0.display())]
    PermissionDenied(PathBuf),
    /// Nobody listens.
    #[error(
        "{0} refuses the connection: nothing listens there; see 'systemctl status fleet.socket fleet.service'"
    )]
    Refused(Address),
    /// There is no connection for another reason.
    #[error("cannot connect to {0}: {1}")]
    Unreachable(Address, #[source] io::Error),
    /// The connection was closed before an answer. fleetd does that while it starts, and when a
    /// request crashes it.
    #[error(
        "{0} closed the connection without an answer: is fleetd being restarted? See 'journalctl -u fleet'"
    )]
    NoAnswer(Address),
    /// The connection was closed within an answer.
    #[error("{0} broke off in the middle of an answer: {1}")]
    BrokenOff(Address, #[source] hyper::Error),
    /// fleetd answers, but has no registry: 503, or 500 without a message. It says 503 also for as
    /// long as it starts or stops, up to 90 s, with an etcd that is well (fleet v1.0.0).
    #[error(
        "fleet at {address} cannot reach etcd (HTTP {}): fleetd is being started or stopped, or etcd is down; see \
         'systemctl status fleet', and etcd's health if that lasts", .status.as_u16()
    )]
    NoEtcd {
        /// Who said so.
        address: Address,
        /// With which status.
        status: StatusCode,
    },
    /// Another status than 200.
    #[error("{address}{path} answers HTTP {status}{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Status {
        /// Who answered.
        address: Address,
        /// What was asked for.
        path: String,
        /// The status.
        status: StatusCode,
        /// fleet's words, if there were any.
        message: Option<String>,
    },
    /// What answers does not speak HTTP.
    #[error("what listens at {0} does not speak HTTP ({1}): is it fleet's API?")]
    NotHttp(Address, #[source] hyper::Error),
    /// The body is not JSON.
    #[error("{0}{1} answers with something other than JSON: is it fleet's API?")]
    NotJson(Address, String),
    /// It speaks HTTP, but not fleet's API.
    #[error("what listens at {0} is not fleet's API: {1}")]
    NotFleet(Address, String),
    /// A list is too large to be true.
    #[error("the list {0}{1} is larger than {limit} MiB: gave up", limit = MAX_BYTES >> 20)]
    TooLarge(Address, String),
    /// A list has more pages than can be true.
    #[error("the list {0}{1} has more than {MAX_PAGES} pages: gave up")]
    TooManyPages(Address, String),
    /// Each reading of a list of several pages lacked rows of the one before it.
    #[error(
        "the list {0}{1} kept changing between its pages, {MAX_READINGS} times: it will be read again"
    )]
    Torn(Address, String),
}

/// fleet's HTTP API at one address.
#[derive(Debug)]
pub struct Api {
    address: Address,
    lanes: [Mutex<Lane>; FleetList::ALL.len()],
    learnt: Plain<Learnt>,
}

/// What one topic needs from one poll to the next.
#[derive(Debug, Default)]
struct Lane {
    connection: Option<Connection>,
    states: Collation<UnitState>,
    machines: Collation<Machine>,
    files: Collation<UnitFile>,
}

/// What the answers told about the fleetd that gave them.
#[derive(Debug, Default)]
struct Learnt {
    prefix: Option<&'static str>,
    version: Option<String>,
}

impl FleetClient for Api {
    /// `fleet API v1.0.0`; without the version as long as it is not known.
    fn name(&self) -> String {
        match self.version() {
            Some(version) => format!("fleet API v{version}"),
            None => "fleet API".to_owned(),
        }
    }

    async fn poll(&self, topic: FleetList) -> Result<Reading, SourceError> {
        let mut lane = self.lanes[topic as usize].lock().await;
        // The connection is in this future's hands until the reading is complete: dropping the
        // future closes it.
        let mut connection = lane.connection.take();
        match self.read(topic, &mut connection, &mut lane).await {
            Ok(reading) => {
                lane.connection = connection;
                Ok(reading)
            }
            Err(error) => {
                self.learnt().prefix = None;
                Err(error.into())
            }
        }
    }
}

impl Api {
    /// Connects to nothing yet.
    pub fn new(address: Address) -> Self {
        Self { address, lanes: Default::default(), learnt: Plain::default() }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The version of the fleetd that answered last, such as `1.0.0`; fleetd before 0.9 does not
    /// tell.
    pub fn version(&self) -> Option<String> {
        self.learnt().version.clone()
    }

    /// Both facts are replaced in one step, so what a panicking thread left behind is as good as
    /// any.
    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(
        &self,
        topic: FleetList,
        connection: &mut Option<Connection>,
        lane: &mut Lane,
    ) -> Result<Reading, ApiError> {
        Ok(match topic {
            FleetList::Units => {
                let mut states = self.list(connection, &mut lane.states).await?;
                let machines = self.list(connection, &mut lane.machines).await?;
                rows::join(&mut states, &machines);
                Reading::Units { states, files: None }
            }
            FleetList::Machines => {
                Reading::Machines { machines: self.list(connection, &mut lane.machines).await? }
            }
            FleetList::UnitFiles => {
                Reading::UnitFiles { files: self.list(connection, &mut lane.files).await? }
            }
        })
    }

    /// Reads a whole list, again if it was torn. While fleet lets go of rows one after the other,
    /// as when many units are destroyed, every reading is torn; then the last one must do, if it
    /// may.
    async fn list<R: Row>(
        &self,
        connection: &mut Option<Connection>,
        collation: &mut Collation<R>,
    ) -> Result<Vec<R>, ApiError> {
        let mut list = Err(Vec::new());
        for _ in 0..MAX_READINGS {
            list = collation.collate(self.pages(connection).await?);
            if list.is_ok() {
                break;
            }
        }
        match list {
            Ok(rows) => Ok(rows),
            Err(rows) if R::MAY_LACK_ROWS => Ok(rows),
            Err(_) => Err(ApiError::Torn(self.address.clone(), format!("/{}", R::PATH))),
        }
    }

    /// Reads all pages of a list once.
    async fn pages<R: Row>(
        &self,
        connection: &mut Option<Connection>,
    ) -> Result<Vec<Vec<R>>, ApiError> {
        let mut left = MAX_BYTES;
        let (path, mut page) = self.first_page(connection, &mut left).await?;
        let mut pages = Vec::new();
        while let Some(token) = page.next {
            pages.push(page.rows);
            if pages.len() == MAX_PAGES {
                return Err(ApiError::TooManyPages(self.address.clone(), path));
            }
            let path = format!("{path}?nextPageToken={}", percent_encoded(&token));
            let answer = self.ask(connection, &path, &mut left).await?;
            page = self.page(&path, &answer)?;
        }
        pages.push(page.rows);
        Ok(pages)
    }

    /// Reads a list's first page, from where this fleetd has the list.
    async fn first_page<R: Row>(
        &self,
        connection: &mut Option<Connection>,
        left: &mut usize,
    ) -> Result<(String, Page<R>), ApiError> {
        let known = self.learnt().prefix;
        for prefix in PREFIXES
            .into_iter()
            .filter(|prefix| known.is_none_or(|known| known == *prefix))
        {
            let path = format!("{prefix}/{}", R::PATH);
            let answer = self.ask(connection, &path, left).await?;
            if answer.status != StatusCode::NOT_FOUND {
                let page = self.page(&path, &answer)?;
                self.learnt().prefix = Some(prefix);
                return Ok((path, page));
            }
        }
        let problem =
            format!("it has no {} (HTTP 404)", known.unwrap_or("/fleet/v1 and no /v1-alpha"));
        Err(ApiError::NotFleet(self.address.clone(), problem))
    }

    /// What an answer says.
    fn page<R: Row>(&self, path: &str, answer: &Answer) -> Result<Page<R>, ApiError> {
        let (address, path, status) = (self.address.clone(), path.to_owned(), answer.status);
        if status == StatusCode::OK {
            return wire::page(&answer.body).map_err(|error| match error {
                WireError::NotJson => ApiError::NotJson(address, path),
                WireError::NotFleet(problem) => {
                    ApiError::NotFleet(address, format!("{path}: {problem}"))
                }
            });
        }
        let message = wire::error_message(&answer.body);
        let nothing_said = message.as_deref() == Some("");
        if status == StatusCode::SERVICE_UNAVAILABLE
            || status == StatusCode::INTERNAL_SERVER_ERROR && nothing_said
        {
            return Err(ApiError::NoEtcd { address, status });
        }
        Err(ApiError::Status {
            address,
            path,
            status,
            message: message.filter(|message| !message.is_empty()),
        })
    }

    /// Sends one request over the kept connection, or over a new one if there is none or fleetd has
    /// closed it.
    async fn ask(
        &self,
        kept: &mut Option<Connection>,
        path: &str,
        left: &mut usize,
    ) -> Result<Answer, ApiError> {
        let request = || {
            http::get(&self.address.authority(), path).map_err(|error| {
                ApiError::NotFleet(
                    self.address.clone(),
                    format!("cannot ask for its page: {error}"),
                )
            })
        };
        let answered = match kept.take() {
            // fleetd may close it at any time; as long as nothing came back, asking again is safe.
            Some(mut connection) => match connection.send(request()?).await {
                Ok(response) => Some((connection, response)),
                Err(error) if error.is_parse() => {
                    return Err(ApiError::NotHttp(self.address.clone(), error));
                }
                Err(_) => None,
            },
            None => None,
        };
        let (mut connection, response) = match answered {
            Some(answered) => answered,
            None => {
                let mut connection = open(&self.address).await?;
                let response =
                    connection
                        .send(request()?)
                        .await
                        .map_err(|error| match error.is_parse() {
                            true => ApiError::NotHttp(self.address.clone(), error),
                            false => ApiError::NoAnswer(self.address.clone()),
                        })?;
                (connection, response)
            }
        };
        self.learnt().version = version(&response);
        let answer = self.receive(path, &mut connection, response, left).await?;
        *kept = Some(connection);
        Ok(answer)
    }

    /// Takes a response's body, as long as there are bytes left for it.
    async fn receive(
        &self,
        path: &str,
        connection: &mut Connection,
        response: Response<Incoming>,
        left: &mut usize,
    ) -> Result<Answer, ApiError> {
        let status = response.status();
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while let Some(frame) = connection.frame(&mut incoming).await {
            let frame = frame.map_err(|error| ApiError::BrokenOff(self.address.clone(), error))?;
            if let Some(data) = frame.data_ref() {
                *left = left
                    .checked_sub(data.len())
                    .ok_or_else(|| ApiError::TooLarge(self.address.clone(), path.to_owned()))?;
                body.extend_from_slice(data);
            }
        }
        Ok(Answer { status, body })
    }
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

async fn open(address: &Address) -> Result<Connection, ApiError> {
    let failed = |error| not_connected(address, error);
    match address {
        Address::Unix(path) => {
            Connection::over(UnixStream::connect(path).await.map_err(failed)?).await
        }
        Address::Tcp { host, port } => {
            Connection::over(TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?)
                .await
        }
    }
    .map_err(|_| ApiError::NoAnswer(address.clone()))
}

fn not_connected(address: &Address, error: io::Error) -> ApiError {
    match (error.kind(), address) {
        (io::ErrorKind::NotFound, Address::Unix(path)) => ApiError::NoSocket(path.clone()),
        (io::ErrorKind::PermissionDenied, Address::Unix(path)) => {
            ApiError::PermissionDenied(path.clone())
        }
        // That is what connecting to anything else than a socket says, too (`connect(2)`).
        (io::ErrorKind::ConnectionRefused, Address::Unix(path)) if address.absence().is_some() => {
            ApiError::NotASocket { path: path.clone() }
        }
        (io::ErrorKind::ConnectionRefused, _) => ApiError::Refused(address.clone()),
        _ => ApiError::Unreachable(address.clone(), error),
    }
}

/// What is there instead of a socket.
fn kind(path: &Path) -> &'static str {
    if path.is_dir() { "a directory" } else { "a file" }
}

/// fleetd says `fleetd/v1.0.0` since 0.12, and said `fleetd/0.11.8` before.
fn version(response: &Response<Incoming>) -> Option<String> {
    let version = response
        .headers()
        .get(SERVER)?
        .to_str()
        .ok()?
        .strip_prefix("fleetd/")?;
    Some(version.strip_prefix('v').unwrap_or(version).to_owned())
}

/// A text as the value of a query parameter (RFC 3986, section 2.1).
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_used_is_told_apart() {
        // A test that runs as root cannot be refused by a real socket.
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = not_connected(&Address::Unix("/var/run/fleet.sock".into()), denied);
        assert!(matches!(error, ApiError::PermissionDenied(_)), "{error:?}");
    }
}
