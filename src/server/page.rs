//! The files of the page, embedded in the binary.
//!
//! This module must not know what the files do, nor who asks for them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::content::ResponseContent;
use super::response_cache::CachedBody;

/// The media type of pages.
pub(super) const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, media type, and content of each file.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", HTML, include_bytes!("../page/index.html")),
    ("/actions.js", SCRIPT, include_bytes!("../page/actions.js")),
    ("/address.js", SCRIPT, include_bytes!("../page/address.js")),
    ("/announcement.js", SCRIPT, include_bytes!("../page/announcement.js")),
    ("/app.js", SCRIPT, include_bytes!("../page/app.js")),
    ("/badge.js", SCRIPT, include_bytes!("../page/badge.js")),
    ("/cards.js", SCRIPT, include_bytes!("../page/cards.js")),
    ("/cluster.js", SCRIPT, include_bytes!("../page/cluster.js")),
    ("/copy.js", SCRIPT, include_bytes!("../page/copy.js")),
    ("/dom.js", SCRIPT, include_bytes!("../page/dom.js")),
    ("/event-stream.js", SCRIPT, include_bytes!("../page/event-stream.js")),
    ("/feed.js", SCRIPT, include_bytes!("../page/feed.js")),
    ("/filter-field.js", SCRIPT, include_bytes!("../page/filter-field.js")),
    ("/filter.js", SCRIPT, include_bytes!("../page/filter.js")),
    ("/gate.js", SCRIPT, include_bytes!("../page/gate.js")),
    ("/headline.js", SCRIPT, include_bytes!("../page/headline.js")),
    ("/health.js", SCRIPT, include_bytes!("../page/health.js")),
    ("/held-order.js", SCRIPT, include_bytes!("../page/held-order.js")),
    ("/histories.js", SCRIPT, include_bytes!("../page/histories.js")),
    ("/hold.js", SCRIPT, include_bytes!("../page/hold.js")),
    ("/keys.js", SCRIPT, include_bytes!("../page/keys.js")),
    ("/last-hour.js", SCRIPT, include_bytes!("../page/last-hour.js")),
    ("/lines.js", SCRIPT, include_bytes!("../page/lines.js")),
    ("/link-notes.js", SCRIPT, include_bytes!("../page/link-notes.js")),
    ("/links.js", SCRIPT, include_bytes!("../page/links.js")),
    ("/log-lines.js", SCRIPT, include_bytes!("../page/log-lines.js")),
    ("/machines.js", SCRIPT, include_bytes!("../page/machines.js")),
    ("/mutes.js", SCRIPT, include_bytes!("../page/mutes.js")),
    ("/next-steps.js", SCRIPT, include_bytes!("../page/next-steps.js")),
    ("/notices.js", SCRIPT, include_bytes!("../page/notices.js")),
    ("/notifications.js", SCRIPT, include_bytes!("../page/notifications.js")),
    ("/print.js", SCRIPT, include_bytes!("../page/print.js")),
    ("/problem-changes.js", SCRIPT, include_bytes!("../page/problem-changes.js")),
    ("/problems.js", SCRIPT, include_bytes!("../page/problems.js")),
    ("/replay.js", SCRIPT, include_bytes!("../page/replay.js")),
    ("/row.js", SCRIPT, include_bytes!("../page/row.js")),
    ("/sorting.js", SCRIPT, include_bytes!("../page/sorting.js")),
    ("/status.js", SCRIPT, include_bytes!("../page/status.js")),
    ("/storage.js", SCRIPT, include_bytes!("../page/storage.js")),
    ("/summary.js", SCRIPT, include_bytes!("../page/summary.js")),
    ("/tab.js", SCRIPT, include_bytes!("../page/tab.js")),
    ("/time-elements.js", SCRIPT, include_bytes!("../page/time-elements.js")),
    ("/time-switch.js", SCRIPT, include_bytes!("../page/time-switch.js")),
    ("/timeline.js", SCRIPT, include_bytes!("../page/timeline.js")),
    ("/times.js", SCRIPT, include_bytes!("../page/times.js")),
    ("/transitions.js", SCRIPT, include_bytes!("../page/transitions.js")),
    ("/unit-detail.js", SCRIPT, include_bytes!("../page/unit-detail.js")),
    ("/unit-file.js", SCRIPT, include_bytes!("../page/unit-file.js")),
    ("/unit-history.js", SCRIPT, include_bytes!("../page/unit-history.js")),
    ("/unit-logs.js", SCRIPT, include_bytes!("../page/unit-logs.js")),
    ("/unit-row.js", SCRIPT, include_bytes!("../page/unit-row.js")),
    ("/units.js", SCRIPT, include_bytes!("../page/units.js")),
    ("/verdicts.js", SCRIPT, include_bytes!("../page/verdicts.js")),
    ("/window.js", SCRIPT, include_bytes!("../page/window.js")),
    ("/words.js", SCRIPT, include_bytes!("../page/words.js")),
    ("/keys.css", STYLE, include_bytes!("../page/keys.css")),
    ("/logs.css", STYLE, include_bytes!("../page/logs.css")),
    ("/next-steps.css", STYLE, include_bytes!("../page/next-steps.css")),
    ("/panels.css", STYLE, include_bytes!("../page/panels.css")),
    ("/plain.css", STYLE, include_bytes!("../page/plain.css")),
    ("/print.css", STYLE, include_bytes!("../page/print.css")),
    ("/replay.css", STYLE, include_bytes!("../page/replay.css")),
    ("/style.css", STYLE, include_bytes!("../page/style.css")),
    ("/summary.css", STYLE, include_bytes!("../page/summary.css")),
    ("/unit-history.css", STYLE, include_bytes!("../page/unit-history.css")),
    ("/unit-file.css", STYLE, include_bytes!("../page/unit-file.css")),
    ("/units.css", STYLE, include_bytes!("../page/units.css")),
];

/// A file of the page.
pub(super) struct PageFile {
    media_type: &'static str,
    body: Arc<CachedBody>,
    etag: String,
}

/// The file at a path.
pub(super) fn file(path: &str) -> Option<&'static PageFile> {
    static PAGE: LazyLock<HashMap<&str, PageFile>> = LazyLock::new(|| {
        FILES
            .iter()
            .map(|&(path, media_type, body)| (path, PageFile::new(media_type, body)))
            .collect()
    });

    PAGE.get(path)
}

impl PageFile {
    fn new(media_type: &'static str, body: &'static [u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(body);

        Self {
            media_type,
            body: Arc::new(CachedBody::new(Bytes::from_static(body))),
            etag: format!("W/\"{:x}\"", hasher.finish()),
        }
    }

    pub(super) fn content(&self) -> ResponseContent {
        ResponseContent {
            shared: Some(self.body.clone()),
            etag: Some(self.etag.clone()),
            ..ResponseContent::new(self.media_type, Bytes::new())
        }
    }
}
