//! The page in a real headless Chromium, driven through chromedriver, against the real program.
//!
//! Each test ends in [`Browser::finish`](chromium::Browser::finish). It fails if the browser's
//! console has an error that the test did not expect, or if the page sent a request to another
//! host.
//!
//! Without chromedriver these tests say so and pass. With `CI=true` they fail. The accessibility
//! check needs axe-core: `AXE_CORE` is the path of its `axe.min.js`. The dashboard needs AngularJS:
//! `ANGULAR` is a folder with some versions of its `angular.min.js`.
//!
//! Tests look at IDs, roles and `data-` attributes. The texts of the page are compared in
//! [`wording`] only.

mod access;
mod accessibility;
mod causes;
mod chromium;
mod connection;
mod dashboard;
mod history;
mod https;
mod keys;
mod links;
mod logs;
mod machines;
mod mutes;
mod navigation;
mod next_steps;
mod notifications;
mod outages;
mod paths;
mod phone;
mod plain;
mod printing;
mod program;
mod reading;
mod recording;
mod replay;
mod rows;
mod site;
mod times;
mod unit_files;
mod wording;

/// A browser, or the end of the test.
macro_rules! browser {
    () => {
        match Browser::start().await {
            Some(browser) => browser,
            None => return,
        }
    };
}

use browser;
