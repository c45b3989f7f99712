//! `/v2/unit-file`: unit files from each source, and the bounds on requests for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::etcd::{Etcd, PREFIX};
use crate::support::fleetd::{Fleetd, Registry, Reply, error};
use crate::support::snapshots::assert_catalogue;
use crate::support::{Daemon, Double, Program, Proxy};

/// The version that fleet has.
pub const NEW: &str = "[Unit]\nDescription=Web\n\n[Service]\nEnvironment=PORT=80 DB_PASSWORD=hunter3\n\
                   ExecStart=/bin/web\n\n[X-Fleet]\nMachineMetadata=role=web\n";
/// The same without its secret.
const MASKED: &str = "[Unit]\nDescription=Web\n\n[Service]\n\
                      Environment=PORT=80 DB_PASSWORD=********\nExecStart=/bin/web\n\n\
                      [X-Fleet]\nMachineMetadata=role=web\n";
/// The version that the machine still runs.
pub const OLD: &str = "[Unit]\nDescription=Web\n\n[Service]\nEnvironment=PORT=80 DB_PASSWORD=hunter2\n\
                   ExecStart=/bin/web --old\n\n[X-Fleet]\nMachineMetadata=role=web\n";

/// From the old version to the new one.
fn diff() -> Value {
    json!([
        " [Unit]",
        " Description=Web",
        " ",
        " [Service]",
        "-Environment=PORT=80 DB_PASSWORD=********",
        "-ExecStart=/bin/web --old",
        "+Environment=PORT=80 DB_PASSWORD=********",
        "+ExecStart=/bin/web",
        " ",
        " [X-Fleet]",
        " MachineMetadata=role=web"
    ])
}

const MACHINE: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const WEB: &str = "/v2/unit-file?unit=web.service";

fn hash_of(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The options of a text, as fleet's API has them.
fn options(text: &str) -> Value {
    let mut section = "";
    let mut options = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            None => section = line.trim_matches(['[', ']']),
            Some((name, value)) => {
                options.push(json!({"section": section, "name": name, "value": value}));
            }
        }
    }
    json!(options)
}

/// The status, the head and the body of the response for a path.
async fn request(daemon: &Daemon, path: &str) -> (u16, String, Value) {
    let (status, head, body) = daemon.request("GET", path).await;
    (status, head.to_lowercase(), serde_json::from_str(&body).unwrap())
}

/// The status and the headers of the response to HEAD.
async fn head(daemon: &Daemon, path: &str) -> (u16, String) {
    let (status, head, body) = daemon.request("HEAD", path).await;
    assert_eq!(body, "");
    (status, head.to_lowercase())
}

async fn requests(daemon: &Daemon, outcome: &str) -> u64 {
    daemon
        .counter(&format!("fleet_monitor_unit_file_requests_total{{outcome=\"{outcome}\"}}"))
        .await
}

#[track_caller]
fn assert_unavailable((status, head, body): &(u16, String, Value), named: &str) {
    assert_eq!(*status, 503, "{body}");
    assert!(head.contains("\r\nretry-after: "), "{head}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains(named), "{message}");
}

/// Fills an etcd with a unit, of which its machine runs an old version.
async fn fill(etcd: &Etcd) {
    let set = async |key: &str, value: Value| {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        etcd.set(&format!("{PREFIX}/{key}"), &value, None).await
    };
    set(
        &format!("machines/{MACHINE}/object"),
        json!({"ID": MACHINE, "PublicIP": "10.0.0.1"}),
    )
    .await;
    for text in [OLD, NEW] {
        set(&format!("unit/{}", hash_of(text)), json!({"Raw": text})).await;
    }
    let bytes: Vec<u8> = Sha1::digest(NEW).to_vec();
    set("job/web.service/object", json!({"Name": "web.service", "UnitHash": bytes})).await;
    set("job/web.service/target-state", json!("launched")).await;
    set("job/web.service/target", json!(MACHINE)).await;
    let state = json!({
        "loadState": "loaded", "activeState": "active", "subState": "running",
        "machineState": {"ID": MACHINE}, "unitHash": hash_of(OLD),
    });
    set(&format!("states/web.service/{MACHINE}"), state).await;
}

/// Such an etcd, a proxy in front of it, and a monitor that reads it through that.
async fn etcd_and_monitor(arguments: &[&str]) -> Option<(Etcd, Proxy, Daemon)> {
    let etcd = Etcd::start().await?;
    fill(&etcd).await;
    let address = etcd.url().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = Proxy::to(address).await;

    let url = format!("http://{}", proxy.address);
    let program = Program::new(&[&["--etcd", &url, "--poll-timeout", "2"], arguments].concat());
    let daemon = program.start().await;
    daemon.source_is("ok").await;
    Some((etcd, proxy, daemon))
}

/// The requests for the files of units that a proxy has seen.
fn file_requests(proxy: &Proxy) -> Vec<String> {
    let directory = format!("GET /v2/keys{PREFIX}/");
    let mut requests = proxy.asked(&format!("{directory}job/"));
    requests.extend(proxy.asked(&format!("{directory}unit/")));
    requests
}

#[tokio::test]
async fn etcd_has_the_file_and_the_version_that_the_machine_runs() {
    let Some((_etcd, proxy, daemon)) = etcd_and_monitor(&["--unit-files"]).await else {
        return;
    };

    let (status, head, file) = request(&daemon, WEB).await;
    assert_eq!(status, 200, "{file}");
    assert!(head.contains("\r\ncache-control: no-store"), "{head}");
    assert_eq!(
        file,
        json!({
            "unit": "web.service",
            "hash": hash_of(NEW),
            "content": MASKED,
            "masked": true,
            "running": [{
                "hash": hash_of(OLD),
                "machines": [MACHINE],
                "content": OLD.replace("hunter2", "********"),
                "diff": diff(),
            }],
        })
    );

    // The object of the unit, and both files.
    assert_eq!(file_requests(&proxy).len(), 3, "{:?}", file_requests(&proxy));
    assert_eq!(request(&daemon, WEB).await.2, file);
    assert_eq!(file_requests(&proxy).len(), 3, "the second answer is cached");
    assert_eq!((requests(&daemon, "fetched").await, requests(&daemon, "cached").await), (1, 1));
}

#[tokio::test]
async fn with_full_nothing_is_masked() {
    let Some((_etcd, _proxy, daemon)) = etcd_and_monitor(&["--unit-files=full"]).await else {
        return;
    };
    let (_, _, file) = request(&daemon, WEB).await;
    assert_eq!((&file["content"], &file["masked"]), (&json!(NEW), &json!(false)));
    assert_eq!(file["running"][0]["content"], OLD);
    assert_eq!(daemon.get("/v2/actions").await.1["unit_files"], "full");
}

#[tokio::test]
async fn an_etcd_that_is_down_is_a_clear_error() {
    let Some((_etcd, proxy, daemon)) = etcd_and_monitor(&["--unit-files"]).await else {
        return;
    };
    proxy.cut();
    assert_unavailable(&request(&daemon, WEB).await, &proxy.address.to_string());
    assert_eq!(requests(&daemon, "failed").await, 1);

    proxy.mend();
    assert_eq!(request(&daemon, WEB).await.0, 200);
}

#[tokio::test]
async fn a_file_that_does_not_have_the_hash_of_its_key_is_not_shown() {
    let Some((etcd, _proxy, daemon)) = etcd_and_monitor(&["--unit-files"]).await else {
        return;
    };
    let keys = [OLD, NEW].map(|text| format!("{PREFIX}/unit/{}", hash_of(text)));
    etcd.set(&keys[1], &json!({"Raw": "[Unit]\nDescription=forged\n"}).to_string(), None)
        .await;
    assert_unavailable(&request(&daemon, WEB).await, "not the one");

    // An old version is not needed.
    etcd.set(&keys[1], &json!({ "Raw": NEW }).to_string(), None).await;
    etcd.set(&keys[0], &json!({"Raw": "[Unit]\nDescription=forged\n"}).to_string(), None)
        .await;
    let (status, _, file) = request(&daemon, WEB).await;
    assert_eq!((status, &file["content"]), (200, &json!(MASKED)));
    assert_eq!(file["running"][0]["content"], Value::Null);
    assert_eq!(file["running"][0]["diff"], Value::Null);

    etcd.set(&keys[0], &json!({ "Raw": OLD }).to_string(), None).await;
    assert_eq!(request(&daemon, WEB).await.2["running"][0]["diff"], diff());
}

#[tokio::test]
async fn a_file_of_many_bytes_is_refused() {
    let Some((etcd, _proxy, daemon)) = etcd_and_monitor(&["--unit-files"]).await else {
        return;
    };
    let large = format!("[Unit]\nDescription={}\n", "x".repeat(64 << 10));
    let key = format!("{PREFIX}/unit/{}", hash_of(NEW));
    for text in [large, "x".repeat(300 << 10)] {
        etcd.set(&key, &json!({ "Raw": text }).to_string(), None).await;
        let answer = request(&daemon, WEB).await;
        assert_unavailable(&answer, "the unit file");
        assert!(answer.2.to_string().len() < 500, "{}", answer.2);
    }
}

#[tokio::test]
async fn a_unit_file_that_was_deleted_is_shown_as_the_machine_runs_it() {
    let Some((etcd, _proxy, daemon)) = etcd_and_monitor(&["--unit-files"]).await else {
        return;
    };
    etcd.delete(&format!("{PREFIX}/job/web.service")).await;
    let (status, _, file) = request(&daemon, WEB).await;
    assert_eq!((status, &file["content"], &file["hash"]), (200, &Value::Null, &Value::Null));
    assert_eq!(file["running"][0]["content"], OLD.replace("hunter2", "********"));
}

/// A fleetd whose registry the test changes, and a monitor that polls it.
pub struct ApiCluster {
    registry: Arc<Mutex<Registry>>,
    pub fleetd: Fleetd,
}

impl ApiCluster {
    pub async fn start() -> Self {
        let registry = Arc::new(Mutex::new(Registry::default()));
        let fleetd = Fleetd::tcp({
            let registry = registry.clone();
            move |path: &str| registry.lock().unwrap().reply(path)
        })
        .await;
        let cluster = Self { registry, fleetd };
        cluster.set(OLD, OLD);
        cluster
    }

    /// Sets the version that fleet has, and the one that the machine runs.
    pub fn set(&self, fleet: &str, machine: &str) {
        *self.registry.lock().unwrap() = registry(fleet, machine);
    }

    async fn monitor(&self, arguments: &[&str]) -> Daemon {
        let address = self.fleetd.address();
        let options = ["--api", address, "--unit-freq", "0.1", "--machine-freq", "0.1"];
        let daemon = Program::new(&[&options, arguments].concat()).start().await;
        daemon.source_is("ok").await;
        daemon
    }

    pub fn file_requests(&self) -> usize {
        let is_for_one = |path: &&String| path.starts_with("/fleet/v1/units/");
        self.fleetd.paths().iter().filter(is_for_one).count()
    }
}

pub fn registry(fleet: &str, machine: &str) -> Registry {
    Registry {
        states: vec![json!({
            "name": "web.service", "machineID": MACHINE, "hash": hash_of(machine),
            "systemdLoadState": "loaded", "systemdActiveState": "active",
            "systemdSubState": "running",
        })],
        machines: vec![json!({"id": MACHINE, "primaryIP": "10.0.0.1"})],
        units: vec![json!({
            "name": "web.service", "desiredState": "launched", "machineID": MACHINE,
            "options": options(fleet),
        })],
    }
}

/// Waits until the row of the unit has this verdict.
async fn until_verdict(daemon: &Daemon, verdict: &str) {
    let row = async || daemon.get("/v2/state").await.1["units"][0]["verdict"].take();
    let seen = async { while row().await != verdict {} };
    timeout(Duration::from_secs(30), seen).await.expect(verdict);
}

#[tokio::test]
async fn the_api_has_the_file_and_an_old_version_comes_from_the_cache() {
    let cluster = ApiCluster::start().await;
    let daemon = cluster.monitor(&["--unit-files"]).await;
    let (_, _, file) = request(&daemon, WEB).await;
    assert_eq!(file["content"], OLD.replace("hunter2", "********"));
    assert_eq!((&file["hash"], &file["running"]), (&json!(hash_of(OLD)), &json!([])));

    cluster.set(NEW, OLD);
    until_verdict(&daemon, "outdated").await;
    let (_, _, file) = request(&daemon, WEB).await;
    assert_eq!((&file["content"], &file["hash"]), (&json!(MASKED), &json!(hash_of(NEW))));
    assert_eq!(file["running"][0]["diff"], diff());

    let asked = cluster.file_requests();
    request(&daemon, WEB).await;
    assert_eq!((asked, cluster.file_requests()), (2, 2));
}

#[tokio::test]
async fn the_api_has_no_old_version() {
    let cluster = ApiCluster::start().await;
    cluster.set(NEW, OLD);
    let daemon = cluster.monitor(&["--unit-files"]).await;
    let (_, _, file) = request(&daemon, WEB).await;
    assert_eq!(
        file["running"],
        json!([{"hash": hash_of(OLD), "machines": [MACHINE], "content": null, "diff": null}])
    );

    request(&daemon, WEB).await;
    assert_eq!(cluster.file_requests(), 1, "asking again would not help");
}

/// A fleetctl with one unit, of this name.
fn fleetctl(unit: &str, fleet: &str, machine: &str) -> Double {
    let double = Double::new("v1.0.0");
    set_fleetctl(&double, unit, fleet, machine);
    double
}

fn set_fleetctl(double: &Double, unit: &str, fleet: &str, machine: &str) {
    let place = format!("{MACHINE}/10.0.0.1");
    let rows = json!({
        "list-units": [[unit, "loaded", "active", "running", place, hash_of(machine)]],
        "list-machines": [[MACHINE, "10.0.0.1", "-"]],
        "list-unit-files":
            [[unit, "false", "launched", "launched", place, hash_of(fleet), "Web"]],
    });
    let files = BTreeMap::from([(unit, fleet)]);
    double.write("rows.json", &rows.to_string());
    double.write("files.json", &json!(files).to_string());
}

/// The calls of `fleetctl cat`.
fn cats(double: &Double) -> Vec<Vec<String>> {
    let is_cat = |call: &Vec<String>| call.iter().any(|argument| argument == "cat");
    double.calls().into_iter().filter(is_cat).collect()
}

#[tokio::test]
async fn fleetctl_prints_the_file_with_the_same_connection_as_lists() {
    let double = fleetctl("web.service", OLD, OLD);
    let options =
        ["--unit-files", "-e", "127.0.0.1", "--unit-freq", "0.1", "--machine-freq", "0.1"];
    let daemon = Daemon::asking(&double, &options).await;
    daemon.source_is("ok").await;
    let (status, _, file) = request(&daemon, WEB).await;
    assert_eq!((status, &file["running"]), (200, &json!([])), "{file}");
    assert_eq!(file["content"], OLD.replace("hunter2", "********"));

    set_fleetctl(&double, "web.service", NEW, OLD);
    until_verdict(&daemon, "outdated").await;
    let (_, _, file) = request(&daemon, WEB).await;
    assert_eq!((&file["content"], &file["hash"]), (&json!(MASKED), &json!(hash_of(NEW))));
    assert_eq!(file["running"][0]["diff"], diff());

    request(&daemon, WEB).await;
    let call = ["--driver=etcd", "--endpoint=http://127.0.0.1:4001", "cat", "--", "web.service"];
    assert_eq!(cats(&double), [call, call]);
}

#[tokio::test]
async fn a_name_is_never_an_option_of_fleetctl() {
    let double = fleetctl("--help.mount", NEW, NEW);
    let daemon = Daemon::asking(&double, &["--unit-files"]).await;
    daemon.source_is("ok").await;
    let (status, _, file) = request(&daemon, "/v2/unit-file?unit=--help.mount").await;
    assert_eq!((status, &file["content"]), (200, &json!(MASKED)), "{file}");
    assert_eq!(cats(&double), [["cat", "--", "--help.mount"]]);

    // A unit that the cluster does not have reaches no command at all.
    for name in ["no.service", "%24%28id%29", "--version", ""] {
        let (status, _, refusal) = request(&daemon, &format!("/v2/unit-file?unit={name}")).await;
        assert_eq!(status, 404, "{refusal}");
    }
    assert_eq!(request(&daemon, "/v2/unit-file").await.0, 400);
    assert_eq!(cats(&double).len(), 1);
}

#[tokio::test]
async fn a_fleetctl_that_hangs_is_killed_and_the_lists_are_polled_meanwhile() {
    let double = fleetctl("web.service", NEW, NEW);
    double.mode("hang cat");
    let mut processes = double.processes();
    let mut daemon = Daemon::asking(&double, &["--unit-files", "--unit-freq", "0.1"]).await;
    daemon.source_is("ok").await;

    let begun = Instant::now();
    let polled = async {
        daemon
            .counts(10, "fleet_monitor_poll_duration_seconds_count{topic=\"units\"}")
            .await;
        assert_eq!(daemon.health().await["state"], "ok");
    };
    let (answer, ()) = tokio::join!(request(&daemon, WEB), polled);
    assert_unavailable(&answer, "5 s");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());

    let (fleetctl, child) = processes.next().await;
    fleetctl.ended().await;
    child.ended().await;
    assert_eq!(daemon.health().await["state"], "ok");
    daemon.stop(Signal::TERM).await;
}

#[tokio::test]
async fn a_fleetctl_that_fails_or_floods_is_a_clear_error() {
    let double = fleetctl("web.service", NEW, NEW);
    let daemon = Daemon::asking(&double, &["--unit-files"]).await;
    daemon.source_is("ok").await;

    for (mode, named) in
        [("fail cat", "fleetctl"), ("flood cat", "64 KiB"), ("garbage cat", "unit file")]
    {
        double.mode(mode);
        assert_unavailable(&request(&daemon, WEB).await, named);
    }
    double.mode("replay");
    assert_eq!(request(&daemon, WEB).await.0, 200);
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_all_answered_and_few_reach_a_source_that_hangs() {
    let units: Vec<String> = (0..100).map(|unit| format!("u{unit:03}.service")).collect();
    let rows = Registry {
        states: vec![],
        machines: vec![json!({"id": MACHINE})],
        units: units
            .iter()
            .map(|unit| json!({"name": unit, "desiredState": "inactive", "options": options(NEW)}))
            .collect(),
    };
    let fleetd = Fleetd::tcp(move |path: &str| {
        if path.starts_with("/fleet/v1/units/") {
            Reply::Hang
        } else {
            rows.reply(path)
        }
    })
    .await;
    let daemon = Program::new(&["--api", fleetd.address(), "--unit-files"])
        .start()
        .await;
    daemon.source_is("ok").await;

    let begun = Instant::now();
    let paths: Vec<String> = units
        .iter()
        .map(|unit| format!("/v2/unit-file?unit={unit}"))
        .collect();
    let answers = join_all(paths.iter().map(|path| request(&daemon, path))).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for answer in &answers {
        assert_unavailable(answer, "");
    }
    assert_eq!(requests(&daemon, "refused").await, 36, "64 may wait");
    assert_eq!(requests(&daemon, "failed").await, 64);

    let asked = fleetd.paths();
    let asked = asked.iter().filter(|path| path.starts_with("/fleet/v1/units/"));
    assert!(asked.count() <= 4, "two at a time, for 5 s each");
    assert_eq!(daemon.health().await["state"], "ok");
}

#[tokio::test]
async fn a_hundred_requests_for_one_file_are_one_query() {
    let cluster = ApiCluster::start().await;
    let daemon = cluster.monitor(&["--unit-files"]).await;
    let answers = join_all((0..60).map(|_| request(&daemon, WEB))).await;
    assert!(answers.iter().all(|(status, ..)| *status == 200));
    assert_eq!(cluster.file_requests(), 1);
    assert_eq!((requests(&daemon, "fetched").await, requests(&daemon, "cached").await), (1, 59));
}

#[tokio::test]
async fn off_by_default_and_then_no_request_reaches_the_source() {
    let cluster = ApiCluster::start().await;
    let daemon = cluster.monitor(&[]).await;
    let (status, _, refusal) = request(&daemon, WEB).await;
    assert_eq!(status, 404);
    assert!(
        refusal["error"]["message"].as_str().unwrap().contains("--unit-files"),
        "{refusal}"
    );
    assert_eq!((cluster.file_requests(), requests(&daemon, "refused").await), (0, 1));
    assert_eq!(daemon.get("/v2/actions").await.1["unit_files"], Value::Null);

    daemon.configure("unit_files = \"masked\"\n");
    daemon.reload().await;
    assert_eq!(request(&daemon, WEB).await.0, 200);
    assert_eq!(daemon.get("/v2/actions").await.1["unit_files"], "masked");

    daemon.configure("unit_files = \"off\"\n");
    daemon.reload().await;
    assert_eq!(request(&daemon, WEB).await.0, 404, "nor is the cached file shown");
}

#[tokio::test]
async fn head_is_answered_without_a_query_to_the_source() {
    let cluster = ApiCluster::start().await;
    let daemon = cluster.monitor(&["--unit-files"]).await;
    let (status, response) = head(&daemon, WEB).await;
    assert_eq!(status, 200, "{response}");
    assert!(response.contains("\r\ncache-control: no-store"), "{response}");
    assert!(response.contains("\r\ncontent-type: application/json"), "{response}");
    assert_eq!(cluster.file_requests(), 0);

    let without = cluster.monitor(&[]).await;
    assert_eq!(head(&without, WEB).await.0, 404);
}

#[tokio::test]
async fn a_reload_leads_to_the_new_source() {
    let [first, second] = [ApiCluster::start().await, ApiCluster::start().await];
    second.set(NEW, NEW);
    let daemon = Program::new(&["--unit-files"]);
    daemon.configure(&format!("api = \"{}\"\n", first.fleetd.address()));
    let daemon = daemon.start().await;
    daemon.source_is("ok").await;
    assert_eq!(request(&daemon, WEB).await.2["hash"], hash_of(OLD));

    daemon.configure(&format!("api = \"{}\"\n", second.fleetd.address()));
    daemon.reload().await;
    daemon.source_is("ok").await;
    let shown = async { while request(&daemon, WEB).await.2["hash"] != hash_of(NEW) {} };
    timeout(Duration::from_secs(30), shown)
        .await
        .expect("the file of the new source");
    assert_eq!(second.file_requests(), 1);
}

#[tokio::test]
async fn an_api_without_the_unit_any_more_is_no_error() {
    let cluster = ApiCluster::start().await;
    let daemon = cluster.monitor(&["--unit-files"]).await;
    cluster.registry.lock().unwrap().units.clear();
    let (status, _, file) = request(&daemon, WEB).await;
    assert_eq!((status, &file["content"]), (200, &Value::Null), "{file}");
}

#[tokio::test]
async fn an_api_that_fails_is_a_clear_error() {
    let fails = Arc::new(Mutex::new(None));
    let fleetd = Fleetd::tcp({
        let fails = fails.clone();
        move |path: &str| match (path.starts_with("/fleet/v1/units/"), *fails.lock().unwrap()) {
            (true, Some(status)) => error(status, ""),
            (true, None) => Reply::Json(200, json!({"name": "web.service", "options": "hunter2"})),
            (false, _) => registry(NEW, NEW).reply(path),
        }
    })
    .await;
    let daemon = Program::new(&["--api", fleetd.address(), "--unit-files"])
        .start()
        .await;
    daemon.source_is("ok").await;

    let answer = request(&daemon, WEB).await;
    assert_unavailable(&answer, "not a unit file");
    assert!(
        !answer.2.to_string().contains("hunter2"),
        "a content is never quoted: {}",
        answer.2
    );
    *fails.lock().unwrap() = Some(503);
    assert_unavailable(&request(&daemon, WEB).await, "etcd");
}

#[tokio::test]
async fn a_recording_has_no_unit_files() {
    let daemon = Program::new(&["--demo", "--unit-files"]).start().await;
    daemon.source_is("ok").await;
    let (_, state) = daemon.get("/v2/state").await;
    let unit = state["units"][0]["unit"].as_str().unwrap();
    let (status, _, refusal) = request(&daemon, &format!("/v2/unit-file?unit={unit}")).await;
    assert_eq!(status, 404, "{refusal}");
    assert!(refusal["error"]["message"].as_str().unwrap().contains("recording"), "{refusal}");
    assert_eq!(daemon.get("/v2/actions").await.1["unit_files"], Value::Null);
}

#[tokio::test]
async fn nobody_gets_a_file_without_the_token() {
    let cluster = ApiCluster::start().await;
    let program = Program::new(&["--api", cluster.fleetd.address(), "--unit-files"]);
    let token = program.path("token");
    std::fs::write(&token, "s3cret").unwrap();
    let daemon = program.environment("FLEET_MONITOR_TOKEN_FILE", &token).start().await;

    for path in [WEB, "/v2/actions", "/v2/unit-file?unit=web.service&token=s3cret"] {
        assert_eq!(request(&daemon, path).await.0, 401, "{path}");
    }
    assert_eq!(cluster.file_requests(), 0);
}

/// Runs `fleet-monitor unit` with these arguments. Returns its exit status, and what it printed to
/// standard output and standard error.
async fn unit(daemon: &Daemon, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"));
    command
        .arg("unit")
        .args(arguments)
        .env_clear()
        .env("FLEET_MONITOR_URL", format!("http://{}", daemon.address))
        .kill_on_drop(true);

    let output = timeout(Duration::from_secs(30), command.output())
        .await
        .expect("it ends")
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), stdout, stderr)
}

#[tokio::test]
async fn the_command_prints_the_file_and_what_differs() {
    let cluster = ApiCluster::start().await;
    let daemon = cluster.monitor(&["--unit-files"]).await;
    let (status, stdout, stderr) = unit(&daemon, &["web", "--file"]).await;
    assert_eq!((status, stdout), (0, OLD.replace("hunter2", "********")), "{stderr}");
    assert!(stderr.contains("masked"), "{stderr}");

    cluster.set(NEW, OLD);
    until_verdict(&daemon, "outdated").await;
    let (status, stdout, _) = unit(&daemon, &["web.service", "--file"]).await;
    let (file, rest) = stdout.split_at(MASKED.len());
    assert_eq!((status, file), (0, MASKED));
    let diff: String = diff()
        .as_array()
        .unwrap()
        .iter()
        .map(|line| format!("{}\n", line.as_str().unwrap()))
        .collect();
    assert!(rest.contains("10.0.0.1") && rest.ends_with(&format!("\n\n{diff}")), "{rest}");

    let (status, stdout, stderr) = unit(&daemon, &["no.service", "--file"]).await;
    assert_eq!((status, stdout.as_str()), (1, ""));
    assert!(stderr.contains("no.service"), "{stderr}");
}

#[tokio::test]
async fn the_command_says_that_unit_files_are_not_shown_and_what_shows_them() {
    let cluster = ApiCluster::start().await;
    let daemon = cluster.monitor(&[]).await;
    let (status, stdout, stderr) = unit(&daemon, &["web", "--file"]).await;
    assert_eq!((status, stdout.as_str()), (3, ""));
    assert!(stderr.contains("--unit-files"), "{stderr}");
    assert_eq!(cluster.file_requests(), 0);
}

#[tokio::test]
async fn refusals_are_in_these_words() {
    let cluster = ApiCluster::start().await;
    let off = cluster.monitor(&[]).await;
    let on = cluster.monitor(&["--unit-files"]).await;
    let demo = Program::new(&["--demo", "--unit-files"]).start().await;
    demo.source_is("ok").await;
    let state = demo.get("/v2/state").await.1;
    let of_demo = format!("/v2/unit-file?unit={}", state["units"][0]["unit"].as_str().unwrap());

    let mut refusals = Vec::new();
    for (what, daemon, path) in [
        ("off", &off, WEB),
        ("a recording", &demo, &of_demo),
        ("no such unit", &on, "/v2/unit-file?unit=no.service"),
        ("no unit", &on, "/v2/unit-file"),
        ("another key", &on, "/v2/unit-file?name=web.service"),
    ] {
        let (status, _, refusal) = request(daemon, path).await;
        let message = refusal["error"]["message"].as_str().unwrap().to_owned();
        refusals.push((what, format!("{status}: {message}")));
    }
    assert_catalogue("unit-file-refusals", refusals);
}
