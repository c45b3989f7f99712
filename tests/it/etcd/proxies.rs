//! The source `etcd` behind a proxy that answers in place of etcd while etcd has not started yet: a
//! real nginx.

use rustix::process::Signal;

use super::daemon::{etcd, reason, until_ready};
use crate::support::etcd::{EtcdDouble, EtcdReply};
use crate::support::{Program, ReverseProxy};

/// An nginx in front of a server, and its response while the server is down.
fn in_front_of(server: &str, fallback: &str) -> Option<(ReverseProxy, String)> {
    let nginx = ReverseProxy::nginx(&format!(
        "server {{
             listen LISTEN;
             default_type text/html;
             location / {{
                 proxy_pass {server};
                 proxy_http_version 1.1;
                 proxy_buffering off;
                 error_page 502 504 = @fallback;
             }}
             location @fallback {{ return {fallback}; }}
         }}"
    ))?;
    let url = format!("http://{}", nginx.address);
    Some((nginx, url))
}

#[tokio::test]
async fn it_waits_while_a_proxy_answers_in_place_of_etcd() {
    let Some(mut etcd) = etcd().await else { return };
    for (fallback, named) in [
        ("404", "HTTP 404"),
        ("200 '<html>etcd will be here soon</html>'", "X-Etcd-Index"),
        ("200 '{}'", "X-Etcd-Index"),
        ("204", "HTTP 204"),
        ("302 https://login.example.com/", "https://login.example.com/"),
        ("403", "--etcd-user"),
        ("503", "HTTP 503"),
    ] {
        etcd.stop_hard();
        let Some((_nginx, url)) = in_front_of(&etcd.url(), fallback) else {
            return;
        };
        let mut daemon = Program::new(&["--etcd", &url]).start().await;
        let reason = reason(&daemon).await;
        assert!(reason.contains(&url) && reason.contains(named), "{reason}");
        etcd.restart().await;
        until_ready(&daemon).await;
        daemon.stop(Signal::TERM).await;
    }
}

/// A proxy may forward everything but `/v2`, and an etcd may be about to be replaced.
#[tokio::test]
async fn a_404_is_not_final_unless_etcd_itself_sends_it() {
    let mut is_there = false;
    let proxy = EtcdDouble::tcp(move |path: &str| match path {
        // By the time of this request, etcd has started.
        "/version" => {
            is_there = true;
            EtcdReply {
                status: 200,
                head: None,
                body: r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#.into(),
            }
            .whole()
        }
        _ if is_there => EtcdReply::error("1c45a069f3a1d796", 7, 100).whole(),
        _ => EtcdReply::without_v2().whole(),
    })
    .await;
    let daemon = Program::new(&["--etcd", proxy.address()]).start().await;
    assert!(reason(&daemon).await.contains("HTTP 404"));
    proxy
        .until(|traffic| {
            traffic
                .requests
                .iter()
                .filter(|request| request.contains("recursive=true"))
                .count()
                > 1
        })
        .await;
}
