//! The text formats of the metrics.
//!
//! This module must not know which metrics there are.

/// A text format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// OpenMetrics 1.0, which Prometheus requests.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, for clients that do not ask for OpenMetrics.
    Prometheus,
}

impl MetricsFormat {
    /// The media type for the `Content-Type` header.
    pub fn media_type(self) -> &'static str {
        match self {
            MetricsFormat::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
            MetricsFormat::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Converts OpenMetrics to the older format. There the name of a counter's family ends with
/// `_total`, and there are neither units nor an end mark.
pub(super) fn to_prometheus(openmetrics: &str) -> String {
    let counters: Vec<&str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();

    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        let line = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest))
                if counters.contains(&name) =>
            {
                &format!("# {keyword} {name}_total {rest}")
            }
            (Some("#"), Some("UNIT" | "EOF"), ..) => continue,
            _ => line,
        };

        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_with_their_suffix() {
        let openmetrics = "# HELP a_b Text of a_b.\n\
                           # TYPE a_b counter\n\
                           a_b_total{x=\"y z\"} 1\n\
                           # HELP s S.\n\
                           # TYPE s gauge\n\
                           # UNIT s seconds\n\
                           s 2\n\
                           # EOF\n";
        let prometheus = "# HELP a_b_total Text of a_b.\n\
                          # TYPE a_b_total counter\n\
                          a_b_total{x=\"y z\"} 1\n\
                          # HELP s S.\n\
                          # TYPE s gauge\n\
                          s 2\n";
        assert_eq!(to_prometheus(openmetrics), prometheus);
    }
}
