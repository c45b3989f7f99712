//! The samples that install the program on new CoreOS machines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::installer::{outputs, settings_on_coreos};
use super::{read, repository, settings};

/// Parses a YAML document with Python. `None` if that has no PyYAML; with `CI=true` that is a
/// failure.
fn yaml(path: &str) -> Option<Value> {
    let program =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(repository(path))
        .output();
    let missing = match &output {
        Ok(output) => String::from_utf8_lossy(&output.stderr).contains("No module named 'yaml'"),
        Err(_) => true,
    };

    if missing && std::env::var_os("CI").is_none_or(|ci| ci != "true") {
        eprintln!("not checked: no PyYAML; it is in Debian's package python3-yaml");
        return None;
    }

    let output = output.unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn entry_named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let mut found = list.as_array().unwrap().iter().filter(|entry| entry[key] == name);
    found.next().unwrap_or_else(|| panic!("no {name} in {list:#}"))
}

/// The sample; `None` if it cannot be parsed here.
fn cloud_config() -> Option<Value> {
    yaml("packaging/samples/cloud-config.yaml")
}

#[test]
fn the_cloud_config_starts_the_unit_of_the_host_after_the_download() {
    assert!(
        read("packaging/samples/cloud-config.yaml").starts_with("#cloud-config\n"),
        "CoreOS recognizes the format by the first line"
    );
    let Some(config) = cloud_config() else { return };
    let units = &config["coreos"]["units"];

    let service = entry_named(units, "name", "fleet-monitor.service");
    assert_eq!(settings(service["content"].as_str().unwrap()), settings_on_coreos());
    assert_eq!(service["enable"], true);
    assert_eq!(service["command"], "start");

    let drop_in = entry_named(&service["drop-ins"], "name", "10-download.conf");
    let needed = settings(drop_in["content"].as_str().unwrap());
    let download = entry_named(units, "name", "fleet-monitor-download.service");
    assert!(needed.iter().all(|(_, _, value)| download["name"] == **value), "{needed:?}");

    let written = &config["write_files"];
    let options = entry_named(written, "path", "/etc/fleet-monitor.toml");
    assert!(options["content"].as_str().unwrap().starts_with("allowed_hosts = "));

    let script = entry_named(written, "path", "/opt/bin/fleet-monitor-download");
    assert_eq!(script["permissions"], "0755");
    let (_, _, command) = settings(download["content"].as_str().unwrap())
        .into_iter()
        .find(|(_, key, _)| key == "ExecStart")
        .unwrap();
    assert_eq!(script["path"], command);
}

/// The script that downloads the program, with a double of `curl`.
struct Download {
    directory: TempDir,
    script: String,
}

impl Download {
    fn new(config: &Value) -> Self {
        let script = entry_named(&config["write_files"], "path", "/opt/bin/fleet-monitor-download");
        let download = Self {
            directory: TempDir::new().unwrap(),
            script: script["content"].as_str().unwrap().to_owned(),
        };

        let curl = download.at("curl");
        let double = "while [ $1 != --output ]; do shift; done; echo program >$2; echo $3 >url";
        fs::write(&curl, format!("#!/bin/sh\n{double}\n")).unwrap();
        fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
        download
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Runs the script with the expected hash of the program.
    fn run(&self, hash: &str) -> Output {
        let zeros = "0".repeat(64);
        assert!(self.script.contains(&zeros));
        fs::write(self.at("download"), self.script.replace(&zeros, hash)).unwrap();

        let directory = self.directory.path().display();
        let path = format!("{directory}:{}", std::env::var("PATH").unwrap());
        Command::new("/bin/sh")
            .arg(self.at("download"))
            .env("PATH", path)
            .output()
            .unwrap()
    }
}

#[test]
fn the_cloud_config_downloads_the_program_only_with_the_right_hash() {
    let Some(config) = cloud_config() else { return };
    let download = Download::new(&config);
    let program = download.at("fleet-monitor");

    let output = download.run(&"1".repeat(64));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!program.exists());
    let (_, message) = outputs(&output);
    assert!(
        message.contains("https://example.com/fleet-monitor has another hash than 1"),
        "{message}"
    );

    let right = "fba13a37a73d657dc0f1e671f0dc714f9891dd4da15ec45bd2a6f83e0434648e";
    assert!(download.run(right).status.success());
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);

    fs::remove_file(download.at("url")).unwrap();
    assert!(download.run(right).status.success());
    assert!(!download.at("url").exists(), "an existing file is not downloaded again");
}

#[test]
fn the_ignition_sample_verifies_the_download_and_enables_the_unit_of_the_host() {
    let config: Value = serde_json::from_str(&read("packaging/samples/ignition.json")).unwrap();
    assert_eq!(config["ignition"]["version"], "2.0.0");

    let files = &config["storage"]["files"];
    for (path, mode) in [("/opt/bin/fleet-monitor", 0o755), ("/etc/fleet-monitor.toml", 0o644)] {
        let file = entry_named(files, "path", path);
        assert_eq!(
            (&file["filesystem"], &file["mode"]),
            (&Value::from("root"), &Value::from(mode)),
            "{path}"
        );
    }

    let contents = &entry_named(files, "path", "/opt/bin/fleet-monitor")["contents"];
    assert!(contents["source"].as_str().unwrap().starts_with("https://"));

    // Version 2 of the specification supports no other hash function.
    let hash = contents["verification"]["hash"]
        .as_str()
        .unwrap()
        .strip_prefix("sha512-")
        .unwrap();
    assert!(hash.len() == 128 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()));

    let service = entry_named(&config["systemd"]["units"], "name", "fleet-monitor.service");
    assert_eq!(service["enable"], true);
    assert_eq!(settings(service["contents"].as_str().unwrap()), settings_on_coreos());

    let group = entry_named(&service["dropins"], "name", "10-group-fleet.conf")["contents"]
        .as_str()
        .unwrap();
    assert_eq!(
        settings(group),
        [("Service".to_owned(), "SupplementaryGroups".to_owned(), "fleet".to_owned())]
    );
}
