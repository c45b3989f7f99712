//! The log of a unit, from a real systemd-journal-gatewayd.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::host::Host;

/// A unit that writes two lines and fails. `%i` is its instance.
const UNIT: &str =
    "[Service]\nExecStart=/bin/sh -c 'echo instance %i; echo \"<3>no disk\"; exit 7'\n";

const ID: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";

/// A reader of a log. It ends when it is dropped.
struct Reader {
    curl: Child,
    events: Box<dyn Iterator<Item = Value>>,
}

impl Reader {
    fn of(host: &Host, query: &str) -> Self {
        let url = format!("http://127.0.0.1:8989/v2/logs?{query}");
        let mut curl = host
            .in_network(Path::new("curl"))
            .args(["--silent", "--show-error", "--no-buffer", "--fail", "--max-time", "60", &url])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        let events = lines.filter_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("data: ")
                .map(|data| serde_json::from_str(data).unwrap())
        });
        Self { curl, events: Box::new(events) }
    }

    /// Waits until there was a line with each of these texts, in any order: what a unit writes and
    /// what systemd says about it come over connections of their own.
    fn lines_with(&mut self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            let event = self
                .events
                .next()
                .unwrap_or_else(|| panic!("no lines with {missing:?}"));
            let message = event["message"].as_str().unwrap_or_default();
            missing.retain(|text| !message.contains(text));
        }
    }

    /// The next line of the log whose message contains a text.
    fn line_with(&mut self, text: &str) -> Value {
        let has_text = |event: &Value| {
            event["message"]
                .as_str()
                .is_some_and(|message| message.contains(text))
        };
        self.events
            .find(has_text)
            .unwrap_or_else(|| panic!("no line with {text:?}"))
    }

    /// Waits until the machine is in this state.
    fn until(&mut self, state: &str) -> Value {
        let is_so = |event: &Value| event["state"] == state;
        self.events.find(is_so).unwrap_or_else(|| panic!("no state {state}"))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

/// A host that runs the unit `web@1.service`, and is the machine `127.0.0.1` of its cluster.
fn host() -> Option<Host> {
    let host = Host::boot()?;
    let rows = json!({
        "list-machines": [[ID, "127.0.0.1", "-"]],
        "list-units": [["web@1.service", "loaded", "failed", "failed", format!("{ID}/127.0.0.1"),
            "5e2b6d0a475534e522e2f579fa06ae1ab3f32707"]],
        "list-unit-files": [],
    });
    host.write("/opt/bin/rows.json", &rows.to_string());
    host.write("/etc/systemd/system/web@.service", UNIT);
    host.write("/etc/fleet-monitor.env", "FLEET_MONITOR_JOURNAL_PORT=19531\n");
    host.sh("systemctl daemon-reload && systemctl start fleet-monitor");
    host.show_until("StatusText", |status| status.contains("1 unit"));
    Some(host)
}

/// Runs the unit once more.
fn run_unit(host: &Host) {
    host.sh("systemctl start web@1.service");
}

#[test]
fn a_real_gatewayd_gives_the_last_lines_of_a_unit_and_what_follows() {
    let Some(host) = host() else { return };
    let mut unreachable = Reader::of(&host, "unit=web@1.service&follow=no");
    let failed = unreachable.until("failed");
    assert!(failed["reason"].as_str().unwrap().contains("gatewayd.socket"), "{failed}");

    host.sh("systemctl start systemd-journal-gatewayd.socket");
    run_unit(&host);
    host.until("the unit has failed", || {
        host.try_sh("systemctl is-failed web@1.service").status.success()
    });

    let mut last = Reader::of(&host, "unit=web@1.service&follow=no&lines=5");
    let written = last.line_with("instance 1");
    assert_eq!(written["identifier"], "sh");
    assert_eq!(written["priority"], 6);
    assert!(written["pid"].is_u64() && written["time"].is_u64(), "{written}");
    assert_eq!(last.line_with("no disk")["priority"], 3);
    assert_eq!(last.line_with("exit-code")["identifier"], "systemd");
    assert_eq!(last.events.by_ref().last(), Some(json!({ "type": "end" })));

    let mut reader = Reader::of(&host, "unit=web@1.service&lines=0");
    reader.until("connected");
    run_unit(&host);
    reader.lines_with(&["instance 1", "exit-code"]);

    // What was written while gatewayd was away is there when it is back.
    host.sh("systemctl stop systemd-journal-gatewayd.socket systemd-journal-gatewayd.service");
    reader.until("failed");
    run_unit(&host);
    host.sh("systemctl start systemd-journal-gatewayd.socket");
    reader.until("connected");
    reader.line_with("instance 1");
}

#[test]
fn a_unit_that_has_written_nothing_yet_is_followed() {
    let Some(host) = host() else { return };
    host.sh("systemctl start systemd-journal-gatewayd.socket");

    let mut reader = Reader::of(&host, "unit=web@1.service");
    reader.until("connected");
    run_unit(&host);
    reader.lines_with(&["instance 1", "exit-code"]);
}
