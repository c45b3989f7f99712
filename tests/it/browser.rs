//! The page in a real headless Chromium, driven through chromedriver, against the real program.
//!
//! Every test ends in [`Browser::finish`], which fails when the browser's console has an error that
//! the test did not expect, or when the page asked another host for anything.
//!
//! Without chromedriver these tests say so and pass, unless `CI=true`: there they fail. The
//! accessibility check needs axe-core, whose `axe.min.js` is named by `AXE_CORE`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use fantoccini::wd::{TimeoutConfiguration, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use fleet_monitor::feed::Publish;
use fleet_monitor::server::Timing;
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::server::{ServerBench, settings, view};
use crate::support::{Daemon, Double, Proxy, ReverseProxy, cannot_run, documented, recorded};

const WEB: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
const DB: &str = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";
const OLD: &str = "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9";
const HASH: &str = "a54d85379efe04d9b798936c1f3b9cffedff1b74";

/// How long something may take before a test fails: much, since the machine may be busy with other
/// tests.
const PATIENCE: Duration = Duration::from_secs(30);

// --- the program

/// A recording in the making.
#[derive(Default)]
struct Recording(String);

impl Recording {
    /// Two machines, and these units as `(unit, machine, "active/sub")`, all of them wanted.
    fn of(units: &[(&str, &str, &str)]) -> Self {
        let mut recording = Self::default();
        recording.line(&json!({"recording": 1, "source": "fleetctl v1.0.0"}));
        recording.line(&json!({"t": 0.0, "topic": "machines", "machines": [
            {"id": WEB, "ip": "10.0.0.1", "metadata": "region=us-west,role=web"},
            {"id": DB, "ip": "10.0.0.2", "metadata": "role=db"},
        ]}));
        recording.at(0.0, units)
    }

    /// These units and three machines, as etcd tells of them: the first is the leader, and the last
    /// has an older fleet.
    fn of_etcd(units: &[(&str, &str, &str)]) -> Self {
        let mut recording = Self::default();
        recording.line(&json!({"recording": 1, "source": "etcd"}));
        let (files, states) = rows(units);
        recording.line(&json!({
            "t": 0.0, "topic": "registry", "leader": WEB, "files": files, "states": states, "machines": [
                {"id": WEB, "ip": "10.0.0.1", "metadata": "region=us-west,role=web", "version": "1.0.0"},
                {"id": DB, "ip": "10.0.0.2", "metadata": "role=db", "version": "1.0.0"},
                {"id": OLD, "ip": "10.0.0.3", "version": "0.11.8"},
            ],
        }));
        recording
    }

    /// At `time` the second machine and its unit have not been heard of for so many seconds; none
    /// for 0.
    fn silent(mut self, time: f64, seconds: u32) -> Self {
        let overdue = json!([[{"machine": DB}, seconds], [{"unit": ["cron.timer", DB]}, seconds]]);
        let overdue = if seconds > 0 { overdue } else { json!([]) };
        self.line(&json!({"t": time, "topic": "registry", "leader": WEB, "overdue": overdue}));
        self
    }

    /// From `time` on the units are these.
    fn at(mut self, time: f64, units: &[(&str, &str, &str)]) -> Self {
        let (files, states) = rows(units);
        self.line(&json!({"t": time, "topic": "unit_files", "files": files}));
        self.line(&json!({"t": time, "topic": "units", "states": states}));
        self
    }

    /// From `time` on these topics cannot be read.
    fn failing(mut self, time: f64, topics: &[&str]) -> Self {
        for topic in topics {
            self.line(&json!({"t": time, "topic": topic, "error": "etcd has no leader"}));
        }
        self
    }

    fn line(&mut self, line: &Value) {
        self.0.push_str(&format!("{line}\n"));
    }
}

/// The unit files and the states of these units.
fn rows(units: &[(&str, &str, &str)]) -> (Vec<Value>, Vec<Value>) {
    let on_both = |unit: &str| units.iter().filter(|(other, ..)| *other == unit).count() > 1;
    let file = |&(unit, machine, _): &(&str, &str, &str)| {
        let global = on_both(unit);
        let target = (!global).then_some(machine);
        json!({"unit": unit, "hash": HASH, "desired": "launched", "target": target, "global": global,
               "description": format!("What {unit} is for")})
    };
    let state = |(unit, machine, state): &(&str, &str, &str)| {
        let (active, sub) = state.split_once('/').unwrap();
        let ip = if *machine == WEB { "10.0.0.1" } else { "10.0.0.2" };
        json!({"unit": unit, "machine": machine, "ip": ip, "load": "loaded", "active": active, "sub": sub, "hash": HASH})
    };
    (units.iter().map(file).collect(), units.iter().map(state).collect())
}

/// A fleetctl that lists these units, as [`list`] does.
fn listing(units: &[(&str, &str, &str)]) -> Double {
    let fleetctl = Double::new("v1.0.0");
    list(&fleetctl, units);
    fleetctl
}

/// From now on the fleetctl lists two machines, and these units as `(unit, machine, "active/sub")`,
/// all of them wanted.
fn list(fleetctl: &Double, units: &[(&str, &str, &str)]) {
    let mut files = Vec::new();
    let mut states = Vec::new();
    for (unit, machine, state) in units {
        let (active, sub) = state.split_once('/').unwrap();
        let place = format!("{machine}/{}", if *machine == WEB { "10.0.0.1" } else { "10.0.0.2" });
        files.push(json!([
            unit,
            "false",
            "launched",
            "launched",
            place,
            HASH,
            format!("What {unit} is for")
        ]));
        states.push(json!([unit, "loaded", active, sub, place, HASH]));
    }

    let machines = [[WEB, "10.0.0.1", "region=us-west,role=web"], [DB, "10.0.0.2", "role=db"]];
    let lists = json!({"list-machines": machines, "list-unit-files": files, "list-units": states});
    fleetctl.write("rows.json", &lists.to_string());
}

/// A running fleet-monitor; killed when dropped.
struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (child, port) = spawn(0, &arguments, &directory);
        Self { child, port, arguments, directory }
    }

    /// Asks this fleetctl, and soon again.
    fn asking(fleetctl: &Double, arguments: &[&str]) -> Self {
        let command = fleetctl.command();
        let often = [
            "--fleetctl",
            command.to_str().unwrap(),
            "--unit-freq",
            "0.2",
            "--machine-freq",
            "0.2",
        ];
        Self::start(&[&often, arguments].concat())
    }

    fn replay(recording: &Recording) -> Self {
        Self::replay_with(recording, &[])
    }

    fn replay_with(recording: &Recording, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("recording.jsonl");
        std::fs::write(&path, &recording.0).unwrap();
        let mut all = vec!["--replay".to_owned(), path.to_str().unwrap().to_owned()];
        all.extend(arguments.iter().map(ToString::to_string));
        let (child, port) = spawn(0, &all, &directory);
        Self { child, port, arguments: all, directory }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}/{rest}", self.port)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, with the same arguments.
    fn start_again(&mut self) {
        (self.child, _) = spawn(self.port, &self.arguments, &self.directory);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[String], directory: &TempDir) -> (Child, u16) {
    let configuration = directory.path().join("fleet-monitor.toml");
    std::fs::write(&configuration, "").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fleet-monitor"))
        .env_clear()
        .env("FLEET_MONITOR_CONFIG", configuration)
        .args(["--port", &port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = line_with(child.stderr.take().unwrap(), "listening on");
    let port = line.unwrap_or_else(|said| panic!("fleet-monitor does not listen:\n{said}"));
    (child, port)
}

/// The port at the end of the first number after `words` in what a child writes, or all that it
/// wrote instead. The rest is read on and thrown away, lest the child blocks.
fn line_with(output: impl Read + Send + 'static, words: &'static str) -> Result<u16, String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once(words) {
                let word = rest
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches(|c: char| !c.is_ascii_digit());
                if let Some(port) = word.rsplit(':').next().and_then(|port| port.parse().ok()) {
                    let _ = sender.send(Ok(port));
                }
            }
            said.push_str(&line);
            said.push('\n');
        }
        let _ = sender.send(Err(said));
    });
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(format!("nothing with '{words}' in {PATIENCE:?}")))
}

// --- the browser

/// A Chromium with a profile of its own; ended when dropped.
struct Browser {
    client: Client,
    driver: Child,
    _profile: TempDir,
}

/// A log of chromedriver: `browser` is the console, `performance` has the requests.
#[derive(Debug)]
struct ReadLog(&'static str);

impl WebDriverCompatibleCommand for ReadLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": self.0}).to_string()))
    }
}

/// A command of Chromium's own protocol for developer tools.
#[derive(Debug)]
struct DevTools(Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.to_string()))
    }
}

impl Browser {
    /// None, with the reason on stderr, where there is no chromedriver.
    async fn start() -> Option<Self> {
        // It takes any port of IPv6, and ends if a connection of another test has the same one of
        // IPv4.
        let mut attempts = 0;
        let (driver, port) = loop {
            attempts += 1;
            let driver = Command::new("chromedriver")
                .arg("--port=0")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let mut driver = match driver {
                Ok(driver) => driver,
                Err(error) => {
                    let install = "install chromium and chromium-driver";
                    cannot_run(&format!("chromedriver cannot be started ({error}): {install}"));
                    return None;
                }
            };
            match line_with(driver.stdout.take().unwrap(), "successfully on port ") {
                Ok(port) => break (driver, port),
                Err(said) if attempts == 10 => panic!("chromedriver does not listen:\n{said}"),
                Err(_) => drop(driver.wait()),
            }
        };
        let profile = TempDir::new().unwrap();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1440,900",
            "--host-resolver-rules=MAP strange.example 127.0.0.1",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        let timeouts = TimeoutConfiguration::new(Some(PATIENCE), Some(PATIENCE), None);
        client.update_timeouts(timeouts).await.unwrap();
        Some(Self { client, driver, _profile: profile })
    }

    /// Opens an address. The page is fresh, even where only the part behind `#` is another one.
    async fn open(&self, address: &str) {
        self.client.goto("about:blank").await.unwrap();
        self.client.goto(address).await.unwrap();
    }

    /// The value of a piece of JavaScript that may use `rows()`, `texts(selector)` and
    /// `$(selector)`.
    async fn value(&self, expression: &str) -> Value {
        self.client
            .execute(&format!("{PRELUDE} return ({expression});"), vec![])
            .await
            .unwrap()
    }

    /// Waits until a piece of JavaScript is true, or says what the page showed instead.
    async fn until(&self, condition: &str) {
        let script = format!(
            "{PRELUDE} const done = arguments[arguments.length - 1];
             const look = () => {{ let so = false; try {{ so = ({condition}); }} catch {{}} so ? done(true) : setTimeout(look, 30); }};
             look();"
        );
        if let Err(error) = self.client.execute_async(&script, vec![]).await {
            let shown = self.value("document.body.innerText").await;
            panic!(
                "never true: {condition}\n{error}\nThe page showed:\n{}",
                shown.as_str().unwrap_or_default()
            );
        }
    }

    async fn click(&self, selector: &str) {
        self.client
            .find(Locator::Css(selector))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
    }

    /// Presses keys wherever the focus is.
    async fn press(&self, keys: &str) {
        self.client
            .active_element()
            .await
            .unwrap()
            .send_keys(keys)
            .await
            .unwrap();
    }

    /// Has the page shown `light` or `dark`.
    async fn prefer(&self, scheme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": media});
        self.client.issue_cmd(DevTools(command)).await.unwrap();
    }

    async fn log(&self, name: &'static str) -> Vec<Value> {
        self.client
            .issue_cmd(ReadLog(name))
            .await
            .unwrap()
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Ends the browser, after a look at the console and at where requests went. Console errors
    /// with one of the texts in `expected` are passed over.
    async fn finish(self, server: &Server, expected: &[&str]) {
        self.finish_on(server.port, expected).await;
    }

    /// The same, where the page was opened on this port.
    async fn finish_on(self, port: u16, expected: &[&str]) {
        self.finish_below(&format!("127.0.0.1:{port}/"), expected).await;
    }

    /// The same, where the page was opened below this place, a host with a path.
    async fn finish_below(self, place: &str, expected: &[&str]) {
        for entry in self.log("browser").await {
            let message = entry["message"].as_str().unwrap_or_default();
            let known = expected.iter().any(|text| message.contains(text));
            assert!(entry["level"] != "SEVERE" || known, "the console has an error: {message}");
        }
        let own = [format!("http://{place}"), format!("ws://{place}")];
        let mut seen = 0;
        for entry in self.log("performance").await {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let parameters = &event["message"]["params"];
            // Chromium's own pages ask for things before the test opens the page.
            if parameters["documentURL"]
                .as_str()
                .is_some_and(|document| document.starts_with("chrome"))
            {
                continue;
            }
            let address = match event["message"]["method"].as_str() {
                Some("Network.requestWillBeSent") => &parameters["request"]["url"],
                Some("Network.webSocketCreated") => &parameters["url"],
                _ => continue,
            };
            let address = address.as_str().unwrap();
            // data: and blob: addresses go nowhere.
            let goes_out = address.starts_with("http") || address.starts_with("ws");
            let own = own.iter().any(|own| address.starts_with(own));
            assert!(own || !goes_out, "the page asked {address}");
            seen += usize::from(own);
        }
        assert!(seen > 0, "the browser tells of no request at all");
        self.client.clone().close().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // chromedriver ends its browser when it is asked to end, not when it is killed.
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}

/// For the scripts: the rows of the table as `unit|state|verdict|machine`, and short names for
/// looking around.
const PRELUDE: &str = "
    const $ = (selector) => document.querySelector(selector);
    const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent.trim());
    const rows = () => [...document.querySelectorAll('.line.unit')].map((row) =>
        ['.name', '.state span', '.verdict span', '.machine .ip'].map((part) => row.querySelector(part).textContent).join('|'));
    const names = () => rows().map((row) => row.split('|')[0]).join(' ');
    const live = () => $('#link').textContent === 'live';
";

/// A browser, or the end of the test.
macro_rules! browser {
    () => {
        match Browser::start().await {
            Some(browser) => browser,
            None => return,
        }
    };
}

const THREE_UNITS: [(&str, &str, &str); 3] = [
    ("api.service", WEB, "active/running"),
    ("cron.timer", DB, "active/waiting"),
    ("web.service", WEB, "failed/failed"),
];

fn three_units() -> Recording {
    Recording::of(&THREE_UNITS)
}

// --- what it shows

#[tokio::test]
async fn rows_appear_and_change_without_a_reload() {
    let browser = browser!();
    let before = [("api.service", WEB, "active/running"), ("web.service", WEB, "activating/start")];
    let after = [
        ("api.service", WEB, "active/running"),
        ("new.service", DB, "active/running"),
        ("web.service", WEB, "active/running"),
    ];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);
    browser.open(&server.url("")).await;
    browser.until("live() && rows().includes('web.service|activating/start|ok|10.0.0.1') && rows().length === 2").await;
    browser.value("window.loadedOnce = true").await;

    list(&fleetctl, &after);
    browser
        .until("rows().includes('web.service|active/running|ok|10.0.0.1')")
        .await;
    browser
        .until("rows().includes('new.service|active/running|ok|10.0.0.2')")
        .await;
    assert_eq!(browser.value("window.loadedOnce").await, true);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_unit_that_fails_comes_to_the_top_and_into_headline_title_and_announcement() {
    let browser = browser!();
    let before = [("api.service", WEB, "active/running"), ("web.service", DB, "active/running")];
    let after = [("api.service", WEB, "active/running"), ("web.service", DB, "failed/failed")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);
    browser.open(&server.url("")).await;
    browser.until("names() === 'api.service web.service'").await;
    browser
        .until("$('#headline').textContent === 'All 2 units as fleet wants them'")
        .await;
    assert_eq!(browser.client.title().await.unwrap(), "fleet-monitor");

    list(&fleetctl, &after);
    browser
        .until("rows()[0] === 'web.service|failed/failed|failed|10.0.0.2'")
        .await;
    browser.until("$('#headline').textContent === '1 unit failed'").await;
    browser
        .until("/web.service.*on 10.0.0.2.*failed.*for \\d+ s/.test($('.trouble').textContent)")
        .await;
    browser.until("document.title === '(1) fleet-monitor'").await;
    browser
        .until("$('#announcement').textContent === 'web.service on 10.0.0.2: failed.'")
        .await;
    browser.click("#tab-timeline").await;
    browser
        .until("texts('.event').some((text) => text.includes('active/running → failed/failed'))")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_crash_loop_is_one_warning_in_the_timeline_and_none_of_its_restarts_is() {
    let browser = browser!();
    let with_web = |state| [("api.service", DB, "active/running"), ("web.service", WEB, state)];
    let (runs, waits) = (with_web("active/running"), with_web("activating/auto-restart"));
    let ended = [("api.service", DB, "inactive/dead"), runs[1]];
    let restarts = (0..8).map(|turn| f64::from(turn) * 0.2 + 0.1);
    let recording = restarts
        .fold(Recording::of(&runs), |recording, time| {
            recording.at(time, &waits).at(time + 0.1, &runs)
        })
        .at(2.0, &ended)
        .at(600.0, &ended);
    let server = Server::replay(&recording);
    browser.open(&server.url("#tab=timeline")).await;
    browser.until("texts('.event').some((text) => text.includes('api.service on 10.0.0.2: active/running →'))").await;
    let told = "texts('.event').filter((text) => text.includes('web.service')).length";
    assert_eq!(browser.value(told).await, 4, "three changes until it was a loop");
    let warning = browser.value("$('.event[data-tone=bad]').textContent").await;
    let warning = warning.as_str().unwrap();
    assert!(
        warning.contains("web.service on 10.0.0.1 is in a crash loop: 2 restarts"),
        "{warning}"
    );
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_row_opens_to_its_reason_and_what_fleet_wants() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    browser.open(&server.url("")).await;
    browser.until("live() && names().startsWith('web.service')").await;
    browser.click("[data-key^='web.service/']").await;
    browser.until("$('.opened .reason').textContent.length > 10").await;
    browser
        .until("$('.opened').textContent.includes('What web.service is for')")
        .await;
    browser.until("$('.opened').textContent.includes('launched') && $('.opened code').textContent === 'a54d853'").await;
    browser.press("\u{e00c}").await; // Escape
    browser.until("!$('.opened')").await;
    browser.press("\u{e007}").await; // Enter
    browser.until("$('.opened')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_global_unit_is_one_row_with_its_count_that_opens_to_its_machines() {
    let browser = browser!();
    let server = Server::replay(&Recording::of(&[
        ("agent.service", WEB, "active/running"),
        ("agent.service", DB, "active/running"),
        ("web.service", WEB, "active/running"),
    ]));
    browser.open(&server.url("")).await;
    browser.until("rows().join() === 'agent.service|2 of 2 machines running|ok|2 machines,web.service|active/running|ok|10.0.0.1'").await;
    browser.click("[data-key='agent.service/*']").await;
    browser
        .until(
            "rows().filter((row) => row.startsWith('agent.service|active/running')).length === 2",
        )
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn machines_are_cards_with_their_units() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    browser.open(&server.url("#tab=machines")).await;
    browser
        .until("texts('.card h3').join() === '10.0.0.1,10.0.0.2'")
        .await;
    browser
        .until("texts('.card:first-child .unit-name .name').join() === 'web.service,api.service'")
        .await;
    browser
        .until("$('.card').textContent.includes('region=us-west, role=web')")
        .await;
    assert_eq!(
        browser.value("texts('.card .tag')").await,
        json!([]),
        "this source tells of no version and no leader"
    );
    browser.click(".card .unit-name").await;
    browser
        .until("$('.opened') && location.hash.startsWith('#tab=units&open=web.service/')")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_machine_has_its_version_and_the_leader_a_badge() {
    let browser = browser!();
    let server = Server::replay(&Recording::of_etcd(&THREE_UNITS[..2]));
    browser.open(&server.url("#tab=machines")).await;
    browser
        .until("texts('.card h3').join() === '10.0.0.1,10.0.0.2,10.0.0.3'")
        .await;
    assert_eq!(
        browser.value("texts('.card .tag')").await,
        json!(["engine leader", "fleet 1.0.0", "fleet 1.0.0", "fleet 0.11.8, not 1.0.0"])
    );
    assert_eq!(browser.value("texts('.card [data-tone=warn].tag').length").await, 1);
    browser
        .until("texts('#subline span').includes('2 versions of fleet')")
        .await;
    browser.open(&server.url("#tab=machines&q=0.11.8")).await;
    browser.until("texts('.card h3').join() === '10.0.0.3'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_silent_machine_is_neither_there_nor_lost_and_its_units_are_as_old_as_they_are() {
    let browser = browser!();
    let recording = Recording::of_etcd(&THREE_UNITS[..2])
        .silent(0.1, 24)
        .silent(0.2, 0)
        .silent(15.0, 7300)
        .silent(600.0, 7900);
    let server = Server::replay(&recording);
    browser.open(&server.url("#tab=machines")).await;
    browser
        .until("$('#headline').textContent === 'All 2 units as fleet wants them'")
        .await;
    assert_eq!(browser.value("texts('.card .away:not([hidden])')").await, json!([]));
    browser
        .until("texts('.card h3').join() === '10.0.0.2,10.0.0.1,10.0.0.3'")
        .await;
    assert_eq!(browser.value("$('.card').dataset.away").await, "silent");
    assert_eq!(
        browser.value("texts('.card .away:not([hidden])')").await,
        json!(["silent for 2 h"])
    );
    assert_eq!(
        browser.value("$('#headline').textContent").await,
        "1 unit is not reported any more"
    );
    browser
        .until("texts('#subline span').includes('1 machine silent') && texts('#subline span').includes('3 machines')")
        .await;
    browser.until("$('.summary').dataset.tone === 'warn'").await;
    browser.click("#tab-units").await;
    browser
        .until("rows()[0] === 'cron.timer|active/waiting|stale|10.0.0.2'")
        .await;
    assert_eq!(browser.value("$('.line.unit .since time').textContent").await, "2 h");
    browser.click("#tab-timeline").await;
    browser.until("texts('.event .said').filter((said) => said.startsWith('machine 10.0.0.2 is ')).length === 3").await;
    let tones = "[...document.querySelectorAll('.event')].map((event) => event.dataset.tone)";
    assert_eq!(browser.value(tones).await, json!(["warn", "idle", "warn"]));
    browser.client.set_window_size(500, 844).await.unwrap();
    browser.click("#tab-machines").await;
    // A headless window cannot be made as narrow as a phone.
    browser.value("document.body.style.width = '360px'").await;
    assert_eq!(browser.value("document.body.scrollWidth <= 360").await, true);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_silent_machine_without_units_is_the_headline() {
    let browser = browser!();
    let mut recording = Recording::of_etcd(&THREE_UNITS[..2]);
    recording.line(&json!({"t": 0.1, "topic": "registry", "leader": WEB, "overdue": [[{"machine": OLD}, 23.0]]}));
    let server = Server::replay(&recording);
    browser.open(&server.url("#tab=machines")).await;
    browser
        .until("$('#headline').textContent === '1 machine silent'")
        .await;
    browser
        .until("$('#subline').textContent.startsWith('all 2 units as fleet wants them')")
        .await;
    assert_eq!(browser.value("$('.summary').dataset.tone").await, "warn");
    browser
        .until("/^silent for \\d+ s$/.test($('.card .away').textContent)")
        .await;
    let first = browser.value("$('.card .away').textContent").await;
    browser
        .until(&format!("$('.card .away').textContent !== {first}"))
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_recording_is_called_one() {
    let browser = browser!();
    let server = Server::start(&["--demo"]);
    browser.open(&server.url("")).await;
    browser.until("$('.banner').textContent.includes('This is a recording of a real cluster, not a live one')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn names_of_units_are_never_markup() {
    let browser = browser!();
    let name = "<img src=x onerror=alert(1)>.service";
    let server = Server::replay(&Recording::of(&[(name, WEB, "failed/failed")]));
    browser.open(&server.url("")).await;
    browser
        .until("names().includes('<img src=x onerror=alert(1)>.service')")
        .await;
    browser.click(".line.unit").await;
    browser.until("$('.opened')").await;
    assert_eq!(browser.value("document.images.length").await, 0);
    browser.finish(&server, &[]).await;
}

// --- when fleet cannot be read

#[tokio::test]
async fn an_outage_is_in_headline_title_icon_and_announcement() {
    let browser = browser!();
    let units = [("api.service", WEB, "active/running"), ("web.service", DB, "active/running")];
    let fleetctl = listing(&units);
    let server = Server::asking(&fleetctl, &[]);
    browser.open(&server.url("")).await;
    browser
        .until("live() && $('#headline').textContent === 'All 2 units as fleet wants them'")
        .await;
    assert_eq!(browser.value("$('.summary').dataset.tone").await, "good");
    let icon = browser.value("$('link[rel=icon]').href").await;

    fleetctl.mode("fail");
    browser
        .until("/^fleet cannot be read for \\d+ s$/.test($('#headline').textContent)")
        .await;
    browser
        .until(
            "$('#subline').textContent.startsWith('as of then: all 2 units as fleet wants them')",
        )
        .await;
    browser
        .until("$('.summary').dataset.tone === 'warn' && document.title === '(?) fleet-monitor'")
        .await;
    browser
        .until("$('#announcement').textContent === 'fleet cannot be read.'")
        .await;
    browser
        .until("texts('.banner b').join() === 'Units cannot be read,Machines cannot be read,Unit files cannot be read'")
        .await;
    assert_ne!(browser.value("$('link[rel=icon]').href").await, icon);
    assert_eq!(browser.value("rows().length").await, 2, "what was known is kept");
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn data_that_are_overdue_are_doubted_though_nothing_new_is_published() {
    let browser = browser!();
    let timing = Timing { heartbeat: Duration::from_secs(1), ..Timing::default() };
    let mut bench = ServerBench::with(settings(), timing, Publish::Changes).await;
    bench.read_before(Duration::from_secs(8), &view(&[("web.service", "active")]));
    browser.open(&format!("http://{}/", bench.address)).await;
    browser
        .until("live() && $('#headline').textContent === 'The one unit is as fleet wants it'")
        .await;
    browser
        .until("/^fleet is not being read for \\d+ s$/.test($('#headline').textContent)")
        .await;
    browser
        .until("$('.summary').dataset.tone === 'warn' && document.title === '(?) fleet-monitor'")
        .await;
    let reason = "The monitor does not read fleet as it should: units were last read";
    browser
        .until(&format!("texts('.banner').some((text) => text.startsWith('{reason}'))"))
        .await;
    browser.finish_on(bench.address.port(), &[]).await;
}

#[tokio::test]
async fn a_list_that_is_not_believed_is_doubted_in_the_headline() {
    let browser = browser!();
    let units = ["a.service", "b.service", "c.service", "d.service"]
        .map(|unit| (unit, WEB, "active/running"));
    let mut recording = Recording::of(&units);
    recording.line(&json!({"t": 0.5, "topic": "units", "states": []}));
    recording.line(&json!({"t": 0.6, "topic": "machines", "same": true}));
    recording.line(&json!({"t": 0.6, "topic": "unit_files", "same": true}));
    let server = Server::replay(&recording);
    browser.open(&server.url("")).await;
    browser
        .until("/^fleet's list is not believed for \\d+ s$/.test($('#headline').textContent)")
        .await;
    browser
        .until("$('#subline').textContent.startsWith('4 units are not reported any more')")
        .await;
    browser
        .until("$('.summary').dataset.tone === 'warn' && document.title === '(?) fleet-monitor'")
        .await;
    assert_eq!(browser.value("rows().length").await, 4);
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn one_topic_that_fails_is_named_and_the_others_go_on() {
    let browser = browser!();
    let before = [("web.service", DB, "active/running")];
    let after = [("web.service", DB, "active/exited")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);
    browser.open(&server.url("")).await;
    browser
        .until("live() && $('#headline').textContent === 'The one unit is as fleet wants it'")
        .await;

    fleetctl.mode("fail list-machines");
    browser
        .until("texts('.banner b').join() === 'Machines cannot be read'")
        .await;
    list(&fleetctl, &after);
    browser
        .until("rows().join() === 'web.service|active/exited|ok|10.0.0.2'")
        .await;
    browser
        .until("$('#headline').textContent === 'The one unit is as fleet wants it'")
        .await;
    browser
        .until("$('#subline').textContent.startsWith('the machines cannot be read')")
        .await;
    browser
        .until("$('.summary').dataset.tone === 'warn' && document.title === '(?) fleet-monitor'")
        .await;
    browser
        .until("$('#announcement').textContent === 'The machines cannot be read.'")
        .await;
    browser
        .until("/· units up to date, machines \\d+ s old$/.test($('#source').textContent)")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn an_outage_from_the_start_is_no_empty_cluster() {
    let browser = browser!();
    let fleet = answering("503 Service Unavailable", "no etcd");
    let server = Server::start(&["--api", &format!("http://127.0.0.1:{fleet}")]);
    for tab in ["units", "machines", "timeline"] {
        browser.open(&server.url(&format!("#tab={tab}"))).await;
        browser
            .until("live() && /^fleet cannot be read for \\d+ s$/.test($('#headline').textContent)")
            .await;
        let shown = browser.value("document.body.innerText").await;
        let shown = shown.as_str().unwrap();
        assert!(
            shown.contains("nothing has been read yet") && shown.contains("no data yet"),
            "{shown}"
        );
        assert!(shown.contains("503"), "{shown}");
        assert!(!shown.contains("There are no") && !shown.contains("No units"), "{shown}");
        assert_eq!(browser.value("$('#subline').textContent").await, "nothing has been read yet");
        assert_eq!(
            browser
                .value("texts('[role=tab] .count:not([hidden])').includes('0')")
                .await,
            false
        );
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn before_the_first_answer_nothing_is_said_of_the_cluster() {
    let browser = browser!();
    let mut recording = Recording::default();
    recording.line(&json!({"recording": 1, "source": "fleetctl v1.0.0"}));
    let server = Server::replay(&recording.at(600.0, &[("web.service", WEB, "active/running")]));
    browser.open(&server.url("")).await;
    browser
        .until("live() && $('#headline').textContent === 'Nothing has been read yet'")
        .await;
    assert_eq!(browser.value("$('#subline').textContent").await, "");
    assert_eq!(
        browser
            .value("texts('.empty:not([hidden]), [role=tab] .count:not([hidden])')")
            .await,
        json!([])
    );
    browser.finish(&server, &[]).await;
}

// --- finding one's way

#[tokio::test]
async fn filters_find_by_text_state_machine_and_verdict() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    browser.open(&server.url("")).await;
    browser.until("rows().length === 3").await;
    for (filter, expected) in [
        ("ap", "api.service"),
        ("state:failed", "web.service"),
        ("machine:10.0.0.1", "web.service api.service"),
        ("machine:9c4b", "cron.timer"),
        ("machine:10.0.0.1 -verdict:failed", "api.service"),
        ("verdict:failed", "web.service"),
        ("-service", "cron.timer"),
    ] {
        browser.press("/").await;
        browser.until("document.activeElement.id === 'filter'").await;
        browser
            .client
            .find(Locator::Css("#filter"))
            .await
            .unwrap()
            .clear()
            .await
            .unwrap();
        browser
            .client
            .find(Locator::Css("#filter"))
            .await
            .unwrap()
            .send_keys(filter)
            .await
            .unwrap();
        browser.until(&format!("names() === '{expected}'")).await;
        browser.press("\u{e007}").await; // Enter leaves the box
    }
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_view_is_its_address_and_back_and_forward_work() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    browser
        .open(&server.url("#tab=units&q=machine:10.0.0.1&sort=-unit"))
        .await;
    browser
        .until("names() === 'web.service api.service' && $('#filter').value === 'machine:10.0.0.1'")
        .await;
    browser
        .until("$('.columnheader, [aria-sort=descending]').textContent === 'Unit'")
        .await;
    browser.click("[data-term='verdict:failed']").await;
    browser.until("names() === 'web.service' && location.hash.includes('q=machine:10.0.0.1+verdict:failed')").await;
    browser.click("#tab-machines").await;
    browser
        .until("location.hash.startsWith('#tab=machines') && texts('.unit-name .name').join() === 'web.service'")
        .await;
    browser.client.back().await.unwrap();
    browser
        .until("location.hash.startsWith('#tab=units') && names() === 'web.service'")
        .await;
    browser.client.back().await.unwrap();
    browser
        .until("names() === 'web.service api.service' && $('#filter').value === 'machine:10.0.0.1'")
        .await;
    browser.client.forward().await.unwrap();
    browser.until("names() === 'web.service'").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn columns_sort_by_click_and_by_keyboard() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    browser.open(&server.url("")).await;
    browser
        .until("names() === 'web.service api.service cron.timer'")
        .await;
    browser.click("[role=columnheader] button").await;
    browser
        .until("names() === 'api.service cron.timer web.service' && $('[aria-sort=ascending]').textContent === 'Unit'")
        .await;
    browser.press("\u{e007}").await; // Enter, on the button that has the focus
    browser.until("names() === 'web.service cron.timer api.service' && location.hash.includes('sort=-unit')").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn ten_thousand_units_scroll_and_the_document_stays_small() {
    let browser = browser!();
    let names: Vec<String> = (0..10_000).map(|number| format!("app-{number:05}.service")).collect();
    let units: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), WEB, "active/running"))
        .collect();
    let server = Server::replay(&Recording::of(&units));
    browser.open(&server.url("")).await;
    browser.until("names().startsWith('app-00000.service')").await;
    assert_eq!(
        browser
            .value("$('[role=treegrid]').getAttribute('aria-rowcount')")
            .await,
        "10001"
    );
    let most = browser
        .client
        .execute_async(
            "const done = arguments[arguments.length - 1]; let most = 0;
             const step = () => {
                 most = Math.max(most, document.querySelectorAll('[role=row]').length);
                 if (scrollY + innerHeight >= document.documentElement.scrollHeight - 1) return done(most);
                 scrollBy(0, 9000); requestAnimationFrame(step);
             };
             step();",
            vec![],
        )
        .await
        .unwrap();
    assert!(most.as_u64().unwrap() < 200, "{most} rows in the document");
    browser.until("names().endsWith('app-09999.service')").await;
    browser.until("[...document.querySelectorAll('.line')].pop().getAttribute('aria-rowindex') === '10001'").await;
    browser.click("#tab-machines").await;
    browser.until("texts('.card h3').length === 2 && document.querySelectorAll('.unit-name').length < 200").await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_row_that_vanishes_leaves_the_focus_in_its_table_and_the_address() {
    let browser = browser!();
    let (api, web) =
        (("api.service", WEB, "active/running"), ("web.service", WEB, "active/running"));
    let fleetctl = listing(&[api, web]);
    let server = Server::asking(&fleetctl, &[]);
    browser
        .open(&server.url(&format!("#tab=units&open=api.service/{WEB},web.service/{WEB}")))
        .await;
    browser
        .until("rows().length === 2 && document.querySelectorAll('.opened').length === 2")
        .await;
    browser.value("$('[data-key^=\"web.service/\"]').focus()").await;
    assert_eq!(
        browser.value("document.activeElement.dataset.key").await,
        format!("web.service/{WEB}")
    );

    list(&fleetctl, &[api]);
    browser.until("names() === 'api.service'").await;
    assert_eq!(browser.value("document.activeElement.id").await, "units");
    browser
        .until(&format!("location.hash === '#tab=units&open=api.service/{WEB}'"))
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn a_phone_needs_no_horizontal_scrolling() {
    let browser = browser!();
    let server = Server::start(&["--demo"]);
    browser.client.set_window_size(500, 844).await.unwrap();
    for tab in ["units", "machines", "timeline"] {
        // A frame of 360 px: a headless window cannot be made that narrow.
        browser.open(&server.url(&format!("#tab={tab}"))).await;
        browser.until("live()").await;
        browser.value("document.body.style.width = '360px'").await;
        assert_eq!(browser.value("document.body.scrollWidth <= 360").await, true, "{tab}");
        assert_eq!(
            browser
                .value("document.documentElement.scrollWidth <= innerWidth")
                .await,
            true,
            "{tab}"
        );
    }
    browser.finish(&server, &[]).await;
}

// --- the connection

#[tokio::test]
async fn it_says_that_the_server_is_away_and_recovers_by_itself() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());
    browser.open(&server.url("")).await;
    browser.until("live() && rows().length === 3").await;
    browser.value("window.loadedOnce = true").await;
    server.kill();
    browser
        .until("/^disconnected, data \\d+ s old$/.test($('#link').textContent)")
        .await;
    let first = browser.value("$('#link').textContent").await;
    browser
        .until(&format!("$('#link').textContent.startsWith('disconnected') && $('#link').textContent !== {first}"))
        .await;
    assert_eq!(browser.value("rows().length").await, 3, "what was known is kept");
    server.start_again();
    browser.until("live() && rows().length === 3").await;
    assert_eq!(browser.value("window.loadedOnce").await, true);
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

/// Has the page keep the types of all messages on the sockets that it opens from now on.
const LISTEN: &str = "(() => {
    window.types = [];
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            this.addEventListener('message', ({ data }) => types.push(JSON.parse(data).type));
        }
    };
})()";

#[tokio::test]
async fn a_change_comes_over_the_socket_alone_and_is_drawn_once() {
    let browser = browser!();
    let before = [("web.service", WEB, "activating/start")];
    let after = [("web.service", WEB, "active/running")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &[]);
    let proxy = Proxy::to(server.address()).await;
    browser.open(&format!("http://{}/", proxy.address)).await;
    browser.until("live() && !$('.banner') && rows().join() === 'web.service|activating/start|ok|10.0.0.1'").await;
    let look = "window.drawn = 0, new MutationObserver(() => drawn++).observe($('#subline'), { childList: true })";
    browser.value(look).await;

    list(&fleetctl, &after);
    browser
        .until("rows().join() === 'web.service|active/running|ok|10.0.0.1'")
        .await;
    browser.until("$('#tab-timeline .count').textContent === '1'").await;
    assert_eq!(browser.value("drawn").await, 1, "it was told of the row, and of what happened");
    assert_eq!(
        proxy.asked("Sec-WebSocket-Protocol:"),
        ["Sec-WebSocket-Protocol: fleet-monitor.v2"]
    );
    assert_eq!(proxy.asked("GET /v2/"), [""; 0]);
    browser.finish_on(proxy.address.port(), &[]).await;
}

#[tokio::test]
async fn after_a_cut_it_gets_what_it_missed_and_no_more() {
    let browser = browser!();
    let fleetctl = Double::new("v1.0.0");
    let daemon = Daemon::asking(&fleetctl, &["--unit-freq", "0.1", "--machine-freq", "0.1"]).await;
    let proxy = Proxy::to(daemon.address).await;
    browser
        .open(&format!("http://{}/#q=web.service", proxy.address))
        .await;
    browser
        .until("live() && rows().includes('web.service|active/running|ok|172.17.8.101')")
        .await;
    browser.value(LISTEN).await;
    proxy.cut();
    browser
        .until("$('#link').textContent.startsWith('disconnected')")
        .await;
    let (_, before) = daemon.get("/v2/state").await;
    let mut rows = recorded("v1.0.0")["lists"]["list-units"]["rows"].take();
    for row in rows
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .filter(|row| row[0] == "web.service")
    {
        (row[2], row[3]) = ("failed".into(), "failed".into());
    }
    fleetctl.write("rows.json", &json!({ "list-units": rows }).to_string());
    while daemon.get("/v2/state").await.1["revision"] == before["revision"] {}
    proxy.mend_for_websockets();
    browser
        .until("live() && rows().includes('web.service|failed/failed|failed|172.17.8.101')")
        .await;
    browser.until("types.includes('status')").await;
    let types = browser.value("types.join(' ')").await;
    assert!(types.as_str().unwrap().starts_with("hello delta "), "{types}");
    assert!(!types.as_str().unwrap().contains("snapshot"), "{types}");
    let asked = format!(
        "GET /?epoch={}&revision={} ",
        before["epoch"].as_str().unwrap(),
        before["revision"]
    );
    assert_eq!(proxy.asked(&asked).len(), 1, "{:?}", proxy.asked("GET"));
    // And from there it goes on.
    fleetctl.write("rows.json", "{}");
    browser
        .until("rows().includes('web.service|active/running|ok|172.17.8.101')")
        .await;
    browser
        .finish_on(proxy.address.port(), &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn after_a_restart_it_shows_what_is_there_then() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());
    browser.open(&server.url(&format!("#open=api.service/{WEB}"))).await;
    browser.until("live() && rows().length === 3 && $('.opened')").await;
    browser.value(LISTEN).await;
    server.kill();
    let other = Recording::of(&[
        ("other.service", DB, "active/running"),
        ("web.service", WEB, "active/running"),
    ]);
    std::fs::write(server.directory.path().join("recording.jsonl"), other.0).unwrap();
    server.start_again();
    browser
        .until("live() && names() === 'other.service web.service'")
        .await;
    browser
        .until("location.hash === '#tab=units' && $('#headline').textContent === 'All 2 units as fleet wants them'")
        .await;
    let types = browser.value("types.join(' ')").await;
    assert!(
        types
            .as_str()
            .unwrap()
            .starts_with("hello resync snapshot snapshot snapshot status"),
        "{types}"
    );
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn data_are_up_to_date_until_nothing_has_been_heard_for_long() {
    let browser = browser!();
    let server = Server::replay(&three_units().at(600.0, &[]));
    browser.open(&server.url("")).await;
    browser
        .until("live() && $('#source').textContent === 'recording of fleetctl v1.0.0 · up to date'")
        .await;
    browser
        .value("(() => { const now = Date.now; Date.now = () => now() + 900_000; })()")
        .await;
    browser
        .until("/ · data 15 min old$/.test($('#source').textContent)")
        .await;
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn what_is_folded_in_bit_by_bit_is_what_is_read_at_once() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    browser.open(&server.url("")).await;
    let script = "const done = arguments[arguments.length - 1];
        import('/cluster.js').then(({ Cluster }) => {
            let seed = 7;
            const any = (count) => (seed = (seed * 48271) % 2147483647) % count;
            const choice = (...values) => values[any(values.length)];
            const key = ({ unit, machine }) => `${unit}/${machine ?? ''}`;
            const unit = () => ({ unit: `${choice('a', 'b', 'é', 'Z')}-${any(12)}.service`, machine: choice('m1', 'm2', undefined), target: 'm1',
                ip: choice('10.0.0.1', '10.0.0.20'), active: choice('active', 'failed', undefined), sub: 'x', verdict: choice('ok', 'ok', 'failed', 'stale'),
                global: false, verdict_since: 1, since: any(3) });
            const machine = () => ({ machine: choice('m1', 'm2', 'm3'), ip: choice('10.0.0.1', '10.0.0.2', undefined) });
            const shown = (cluster) => JSON.stringify([cluster.rows.map(({ lines, name, ...row }) => row), cluster.wrong.map((row) => row.key),
                cluster.chips, cluster.wanted, [...cluster.machines].sort(), cluster.transitions, [...cluster.transitionsOf].sort(),
                ['a-1.service/*', 'b-2.service/*'].map((key) => cluster.knows(key))]);
            const cluster = new Cluster(), units = new Map(), machines = new Map(), events = [];
            const wrong = [];
            for (let step = 1; step <= 600; step++) {
                const messages = [];
                const change = (topic, known, make, count) => {
                    const remove = [...known.values()].filter(() => !any(12)).slice(0, count);
                    const upsert = [...new Map(Array.from({ length: count }, make).map((row) => [key(row), row])).values()];
                    for (const row of remove) known.delete(key(row));
                    for (const row of upsert) known.set(key(row), row);
                    messages.push({ type: 'delta', topic, upsert, remove });
                };
                change('units', units, unit, any(40) ? any(4) : 300);
                if (!any(5)) change('machines', machines, machine, 1);
                for (let count = any(8); count > 0; count--) {
                    const event = { type: 'event', number: events.length + 1, unit: choice('a.service', 'b.service', undefined), text: 'x' };
                    messages.push(event);
                    events.push(event);
                }
                cluster.fold(messages);
                const anew = new Cluster();
                anew.fold([{ type: 'snapshot', topic: 'units', rows: [...units.values()] }, { type: 'snapshot', topic: 'machines', rows: [...machines.values()] },
                    { type: 'snapshot', topic: 'events', rows: events.slice(-1000) }]);
                if (shown(cluster) !== shown(anew)) wrong.push(step);
            }
            done({ wrong, rows: cluster.rows.length, events: events.length });
        }).catch((error) => done(String(error.stack)));";
    let folded = browser.client.execute_async(script, vec![]).await.unwrap();
    assert_eq!(folded["wrong"], json!([]), "{folded}");
    assert!(
        folded["rows"].as_u64() > Some(20) && folded["events"].as_u64() > Some(1000),
        "{folded}"
    );
    browser.finish(&server, &[]).await;
}

#[tokio::test]
async fn however_often_it_connects_it_has_one_socket() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());
    browser.open(&server.url("")).await;
    browser.until("live()").await;
    server.kill();
    browser
        .until("$('#link').textContent.startsWith('disconnected')")
        .await;
    // Each new socket has the page told to hurry before it is open.
    let hurried = "window.made = [];
        window.WebSocket = class extends WebSocket {
            constructor(...given) {
                super(...given);
                if (made.push(this) < 5) queueMicrotask(() => dispatchEvent(new Event('online')));
            }
        }";
    browser.value(&format!("(() => {{ {hurried} }})()")).await;
    server.start_again();
    browser.until("live() && made.length === 5").await;
    assert_eq!(
        browser
            .value("made.filter((socket) => socket.readyState <= 1).length")
            .await,
        1
    );
    browser.value("setInterval(() => fetch('/metrics').then((answer) => answer.text()).then((said) => (window.metrics = said)), 100)").await;
    browser
        .until("/^fleet_monitor_clients 1$/m.test(window.metrics)")
        .await;
    browser
        .finish(&server, &["net::ERR_", "WebSocket connection to"])
        .await;
}

#[tokio::test]
async fn one_client_too_many_polls() {
    let browser = browser!();
    let before = [("web.service", WEB, "activating/start")];
    let after = [("web.service", WEB, "active/running")];
    let fleetctl = listing(&before);
    let server = Server::asking(&fleetctl, &["--max-clients", "1"]);
    let mut only = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    let handshake = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    only.write_all(handshake.as_bytes()).unwrap();
    let mut answer = [0; 12];
    only.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    browser.open(&server.url("")).await;
    browser.value("window.said = new Set(), setInterval(() => said.add($('#link').textContent), 20), null").await;
    browser.until("$('#link').textContent === 'live (polling)'").await;
    browser
        .until("rows().join() === 'web.service|activating/start|ok|10.0.0.1'")
        .await;

    list(&fleetctl, &after);
    browser
        .until("rows().join() === 'web.service|active/running|ok|10.0.0.1'")
        .await;
    assert_eq!(
        browser
            .value("[...said].some((said) => said.includes('disconnected'))")
            .await,
        false
    );
    drop(only);
    browser.until("live()").await;
    browser.finish(&server, &["WebSocket connection to"]).await;
}

#[tokio::test]
async fn a_page_that_was_refused_is_let_in_again() {
    let browser = browser!();
    let mut server = Server::replay(&three_units());
    let allow = |server: &Server| {
        let text = "allowed_hosts = [\"strange.example\"]\n";
        std::fs::write(server.directory.path().join("fleet-monitor.toml"), text).unwrap();
        let pid = rustix::process::Pid::from_child(&server.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    let address = format!("http://strange.example:{}/", server.port);
    allow(&server);
    for _ in 0..50 {
        // The reload takes a moment.
        browser.open(&address).await;
        if browser.value("document.title").await == "fleet-monitor" {
            break;
        }
    }
    browser.until("live()").await;
    server.kill();
    server.start_again(); // with an empty configuration
    browser
        .until("$('#gate-title').textContent === 'Access refused' && !$('#gate').hidden")
        .await;
    browser
        .until("$('#gate-text').textContent.includes('--allowed-hosts')")
        .await;
    allow(&server);
    browser.until("live() && $('#gate').hidden").await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_token_is_asked_for_and_kept_in_the_tab_only() {
    let browser = browser!();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "open-sesame-0123456789\n").unwrap();
    let server = Server::replay_with(&three_units(), &["--token-file", file.to_str().unwrap()]);
    browser.open(&server.url("#tab=units&q=state:failed")).await;
    browser
        .until("!$('#token-form').hidden && document.activeElement.id === 'token'")
        .await;
    assert_eq!(browser.value("rows().length").await, 0);
    browser.press("wrong\u{e007}").await;
    browser
        .until("$('#gate-text').textContent === 'The token was not accepted.'")
        .await;
    browser.press("open-sesame-0123456789\u{e007}").await;
    browser.until("live() && names() === 'web.service'").await;
    assert_eq!(browser.value("localStorage.length").await, 0);
    assert_eq!(browser.value("document.cookie").await, "");
    assert_eq!(browser.value("location.href.includes('sesame')").await, false);
    browser.client.refresh().await.unwrap();
    browser.until("live() && names() === 'web.service'").await;
    browser.finish(&server, &["401", "WebSocket connection to"]).await;
}

/// Serves one page on any path; the port. It lives as long as the test's process.
fn another_site(page: &'static str) -> u16 {
    answering("200 OK", page)
}

/// Answers every request so; the port. It lives as long as the test's process.
fn answering(status: &'static str, page: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        // A thread for each connection: browsers open some that they never use.
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.unwrap(), status, page));
        }
    });
    port
}

fn serve(mut stream: TcpStream, status: &str, page: &str) {
    let mut line = String::new();
    let mut request = BufReader::new(stream.try_clone().unwrap());
    while request.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let length = page.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // A browser that has gone away again needs no answer.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(page.as_bytes()));
}

#[tokio::test]
async fn another_site_and_a_rebound_name_are_refused_and_this_machine_is_let_in() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let port = another_site(
        "<!doctype html><link rel=icon href='data:,'><script>
         const socket = new WebSocket('ws://127.0.0.1:' + location.hash.slice(1) + '/');
         socket.onmessage = () => (window.socketSaid = 'a message');
         socket.onclose = () => (window.socketSaid ??= 'refused');
         fetch('http://127.0.0.1:' + location.hash.slice(1) + '/v2/state').then((answer) => answer.json())
             .then((state) => (window.fetchSaid = state.units.length + ' units'), () => (window.fetchSaid = 'refused'));
         </script>",
    );
    browser
        .open(&format!("http://strange.example:{port}/#{}", server.port))
        .await;
    browser.until("window.socketSaid && window.fetchSaid").await;
    assert_eq!(
        browser.value("[window.socketSaid, window.fetchSaid]").await,
        json!(["refused", "refused"])
    );
    browser
        .open(&format!("http://localhost:{port}/#{}", server.port))
        .await;
    browser.until("window.socketSaid && window.fetchSaid").await;
    assert_eq!(
        browser.value("[window.socketSaid, window.fetchSaid]").await,
        json!(["a message", "3 units"])
    );
    // A name that now points here is not this machine's name, whatever it points to.
    browser
        .open(&format!("http://strange.example:{}/", server.port))
        .await;
    let said = browser.value("document.body.innerText").await;
    assert!(said.as_str().unwrap().contains("allowed"), "{said}");
    assert_eq!(browser.value("document.querySelectorAll('.line').length").await, 0);
    browser.client.clone().close().await.unwrap();
}

// --- below a path

/// An nginx with this example of `docs/operations.md`, or the end of the test.
macro_rules! nginx {
    ($http:expr) => {
        match ReverseProxy::nginx($http) {
            Some(nginx) => nginx,
            None => return,
        }
    };
}

#[tokio::test]
async fn below_a_path_of_nginx_all_that_it_asks_for_is_below_that_path() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let example = documented("nginx below a path").replace("listen 80", "listen LISTEN");
    let nginx = nginx!(&example.replace("127.0.0.1:8989", &server.address().to_string()));
    let place = format!("{}/fleet/", nginx.address);
    browser
        .open(&format!("http://{place}#tab=units&q=state:failed"))
        .await;
    browser.until("live() && names() === 'web.service'").await;

    browser
        .value("void (new EventSource('v2/events').onmessage = ({ data }) => (window.told ??= JSON.parse(data).type))")
        .await;
    browser.until("window.told === 'hello'").await;
    browser.finish_below(&place, &[]).await;
}

#[tokio::test]
async fn the_path_without_its_slash_redirects_to_the_page() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let example = documented("nginx below a path").replace("listen 80", "listen LISTEN");
    let nginx = nginx!(&example.replace("127.0.0.1:8989", &server.address().to_string()));
    browser
        .open(&format!("http://{}/fleet#tab=units&q=state:failed", nginx.address))
        .await;
    browser.until("live() && names() === 'web.service'").await;
    assert_eq!(
        browser.value("location.pathname + location.hash").await,
        "/fleet/#tab=units&q=state:failed"
    );
    browser.finish_below(&format!("{}/fleet", nginx.address), &[]).await;
}

#[tokio::test]
async fn below_a_path_that_lets_no_websocket_through_it_polls() {
    let browser = browser!();
    let server = Server::replay(&three_units());
    let location = format!("location /fleet/ {{ proxy_pass http://{}/; }}", server.address());
    let nginx = nginx!(&format!("server {{ listen LISTEN; {location} }}"));
    let place = format!("{}/fleet/", nginx.address);
    browser.open(&format!("http://{place}")).await;
    browser
        .until("$('#link').textContent === 'live (polling)' && rows().length === 3")
        .await;
    browser.finish_below(&place, &["WebSocket connection to"]).await;
}

#[tokio::test]
async fn a_token_typed_below_one_path_is_not_sent_to_a_monitor_below_another() {
    let browser = browser!();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "open-sesame-0123456789\n").unwrap();
    let server = Server::replay_with(&three_units(), &["--token-file", file.to_str().unwrap()]);
    let locations = ["one", "other"]
        .map(|path| format!("location /{path}/ {{ proxy_pass http://{}/; }}", server.address()));
    let nginx = nginx!(&format!("server {{ listen LISTEN; {} }}", locations.join(" ")));
    browser.open(&format!("http://{}/one/", nginx.address)).await;
    browser
        .until("!$('#token-form').hidden && document.activeElement.id === 'token'")
        .await;
    browser.press("open-sesame-0123456789\u{e007}").await;
    browser.until("rows().length === 3").await;

    browser.open(&format!("http://{}/other/", nginx.address)).await;
    browser.until("!$('#token-form').hidden").await;
    assert_eq!(browser.value("rows().length").await, 0);
    browser.open(&format!("http://{}/one/", nginx.address)).await;
    browser.until("rows().length === 3").await;
    browser
        .finish_below(&format!("{}/", nginx.address), &["401", "WebSocket connection to"])
        .await;
}

// --- for everybody

#[tokio::test]
async fn axe_finds_nothing_serious_on_any_tab() {
    let Some(path) = std::env::var_os("AXE_CORE").map(PathBuf::from) else {
        cannot_run("AXE_CORE does not name axe-core's axe.min.js: get it with `npm pack axe-core`");
        return;
    };
    let axe = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let browser = browser!();
    let server = Server::replay(
        &Recording::of_etcd(&THREE_UNITS)
            .silent(0.1, 24)
            .failing(0.2, &["registry"]),
    );
    let views = [
        "#tab=units&open=cron.timer/9c4b7a2e1d3f48568e0f1a2b3c4d5e6f",
        "#tab=machines",
        "#tab=timeline",
    ];
    for (scheme, view) in ["light", "dark"]
        .into_iter()
        .flat_map(|scheme| views.map(|view| (scheme, view)))
    {
        browser.prefer(scheme).await;
        browser.open(&server.url(view)).await;
        browser
            .until(&format!("live() && matchMedia('(prefers-color-scheme: {scheme})').matches"))
            .await;
        browser.until("texts('.banner').length === 2").await;
        browser.client.execute(&axe, vec![]).await.unwrap();
        let run = "const done = arguments[arguments.length - 1];
            axe.run(document).then((found) => done({
                checks: found.passes.length,
                serious: found.violations.filter((one) => ['serious', 'critical'].includes(one.impact))
                    .map((one) => one.help + ': ' + one.nodes.map((node) => node.target.join(' ')).join(', ')),
            }))";
        let found = browser.client.execute_async(run, vec![]).await.unwrap();
        assert!(found["checks"].as_u64().unwrap() > 10, "axe looked at nothing: {found}");
        assert_eq!(found["serious"], json!([]), "{view}, {scheme}");
    }
    browser.finish(&server, &[]).await;
}
