//! The limit on open files, and how many connections it allows.
//!
//! This module must not know how connections are counted.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many open files are reserved for what is not a connection: listeners, the pipes and sockets
/// of the source, the journal, the runtime. If the limit is below twice this number, half of it is.
const RESERVED_FILES: u64 = 100;

/// The lowest limit that leaves room for three children of fleetctl at a time and some connections.
const MIN_FILES: u64 = 64;

/// The limit on open files (`RLIMIT_NOFILE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFileLimit {
    limit: u64,
}

impl OpenFileLimit {
    /// Raises the soft limit to the hard limit. If that fails, the soft limit stays.
    pub fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };

        // This only fails if the hard limit was lowered in the meantime.
        let _ = setrlimit(Resource::Nofile, raised);
        Self {
            limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        }
    }

    /// An error message if the limit is too low to run at all.
    pub fn too_low_error(self) -> Option<String> {
        (self.limit < MIN_FILES).then(|| {
            format!(
                "only {} files may be open at a time, and at least {MIN_FILES} are needed; \
                 raise LimitNOFILE= of the service, or `ulimit -n`",
                self.limit
            )
        })
    }

    /// How many connections the limit allows.
    pub fn connections(self) -> usize {
        let reserved = RESERVED_FILES.min(self.limit / 2);
        usize::try_from(self.limit - reserved).unwrap_or(usize::MAX)
    }

    /// A warning if the limit is too low for `max_clients`.
    pub fn shortage_warning(self, max_clients: usize) -> Option<String> {
        (self.connections() < max_clients).then(|| {
            format!(
                "{self}, fewer than --max-clients {max_clients}; \
                 raise LimitNOFILE= of the service, or `ulimit -n`"
            )
        })
    }
}

impl fmt::Display for OpenFileLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open files: room for about {} clients", self.limit, self.connections())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_catalogue;

    #[test]
    fn the_limit_is_shown_and_a_shortage_names_both_numbers() {
        let files = OpenFileLimit { limit: 20000 };
        assert!(
            files.to_string().contains("20000") && files.to_string().contains("19900"),
            "{files}"
        );

        assert_eq!(files.shortage_warning(19900), None);
        let shortage = files.shortage_warning(19901).expect("a shortage");
        assert!(
            shortage.contains("19900")
                && shortage.contains("19901")
                && shortage.contains("LimitNOFILE")
        );
        assert_eq!(files.too_low_error(), None);
    }

    #[test]
    fn a_low_limit_is_shared_and_a_too_low_one_is_refused_with_the_number_that_is_needed() {
        assert_eq!(OpenFileLimit { limit: 64 }.connections(), 32);
        assert_eq!(OpenFileLimit { limit: 64 }.too_low_error(), None);

        let refusal = OpenFileLimit { limit: 63 }.too_low_error().expect("a refusal");
        assert!(
            refusal.contains("63") && refusal.contains("64") && refusal.contains("LimitNOFILE"),
            "{refusal}"
        );
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_limit() {
        OpenFileLimit::raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn limits_on_open_files_are_described_in_these_words() {
        let texts = [
            ("20000 open files", OpenFileLimit { limit: 20_000 }.to_string()),
            (
                "too few for all clients",
                OpenFileLimit { limit: 1024 }
                    .shortage_warning(10_000)
                    .expect("a shortage"),
            ),
            (
                "too few for anything",
                OpenFileLimit { limit: 63 }.too_low_error().expect("a refusal"),
            ),
        ];
        assert_catalogue("open-files", texts);
    }
}
