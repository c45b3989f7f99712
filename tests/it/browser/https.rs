//! The page over HTTPS.

use super::chromium::Browser;
use super::program::Server;
use super::recording::WEB;
use crate::support::certificates::CertificateFiles;
use crate::unit_file_requests::{ApiCluster, NEW, OLD};

/// A monitor with HTTPS, and a browser that trusts its certificate and no other.
struct EncryptedPage {
    browser: Browser,
    cluster: ApiCluster,
    server: Server,
    _files: CertificateFiles,
}

impl EncryptedPage {
    /// `None` if there is no browser.
    async fn new() -> Option<Self> {
        let files = CertificateFiles::new();
        let pin = files.pin("ours-server.key");
        let browser =
            Browser::start_with(&[&format!("--ignore-certificate-errors-spki-list={pin}")]).await?;

        let cluster = ApiCluster::start().await;
        let [cert, key] = ["ours-server.pem", "ours-server.key"]
            .map(|name| files.path(name).to_str().unwrap().to_owned());
        let server = Server::start(&[
            "--api",
            cluster.fleetd.address(),
            "--unit-freq",
            "0.2",
            "--machine-freq",
            "0.2",
            "--unit-files",
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
        ]);
        Some(Self { browser, cluster, server, _files: files })
    }

    /// The host and port with this after it.
    fn place(&self, rest: &str) -> String {
        format!("localhost:{}/{rest}", self.server.port)
    }

    async fn open(&self, scheme: &str, rest: &str) {
        self.browser.open(&format!("{scheme}://{}", self.place(rest))).await;
    }
}

/// The page, or the end of the test.
macro_rules! encrypted_page {
    () => {
        match EncryptedPage::new().await {
            Some(page) => page,
            None => return,
        }
    };
}

#[tokio::test]
async fn over_https_rows_are_live_and_nothing_is_requested_without_tls() {
    let page = encrypted_page!();
    page.open("https", &format!("#tab=units&open=web.service/{WEB}"))
        .await;
    let browser = &page.browser;
    browser
        .until("live() && rows().join() === 'web.service|active/running|ok|10.0.0.1'")
        .await;

    // fleet has another version now.
    page.cluster.set(NEW, OLD);
    browser
        .until("rows().join() === 'web.service|active/running|outdated|10.0.0.1'")
        .await;

    browser.click(".unit-file button").await;
    browser.until("$('.unit-file pre')").await;
    let is_fetched = "((path) => performance.getEntriesByType('resource').some((entry) =>
        entry.name.includes(path) && entry.responseStatus === 200))";
    let all = format!("['v2/actions', 'v2/history', 'v2/unit-file'].every({is_fetched})");
    browser.until(&all).await;

    browser.receives_events().await;

    let place = page.place("");
    page.browser.finish_encrypted(&place, &[]).await;
}

#[tokio::test]
async fn an_address_with_http_leads_to_the_page_over_https() {
    let page = encrypted_page!();
    page.open("http", "#tab=units&q=web").await;
    page.browser.until("live() && names() === 'web.service'").await;

    let address = page.browser.value("location.href").await;
    assert_eq!(address, format!("https://{}", page.place("#tab=units&q=web")));
}
