//! Parses a request for the log of a unit.
//!
//! This module must not know how a log is read.

use super::super::error::HttpError;
use super::super::query::{invalid_value, parse_filter, unknown_key};
use crate::feed::UnitMachine;
use crate::feed::filter::Filter;
use crate::logs::MAX_BACKLOG;

/// The keys of the query.
const KEYS: &str = "unit, machine, lines, follow, filter and token";
/// How many of the last lines are sent, unless the request says it.
const DEFAULT_LINES: usize = 200;

/// A valid request.
#[derive(Debug, PartialEq)]
pub(super) struct LogRequest {
    /// The name of the unit, with its suffix.
    pub(super) unit: String,
    /// The ID or the address of the only machine that is asked.
    machine: Option<String>,
    /// How many of the last lines are sent.
    pub(super) lines: usize,
    /// Whether what is written from now on is sent, too.
    pub(super) follow: bool,
    /// Selects lines. Its bare words are compared with the message and the program.
    pub(super) filter: Filter,
}

impl LogRequest {
    /// # Errors
    ///
    /// 400 if the query is wrong.
    pub(super) fn parse(query: &str) -> Result<Self, HttpError> {
        Self::from_query(query).map_err(HttpError::bad_request)
    }

    /// The error is a message for the client.
    fn from_query(query: &str) -> Result<Self, String> {
        let mut request = Self {
            unit: String::new(),
            machine: None,
            lines: DEFAULT_LINES,
            follow: true,
            filter: Filter::default(),
        };

        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "unit" => request.unit = value.into_owned(),
                "machine" => request.machine = Some(value.into_owned()),
                "lines" => {
                    let expected = format!("expected a number from 0 to {MAX_BACKLOG}");
                    let lines = value.parse().ok().filter(|lines| *lines <= MAX_BACKLOG);
                    request.lines = lines.ok_or_else(|| invalid_value(&key, &value, &expected))?;
                }
                "follow" => {
                    request.follow = match &*value {
                        "yes" => true,
                        "no" => false,
                        _ => return Err(invalid_value(&key, &value, &"expected yes or no")),
                    };
                }
                "filter" => request.filter = parse_filter(&value)?,
                "token" => {}
                _ => return Err(unknown_key(&key, KEYS)),
            }
        }

        if request.unit.is_empty() {
            return Err("unit=NAME is missing in the query".to_owned());
        }
        Ok(request)
    }

    /// Whether the log on this machine is asked for.
    pub(super) fn selects(&self, machine: &UnitMachine) -> bool {
        self.machine.as_ref().is_none_or(|wanted| {
            *machine.machine == **wanted || machine.ip.as_deref() == Some(wanted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_unit_and_defaults_for_the_rest() {
        let request = LogRequest::from_query("unit=web%401.service&token=t").unwrap();
        assert_eq!(request.unit, "web@1.service");
        assert_eq!((request.lines, request.follow), (DEFAULT_LINES, true));
        assert!(request.filter.is_empty());

        let query = "unit=a&machine=10.0.0.1&lines=0&follow=no&filter=-debug";
        let request = LogRequest::from_query(query).unwrap();
        assert_eq!((request.lines, request.follow), (0, false));
        assert_eq!(request.filter.to_string(), "-debug");
        assert_eq!(request.machine.as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn an_error_names_what_is_wrong() {
        for (query, named) in [
            ("", "unit"),
            ("unit=", "unit"),
            ("unit=a&lines=1001", "lines=\"1001\""),
            ("unit=a&lines=-1", "lines=\"-1\""),
            ("unit=a&follow=1", "follow=\"1\""),
            ("unit=a&filter=stat:x", "stat:"),
            ("unit=a&since=1", "\"since\""),
        ] {
            let error = LogRequest::from_query(query).unwrap_err();
            assert!(error.contains(named), "{query}: {error}");
        }
    }
}
