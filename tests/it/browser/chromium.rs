//! A headless Chromium, driven through chromedriver.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::actions::{ActionSequence, InputSource, MouseActions, PointerAction, TouchActions};
use fantoccini::wd::{TimeoutConfiguration, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::program::{Server, port_after};
use crate::support::cannot_run;

/// How long something may take before a test fails. It is long, since the machine may be busy with
/// other tests.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What scripts of the tests may use: short names for looking around in the page. None depends on
/// the wording of the page.
const PRELUDE: &str = include_str!("prelude.js");

/// A Chromium with a profile of its own; ended when dropped.
pub(super) struct Browser {
    pub(super) client: Client,
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
    /// None, with the reason on stderr, if there is no chromedriver.
    pub(super) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with more arguments for Chromium.
    pub(super) async fn start_with(more: &[&str]) -> Option<Self> {
        let (driver, port) = match start_driver() {
            Ok(started) => started,
            Err(error) => {
                let install = "install chromium and chromium-driver";
                cannot_run(&format!("chromedriver cannot be started ({error}): {install}"));
                return None;
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
        let arguments = [&arguments, more].concat();
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

    /// Opens an address. The page is loaded again, even if only the part behind `#` differs.
    pub(super) async fn open(&self, address: &str) {
        self.client.goto("about:blank").await.unwrap();
        self.client.goto(address).await.unwrap();
    }

    /// The value of a piece of JavaScript, which may use [`PRELUDE`].
    pub(super) async fn value(&self, expression: &str) -> Value {
        self.client
            .execute(&format!("{PRELUDE} return ({expression});"), vec![])
            .await
            .unwrap()
    }

    /// Opens an event stream beside the page's own connection, and waits for its first event.
    pub(super) async fn receives_events(&self) {
        self.value(
            "void (new EventSource('v2/events').onmessage = ({ data }) =>
                (window.received ??= JSON.parse(data).type))",
        )
        .await;
        self.until("window.received === 'hello'").await;
    }

    /// Waits until a piece of JavaScript is true. On a timeout the test fails with what the page
    /// shows.
    pub(super) async fn until(&self, condition: &str) {
        let script = format!(
            "{PRELUDE} const done = arguments[arguments.length - 1];
             const isTrue = () => {{ try {{ return ({condition}); }} catch {{ return false; }} }};
             const look = () => isTrue() ? done(true) : setTimeout(look, 30);
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

    /// Waits until the page shows this text, and returns all that it shows. It works without
    /// scripts too.
    pub(super) async fn wait_for_text(&self, text: &str) -> String {
        let path = format!("//body[contains(., '{text}')]");
        let wait = self.client.wait().at_most(PATIENCE);
        let body = wait.for_element(Locator::XPath(&path)).await;
        let body = body.unwrap_or_else(|error| panic!("never there: {text}: {error}"));
        body.text().await.unwrap()
    }

    pub(super) async fn click(&self, selector: &str) {
        self.client
            .find(Locator::Css(selector))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
    }

    /// Presses keys wherever the focus is.
    pub(super) async fn press(&self, keys: &str) {
        self.client
            .active_element()
            .await
            .unwrap()
            .send_keys(keys)
            .await
            .unwrap();
    }

    /// Moves the mouse to the middle of an element.
    pub(super) async fn point_at(&self, selector: &str) {
        let mouse = MouseActions::new("mouse".into()).then(self.move_to(selector).await);
        self.act(mouse).await;
    }

    /// Touches the middle of an element for a moment.
    pub(super) async fn tap(&self, selector: &str) {
        let finger = TouchActions::new("finger".into())
            .then(self.move_to(selector).await)
            .then(PointerAction::Down { button: 0 })
            .then(PointerAction::Up { button: 0 });
        self.act(finger).await;
    }

    async fn move_to(&self, selector: &str) -> PointerAction {
        let element = self.client.find(Locator::Css(selector)).await.unwrap();
        PointerAction::MoveToElement { element, duration: None, x: 0.0, y: 0.0 }
    }

    async fn act(&self, actions: impl Into<ActionSequence>) {
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Shows the page as a user does who prefers `light` or `dark` colours.
    pub(super) async fn prefer(&self, scheme: &str) {
        self.emulate_medium("screen", scheme).await;
    }

    /// Shows the page as on paper, if the user prefers these colours on the screen.
    pub(super) async fn emulate_paper(&self, scheme: &str) {
        self.emulate_medium("print", scheme).await;
    }

    async fn emulate_medium(&self, medium: &str, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let media = json!({"media": medium, "features": features});
        self.emulate("setEmulatedMedia", media).await;
    }

    /// Makes the window so many CSS pixels wide and high, which may be less than a window can be.
    /// 640 by 360 is what a page has of 1280 by 720 pixels at 200 %.
    pub(super) async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": false,
        });
        self.emulate("setDeviceMetricsOverride", metrics).await;
        let condition = format!("innerWidth === {width} && innerHeight === {height}");
        self.until(&condition).await;
    }

    /// From now on the browser has a touch screen, and no mouse.
    pub(super) async fn touch(&self) {
        self.emulate("setTouchEmulationEnabled", json!({"enabled": true}))
            .await;
        self.until("matchMedia('(pointer: coarse)').matches").await;
    }

    /// From now on a script runs in each page before its own ones.
    pub(super) async fn run_before_scripts(&self, script: &str) {
        self.send("Page.addScriptToEvaluateOnNewDocument", json!({"source": script}))
            .await;
    }

    async fn emulate(&self, what: &str, parameters: Value) {
        self.send(&format!("Emulation.{what}"), parameters).await;
    }

    async fn send(&self, command: &str, parameters: Value) {
        let command = json!({"cmd": command, "params": parameters});
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

    /// Ends the browser. The test fails if a request went to another host, or if the console has an
    /// error without any of the texts in `expected`.
    pub(super) async fn finish(self, server: &Server, expected: &[&str]) {
        self.finish_on(server.port, expected).await;
    }

    /// The same for a page that was opened on this port.
    pub(super) async fn finish_on(self, port: u16, expected: &[&str]) {
        self.finish_below(&format!("127.0.0.1:{port}/"), expected).await;
    }

    /// The same for a page that was opened below this place, a host with a path.
    pub(super) async fn finish_below(self, place: &str, expected: &[&str]) {
        self.finish_with_schemes(["http", "ws"], place, expected).await;
    }

    /// The same for a page that was opened with `https://`: nothing is requested without TLS.
    pub(super) async fn finish_encrypted(self, place: &str, expected: &[&str]) {
        self.finish_with_schemes(["https", "wss"], place, expected).await;
    }

    async fn finish_with_schemes(self, schemes: [&str; 2], place: &str, expected: &[&str]) {
        self.check_console(expected).await;
        self.check_requests(&schemes.map(|scheme| format!("{scheme}://{place}")))
            .await;
        self.client.clone().close().await.unwrap();
    }
}

impl Browser {
    async fn check_console(&self, expected: &[&str]) {
        for entry in self.log("browser").await {
            let message = entry["message"].as_str().unwrap_or_default();
            let is_expected = expected.iter().any(|text| message.contains(text));
            assert!(
                entry["level"] != "SEVERE" || is_expected,
                "the console has an error: {message}"
            );
        }
    }

    async fn check_requests(&self, own: &[String]) {
        let mut requests = 0;
        for entry in self.log("performance").await {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let Some(address) = requested(&event["message"]) else {
                continue;
            };

            // data: and blob: addresses go nowhere.
            let goes_out = address.starts_with("http") || address.starts_with("ws");
            let is_own = own.iter().any(|own| address.starts_with(own.as_str()));
            assert!(is_own || !goes_out, "the page requested {address}");
            requests += usize::from(is_own);
        }
        assert!(requests > 0, "the browser reports no request at all");
    }
}

/// The address of a request, if that is what Chromium reports.
fn requested(message: &Value) -> Option<&str> {
    let parameters = &message["params"];
    // Chromium's own pages make requests before the test opens the page.
    let document = parameters["documentURL"].as_str();
    if document.is_some_and(|document| document.starts_with("chrome")) {
        return None;
    }

    match message["method"].as_str() {
        Some("Network.requestWillBeSent") => parameters["request"]["url"].as_str(),
        Some("Network.webSocketCreated") => parameters["url"].as_str(),
        _ => None,
    }
}

/// A chromedriver and its port.
fn start_driver() -> std::io::Result<(Child, u16)> {
    // It chooses a free port of IPv6, and exits if that is in use for IPv4.
    for _ in 0..9 {
        let (mut driver, port) = try_driver()?;
        match port {
            Ok(port) => return Ok((driver, port)),
            Err(_) => drop(driver.wait()),
        }
    }

    let (driver, port) = try_driver()?;
    let port = port.unwrap_or_else(|output| panic!("chromedriver does not listen:\n{output}"));
    Ok((driver, port))
}

/// A chromedriver, and its port, or its output if it does not listen.
fn try_driver() -> std::io::Result<(Child, Result<u16, String>)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        // The zone of the viewer is not UTC, and has no summer time.
        .env("TZ", "Asia/Kolkata")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let port = port_after(driver.stdout.take().unwrap(), "successfully on port ");
    Ok((driver, port))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // On SIGTERM chromedriver ends its browser too; when it is killed, it cannot.
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}
