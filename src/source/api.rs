//! Reads fleet's HTTP API, over a unix socket or TCP.
//!
//! It makes the requests, and leaves the decoding of responses to `wire`. The caller decides when
//! to poll, and how long to wait. Each list has a connection of its own, which is kept open as long
//! as polls succeed. All requests are GET.

mod address;
mod error;

use std::io;
use std::sync::{Mutex as SyncMutex, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::header::SERVER;
use hyper::{Response, StatusCode};
use percent_encoding::utf8_percent_encode;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;

use super::rows;
use super::source_file::{FileReadError, JSON_BYTES, SourceFile};
use super::unit_file;
use super::version::FleetVersion;
use super::wire::{self, ApiRow, ListPage, PageCollator, WireError};
use super::{FleetClient, SourceError};
use crate::cluster::{FleetList, Machine, Reading, UnitFile, UnitState};
use crate::net::http::{self, BodyError, HttpClient, HttpConnection, RequestError};
use crate::net::percent::RESERVED;
pub use address::{Address, AddressError};
pub use error::ApiError;

/// The prefixes of the API's paths. fleetd has the first since 0.9, and only the second before.
const PREFIXES: [&str; 2] = ["/fleet/v1", "/v1-alpha"];
/// The newest fleetd with the second prefix, which does not send its version.
const NEWEST_ALPHA: FleetVersion = FleetVersion(0, 8, 3);
/// The pages of one list. fleetd puts 100 rows on a page, and no fleet ever had 100,000 units.
const MAX_PAGES: usize = 1_000;
/// The size of one list, all its pages together.
const MAX_LIST_BYTES: usize = 64 << 20;
/// How often one poll reads a list at most, if rows vanish from it meanwhile.
const MAX_READS: usize = 3;

/// fleet's HTTP API at one address.
#[derive(Debug)]
pub struct Api {
    address: Address,
    lists: [Mutex<ListReader>; FleetList::ALL.len()],
    server: SyncMutex<ServerInfo>,
}

/// What is kept for one list from one poll to the next.
#[derive(Debug, Default)]
struct ListReader {
    client: HttpClient,
    states: PageCollator<UnitState>,
    machines: PageCollator<Machine>,
    files: PageCollator<UnitFile>,
}

/// What is known about the fleetd that responds.
#[derive(Debug, Default)]
struct ServerInfo {
    /// The one of [`PREFIXES`] that it has; `None` before the first list, and after a failed poll.
    prefix: Option<&'static str>,
    /// Its version, such as `1.0.0`; fleetd before 0.9 does not send it.
    version: Option<String>,
}

/// A response with its whole body.
struct ApiResponse {
    status: StatusCode,
    body: Vec<u8>,
}

impl FleetClient for Api {
    /// `fleet API v1.0.0`; without the version as long as it is not known.
    fn name(&self) -> String {
        match self.version() {
            Some(version) => format!("fleet API v{version}"),
            None => "fleet API".to_owned(),
        }
    }

    fn fleet_version(&self) -> Option<FleetVersion> {
        match self.version() {
            Some(version) => FleetVersion::parse(&version),
            None if self.server().prefix == Some(PREFIXES[1]) => Some(NEWEST_ALPHA),
            None => None,
        }
    }

    async fn poll(&self, list: FleetList) -> Result<Reading, SourceError> {
        let mut reader = self.lists[list as usize].lock().await;
        // Until the poll succeeds, this future owns the connection, so that dropping the future
        // closes the connection.
        let mut client = std::mem::take(&mut reader.client);

        match self.read(list, &mut client, &mut reader).await {
            Ok(reading) => {
                reader.client = client;
                Ok(reading)
            }
            Err(error) => {
                self.server().prefix = None;
                Err(error.into())
            }
        }
    }
}

impl Api {
    /// Connects with the first poll.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            lists: Default::default(),
            server: SyncMutex::default(),
        }
    }

    /// The address at which it is read.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The version of the fleetd that responded last, such as `1.0.0`. `None` for a fleetd before
    /// 0.9, and before the first response.
    pub fn version(&self) -> Option<String> {
        self.server().version.clone()
    }

    /// Locks the information about the server. A poisoned lock may be used: each field is replaced
    /// as a whole, so a thread that panicked cannot have left it half-written.
    fn server(&self) -> MutexGuard<'_, ServerInfo> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(
        &self,
        list: FleetList,
        client: &mut HttpClient,
        reader: &mut ListReader,
    ) -> Result<Reading, ApiError> {
        Ok(match list {
            FleetList::Units => {
                let mut states = self.read_list(client, &mut reader.states).await?;
                let machines = self.read_list(client, &mut reader.machines).await?;
                rows::join(&mut states, &machines);
                Reading::Units { states, files: None }
            }
            FleetList::Machines => {
                let machines = self.read_list(client, &mut reader.machines).await?;
                Reading::Machines { machines }
            }
            FleetList::UnitFiles => {
                let files = self.read_list(client, &mut reader.files).await?;
                Reading::UnitFiles { files }
            }
        })
    }

    /// Reads a whole list, and reads it again if it may lack rows. While many units are destroyed
    /// one after the other, every read may lack rows. Then the last one is returned, if
    /// [`ApiRow::MAY_LACK_ROWS`] allows that.
    async fn read_list<R: ApiRow>(
        &self,
        client: &mut HttpClient,
        collator: &mut PageCollator<R>,
    ) -> Result<Vec<R>, ApiError> {
        let mut list = Err(Vec::new());
        for _ in 0..MAX_READS {
            list = collator.collate(self.read_pages(client).await?);
            if list.is_ok() {
                break;
            }
        }

        match list {
            Ok(rows) => Ok(rows),
            Err(rows) if R::MAY_LACK_ROWS => Ok(rows),
            Err(_) => Err(ApiError::Inconsistent(self.address.clone(), format!("/{}", R::PATH))),
        }
    }

    /// Reads all pages of a list once.
    async fn read_pages<R: ApiRow>(
        &self,
        client: &mut HttpClient,
    ) -> Result<Vec<Vec<R>>, ApiError> {
        let mut remaining_bytes = MAX_LIST_BYTES;
        let (path, mut page) = self.read_first_page(client, &mut remaining_bytes).await?;
        let mut pages = Vec::new();

        while let Some(token) = page.next {
            pages.push(page.rows);
            if pages.len() == MAX_PAGES {
                return Err(ApiError::TooManyPages(self.address.clone(), path));
            }

            let token = utf8_percent_encode(&token, RESERVED);
            let path = format!("{path}?nextPageToken={token}");
            let response = self.get(client, &path, &mut remaining_bytes).await?;
            page = self.decode_page(&path, &response)?;
        }
        pages.push(page.rows);
        Ok(pages)
    }

    /// Reads the first page of a list, and finds the prefix that this fleetd has. Returns the
    /// list's path, too.
    async fn read_first_page<R: ApiRow>(
        &self,
        client: &mut HttpClient,
        remaining_bytes: &mut usize,
    ) -> Result<(String, ListPage<R>), ApiError> {
        for prefix in self.prefixes() {
            let path = format!("{prefix}/{}", R::PATH);
            let response = self.get(client, &path, remaining_bytes).await?;
            if response.status != StatusCode::NOT_FOUND {
                let page = self.decode_page(&path, &response)?;
                self.server().prefix = Some(prefix);
                return Ok((path, page));
            }
        }

        let known = self.server().prefix;
        let missing = known.unwrap_or("/fleet/v1 and no /v1-alpha");
        let problem = format!("it has no {missing} (HTTP 404)");
        Err(ApiError::NotFleet(self.address.clone(), problem))
    }

    /// Reads the file of one unit, over a connection of its own. `None` if there is no such unit.
    pub(super) async fn read_file(&self, unit: &str) -> Result<Option<SourceFile>, FileReadError> {
        let mut client = HttpClient::default();
        let unit_path = utf8_percent_encode(unit, RESERVED);
        let mut is_fleet = false;

        for prefix in self.prefixes() {
            let path = format!("{prefix}/{}/{unit_path}", UnitFile::PATH);
            let response = match self.get(&mut client, &path, &mut { JSON_BYTES }).await {
                Ok(response) => response,
                Err(ApiError::TooLarge(..)) => return Err(FileReadError::TooLarge),
                Err(error) => return Err(SourceError::from(error).into()),
            };

            match response.status {
                StatusCode::OK => {
                    let options =
                        wire::decode_unit(unit, &response.body).ok_or(FileReadError::Unreadable)?;
                    let hash = unit_file::hash(&options);
                    return SourceFile::new(hash, unit_file::text(&options)).map(Some);
                }
                StatusCode::NOT_FOUND => {
                    is_fleet |= wire::error_message(&response.body).is_some();
                }
                _ => return Err(SourceError::from(self.status_error(&path, &response)).into()),
            }
        }

        if is_fleet {
            return Ok(None);
        }
        let problem = format!("it has no unit {unit} (HTTP 404)");
        Err(SourceError::from(ApiError::NotFleet(self.address.clone(), problem)).into())
    }

    /// The prefix that this fleetd has, or all if that is not known.
    fn prefixes(&self) -> impl Iterator<Item = &'static str> + use<> {
        let known = self.server().prefix;
        PREFIXES
            .into_iter()
            .filter(move |prefix| known.is_none_or(|known| known == *prefix))
    }

    fn decode_page<R: ApiRow>(
        &self,
        path: &str,
        response: &ApiResponse,
    ) -> Result<ListPage<R>, ApiError> {
        let address = self.address.clone();
        let path = path.to_owned();
        let status = response.status;
        if status == StatusCode::OK {
            return wire::decode_page(&response.body).map_err(|error| match error {
                WireError::NotJson => ApiError::NotJson(address, path),
                WireError::NotFleet(problem) => {
                    ApiError::NotFleet(address, format!("{path}: {problem}"))
                }
            });
        }

        Err(self.status_error(&path, response))
    }

    /// The error for a response with another status than 200.
    fn status_error(&self, path: &str, response: &ApiResponse) -> ApiError {
        let address = self.address.clone();
        let status = response.status;
        let message = wire::error_message(&response.body);
        let has_empty_message = message.as_deref() == Some("");
        if status == StatusCode::SERVICE_UNAVAILABLE
            || status == StatusCode::INTERNAL_SERVER_ERROR && has_empty_message
        {
            return ApiError::NoEtcd { address, status };
        }
        let message = message.filter(|message| !message.is_empty());
        ApiError::Status { address, path: path.to_owned(), status, message }
    }

    /// Sends one request, and reads the whole response. It is an error if the body is larger than
    /// `remaining_bytes`, from which its size is then subtracted.
    async fn get(
        &self,
        client: &mut HttpClient,
        path: &str,
        remaining_bytes: &mut usize,
    ) -> Result<ApiResponse, ApiError> {
        let address = || self.address.clone();
        let request = http::get(&self.address.authority(), path).map_err(|error| {
            ApiError::NotFleet(
                address(),
                format!("a request for its page is not possible: {error}"),
            )
        })?;

        let response = client
            .send(request, async || connect(&self.address).await)
            .await
            .map_err(|error| match error {
                RequestError::Connect(error) => error,
                RequestError::Exchange(error) if error.is_parse() => {
                    ApiError::NotHttp(address(), error)
                }
                RequestError::Exchange(_) => ApiError::NoAnswer(address()),
            })?;
        self.server().version = server_version(&response);

        let status = response.status();
        let body = client
            .body(response, *remaining_bytes)
            .await
            .map_err(|error| match error {
                BodyError::TooLarge => ApiError::TooLarge(address(), path.to_owned()),
                BodyError::Exchange(error) => ApiError::BrokenOff(address(), error),
            })?;
        *remaining_bytes -= body.len();
        Ok(ApiResponse { status, body })
    }
}

async fn connect(address: &Address) -> Result<HttpConnection, ApiError> {
    let connect_error = |error| connect_error(address, error);
    let connection = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(connect_error)?;
            HttpConnection::over(stream).await
        }
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(connect_error)?;
            HttpConnection::over(stream).await
        }
    };
    connection.map_err(|_| ApiError::NoAnswer(address.clone()))
}

fn connect_error(address: &Address, error: io::Error) -> ApiError {
    match (error.kind(), address) {
        (io::ErrorKind::NotFound, Address::Unix(path)) => ApiError::NoSocket(path.clone()),
        (io::ErrorKind::PermissionDenied, Address::Unix(path)) => {
            ApiError::PermissionDenied(path.clone())
        }
        // A connection to a file that is not a socket is refused, too (`connect(2)`).
        (io::ErrorKind::ConnectionRefused, Address::Unix(path)) if address.absence().is_some() => {
            ApiError::NotASocket { path: path.clone() }
        }
        (io::ErrorKind::ConnectionRefused, _) => ApiError::Refused(address.clone()),
        _ => ApiError::Unreachable(address.clone(), error),
    }
}

/// The version in the header `Server`: `fleetd/v1.0.0` since 0.12, `fleetd/0.11.8` before.
fn server_version(response: &Response<Incoming>) -> Option<String> {
    let server = response.headers().get(SERVER)?.to_str().ok()?;
    let version = server.strip_prefix("fleetd/")?;
    Some(version.strip_prefix('v').unwrap_or(version).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_without_permission_is_told_apart() {
        // A test that runs as root has permission for every real socket.
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = connect_error(&Address::Unix("/var/run/fleet.sock".into()), denied);
        assert!(matches!(error, ApiError::PermissionDenied(_)), "{error:?}");
    }
}
