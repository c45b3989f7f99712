//! The modules of the program, by which a log filter selects entries. Pure.
//!
//! Only these write to the log. The libraries that use the crate `log` do not reach it, and none of
//! the others logs in this program.

/// The module that all others are in.
pub(crate) const ROOT: &str = "fleet_monitor";

/// All modules below [`ROOT`], one for each file in `src`, in alphabetical order.
pub(crate) const MODULES: &[&str] = &[
    "actions",
    "actions::commands",
    "actions::shell",
    "actions::template",
    "actions::url",
    "append_log",
    "append_log::file",
    "append_log::open_in_thread",
    "append_log::records",
    "cli",
    "cli::commands",
    "cli::completions",
    "cli::manual",
    "client",
    "client::address",
    "client::check",
    "client::connection",
    "client::connection::reconnecting",
    "client::event_stream",
    "client::logs",
    "client::server_options",
    "client::status",
    "client::stdio",
    "client::subscription",
    "client::terminal",
    "client::unit",
    "client::watch",
    "client::watch::draw",
    "client::watch::draw::columns",
    "client::watch::draw::details",
    "client::watch::draw::headline",
    "client::watch::draw::help",
    "client::watch::draw::theme",
    "client::watch::edit_line",
    "client::watch::keys",
    "client::watch::list",
    "client::watch::model",
    "client::watch::order",
    "client::watch::plain",
    "client::watch::screen",
    "client::watch::terminal",
    "client::watch::updates",
    "cluster",
    "cluster::context",
    "cluster::crash_loop",
    "cluster::delta",
    "cluster::desired",
    "cluster::health",
    "cluster::knowledge",
    "cluster::knowledge::impact",
    "cluster::knowledge::inventory",
    "cluster::knowledge::read_times",
    "cluster::knowledge::registry_diff",
    "cluster::machine_life",
    "cluster::machines",
    "cluster::model",
    "cluster::observation",
    "cluster::peer",
    "cluster::peer_event",
    "cluster::report",
    "cluster::requirements",
    "cluster::retention",
    "cluster::saved",
    "cluster::saved_time",
    "cluster::source_trust",
    "cluster::suspicion",
    "cluster::transition",
    "cluster::unit_life",
    "cluster::units",
    "cluster::units::display",
    "cluster::units::expected",
    "cluster::units::record",
    "cluster::units::reported",
    "cluster::units::timers",
    "cluster::verdict",
    "cluster::view",
    "command",
    "config",
    "config::env_file",
    "config::layers",
    "config::link_list",
    "config::links",
    "config::literal",
    "config::options",
    "config::parse",
    "config::values",
    "daemon",
    "daemon::fleet_version",
    "daemon::initial_problems",
    "daemon::peers",
    "daemon::prepare",
    "daemon::recording",
    "daemon::reload",
    "daemon::restart",
    "daemon::run_loop",
    "daemon::state_keeper",
    "daemon::unit_files",
    "digest",
    "escapes",
    "feed",
    "feed::channel",
    "feed::channel::batch",
    "feed::channel::budget",
    "feed::channel::cursor",
    "feed::event_history",
    "feed::event_history::coverage",
    "feed::event_history::event_ring",
    "feed::event_history::same_events",
    "feed::fields",
    "feed::filter",
    "feed::filter::error",
    "feed::filter::pattern",
    "feed::fingerprint",
    "feed::frame",
    "feed::html",
    "feed::input",
    "feed::list",
    "feed::message",
    "feed::message::health",
    "feed::message::history",
    "feed::message::key_column",
    "feed::message::list",
    "feed::message::problems",
    "feed::message::rows",
    "feed::message::shared_history",
    "feed::message::state",
    "feed::plain",
    "feed::previous_run",
    "feed::publication",
    "feed::publisher",
    "feed::status",
    "feed::subscription",
    "feed::unit_machines",
    "feed::update",
    "feed::update_history",
    "interner",
    "lifecycle",
    "logs",
    "logs::entry",
    "logs::journal",
    "logs::line_rate",
    "logs::line_splitter",
    "logs::log_buffer",
    "logs::tail",
    "metrics",
    "metrics::drop_reason",
    "metrics::family",
    "metrics::format",
    "metrics::gauges",
    "metrics::journal_outcome",
    "metrics::notifications",
    "metrics::process",
    "metrics::unit_file_outcome",
    "net",
    "net::backoff",
    "net::host",
    "net::http",
    "net::http::connection",
    "net::http::fetch",
    "net::http::marked_stream",
    "net::http::post",
    "net::http::target",
    "net::percent",
    "net::tls",
    "net::tls::certificate",
    "net::tls::der",
    "net::tls::file_error",
    "net::tls::handshake",
    "net::tls::pem",
    "net::tls::server",
    "notify",
    "notify::alert",
    "notify::alertmanager",
    "notify::delivery_log",
    "notify::queue",
    "notify::queue::disk",
    "notify::queue::records",
    "notify::queue::waiting",
    "notify::signature",
    "notify::webhook",
    "output",
    "peers",
    "peers::history",
    "playback",
    "problems",
    "problems::cause",
    "problems::delays",
    "problems::grouping",
    "problems::peer",
    "problems::problem",
    "problems::saved",
    "problems::source_fault",
    "problems::text",
    "problems::tracker",
    "problems::watched_machines",
    "problems::wrong_rows",
    "quantity",
    "report",
    "report::check",
    "report::cluster_state",
    "report::counted",
    "report::duration",
    "report::last_hour",
    "report::log_message",
    "report::log_text",
    "report::machine_status",
    "report::next_steps",
    "report::overview",
    "report::pending",
    "report::problem_units",
    "report::problems",
    "report::since",
    "report::table",
    "report::times",
    "report::unit_detail",
    "report::unit_file",
    "report::unit_history",
    "report::unit_name",
    "report::verdicts",
    "report::wire",
    "saved_state",
    "saved_state::changes",
    "saved_state::contents",
    "saved_state::live",
    "saved_state::record",
    "saved_state::stamped",
    "saved_state::writer",
    "secret_file",
    "server",
    "server::accept_errors",
    "server::access",
    "server::access::host",
    "server::access::origin",
    "server::access::token",
    "server::archive",
    "server::connection",
    "server::content",
    "server::context",
    "server::deadline",
    "server::error",
    "server::error_page",
    "server::events",
    "server::gzip",
    "server::headers",
    "server::http",
    "server::listen",
    "server::listen::address",
    "server::logs",
    "server::logs::log_event",
    "server::logs::log_source",
    "server::logs::request",
    "server::open_files",
    "server::opening",
    "server::overview",
    "server::page",
    "server::query",
    "server::rate_limit",
    "server::readiness",
    "server::recording",
    "server::replay",
    "server::response_cache",
    "server::routes",
    "server::session",
    "server::session::end",
    "server::settings",
    "server::socket_file",
    "server::stream",
    "server::tls",
    "server::unit_file",
    "server::upgrade",
    "similar",
    "source",
    "source::api",
    "source::api::address",
    "source::api::error",
    "source::etcd",
    "source::etcd::batching_stream",
    "source::etcd::connector",
    "source::etcd::endpoint",
    "source::etcd::error",
    "source::etcd::file_reader",
    "source::etcd::key_tree",
    "source::etcd::key_tree::entries",
    "source::etcd::key_tree::entry",
    "source::etcd::key_tree::overdue",
    "source::etcd::key_tree::pending",
    "source::etcd::keys",
    "source::etcd::login",
    "source::etcd::member_client",
    "source::etcd::monitor",
    "source::etcd::redirect",
    "source::etcd::report_schedule",
    "source::etcd::stall",
    "source::etcd::tls",
    "source::etcd::tls_error",
    "source::etcd::value",
    "source::etcd::watch",
    "source::etcd::watch::response",
    "source::etcd::watch_task",
    "source::file_reader",
    "source::fleetctl",
    "source::fleetctl::child",
    "source::fleetctl::dialect",
    "source::fleetctl::error",
    "source::fleetctl::orphans",
    "source::polled",
    "source::recording",
    "source::recording::anonymizer",
    "source::recording::chapters",
    "source::recording::encoder",
    "source::recording::excerpt",
    "source::recording::file",
    "source::recording::frames",
    "source::recording::reader",
    "source::recording::recorder",
    "source::recording::rows",
    "source::recording::segments",
    "source::recording::writer",
    "source::replay",
    "source::replay::entries",
    "source::replay::events",
    "source::replay::index",
    "source::replay::intervals",
    "source::replay::player",
    "source::rows",
    "source::selection",
    "source::selection::access",
    "source::selection::open",
    "source::selection::rules",
    "source::source_file",
    "source::table",
    "source::table::row",
    "source::unit_file",
    "source::version",
    "source::wire",
    "source::wire::collator",
    "source::wire::rows",
    "telemetry",
    "telemetry::filter",
    "telemetry::modules",
    "telemetry::writer",
    "unit_files",
    "unit_files::cache",
    "unit_files::diff",
    "unit_files::document",
    "unit_files::masking",
    "unit_files::masking::landmarks",
    "unit_files::masking::lines",
    "unit_files::service",
    "unit_types",
    "utc",
    "write_queue",
];

/// Whether there is a module with this path, such as `fleet_monitor::source::etcd`.
pub(super) fn exists(path: &str) -> bool {
    match path.strip_prefix(ROOT) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix("::")
            .is_some_and(|module| MODULES.contains(&module)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// The modules that the files below `src` are, unit tests aside.
    fn modules_in_src() -> BTreeSet<String> {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = BTreeSet::new();
        let mut folders = vec![src.clone()];

        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("tests") {
                    folders.push(path);
                } else {
                    found.extend(module(path.strip_prefix(&src).unwrap()));
                }
            }
        }
        found
    }

    /// The module that a file is. `None`: it is no module below [`ROOT`].
    fn module(file: &Path) -> Option<String> {
        let is_source = file.extension().is_some_and(|extension| extension == "rs");
        let path: PathBuf = match file.file_stem()?.to_str()? {
            "lib" | "main" | "tests" => return None,
            _ if !is_source => return None,
            "mod" => file.parent()?.to_owned(),
            _ => file.with_extension(""),
        };
        Some(path.to_str()?.replace('/', "::"))
    }

    #[test]
    fn the_modules_are_the_files_of_the_program() {
        let listed: BTreeSet<String> = MODULES.iter().map(|module| (*module).to_owned()).collect();
        let found = modules_in_src();

        let missing: Vec<_> = found.difference(&listed).collect();
        let superfluous: Vec<_> = listed.difference(&found).collect();
        assert!(
            missing.is_empty() && superfluous.is_empty(),
            "add {missing:?} to MODULES, and remove {superfluous:?}"
        );
        assert!(MODULES.is_sorted(), "they are in alphabetical order");
    }

    /// Entries of the crate `log` would need `tracing-log`, and hyper-util uses `tracing` only in a
    /// client that the tests use.
    #[test]
    fn no_library_writes_to_the_log() {
        let lock = include_str!("../../Cargo.lock");
        let packages = lock.split("[[package]]").skip(1);
        let users: Vec<&str> = packages
            .filter(|package| package.contains("\n \"tracing\","))
            .filter_map(|package| package.split('"').nth(1))
            .collect();

        assert_eq!(users, ["fleet-monitor", "hyper-util", "tracing-subscriber"]);
        assert!(!lock.contains("name = \"tracing-log\""));
    }

    #[test]
    fn a_module_is_named_by_its_whole_path() {
        for path in ["fleet_monitor", "fleet_monitor::daemon", "fleet_monitor::source::etcd"] {
            assert!(exists(path), "{path}");
        }
        for path in ["", "fleet", "fleet_monitor::", "fleet_monitor::sour", "daemon", "hyper"] {
            assert!(!exists(path), "{path}");
        }
    }
}
