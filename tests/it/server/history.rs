//! `/v2/history`: the latest events of one unit or machine.

use fleet_monitor::cluster::{Event, Place, Transition};
use serde_json::{Value, json};

use super::*;

const MACHINE: &str = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";

/// A server with a unit that nothing happens to, and what happens to others.
struct HistoryBench {
    bench: ServerBench,
    view: Arc<View>,
    number: u64,
}

impl HistoryBench {
    async fn start() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: ServerSettings) -> Self {
        let mut bench = ServerBench::with(settings, Timing::default(), Publish::Changes).await;
        let quiet =
            builders::unit(builders::unit_state("quiet.service", MACHINE, "active/running"));
        let units = [Arc::new(quiet)].into_iter().collect();
        let view = Arc::new(View { units, machines: vec![] });
        bench.health.events_since = Some(SystemTime::now());
        bench.read_all(&view);
        Self { bench, view, number: 0 }
    }

    /// Publishes that these units failed, one after the other.
    fn fail(&mut self, units: &[&str]) {
        let transition = |unit: &&str| {
            self.number += 1;
            let place = Place {
                unit: (*unit).into(),
                machine: Some(MACHINE.into()),
                ip: None,
            };
            let event = Event::Changed {
                place,
                from: "active/running".into(),
                to: "failed/failed".into(),
            };
            Arc::new(Transition { number: self.number, time: SystemTime::now(), event })
        };
        let transitions: Vec<_> = units.iter().map(transition).collect();

        self.bench.publisher.publish(FeedInput {
            view: &self.view,
            problems: &Default::default(),
            health: &self.bench.health,
            transitions: &transitions,
            change: None,
            read: &[],
            now: Moment::now(),
        });
    }

    async fn json(&self, query: &str) -> Value {
        let answer = self.bench.get(&format!("/v2/history?{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        serde_json::from_str(answer.text()).expect("JSON")
    }
}

#[tokio::test]
async fn events_of_a_unit_are_there_when_the_common_ring_has_lost_them() {
    let mut bench = HistoryBench::start().await;
    bench.fail(&["web.service"]);
    bench.fail(&["busy.service"; 1200]);

    let state = bench
        .bench
        .get("/v2/state?topics=events&filter=unit:web.service")
        .await;
    assert!(!state.text().contains("web.service"), "{}", state.text());
    let history = bench.json("unit=web.service").await;
    assert_eq!(history["events"][0]["number"], 1);
    assert_eq!(history["dropped"], false);
    let health: Value =
        serde_json::from_str(bench.bench.get("/v2/state").await.text()).expect("JSON");
    assert_eq!(history["complete_since"], health["health"]["events_since"]);

    let busy = bench.json(&format!("unit=busy.service&machine={MACHINE}")).await;
    let numbers = busy["events"].as_array().expect("events").iter();
    let numbers: Vec<u64> = numbers.map(|event| event["number"].as_u64().expect("it")).collect();
    assert_eq!(numbers, Vec::from_iter(1152..=1201), "oldest first");
    assert_eq!(busy["dropped"], true);
}

#[tokio::test]
async fn a_unit_without_events_is_known_and_one_that_is_nowhere_is_not() {
    let bench = HistoryBench::start().await;
    let quiet = bench.json("unit=quiet.service").await;
    assert_eq!(quiet["events"], json!([]));

    for query in ["unit=missing.service", "unit=quiet.service&machine=other", "machine=other"] {
        assert_eq!(bench.bench.get(&format!("/v2/history?{query}")).await.status, 404, "{query}");
    }
    for query in ["?unit=", "?filter=web", "?unit=a&name=b"] {
        assert_eq!(bench.bench.get(&format!("/v2/history{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_history_is_sent_again_only_if_it_has_changed() {
    let mut bench = HistoryBench::start().await;
    bench.fail(&["web.service"]);
    let path = "/v2/history?unit=web.service";
    let first = bench.bench.get(path).await;
    let tag = first.header("etag").to_owned();
    let other = bench.bench.get(&format!("{path}&machine={MACHINE}")).await;
    assert_ne!(other.header("etag"), tag);

    bench.fail(&["busy.service"]);
    let again = bench.bench.request("GET", path, &[("If-None-Match", &tag)]).await;
    assert_eq!((again.status, again.text()), (304, ""));
    bench.fail(&["web.service"]);
    let changed = bench.bench.request("GET", path, &[("If-None-Match", &tag)]).await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn a_history_needs_the_token() {
    let mut bench = HistoryBench::with(with_token("secret")).await;
    bench.fail(&["web.service"]);

    let path = "/v2/history?unit=web.service";
    assert_eq!(bench.bench.get(path).await.status, 401);
    assert_eq!(bench.bench.get(&format!("{path}&token=secret")).await.status, 401);
    let with = [("Authorization", "Bearer secret")];
    assert_eq!(bench.bench.request("GET", path, &with).await.status, 200);
}

#[tokio::test]
async fn without_a_keep_time_there_is_no_history() {
    let mut bench = HistoryBench::start().await;
    bench.bench.publisher.set_history(Duration::ZERO, Moment::now());
    bench.fail(&["web.service"]);

    assert_eq!(bench.bench.get("/v2/history?unit=web.service").await.status, 404);
    assert_eq!(bench.bench.get("/v2/history?unit=quiet.service").await.status, 404);
}
