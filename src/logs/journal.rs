//! Reads the journal of a machine over HTTP, as systemd-journal-gatewayd(8) serves it.
//!
//! It asks for `/entries` only, only with GET, and only about one unit. It must not know who reads
//! the entries, nor which machines are in the cluster.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderValue, RANGE};
use hyper::{Response, StatusCode};
use percent_encoding::utf8_percent_encode;
use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::line_splitter::{LineSplitter, StreamLine};
use crate::metrics::{JournalOutcome, Metrics};
use crate::net::http::{self, HttpClient, HttpConnection, RequestError};
use crate::net::percent::RESERVED;

/// How many of the last entries are read at first, of what the unit wrote and of what systemd says
/// about it.
pub(crate) const MAX_BACKLOG: usize = 1_000;

/// Time limit for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for each part of an answer that has an end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing arrives is checked after this time, and then after each
/// [`KEEPALIVE_INTERVAL`]. It is closed after [`KEEPALIVE_PROBES`] checks without an answer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Which entries of a unit are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JournalEntries {
    /// What the processes of the unit wrote.
    Written,
    /// What systemd says about the unit: that it started, failed, was restarted.
    AboutUnit,
}

impl JournalEntries {
    pub(super) const ALL: [JournalEntries; 2] =
        [JournalEntries::Written, JournalEntries::AboutUnit];

    /// The fields that an entry has (`systemd.journal-fields(7)`), as a query. All must match.
    fn query(self, unit: &str) -> String {
        let unit = utf8_percent_encode(unit, RESERVED);
        match self {
            Self::Written => format!("_SYSTEMD_UNIT={unit}"),
            Self::AboutUnit => format!("UNIT={unit}&_PID=1"),
        }
    }
}

/// Where the entries begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JournalStart {
    /// The last ones, so many at most.
    Last(usize),
    /// The entry with this cursor, or if it is no longer there, the first one after it.
    Cursor(Box<str>),
}

impl JournalStart {
    /// After the last entry that was read, or without one, [`MAX_BACKLOG`] before the newest.
    pub(super) fn after(cursor: Option<&str>) -> Self {
        match cursor {
            Some(cursor) => Self::Cursor(cursor.into()),
            None => Self::Last(MAX_BACKLOG),
        }
    }

    /// The header `Range`, as systemd-journal-gatewayd(8) describes it:
    /// `entries=CURSOR:SKIP:COUNT`.
    fn range(&self, max: Option<usize>) -> Result<HeaderValue, JournalError> {
        let range = match (self, max) {
            (Self::Last(count), _) => format!("entries=:-{count}:"),
            (Self::Cursor(cursor), None) => format!("entries={cursor}"),
            (Self::Cursor(cursor), Some(max)) => format!("entries={cursor}:0:{max}"),
        };
        HeaderValue::try_from(range).map_err(|_| JournalError::NotAJournal("a cursor".into()))
    }
}

/// Why a journal cannot be read. The text is for the person who wants to read a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JournalError {
    #[error(
        "cannot connect to {0}: {1}; is systemd-journal-gatewayd.socket started there, and is \
         --journal-port its port?"
    )]
    Connect(SocketAddr, String),
    #[error("{0} gave no answer within {1} s")]
    NoAnswer(SocketAddr, u64),
    #[error("{0} closed the connection: {1}")]
    Closed(SocketAddr, String),
    #[error("{0} refused the request: {1}")]
    Refused(SocketAddr, StatusCode),
    #[error("the answer is not that of systemd-journal-gatewayd: {0}")]
    NotAJournal(String),
}

/// The journal of one machine, and of one unit in it.
#[derive(Clone, Debug)]
pub(super) struct UnitJournal {
    pub(super) address: SocketAddr,
    pub(super) unit: Box<str>,
    /// Where requests are counted.
    pub(super) metrics: Arc<Metrics>,
}

/// Entries that have an end, or follow for ever.
pub(super) struct EntryStream {
    address: SocketAddr,
    http: HttpClient,
    body: Incoming,
    splitter: LineSplitter,
}

impl UnitJournal {
    /// Asks for entries up to the newest one, `max` of them at most.
    pub(super) async fn read(
        &self,
        entries: JournalEntries,
        start: &JournalStart,
        max: usize,
    ) -> Result<EntryStream, JournalError> {
        let path = format!("/entries?{}", entries.query(&self.unit));
        let open = self.open(&path, start.range(Some(max))?);
        let opened = timeout(ANSWER_TIMEOUT, open).await;
        self.count(opened.unwrap_or_else(|_| Err(self.no_answer())))
    }

    /// Asks for entries, and for all that follow. The answer begins with the first of them, so it
    /// may take any time.
    pub(super) async fn follow(
        &self,
        entries: JournalEntries,
        start: &JournalStart,
    ) -> Result<EntryStream, JournalError> {
        let path = format!("/entries?follow&{}", entries.query(&self.unit));
        self.count(self.open(&path, start.range(None)?).await)
    }

    fn count<T>(&self, opened: Result<T, JournalError>) -> Result<T, JournalError> {
        self.metrics.journal_request(match opened {
            Ok(_) => JournalOutcome::Answered,
            Err(_) => JournalOutcome::Failed,
        });
        opened
    }

    fn no_answer(&self) -> JournalError {
        JournalError::NoAnswer(self.address, ANSWER_TIMEOUT.as_secs())
    }

    async fn open(&self, path: &str, range: HeaderValue) -> Result<EntryStream, JournalError> {
        let address = self.address;
        let mut request = http::get(&address.to_string(), path)
            .map_err(|error| JournalError::NotAJournal(error.to_string()))?;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(RANGE, range);

        let mut http = HttpClient::default();
        let response = http.send(request, async || connect(address).await).await;
        let response = response.map_err(|error| match error {
            RequestError::Connect(error) => error,
            RequestError::Exchange(error) if error.is_parse() => {
                JournalError::NotAJournal(error.to_string())
            }
            RequestError::Exchange(error) => JournalError::Closed(address, error.to_string()),
        })?;

        check_status(address, &response)?;
        Ok(EntryStream {
            address,
            http,
            body: response.into_body(),
            splitter: LineSplitter::default(),
        })
    }
}

/// A success may be 200, or 206 as for a range of bytes (RFC 9110, section 15.3.7).
fn check_status(address: SocketAddr, response: &Response<Incoming>) -> Result<(), JournalError> {
    match response.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(()),
        status => Err(JournalError::Refused(address, status)),
    }
}

async fn connect(address: SocketAddr) -> Result<HttpConnection, JournalError> {
    let failed = |error: &dyn std::fmt::Display| JournalError::Connect(address, error.to_string());

    let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(stream) => stream.map_err(|error| failed(&error))?,
        Err(_) => {
            let problem = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            return Err(failed(&problem));
        }
    };
    keep_alive(&stream).map_err(|error| failed(&error))?;

    HttpConnection::over(stream).await.map_err(|error| failed(&error))
}

/// A machine that is gone does not close its connections, and a log may be silent for hours.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

impl EntryStream {
    /// Waits for more entries, and passes each to `take`, one line of JSON. Returns whether there
    /// may be more.
    pub(super) async fn next(
        &mut self,
        take: impl FnMut(StreamLine<'_>),
    ) -> Result<bool, JournalError> {
        let address = self.address;
        let data: Option<hyper::Result<Bytes>> = self.http.data(&mut self.body).await;

        match data {
            Some(Ok(data)) => {
                self.splitter.split(&data, take);
                Ok(true)
            }
            Some(Err(error)) => Err(JournalError::Closed(address, error.to_string())),
            None => Ok(false),
        }
    }

    /// Reads the entries up to the last one.
    pub(super) async fn read_to_end(
        &mut self,
        mut take: impl FnMut(StreamLine<'_>),
    ) -> Result<(), JournalError> {
        loop {
            let next = timeout(ANSWER_TIMEOUT, self.next(&mut take)).await;
            let no_answer = JournalError::NoAnswer(self.address, ANSWER_TIMEOUT.as_secs());
            if !next.unwrap_or(Err(no_answer))? {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_the_query() {
        for (unit, query) in [
            ("web@1.service", "_SYSTEMD_UNIT=web%401.service"),
            (r"dev-\x2d.device", r"_SYSTEMD_UNIT=dev-%5Cx2d.device"),
            ("a&follow=b c#d/ü", "_SYSTEMD_UNIT=a%26follow%3Db%20c%23d%2F%C3%BC"),
        ] {
            assert_eq!(JournalEntries::Written.query(unit), query);
        }
        assert_eq!(JournalEntries::AboutUnit.query("a.service"), "UNIT=a.service&_PID=1");
    }

    #[test]
    fn a_range_begins_at_the_last_entries_or_at_a_cursor() {
        let cursor = JournalStart::Cursor("s=0;i=1".into());
        assert_eq!(JournalStart::Last(200).range(Some(9)).unwrap(), "entries=:-200:");
        assert_eq!(cursor.range(None).unwrap(), "entries=s=0;i=1");
        assert_eq!(cursor.range(Some(9)).unwrap(), "entries=s=0;i=1:0:9");
    }
}
