//! All services of the file but Grafana, as processes: with its commands, variables, mounts and
//! names. A minute takes six seconds.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{ComposeFile, mount};
use crate::support::cannot_run;
use crate::support::containers::Containers;

/// How much faster the cluster is played, and alerts fire.
const FASTER: u32 = 10;

/// How long keys of machines and units are valid, in seconds.
const TTL: &str = "3";

/// Where the image has the monitor.
const MONITOR: &str = "/usr/bin/fleet-monitor";

/// The services of the file that can run here, with the programs that their images start.
const PROGRAMS: [(&str, &str); 5] = [
    ("etcd", "etcd"),
    ("cluster", "busybox"),
    ("fleet-monitor", MONITOR),
    ("prometheus", "prometheus"),
    ("alertmanager", "prometheus-alertmanager"),
];

/// Changes what follows the beginning of lines: `wait 30`, `for: 1m`.
fn change_lines(text: &str, beginning: &str, change: impl Fn(&str) -> String) -> String {
    let lines = text.lines().map(|line| match line.split_once(beginning) {
        Some((indent, rest)) if indent.trim().is_empty() => {
            format!("{indent}{beginning}{}\n", change(rest))
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// `30` seconds, in less time.
fn faster(seconds: &str) -> String {
    seconds.parse::<u32>().unwrap().div_ceil(FASTER).to_string()
}

/// `1m`, in less time.
fn faster_minutes(minutes: &str) -> String {
    let minutes: u32 = minutes.strip_suffix('m').unwrap().parse().unwrap();
    format!("{}s", minutes * 60 / FASTER)
}

fn rewrite(path: &Path, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text, "{}", path.display());
    fs::write(path, changed).unwrap();
}

/// The services that run.
struct Demonstration {
    containers: Containers,
    compose: ComposeFile,
}

impl Demonstration {
    /// `None` where something is missing.
    fn new() -> Option<Self> {
        let compose = ComposeFile::load()?;
        let of_this_host = PROGRAMS.map(|(_, program)| program);
        for program in of_this_host.into_iter().filter(|program| *program != MONITOR) {
            let mut places = ["/usr/bin", "/bin", "/usr/local/bin"].iter();
            if !places.any(|place| Path::new(place).join(program).exists()) {
                cannot_run(&format!("{program} is not there; tests/install installs it"));
                return None;
            }
        }
        Some(Self { containers: Containers::new()?, compose })
    }

    /// Makes the root directory of a service: its mounts, and the names of all services.
    fn prepare(&self, service: &str) {
        let names = self.compose.services().into_iter().collect::<Vec<_>>().join(" ");
        let root = self.containers.root(service);
        self.containers
            .write(service, "/etc/hosts", format!("127.0.0.1 localhost {names}\n"));
        mount(&self.compose, service, &root);
        if service == "fleet-monitor" {
            let program = Path::new(env!("CARGO_BIN_EXE_fleet-monitor"));
            self.containers.add_program(service, program, MONITOR);
        } else {
            self.containers.add_programs(service);
        }
    }

    /// Starts a service with the command and the variables of the file.
    fn start(&self, service: &str) {
        let (_, program) = PROGRAMS.into_iter().find(|(name, _)| *name == service).unwrap();
        let mut command = self.compose.list(service, "entrypoint");
        command.extend(self.compose.list(service, "command"));
        match service {
            "etcd" => _ = command.remove(0),
            "cluster" => command.push(TTL),
            _ => {}
        }
        command.insert(0, program);

        let variables = self.compose.service(service)["environment"].as_object();
        let variables: Vec<(&str, &str)> = variables
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        self.containers.start(service, "0:0", &command, &variables);
    }

    /// The JSON at a path of a service, at the port at which the file publishes it.
    fn get(&self, service: &str, path: &str) -> Option<Value> {
        let ports = self.compose.list(service, "ports");
        let (_, port) = ports[0].rsplit_once(':').unwrap();
        assert_eq!(ports[0], format!("127.0.0.1:{port}:{port}"));
        self.containers.get(&format!("http://127.0.0.1:{port}{path}"))
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        self.containers.until(what, |_| look(self)).await
    }

    /// Waits until Alertmanager has an alert with this label, or none.
    async fn alert(&self, alert: &str, label: (&str, &str), is_there: bool) -> Option<Value> {
        let what = format!("{alert} of {}: {is_there}", label.1);
        self.until(&what, |all| {
            let alerts = all.get("alertmanager", "/api/v2/alerts")?;
            let found = alerts.as_array()?.iter().find(|found| {
                let labels = &found["labels"];
                labels["alertname"] == alert && labels[label.0] == label.1
            });
            (found.is_some() == is_there).then(|| found.cloned())
        })
        .await
    }
}

#[tokio::test]
async fn one_command_shows_units_metrics_and_alerts_that_fire_and_end() {
    let Some(all) = Demonstration::new() else {
        return;
    };
    for (service, _) in PROGRAMS {
        all.prepare(service);
    }
    let steps = all.containers.root("cluster").join("cluster/cluster.txt");
    rewrite(&steps, |text| change_lines(text, "wait ", faster));
    let prometheus = all.containers.root("prometheus").join("etc/prometheus");
    rewrite(&prometheus.join("rules/fleet-monitor-alerts.yaml"), |text| {
        change_lines(text, "for: ", faster_minutes)
    });
    rewrite(&prometheus.join("prometheus.yaml"), |text| {
        text.replace("interval: 5s", "interval: 1s")
    });

    // etcd first: what depends on it waits until it is healthy.
    all.start("etcd");
    let check = all.compose.service("etcd")["healthcheck"]["test"].as_array().unwrap();
    let arguments = check[2..].iter().map(|word| word.as_str().unwrap());
    let check: Vec<&str> = ["etcdctl"].into_iter().chain(arguments).collect();
    all.until("etcd", |all| all.containers.runs("etcd", &check).then_some(()))
        .await;
    for service in ["cluster", "fleet-monitor"] {
        let needed = &all.compose.service(service)["depends_on"]["etcd"]["condition"];
        assert_eq!(needed, "service_healthy");
    }
    for service in ["alertmanager", "prometheus", "fleet-monitor", "cluster"] {
        all.start(service);
    }

    let state = all
        .until("the units", |all| {
            let state = all.get("fleet-monitor", "/v2/state")?;
            let units = state["units"].as_array()?;
            let web = units.iter().find(|unit| unit["unit"] == "web.service")?;
            (web["verdict"] == "ok").then(|| state.clone())
        })
        .await;
    let source = state["health"]["source"].as_str().unwrap();
    assert!(source.starts_with("etcd "), "{source}");

    all.until("the metrics", |all| {
        let targets = all.get("prometheus", "/api/v1/targets")?;
        let target = targets["data"]["activeTargets"][0].clone();
        let is_scraped = target["health"] == "up";
        is_scraped.then(|| assert_eq!(target["scrapeUrl"], "http://fleet-monitor:8989/metrics"))
    })
    .await;

    let web = ("unit", "web.service");
    let alert = all.alert("FleetUnitFailed", web, true).await.unwrap();
    assert_eq!(alert["labels"]["cluster"], "example");
    all.alert("FleetUnitFailed", web, false).await;

    let machine = ("ip", "172.17.8.104");
    all.alert("FleetMachineLost", machine, true).await;
    all.alert("FleetMachineLost", machine, false).await;
    // Its units were moved meanwhile, and are well.
    let nowhere = all.get("alertmanager", "/api/v2/alerts").unwrap();
    assert!(!nowhere.to_string().contains("hello@2.service"), "{nowhere}");
}
