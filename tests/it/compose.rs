//! `packaging/compose`: the file, what it mounts, the cluster that is played, and all of it
//! running.

mod cluster;
mod running;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::architecture::root;
use crate::metrics::tools::{accepts, promtool, python};

/// Prints YAML as JSON.
const TO_JSON: &str =
    "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin.buffer), sys.stdout)";

fn folder() -> PathBuf {
    root().join("packaging/compose")
}

/// A YAML file of the folder. `None` where there is no parser of YAML.
fn yaml(name: &str) -> Option<Value> {
    let json = python(TO_JSON, &fs::read(folder().join(name)).unwrap())?;
    Some(serde_json::from_str(&json).unwrap())
}

/// `compose.yaml`.
struct ComposeFile(Value);

impl ComposeFile {
    fn load() -> Option<Self> {
        yaml("compose.yaml").map(Self)
    }

    fn services(&self) -> BTreeSet<&str> {
        let services = self.0["services"].as_object().unwrap();
        services.keys().map(String::as_str).collect()
    }

    fn service(&self, name: &str) -> &Value {
        &self.0["services"][name]
    }

    /// A list of a service, such as `command`.
    fn list(&self, service: &str, key: &str) -> Vec<&str> {
        let list = self.service(service)[key].as_array();
        list.into_iter()
            .flatten()
            .map(|item| item.as_str().unwrap())
            .collect()
    }

    /// What a service mounts of this repository: where it is, and where the service has it.
    fn mounts(&self, service: &str) -> Vec<(PathBuf, &str)> {
        let volumes = self.list(service, "volumes").into_iter();
        volumes
            .filter(|volume| volume.starts_with('.'))
            .map(|volume| {
                let mut parts = volume.split(':');
                let source = folder().join(parts.next().unwrap());
                let target = parts.next().unwrap();
                assert_eq!(parts.next(), Some("ro"), "{volume} is mounted to be read");
                (source, target)
            })
            .collect()
    }

    /// The files that a service mounts, with the paths that it has them at.
    fn files(&self, service: &str) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        for (source, target) in self.mounts(service) {
            if source.is_file() {
                files.push((source, target.to_owned()));
                continue;
            }
            for entry in fs::read_dir(&source).unwrap_or_else(|_| panic!("{}", source.display())) {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                files.push((path.clone(), format!("{target}/{name}")));
            }
        }
        files
    }
}

#[test]
fn compose_accepts_the_file() {
    let file = folder().join("compose.yaml");
    let arguments = ["--file", file.to_str().unwrap(), "config", "--quiet"];
    accepts("docker-compose", "docker-compose", &arguments);
}

#[test]
fn what_is_mounted_is_there_and_each_file_is_mounted() {
    let Some(compose) = ComposeFile::load() else {
        return;
    };
    let mut mounted = BTreeSet::from([folder().join("compose.yaml")]);
    for service in compose.services() {
        mounted.extend(compose.files(service).into_iter().map(|(source, _)| source));
    }

    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    for file in files {
        assert!(mounted.contains(&file), "nothing mounts {}", file.display());
    }
    for file in mounted {
        assert!(file.is_file(), "{}", file.display());
    }
}

#[test]
fn images_have_versions_and_ports_are_those_of_this_host_alone() {
    let Some(compose) = ComposeFile::load() else {
        return;
    };
    for service in compose.services() {
        let image = compose.service(service)["image"].as_str().unwrap();
        let (name, version) = image.rsplit_once(':').expect("a version");
        assert!(name.split('/').count() == if service == "fleet-monitor" { 2 } else { 3 });
        assert_eq!(version.trim_start_matches('v').split('.').count(), 3, "{image}");

        for port in compose.list(service, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{port}");
        }
    }

    let own = compose.service("fleet-monitor")["image"].as_str().unwrap();
    assert_eq!(own, format!("localhost/fleet-monitor:{}", env!("CARGO_PKG_VERSION")));
}

/// Copies the files that a service mounts to where it has them, below a directory.
fn mount(compose: &ComposeFile, service: &str, directory: &Path) {
    for (source, target) in compose.files(service) {
        let target = directory.join(target.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(source, target).unwrap();
    }
}

/// The file of the option `--config.file` of a service, below a directory.
fn configuration(compose: &ComposeFile, service: &str, directory: &Path) -> PathBuf {
    let command = compose.list(service, "command");
    let path = command
        .iter()
        .find_map(|argument| argument.strip_prefix("--config.file=/"));
    directory.join(path.expect("a configuration"))
}

#[test]
fn prometheus_and_alertmanager_accept_their_configurations() {
    let Some(compose) = ComposeFile::load() else {
        return;
    };
    let directory = TempDir::new().unwrap();
    for service in ["prometheus", "alertmanager"] {
        mount(&compose, service, directory.path());
    }

    let file = configuration(&compose, "prometheus", directory.path());
    promtool(&["check", "config", file.to_str().unwrap()], b"");

    let file = configuration(&compose, "alertmanager", directory.path());
    let arguments = ["check-config", file.to_str().unwrap()];
    accepts("amtool", "prometheus-alertmanager", &arguments);
}

/// There is no Grafana among Debian's packages, so this reads what its documentation says.
#[test]
fn grafana_finds_its_data_source_and_its_dashboard() {
    let Some(compose) = ComposeFile::load() else {
        return;
    };
    let files = compose.files("grafana");
    let provisioned = |kind: &str| {
        let place = format!("/etc/grafana/provisioning/{kind}/");
        let (source, _) = files
            .iter()
            .find(|(_, target)| target.starts_with(&place) && target.ends_with(".yaml"))
            .expect("a file");
        yaml(source.file_name().unwrap().to_str().unwrap()).expect("YAML")
    };

    let sources = provisioned("datasources");
    assert_eq!(sources["apiVersion"], 1);
    let [source] = &sources["datasources"].as_array().unwrap()[..] else {
        panic!("one data source: {sources}");
    };
    assert_eq!(source["url"], "http://prometheus:9090");
    assert_eq!(source["access"], "proxy");

    // The dashboard's variable has no value of its own, so Grafana selects the default one of the
    // type.
    let dashboard: Value =
        serde_json::from_str(include_str!("../../packaging/grafana/fleet-monitor.json")).unwrap();
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(variable["type"], "datasource");
    assert_eq!(variable["query"], source["type"]);
    assert_eq!(variable["current"], serde_json::json!({}));
    assert_eq!(source["isDefault"], true);

    let providers = provisioned("dashboards");
    assert_eq!(providers["apiVersion"], 1);
    let provider = &providers["providers"][0];
    assert_eq!(provider["type"], "file");
    let path = provider["options"]["path"].as_str().unwrap();
    let installed = format!("{path}/fleet-monitor.json");
    assert!(files.iter().any(|(_, target)| *target == installed), "{files:?}");
    let environment = &compose.service("grafana")["environment"];
    assert_eq!(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], *installed);
}
