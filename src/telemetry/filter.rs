//! Which entries are logged: a filter, parsed and checked.
//!
//! A filter has the syntax of [`EnvFilter`]: levels, modules with a level, and spans. But to
//! [`EnvFilter`] any other word is the name of a module, and then nothing else is logged. Here it
//! is an error. This module must not know where a filter was set.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::modules;

/// The levels by name, from none to all. Numbers from 0 to 5 mean the same.
pub(crate) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Which entries are logged: valid directives of [`EnvFilter`], in which each module exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter(
    /// The directives as text, since an [`EnvFilter`] cannot be cloned.
    String,
);

/// Why a text is not a filter.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// It has no directive.
    #[error("expected a filter, such as info or info,fleet_monitor=debug")]
    Empty,
    /// A directive is neither a level, a module, nor a span.
    #[error("expected a filter, such as info or info,fleet_monitor=debug ({0})")]
    Syntax(ParseError),
    /// The level of a module is none.
    #[error("`{0}` is not a level (off, error, warn, info, debug, trace)")]
    UnknownLevel(String),
    /// A module does not exist. It may be one of a library: those do not write to this log.
    #[error("`{0}` is not a module of fleet_monitor, and only those write to this log")]
    UnknownModule(String),
    /// A word that stands alone is neither a level nor a module.
    #[error(
        "`{0}` is neither a level (off, error, warn, info, debug, trace) nor a module of \
         fleet_monitor"
    )]
    UnknownWord(String),
}

impl LogFilter {
    pub(super) fn build(&self) -> EnvFilter {
        EnvFilter::try_new(&self.0).expect("the directives were parsed before")
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, LogFilterError> {
        // `EnvFilter` would take a blank after a comma as part of the name of a module.
        let directives: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|directive| !directive.is_empty())
            .collect();
        if directives.is_empty() {
            return Err(LogFilterError::Empty);
        }
        directives.iter().try_for_each(|directive| check(directive))?;

        let text = directives.join(",");
        match EnvFilter::try_new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(LogFilterError::Syntax(error)),
        }
    }
}

/// Checks the module and the level of a directive: `LEVEL`, `MODULE`, `MODULE=LEVEL`, or, with a
/// span, `MODULE[SPAN]=LEVEL`. What is in the brackets is not checked, and neither is what only
/// [`EnvFilter`] can find to be wrong.
fn check(directive: &str) -> Result<(), LogFilterError> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let (module, span, level) = split(directive);

    match level {
        _ if module.is_empty() => {}
        None if span.is_none() && is_level(module) => {}
        _ if modules::exists(module) => {}
        None if span.is_none() => return Err(LogFilterError::UnknownWord(module.to_owned())),
        _ => return Err(LogFilterError::UnknownModule(module.to_owned())),
    }

    match level {
        Some(level) if !is_level(level) => Err(LogFilterError::UnknownLevel(level.to_owned())),
        _ => Ok(()),
    }
}

/// The module of a directive, which may be empty; the span in brackets; and the level. `None`: it
/// has no such part.
fn split(directive: &str) -> (&str, Option<&str>, Option<&str>) {
    let (before, span, after) = match directive.split_once('[') {
        Some((module, rest)) => {
            let (span, after) = rest.rsplit_once(']').unwrap_or((rest, ""));
            (module, Some(span), after)
        }
        None => (directive, None, ""),
    };

    if span.is_some() {
        return (before, span, after.strip_prefix('='));
    }
    match before.split_once('=') {
        Some((module, level)) => (module, None, Some(level)),
        None => (before, None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_modules_and_spans_are_filters() {
        for text in [
            "off",
            "WARN",
            "5",
            "0",
            "fleet_monitor",
            "info,fleet_monitor=debug",
            "info, fleet_monitor::source::etcd=trace",
            "warn,fleet_monitor::source::etcd=TRACE,",
            "fleet_monitor=",
            "warn,fleet_monitor::server=4",
            "[span]",
            "info,[span{field=value}]=debug",
            "[{field}]",
            "fleet_monitor[span{field=\"va=lue\"}]=debug",
        ] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}: {:?}", text.parse::<LogFilter>());
        }
    }

    #[test]
    fn blanks_around_a_directive_do_not_count() {
        let filter: LogFilter = " warn , fleet_monitor=debug ".parse().unwrap();
        assert_eq!(filter, "warn,fleet_monitor=debug".parse().unwrap());
    }

    #[test]
    fn what_names_no_level_and_no_module_is_an_error() {
        use LogFilterError::{Empty, Syntax, UnknownLevel, UnknownModule, UnknownWord};

        let error = |text: &str| text.parse::<LogFilter>().unwrap_err();
        for text in ["", " ", ",", " , "] {
            assert!(matches!(error(text), Empty), "{text:?}");
        }
        for (text, word) in [("warning", "warning"), ("info,inof", "inof"), ("6", "6")] {
            assert!(matches!(error(text), UnknownWord(unknown) if unknown == word), "{text}");
        }
        for (text, module) in [
            ("fleet_monitr=debug", "fleet_monitr"),
            ("info,fleet_monitor::sour=debug", "fleet_monitor::sour"),
            ("info,hyper=warn", "hyper"),
            ("debug=info", "debug"),
            ("nothing[span]=debug", "nothing"),
            ("info[span]", "info"),
            ("fleet_monitor =debug", "fleet_monitor "),
        ] {
            assert!(matches!(error(text), UnknownModule(unknown) if unknown == module), "{text}");
        }
        for (text, level) in
            [("fleet_monitor=loud", "loud"), ("info,[span{a=b}]=warning", "warning")]
        {
            assert!(matches!(error(text), UnknownLevel(unknown) if unknown == level), "{text}");
        }
        for text in ["[span", "info,[span{]=debug", "[span]debug"] {
            assert!(matches!(error(text), Syntax(_)), "{text}");
        }
    }
}
