//! What may depend on what, read from the source: `docs/development.md` says why.
//!
//! Paths are read as text, comments and unit tests aside. So each module of the crate is named in a
//! `use` of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// For each module of the crate, the others that it may use. [`daemon`](fleet_monitor::daemon) may
/// use all.
const MAY_USE: [(&str, &[&str]); 32] = [
    ("actions", &["net"]),
    ("append_log", &[]),
    ("cli", &[]),
    ("client", &["actions", "cli", "net", "report"]),
    ("cluster", &[]),
    ("command", &["output"]),
    (
        "config",
        &[
            "actions",
            "cli",
            "feed",
            "net",
            "notify",
            "playback",
            "problems",
            "quantity",
            "server",
            "similar",
            "source",
            "telemetry",
            "unit_files",
        ],
    ),
    ("digest", &[]),
    ("escapes", &[]),
    (
        "feed",
        &["cluster", "digest", "interner", "playback", "problems", "similar", "utc"],
    ),
    ("interner", &[]),
    ("lifecycle", &["write_queue"]),
    ("logs", &["escapes", "metrics", "net"]),
    ("metrics", &["cluster", "feed", "problems"]),
    ("net", &[]),
    (
        "notify",
        &[
            "append_log",
            "cluster",
            "metrics",
            "net",
            "problems",
            "secret_file",
            "utc",
            "write_queue",
        ],
    ),
    ("output", &[]),
    ("peers", &["cluster", "feed", "net", "problems"]),
    ("playback", &["utc"]),
    ("problems", &["cluster", "digest"]),
    ("quantity", &[]),
    ("report", &["actions", "unit_types", "utc"]),
    ("saved_state", &["append_log", "cluster", "feed", "problems"]),
    (
        "server",
        &[
            "actions",
            "cluster",
            "digest",
            "feed",
            "logs",
            "metrics",
            "net",
            "playback",
            "quantity",
            "report",
            "secret_file",
            "unit_files",
            "utc",
        ],
    ),
    ("secret_file", &[]),
    ("similar", &[]),
    (
        "source",
        &[
            "cluster",
            "escapes",
            "interner",
            "net",
            "playback",
            "secret_file",
            "unit_types",
            "utc",
            "write_queue",
        ],
    ),
    ("telemetry", &["cluster", "write_queue"]),
    ("unit_files", &["cluster"]),
    ("unit_types", &[]),
    ("utc", &[]),
    ("write_queue", &[]),
];

/// Libraries that stay in their place. `main` only calls the parser of the command line.
const STAY_IN: [(&str, &[&str]); 22] = [
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli/completions"]),
    ("clap_mangen", &["cli/manual"]),
    ("crc32fast", &["append_log"]),
    ("crossterm", &["client/watch"]),
    ("figment", &["cli", "config"]),
    ("flate2", &["server/gzip"]),
    (
        "hyper",
        &[
            "client/address",
            "client/connection",
            "client/server_options",
            "logs/journal",
            "net/http",
            "peers",
            "server",
            "source/api",
            "source/etcd",
        ],
    ),
    ("jiff", &["report/times", "utc"]),
    ("listenfd", &["server/listen"]),
    ("prometheus_client", &["metrics"]),
    ("ratatui", &["client/watch"]),
    ("ring", &["notify/signature"]),
    ("rustls_native_certs", &["net/tls"]),
    ("sd_notify", &["lifecycle"]),
    ("tokio::process", &["source/fleetctl"]),
    ("tokio::signal", &["client/watch/terminal", "lifecycle"]),
    ("tokio_rustls", &["net/tls"]),
    ("tokio_tungstenite", &["server/session", "server/upgrade"]),
    ("tracing_journald", &["telemetry"]),
    ("webpki", &["net/tls"]),
    ("zstd", &["source/recording"]),
];

/// Modules of sources, which `source::selection` alone opens. Their options are parsed by `config`
/// into types of theirs.
const SOURCES: [&str; 5] = ["api", "etcd", "fleetctl", "polled", "replay"];

/// All that the cluster is made of. The map shares with the one before it all that did not change.
const OF_THE_CLUSTER: [&str; 3] = ["std", "serde", "immutable_chunkmap"];

/// Lines of code that a file may have, comments, empty lines and unit tests aside.
const MAX_LINES: usize = 500;
const MAX_LINES_OF: [(&str, usize); 1] = [("main", 60)];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the program, without its unit tests and without comments.
pub struct File {
    /// `server/session`; `feed` for `feed/mod.rs`.
    pub module: String,
    /// Lines with something on them.
    pub code: String,
}

pub fn files() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                files.push(file(&path));
            }
        }
    }
    assert!(files.len() > 30, "there is more source than that");
    files
}

fn file(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap();
    let module = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let module = module.to_str().unwrap();
    let mut code = String::new();
    let mut lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().trim_end());
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // `mod tests;` or `mod tests { … }`.
            if lines.next().is_some_and(|module| module.ends_with('{')) {
                lines.find(|line| *line == "}");
            }
        } else if !line.is_empty() {
            code.push_str(line);
            code.push('\n');
        }
    }
    File {
        module: module.strip_suffix("/mod").unwrap_or(module).to_owned(),
        code,
    }
}

impl File {
    /// The module of the crate that it belongs to.
    fn top(&self) -> &str {
        self.module.split('/').next().unwrap_or_default()
    }

    fn is_in(&self, module: &str) -> bool {
        self.module == module
            || self
                .module
                .strip_prefix(module)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    /// All paths of two names or more, such as `tokio::signal::unix`; of `super::{…}` and
    /// `super::*`, the beginning.
    fn paths(&self) -> impl Iterator<Item = Vec<&str>> {
        let is_path =
            |character: char| character.is_alphanumeric() || character == '_' || character == ':';
        let words = self.code.split(move |character| !is_path(character));
        words
            .filter(|word| word.contains("::"))
            .map(|word| word.split("::").filter(|name| !name.is_empty()).collect())
    }

    /// The files whose items it imports, its own parents aside: those hold the types that their
    /// parts share.
    fn uses_of_files<'a>(&self, modules: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let own: Vec<&str> = self.module.split('/').collect();
        let statements = self.code.split(';').filter_map(|statement| {
            let statement = statement.rsplit('\n').collect::<Vec<_>>();
            let lines: Vec<&str> = statement.into_iter().rev().collect();
            let first = lines.iter().position(|line| line.trim_start().contains("use "))?;
            let text = lines[first..].concat();
            Some(text.split_once("use ")?.1.replace(' ', ""))
        });

        let mut used = BTreeSet::new();
        for path in statements.flat_map(|statement| expanded(&statement)) {
            let names: Vec<&str> = path.split("::").collect();
            let ups = names.iter().take_while(|name| **name == "super").count();
            let absolute: Vec<&str> = match names[0] {
                "crate" => names[1..].to_vec(),
                "super" => own[..own.len().saturating_sub(ups)]
                    .iter()
                    .chain(&names[ups..])
                    .copied()
                    .collect(),
                // A part of this module, or a library.
                _ => own.iter().chain(&names).copied().collect(),
            };

            let longest = (1..=absolute.len())
                .rev()
                .find_map(|length| modules.get(absolute[..length].join("/").as_str()));
            used.extend(longest.filter(|module| !self.is_in(module)));
        }
        used
    }

    /// The modules of the crate that it uses, its own aside.
    fn uses(&self) -> BTreeSet<&str> {
        let own: Vec<&str> = self.module.split('/').collect();
        let mut used = BTreeSet::new();
        for path in self.paths() {
            let ups = path.iter().take_while(|name| **name == "super").count();
            let target = match path.first() {
                Some(&"crate") => path.get(1),
                Some(&"super") => own[..own.len() - ups].iter().chain(&path[ups..]).next(),
                _ => continue,
            };
            let top = target.unwrap_or_else(|| {
                panic!("{}: name each module in a `use` of its own", self.module)
            });
            used.insert(*top);
        }
        used.remove(self.top());
        used
    }
}

/// All paths of a `use` without its braces.
fn expanded(path: &str) -> Vec<String> {
    let Some((prefix, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);

    let mut depth = 0;
    let items = inner.split(|character: char| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    items
        .filter(|item| !item.is_empty())
        .flat_map(expanded)
        .map(|item| format!("{prefix}{item}"))
        .collect()
}

/// The libraries in Cargo.toml, as paths name them.
fn libraries() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest
        .split_once("\n[dependencies]\n")
        .unwrap()
        .1
        .split("\n[")
        .next()
        .unwrap();
    section
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")))
        .collect()
}

#[test]
fn modules_use_only_what_they_may() {
    let may_use: BTreeMap<&str, &[&str]> = MAY_USE.into();
    for file in files()
        .iter()
        .filter(|file| !["daemon", "lib", "main"].contains(&file.top()))
    {
        let may = may_use
            .get(file.top())
            .unwrap_or_else(|| panic!("src/{} is a new module: say what it may use", file.top()));
        for used in file.uses() {
            assert!(may.contains(&used), "src/{}: {} must not use {used}", file.module, file.top());
        }
    }
}

#[test]
fn the_cluster_is_made_of_little_more_than_the_standard_library() {
    let libraries = libraries();
    assert!(libraries.contains("tokio") && libraries.contains("serde_json"), "{libraries:?}");
    for file in files().iter().filter(|file| file.is_in("cluster")) {
        for path in file.paths() {
            let foreign = libraries.contains(path[0]) && !OF_THE_CLUSTER.contains(&path[0]);
            assert!(!foreign, "src/{}: {} does not belong there", file.module, path.join("::"));
        }
    }
}

#[test]
fn only_the_selection_opens_a_source() {
    for file in files()
        .iter()
        .filter(|file| !["config", "source"].contains(&file.top()))
    {
        for path in file.paths() {
            let names_a_source =
                matches!(path[..], ["crate", "source", module, ..] if SOURCES.contains(&module));
            assert!(
                !names_a_source,
                "src/{}: {} belongs in source::selection",
                file.module,
                path.join("::")
            );
        }
    }
}

#[test]
fn libraries_stay_in_their_place() {
    for (library, places) in STAY_IN {
        let library: Vec<&str> = library.split("::").collect();
        let mut seen = false;
        for file in files() {
            let uses = file.paths().any(|path| path.starts_with(&library));
            seen |= uses;
            let allowed = places.iter().any(|place| file.is_in(place));
            assert!(
                !uses || allowed,
                "src/{}: {} belongs in {places:?}",
                file.module,
                library.join("::")
            );
        }
        assert!(seen, "nothing uses {library:?} any more");
    }
}

#[test]
fn files_are_short() {
    let limits = BTreeMap::from(MAX_LINES_OF);
    let too_long: BTreeMap<String, usize> = files()
        .into_iter()
        .map(|file| (file.module, file.code.lines().count()))
        .filter(|(module, lines)| lines > limits.get(&**module).unwrap_or(&MAX_LINES))
        .collect();
    assert!(too_long.is_empty(), "more lines of code than a file should have: {too_long:?}");
}

#[test]
fn no_two_files_use_each_other_even_through_others() {
    let files = files();
    let modules: BTreeSet<&str> = files.iter().map(|file| file.module.as_str()).collect();
    let uses: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|file| (file.module.as_str(), file.uses_of_files(&modules)))
        .collect();

    // Files that use no other, or that no other uses, are in no circle. Without them, others become
    // such files, until only circles are left.
    let mut left = uses;
    loop {
        let used: BTreeSet<&str> = left.values().flatten().copied().collect();
        let free: BTreeSet<&str> = left
            .iter()
            .filter(|(module, uses)| uses.is_empty() || !used.contains(*module))
            .map(|(module, _)| *module)
            .collect();
        if free.is_empty() {
            break;
        }

        left.retain(|module, _| !free.contains(module));
        for uses in left.values_mut() {
            uses.retain(|module| !free.contains(module));
        }
    }
    assert!(left.is_empty(), "circles: {left:#?}");
}

#[test]
fn the_compiler_refuses_unsafe_code() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lints = manifest
        .split_once("\n[lints.rust]\n")
        .unwrap()
        .1
        .split("\n[")
        .next()
        .unwrap();
    assert!(lints.lines().any(|line| line == r#"unsafe_code = "forbid""#), "{lints}");
}

#[test]
fn each_snapshot_belongs_to_a_test() {
    let snapshots = fs::read_dir(root().join("tests/snapshots")).unwrap();
    let snapshots: BTreeSet<PathBuf> = snapshots.map(|entry| entry.unwrap().path()).collect();
    let mut sources = String::new();
    let mut folders = vec![root().join("src"), root().join("tests/it")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &fs::read_to_string(path).unwrap();
            }
        }
    }

    for snapshot in snapshots {
        let name = snapshot.file_name().unwrap().to_str().unwrap();
        let is_compared = name
            .strip_suffix(".snap")
            .is_some_and(|name| sources.contains(&format!("\"{name}\",")));
        assert!(is_compared, "no test compares {name}: remove it");
    }
}
