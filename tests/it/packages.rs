//! The release: files that are generated from the options, and the result of `packaging/build`.

mod image;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::support::packages;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The newest version of glibc whose symbols the released binary may use. CoreOS of 2015 and RHEL 7
/// have it.
const GLIBC: (u32, u32) = (2, 17);

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The output of a command, which has to succeed.
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The paths of all files in a directory, relative to it.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    found
}

/// The values in force with a configuration file, without the column of their places.
fn settings(file: &str) -> Vec<String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("fleet-monitor.toml");
    fs::write(&path, file).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    program.env_clear().arg("--check-config").arg("--config").arg(path);
    // There is no source here, but the values are printed all the same.
    let report = String::from_utf8(program.output().unwrap().stdout).unwrap();
    report
        .lines()
        .map(|line| line.split("  # ").next().unwrap().trim_end().to_owned())
        .collect()
}

#[test]
fn what_follows_from_the_options_is_as_they_are() {
    let generator = Path::new(env!("CARGO_BIN_EXE_fleet-monitor"))
        .with_file_name("examples/generate-packaging");
    assert!(generator.is_file(), "build it first: cargo build --example generate-packaging");
    let directory = TempDir::new().unwrap();
    output(Command::new(generator).arg(directory.path()));
    let written = files(directory.path());
    assert_eq!(written.len(), 6, "{written:?}");
    for path in written {
        let committed = fs::read_to_string(repository("packaging").join(&path)).unwrap_or_default();
        let generated = fs::read_to_string(directory.path().join(&path)).unwrap();
        assert!(
            committed == generated,
            "{path:?} is not up to date; write it: cargo run --example generate-packaging"
        );
    }
}

#[test]
fn the_program_prints_what_the_packages_install() {
    for (arguments, installed) in [
        (&["completions", "bash"][..], "completions/fleet-monitor.bash"),
        (&["completions", "fish"], "completions/fleet-monitor.fish"),
        (&["completions", "zsh"], "completions/_fleet-monitor"),
        (&["man"], "man/fleet-monitor.1"),
    ] {
        let printed = output(Command::new(env!("CARGO_BIN_EXE_fleet-monitor")).args(arguments));
        let installed = fs::read_to_string(repository("packaging").join(installed)).unwrap();
        assert!(printed == installed, "{arguments:?}");
    }
}

/// What a real bash offers for a command line, of which the last word is being typed.
fn offered_by_bash(line: &str) -> BTreeSet<String> {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("file.pem"), "").unwrap();

    // As readline does it: the words, and the last two of them as arguments. A function that offers
    // nothing gets the names of files, if `complete` says so.
    let script = r#"
        source "$1"
        read -ra COMP_WORDS <<<"$2"
        [[ $2 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        compopt() { :; }
        function=$(complete -p fleet-monitor | sed -E 's/.* -F ([^ ]+).*/\1/')
        "$function" fleet-monitor "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        if [[ ${#COMPREPLY[@]} -eq 0 && $(complete -p fleet-monitor) == *default* ]]; then
            COMPREPLY=(*)
        fi
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let offered = output(
        Command::new("bash")
            .args(["--norc", "-c", script, "bash"])
            .arg(repository("packaging/completions/fleet-monitor.bash"))
            .arg(line)
            .current_dir(directory.path()),
    );
    offered
        .lines()
        .filter(|word| !word.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn completions_offer_values_and_files_only_where_one_is_expected() {
    for (line, expected) in [
        ("fleet-monitor --source ", &["api", "auto", "etcd", "fleetctl", "replay"][..]),
        ("fleet-monitor --publish ", &["changes", "polls"]),
        ("fleet-monitor --log-to j", &["journal"]),
        ("fleet-monitor --machine-fields ", &["ip", "machine", "metadata"]),
        ("fleet-monitor --machine-fields ip,m", &["ip,machine", "ip,metadata"]),
        ("fleet-monitor --replay ", &["file.pem"]),
        ("fleet-monitor --etcd-ca f", &["file.pem"]),
        ("fleet-monitor --port ", &[]),
        ("fleet-monitor --endpoint f", &["f"]),
        ("fleet-monitor st", &["status"]),
        ("fleet-monitor status --color ", &["always", "auto", "never"]),
        ("fleet-monitor status --token-file ", &["file.pem"]),
        ("fleet-monitor status file", &[]),
        ("fleet-monitor check --warning machine", &["machine_lost"]),
        ("fleet-monitor check --critical failed,gh", &["failed,ghost"]),
        ("fleet-monitor check --for ", &[]),
        ("fleet-monitor logs --color ", &["always", "auto", "never"]),
        ("fleet-monitor logs file", &[]),
        ("fleet-monitor completions z", &["zsh"]),
    ] {
        let expected: BTreeSet<String> = expected.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(offered_by_bash(line), expected, "{line:?}");
    }

    let after_a_flag = offered_by_bash("fleet-monitor --demo ");
    assert!(after_a_flag.contains("--port") && !after_a_flag.contains("file.pem"));
}

#[test]
fn the_manual_page_describes_every_command_and_option() {
    let page = fs::read_to_string(repository("packaging/man/fleet-monitor.1")).unwrap();
    let page = page.replace('\\', "");

    for command in ["status", "watch", "unit", "logs", "check", "completions", "man"] {
        assert!(page.lines().any(|line| line == format!(".SS {command}")), "{command}");
    }
    for option in ["--listen", "--unit-freq", "--url", "-f, --follow", "--warning", "--for"] {
        assert!(page.contains(option), "{option}");
    }
}

#[test]
fn the_configuration_file_shows_every_option_as_it_is_by_default() {
    let file = fs::read_to_string(repository("packaging/etc/fleet-monitor.toml")).unwrap();
    let by_default = settings("");
    assert_eq!(settings(&file), by_default, "nothing is set");

    let shown: Vec<&str> = file
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect();
    assert_eq!(settings(&shown.join("\n")), by_default);
    let key = |line: &str| line.split([' ', '=']).next().unwrap().to_owned();
    let shown: BTreeSet<String> = shown.into_iter().map(key).collect();
    let set: BTreeSet<String> = by_default
        .iter()
        .filter(|line| !line.starts_with('#'))
        .map(|line| key(line))
        .collect();
    assert_eq!(shown, set);

    // All other options have a valid example.
    let examples: BTreeSet<&str> = file
        .lines()
        .filter_map(|line| line.strip_prefix("# Example: "))
        .collect();
    assert_eq!(shown.len() + examples.len(), by_default.len());
    // Some options are only valid together: those for TLS, a webhook, recordings, and other
    // monitors.
    let together = ["etcd", "webhook", "record", "replay from to", "tls", "history_"];
    let group_of = |line: &str| {
        together
            .iter()
            .position(|group| group.split(' ').any(|beginning| key(line).starts_with(beginning)))
    };
    let (grouped, alone): (Vec<&str>, Vec<&str>) =
        examples.into_iter().partition(|line| group_of(line).is_some());
    let groups = (0..together.len()).map(|group| {
        let lines = grouped.iter().filter(|line| group_of(line) == Some(group));
        let lines = lines.copied().collect::<Vec<_>>().join("\n");
        match together[group] {
            "history_" => format!("history_from = [\"http://core-02:8989\"]\n{lines}"),
            _ => lines,
        }
    });
    for example in alone.iter().map(|line| (*line).to_owned()).chain(groups) {
        let set = settings(&example);
        assert!(
            example
                .lines()
                .all(|line| set.iter().any(|set| key(set) == key(line))),
            "{example}"
        );
    }
}

#[test]
fn all_that_was_built_is_in_the_list_of_checksums() {
    let Some(packages) = packages() else { return };
    let list = fs::read_to_string(packages.join("SHA256SUMS")).unwrap();
    output(
        Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(&packages),
    );
    let mut listed: BTreeSet<PathBuf> = list
        .lines()
        .map(|line| line.split_once("  ").unwrap().1.into())
        .collect();
    listed.insert("SHA256SUMS".into());
    assert_eq!(listed, files(&packages));
}

#[test]
fn the_binaries_need_only_glibc_2_17() {
    let Some(packages) = packages() else { return };
    for (architecture, machine, loader) in [
        ("x86_64", "X86-64", "ld-linux-x86-64.so.2"),
        ("aarch64", "AArch64", "ld-linux-aarch64.so.1"),
    ] {
        let binary = packages.join(format!("fleet-monitor-{architecture}"));
        let read =
            |what: &[&str]| output(Command::new("readelf").arg("--wide").args(what).arg(&binary));
        assert!(read(&["--file-header"]).contains(machine), "{architecture}");

        let versions = read(&["--version-info"]);
        let wanted: BTreeSet<(u32, u32)> = versions
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("GLIBC_"))
            .map(|version| {
                let mut numbers = version.split('.').map(|number| number.parse().unwrap());
                (numbers.next().unwrap(), numbers.next().unwrap())
            })
            .collect();
        assert!(!wanted.is_empty() && wanted.last().unwrap() <= &GLIBC, "{wanted:?}");

        let of_glibc =
            ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", loader];
        for line in read(&["--dynamic"]).lines().filter(|line| line.contains("(NEEDED)")) {
            let library = line.split(['[', ']']).nth(1).unwrap();
            assert!(of_glibc.contains(&library), "{library} is not of glibc");
        }
    }
}

#[test]
fn the_binary_of_each_architecture_runs() {
    let Some(packages) = packages() else { return };
    let run = |wrapper: &[&str], architecture: &str| {
        let binary = packages.join(format!("fleet-monitor-{architecture}"));
        let mut command = Command::new("env");
        // It is of the tests, and no option.
        command.args(wrapper).arg(binary).env_remove("FLEET_MONITOR_PACKAGES");
        command
    };

    for (wrapper, architecture) in [
        (&[][..], "x86_64"),
        (&["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"], "aarch64"),
    ] {
        let version = output(run(wrapper, architecture).arg("--version"));
        assert_eq!(version, format!("fleet-monitor {VERSION}\n"), "{architecture}");
        Group::answers(&mut run(wrapper, architecture));
    }
}

#[test]
fn the_static_binary_starts_without_any_library() {
    let Some(packages) = packages() else { return };
    let binary = packages.join("fleet-monitor-static");
    let headers = output(
        Command::new("readelf")
            .args(["--program-headers", "--dynamic", "--wide"])
            .arg(&binary),
    );
    assert!(
        headers.contains("LOAD") && !headers.contains("INTERP") && !headers.contains("(NEEDED)"),
        "{headers}"
    );
    assert_eq!(
        output(Command::new(binary).arg("--version")),
        format!("fleet-monitor {VERSION}\n")
    );
}

#[test]
fn a_debian_package_holds_the_binary_and_what_belongs_to_it() {
    let Some(packages) = packages() else { return };
    for (of_debian, architecture) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let package = packages.join(format!("fleet-monitor_{VERSION}-1_{of_debian}.deb"));
        check_debian_package(&package, &packages.join(format!("fleet-monitor-{architecture}")));
    }
}

fn check_debian_package(package: &Path, binary: &Path) {
    let root = TempDir::new().unwrap();
    output(
        Command::new("dpkg-deb")
            .arg("--raw-extract")
            .arg(package)
            .arg(root.path()),
    );
    let at = |path: &str| root.path().join(path);
    for (installed, is) in [
        ("usr/bin/fleet-monitor", binary.to_owned()),
        ("etc/fleet-monitor.toml", repository("packaging/etc/fleet-monitor.toml")),
        (
            "lib/systemd/system/fleet-monitor.service",
            repository("packaging/lib/systemd/system/fleet-monitor.service"),
        ),
        (
            "lib/systemd/system/fleet-monitor.socket",
            repository("packaging/lib/systemd/system/fleet-monitor.socket"),
        ),
        (
            "usr/share/doc/fleet-monitor/examples/prometheus/fleet-monitor-alerts.yaml",
            repository("packaging/prometheus/fleet-monitor-alerts.yaml"),
        ),
        (
            "usr/share/doc/fleet-monitor/examples/prometheus/fleet-monitor-recording.yaml",
            repository("packaging/prometheus/fleet-monitor-recording.yaml"),
        ),
        (
            "usr/share/doc/fleet-monitor/examples/prometheus/scrape.yaml",
            repository("packaging/prometheus/scrape.yaml"),
        ),
        (
            "usr/share/doc/fleet-monitor/examples/grafana/fleet-monitor.json",
            repository("packaging/grafana/fleet-monitor.json"),
        ),
        (
            "usr/share/doc/fleet-monitor/examples/compose/compose.yaml",
            repository("packaging/compose/compose.yaml"),
        ),
        (
            "usr/share/doc/fleet-monitor/examples/compose/cluster.txt",
            repository("packaging/compose/cluster.txt"),
        ),
        // The runbook, where the alerts look for it.
        (
            "usr/share/doc/fleet-monitor/docs/operations.md",
            repository("docs/operations.md"),
        ),
        (
            "usr/lib/sysusers.d/fleet-monitor.conf",
            repository("packaging/lib/sysusers.d/fleet-monitor.conf"),
        ),
    ] {
        assert!(fs::read(at(installed)).unwrap() == fs::read(is).unwrap(), "{installed}");
    }
    for installed in [
        "usr/share/bash-completion/completions/fleet-monitor",
        "usr/share/doc/fleet-monitor/changelog.Debian.gz",
        "usr/share/doc/fleet-monitor/copyright",
        "usr/share/fish/vendor_completions.d/fleet-monitor.fish",
        "usr/share/man/man1/fleet-monitor.1.gz",
        "usr/share/zsh/vendor-completions/_fleet-monitor",
    ] {
        assert!(at(installed).is_file(), "{installed}");
    }
    assert_eq!(
        fs::read_to_string(at("DEBIAN/conffiles")).unwrap().trim(),
        "/etc/fleet-monitor.toml"
    );
    for script in ["postinst", "prerm", "postrm"] {
        assert_eq!(
            fs::read(at("DEBIAN").join(script)).unwrap(),
            fs::read(repository("packaging/debian").join(script)).unwrap()
        );
    }
    let changelog = fs::read_to_string(repository("packaging/debian/changelog")).unwrap();
    assert!(changelog.starts_with(&format!("fleet-monitor ({VERSION}-1) ")), "{changelog}");
}

#[test]
fn an_rpm_package_holds_what_the_debian_package_holds() {
    let Some(packages) = packages() else { return };
    let directory = TempDir::new().unwrap();
    for (of_debian, architecture) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let package = packages.join(format!("fleet-monitor-{VERSION}-1.{architecture}.rpm"));
        let query = |arguments: &[&str]| {
            output(
                Command::new("rpm")
                    .arg("--query")
                    .args(arguments)
                    .arg("--package")
                    .arg(&package),
            )
        };
        let info = query(&["--queryformat", "%{NAME} %{VERSION}-%{RELEASE} %{ARCH} %{LICENSE}"]);
        let expected = format!("fleet-monitor {VERSION}-1 {architecture} MIT OR Apache-2.0");
        assert_eq!(info, expected);
        assert_eq!(query(&["--configfiles"]).trim(), "/etc/fleet-monitor.toml");

        let [rpm, deb] = ["rpm", "deb"].map(|kind| directory.path().join(kind).join(architecture));
        fs::create_dir_all(&rpm).unwrap();
        let unpack = "rpm2cpio \"$1\" | cpio --quiet --extract --make-directories";
        output(
            Command::new("sh")
                .args(["-c", unpack, "sh"])
                .arg(&package)
                .current_dir(&rpm),
        );
        fs::create_dir_all(&deb).unwrap();
        let debian_package = packages.join(format!("fleet-monitor_{VERSION}-1_{of_debian}.deb"));
        output(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(debian_package)
                .arg(&deb),
        );

        // Where Debian has another place or form for it.
        let in_debian = |path: &Path| -> Option<PathBuf> {
            let path = path.to_str().unwrap();
            match path {
                "usr/share/doc/fleet-monitor/CHANGELOG.md" => {
                    Some("usr/share/doc/fleet-monitor/changelog.gz".into())
                }
                "usr/share/man/man1/fleet-monitor.1" => Some(format!("{path}.gz").into()),
                "usr/share/zsh/site-functions/_fleet-monitor" => {
                    Some("usr/share/zsh/vendor-completions/_fleet-monitor".into())
                }
                _ if path.starts_with("usr/share/licenses") => None,
                _ => Some(path.replace("usr/lib/systemd", "lib/systemd").into()),
            }
        };
        let mut of_debian = files(&deb);
        for path in ["changelog.Debian.gz", "copyright"] {
            assert!(of_debian.remove(&Path::new("usr/share/doc/fleet-monitor").join(path)));
        }
        let of_rpm: BTreeSet<PathBuf> =
            files(&rpm).iter().filter_map(|path| in_debian(path)).collect();
        assert_eq!(of_rpm, of_debian);

        let same =
            |path: &str| fs::read(rpm.join(path)).unwrap() == fs::read(deb.join(path)).unwrap();
        assert!(same("usr/bin/fleet-monitor") && same("etc/fleet-monitor.toml"));
    }
}

#[test]
fn the_list_of_libraries_names_what_is_linked_with_version_hash_and_licence() {
    let Some(packages) = packages() else { return };
    let list = packages.join(format!("fleet-monitor-{VERSION}.cdx.json"));
    let list = fs::read_to_string(list).unwrap();
    assert!(!list.contains(env!("CARGO_MANIFEST_DIR")));
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list["bomFormat"], &list["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(list["metadata"]["component"]["version"], VERSION);

    let components = list["components"].as_array().unwrap();
    for component in components {
        for what in ["name", "version", "hashes", "licenses", "purl"] {
            assert!(!component[what].is_null(), "{what} of {component}");
        }
    }
    let listed = |name: &str| components.iter().any(|component| component["name"] == name);
    for name in ["tokio", "rustls", "ring", "zstd-sys"] {
        assert!(listed(name), "{name}");
    }
    for name in ["proptest", "libfuzzer-sys"] {
        assert!(!listed(name), "{name} is only for tests");
    }
}

#[test]
fn the_archive_for_coreos_installs_itself() {
    let Some(packages) = packages() else { return };
    let directory = TempDir::new().unwrap();
    let archive = packages.join(format!("fleet-monitor-{VERSION}-coreos.tar.gz"));
    output(
        Command::new("tar")
            .args(["--extract", "--gzip", "--file"])
            .arg(archive)
            .arg("-C")
            .arg(directory.path()),
    );
    let script = directory
        .path()
        .join(format!("fleet-monitor-{VERSION}-coreos/install-coreos"));
    for example in [
        "prometheus/fleet-monitor-alerts.yaml",
        "grafana/fleet-monitor.json",
        "compose/compose.yaml",
    ] {
        assert!(script.with_file_name(example).is_file(), "{example}");
    }

    let root = directory.path().join("root");
    output(Command::new(script).arg("--root").arg(&root));
    let installed = fs::read(root.join("opt/bin/fleet-monitor")).unwrap();
    assert!(installed == fs::read(packages.join("fleet-monitor-x86_64")).unwrap());
    assert!(root.join("etc/systemd/system/fleet-monitor.socket").is_file());
}

/// The image and containers of it, in a separate storage.
struct Images(TempDir);

impl Images {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A new container, by its name, and its configuration.
    fn container(&self, packages: &Path) -> (String, serde_json::Value) {
        let image = packages.join(format!("fleet-monitor-{VERSION}-container.tar"));
        let image = format!("oci-archive:{}", image.display());
        let name = output(self.buildah().args(["from", "--quiet", &image]));
        let name = name.trim().to_owned();

        let inspect = ["inspect", "--format", "{{.Config}}", &name];
        let config = output(self.buildah().args(inspect));
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        (name, config["config"].take())
    }

    fn buildah(&self) -> Command {
        let mut buildah = Command::new("buildah");
        buildah
            .args(["--storage-driver", "vfs", "--root"])
            .arg(self.0.path().join("root"));
        buildah.arg("--runroot").arg(self.0.path().join("run"));
        buildah
    }
}

/// A command that is killed with all its child processes.
struct Group(Child);

impl Group {
    /// Runs the program with its built-in recording until it has answered a request.
    fn answers(program: &mut Command) {
        let child = program
            .args(["--demo", "--bind", "127.0.0.1", "--port", "0"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Self(child);
        let mut lines = BufReader::new(child.0.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let listening = lines.find(|line| line.contains("listening on ")).expect("it listens");

        let mut client = TcpStream::connect(listening.rsplit(' ').next().unwrap()).unwrap();
        client
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

        drop(child);
        // Its standard error is closed when the last of its processes has exited.
        lines.for_each(drop);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::TERM));
        let _ = self.0.wait();
    }
}

#[test]
fn the_container_runs_without_power_and_answers() {
    let Some(packages) = packages() else { return };
    let images = Images::new();
    let (name, config) = images.container(&packages);
    assert_eq!(config["User"], "65534:65534");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/bin/fleet-monitor"]));
    assert!(config["ExposedPorts"].get("8989/tcp").is_some(), "{config}");

    let mut run = images.buildah();
    run.args([
        "run",
        "--isolation",
        "chroot",
        &name,
        "--",
        config["Entrypoint"][0].as_str().unwrap(),
    ]);
    Group::answers(&mut run);
}
