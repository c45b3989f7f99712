//! Parses the text of an option: one function for each kind of value.
//!
//! An error says what was expected. This module does not know the key, nor the place where it was
//! set: the caller adds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use wildmatch::WildMatch;

use crate::net::host;
use crate::notify::{OWN_LABELS, PostTarget, PostTargetError};
use crate::playback::RecordedTime;
use crate::problems::{ProblemDelays, ProblemKind};
use crate::quantity;
use crate::server::access::{AllowedHost, AllowedOrigin, InvalidOrigin};
use crate::server::listen::{ListenAddress, ListenAddressError};
use crate::similar::similar;
use crate::source::api::{Address, AddressError};
use crate::source::etcd::endpoint::{Endpoint, EndpointError};
use crate::source::recording::RecordKeep;
use crate::telemetry::{self, LogFilter, LogFilterError};

/// The longest time that an option may have, in seconds. A longer one would be of no use, and this
/// one cannot overflow a clock.
const DAY: f64 = 86_400.0;

/// Less of a recording would be of no use.
const MIN_RECORD_AGE: Duration = Duration::from_secs(60);
const MIN_RECORD_SIZE: u64 = 1 << 20;

const EXPECTED_DELAY: &str = "expected seconds, such as 30 (0: at once, at most a day), or \
                              seconds for one kind of problems, such as stale=300";

/// A value, or what was expected instead.
pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn port(text: &str) -> Parsed<u16> {
    text.parse()
        .map_err(|_| "expected a port from 0 to 65535 (0: any that is free)".into())
}

/// The port of another host. 0 is not allowed.
pub(super) fn remote_port(text: &str) -> Parsed<u16> {
    text.parse()
        .ok()
        .filter(|&port| port > 0)
        .ok_or_else(|| "expected a port from 1 to 65535".into())
}

/// An IP address, with or without the brackets that IPv6 has in a URL.
pub(super) fn address(text: &str) -> Parsed<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|bare| bare.contains(':'));
    bare.unwrap_or(text)
        .parse()
        .map_err(|_| "expected an IP address, such as 127.0.0.1 or ::".into())
}

/// An address to listen on, with its port, or a unix socket.
pub(super) fn listen_address(text: &str) -> Parsed<ListenAddress> {
    text.parse().map_err(|error: ListenAddressError| error.to_string())
}

pub(super) fn max_clients(text: &str) -> Parsed<usize> {
    let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 1000000".into())
}

pub(super) fn metrics_troubled(text: &str) -> Parsed<usize> {
    let number = text.parse().ok().filter(|number| (0..=100_000).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 100000".into())
}

pub(super) fn seconds(text: &str) -> Parsed<Duration> {
    duration(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected seconds, such as 2 or 0.5 (more than 0, at most a day)".into())
}

/// Seconds, or `KIND=SECONDS` for one kind of problems. Each may be there once.
pub(super) fn problem_delays(items: &[String]) -> Parsed<ProblemDelays> {
    let mut default = None;
    let mut by_name = BTreeMap::new();

    for item in items {
        let previous = match item.split_once('=') {
            None => default.replace(delay(item)?),
            Some((name, seconds)) => {
                by_name.insert(problem_kind(name.trim())?, delay(seconds.trim())?)
            }
        };
        if previous.is_some() {
            return Err(format!("{item} is the second value for the same problems"));
        }
    }

    if items.is_empty() {
        return Err(EXPECTED_DELAY.into());
    }
    let default = default.unwrap_or(ProblemDelays::default().default);
    Ok(ProblemDelays { default, by_name })
}

fn problem_kind(name: &str) -> Parsed<&'static str> {
    let kind = ProblemKind::NAMES.into_iter().find(|kind| *kind == name);

    kind.ok_or_else(|| unknown_kind(name))
}

fn delay(text: &str) -> Parsed<Duration> {
    duration(text).ok_or_else(|| EXPECTED_DELAY.into())
}

/// A URL to post to.
pub(super) fn post_target(text: &str) -> Parsed<PostTarget> {
    text.parse().map_err(|error: PostTargetError| error.to_string())
}

/// The URL of another monitor.
pub(super) fn monitor_url(text: &str) -> Parsed<PostTarget> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err("expected the URL of a monitor, such as http://core-02:8989".into());
    }
    post_target(text)
}

/// Labels as `NAME=VALUE` (Prometheus, "Metric names and labels").
pub(super) fn alert_labels(items: &[String]) -> Parsed<BTreeMap<String, String>> {
    items.iter().map(|item| alert_label(item)).collect()
}

fn alert_label(text: &str) -> Parsed<(String, String)> {
    let is_letter = |char: char| char.is_ascii_alphabetic() || char == '_';
    let is_name = |name: &str| {
        name.starts_with(is_letter)
            && name.chars().all(|char| is_letter(char) || char.is_ascii_digit())
    };

    let label = text
        .split_once('=')
        .filter(|(name, value)| is_name(name) && !value.is_empty());
    let (name, value) = label.ok_or("expected labels, such as cluster=west")?;
    if OWN_LABELS.contains(&name) {
        return Err(format!("{name} is a label that each alert has already"));
    }
    Ok((name.into(), value.into()))
}

/// The address of the page: without credentials, query and fragment, and without a `/` at its end.
pub(super) fn page_url(text: &str) -> Parsed<String> {
    let is_address = text.parse::<PostTarget>().is_ok() && !text.contains(['@', '?']);

    if is_address {
        Ok(text.trim_end_matches('/').into())
    } else {
        Err("expected the address of the page, such as https://fleet.example.com".into())
    }
}

fn unknown_kind(name: &str) -> String {
    let hint = similar(name, ProblemKind::NAMES)
        .map(|meant| format!("; did you mean {meant}?"))
        .unwrap_or_default();

    format!("expected a kind of problems, one of {}{hint}", ProblemKind::NAMES.join(", "))
}

/// Seconds, where 0 means off.
pub(super) fn seconds_or_off(text: &str) -> Parsed<Duration> {
    duration(text)
        .ok_or_else(|| "expected seconds, such as 30 or 0.5 (0: off, at most a day)".into())
}

fn duration(text: &str) -> Option<Duration> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=DAY).contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok()
}

pub(super) fn speed(text: &str) -> Parsed<f64> {
    let factor = text
        .parse()
        .ok()
        .filter(|factor| (0.001..=1_000_000.0).contains(factor));
    factor.ok_or_else(|| "expected a factor, such as 10 or 0.5 (from 0.001 to 1000000)".into())
}

/// A place in a recording.
pub(super) fn recorded_time(text: &str) -> Parsed<RecordedTime> {
    RecordedTime::parse(text).ok_or_else(|| {
        "expected a time such as 2026-11-27T14:30:00Z, a time of day in UTC such as 14:30, or a \
         time since the beginning such as 90s or 15m"
            .into()
    })
}

/// A boolean, in the words of systemd's settings (`systemd.syntax(7)`): people use them in an
/// `EnvironmentFile=`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)], text: &str) -> Parsed<T> {
    choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|&(_, value)| value)
        .ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            format!("expected one of {}", names.join(", "))
        })
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() {
        Err("expected the path of a file".into())
    } else {
        Ok(text.into())
    }
}

pub(super) fn command(text: &str) -> Parsed<String> {
    if text.is_empty() {
        Err("expected a command, such as /usr/bin/fleetctl".into())
    } else {
        Ok(text.into())
    }
}

/// How much of a recording is kept: an age, a size, or both.
pub(super) fn record_keep(text: &str) -> Parsed<RecordKeep> {
    const EXPECTED: &str = "expected an age, a size or both, such as 24h, 1GiB or 24h,1GiB \
                            (at least 1m and 1MiB)";
    let mut keep = RecordKeep::default();

    for item in text.split(',').map(str::trim) {
        if let Some(age) = quantity::duration(item).filter(|_| keep.age.is_none()) {
            keep.age = Some(age).filter(|age| *age >= MIN_RECORD_AGE);
        } else if let Some(size) = quantity::bytes(item).filter(|_| keep.size.is_none()) {
            keep.size = Some(size).filter(|size| *size >= MIN_RECORD_SIZE);
        } else {
            return Err(EXPECTED.into());
        }
    }

    let items = text.split(',').count();
    let found = usize::from(keep.age.is_some()) + usize::from(keep.size.is_some());
    if items == found { Ok(keep) } else { Err(EXPECTED.into()) }
}

/// A host for fleetctl to connect to. The port is set by `port_flag`.
pub(super) fn host(port_flag: &str, text: &str) -> Parsed<String> {
    if let Some(host) = host::parse(text) {
        return Ok(host);
    }
    if text.contains("://")
        || text
            .rsplit_once(':')
            .is_some_and(|(_, port)| remote_port(port).is_ok())
    {
        return Err(format!(
            "expected a host alone, without scheme or port; {port_flag} sets the port"
        ));
    }
    Err("expected the name or address of a host".into())
}

/// The address of fleet's API. A user or password in it is refused: fleet has none, and they would
/// appear in logs.
pub(super) fn api(text: &str) -> Parsed<Address> {
    text.parse().map_err(|error: AddressError| error.to_string())
}

/// Addresses of etcd's members, at least one.
pub(super) fn members(items: &[String]) -> Parsed<Vec<Endpoint>> {
    if items.is_empty() {
        return Err("expected at least one member, such as http://127.0.0.1:2379".into());
    }
    each(items, |item| item.parse().map_err(|error: EndpointError| error.to_string()))
}

/// A user name for etcd. It has no colon, which ends the name in HTTP Basic authentication (RFC
/// 7617, section 2).
pub(super) fn user(text: &str) -> Parsed<String> {
    if text.contains(':') {
        return Err(
            "expected a user's name alone; its password is in --etcd-password-file FILE".into()
        );
    }
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("expected the name of a user of etcd".into());
    }
    Ok(text.into())
}

/// A directory in etcd, without a `/` at its end. `//`, `.` and `..` are refused, because etcd
/// resolves them. Only characters that a path may contain (RFC 3986, section 3.3) are allowed, so
/// that nothing has to be encoded.
pub(super) fn prefix(text: &str) -> Parsed<String> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(char);
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(is_plain);

    let path = text.trim_end_matches('/');
    match path.strip_prefix('/') {
        Some(names) if names.split('/').all(is_name) => Ok(path.into()),
        _ => Err("expected a directory in etcd, such as /_coreos.com/fleet".into()),
    }
}

/// An origin as browsers send it in `Origin` (RFC 6454, section 7), or `*`.
pub(super) fn origin(text: &str) -> Parsed<AllowedOrigin> {
    text.parse().map_err(|InvalidOrigin| {
        "expected origins, such as https://ops.example.com or http://10.0.0.1:8000, or *".into()
    })
}

pub(super) fn host_name(text: &str) -> Parsed<AllowedHost> {
    if text != "*" && host::parse(text).is_none() {
        return Err("expected names of hosts, without a port, or *".into());
    }

    Ok(AllowedHost::new(text))
}

pub(super) fn glob(text: &str) -> Parsed<WildMatch> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        Err("expected names of units, such as web@*.service".into())
    } else {
        Ok(WildMatch::new(text))
    }
}

/// Columns, at least one, and none of them twice.
pub(super) fn fields<F: FromStr<Err: Display>>(names: &[String]) -> Parsed<Vec<F>> {
    if names.is_empty() {
        return Err("expected at least one field".into());
    }

    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(format!("{twice:?} is there twice"));
    }

    each(names, |name| name.parse().map_err(|error: F::Err| error.to_string()))
}

/// Parses every item of a list. The error is that of the first wrong item.
pub(super) fn each<T>(items: &[String], parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    items.iter().map(|item| parse(item)).collect()
}

pub(super) fn log(text: &str) -> Parsed<LogFilter> {
    text.parse().map_err(|error: LogFilterError| match meant(&error) {
        Some(meant) => format!("{error}; did you mean {meant}?"),
        None => error.to_string(),
    })
}

/// The level or the module that was probably meant by the unknown word in a filter.
fn meant(error: &LogFilterError) -> Option<String> {
    let level = |word: &str| similar(&word.to_lowercase(), telemetry::LEVELS).map(str::to_owned);

    match error {
        LogFilterError::UnknownLevel(word) => level(word),
        LogFilterError::UnknownModule(word) => similar_module(word),
        LogFilterError::UnknownWord(word) => level(word).or_else(|| similar_module(word)),
        LogFilterError::Empty | LogFilterError::Syntax(_) => None,
    }
}

/// The module that was probably meant, be it that the word differs from its path a little, or that
/// it is only the end of it.
fn similar_module(word: &str) -> Option<String> {
    let word = word.replace('-', "_");
    let (first, rest) = word.split_once("::").unwrap_or((&word, ""));
    let is_root = similar(first, [telemetry::ROOT]).is_some();
    if is_root && rest.is_empty() {
        return Some(telemetry::ROOT.to_owned());
    }

    let path = if is_root { rest } else { &word };
    let mut modules = telemetry::MODULES.iter().copied();
    let end = format!("::{path}");
    let module = modules
        .clone()
        .find(|module| *module == path)
        .or_else(|| modules.find(|module| module.ends_with(&end)))
        .or_else(|| similar(path, telemetry::MODULES.iter().copied()))?;
    Some(format!("{}::{module}", telemetry::ROOT))
}
