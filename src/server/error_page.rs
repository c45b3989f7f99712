//! A refusal as a page, for people who open an address in a browser.
//!
//! This module must not know the rules that lead to a refusal, nor who gets a page.

use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::content::HttpResponse;
use super::error::{HttpError, MissingSetting};
use super::page::HTML;
use crate::feed::HtmlText;

/// The style of the page. It is in the page itself, because a host that is refused gets no file.
const STYLE: &str = include_str!("error_page.css");

/// The `Content-Security-Policy` of the page. It allows this style, by its SHA-256 in base64, and
/// nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-Cg8Qz/jGlAlfcjAWmLFUoDfH92FasTMUI4VqnWJiciU='; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The largest number of folders that a link to `/` goes up. A client may request a path with
/// thousands.
const MAX_DEPTH: usize = 8;

/// The response to a request that is refused, as a page. `visited` is the path of a request whose
/// host and origin are allowed: the page then has a link to `/`.
pub(super) fn response(error: HttpError, visited: Option<&str>) -> HttpResponse {
    let page = Bytes::from(page(&error, visited));
    let body = page.chain(Bytes::new()).chain(Bytes::new());

    let mut response = Response::new(Full::new(body));
    *response.status_mut() = error.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.extend(error.headers);
    response
}

fn page(error: &HttpError, visited: Option<&str>) -> String {
    let HttpError { status, message, missing, .. } = error;
    let end = if message.ends_with('?') { "" } else { "." };
    let message = HtmlText(message);
    let setting = missing.as_ref().map(setting).unwrap_or_default();
    let example = if *status == StatusCode::UNAUTHORIZED {
        TOKEN_EXAMPLE
    } else {
        ""
    };
    let link = visited.map(link_to_root).unwrap_or_default();

    format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{status} – fleet-monitor</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n\
         </head>\n\
         <body>\n\
         <main>\n\
         <h1>{status}</h1>\n\
         <p>fleet-monitor refuses this request: {message}{setting}{end}</p>\n\
         {example}{link}</main>\n\
         </body>\n\
         </html>\n"
    )
}

/// How a program sends the token. A browser cannot, when somebody opens an address.
const TOKEN_EXAMPLE: &str =
    "<p>For example: <code>curl -H \"Authorization: Bearer TOKEN\" URL</code></p>\n";

/// The end of the sentence: how the operator allows the request for good. The beginning names the
/// option of the command line.
fn setting(MissingSetting { key, item }: &MissingSetting) -> String {
    let item = HtmlText(item);

    format!(
        ", or with <code>{key} = [&quot;{item}&quot;]</code> in \
         <code>/etc/fleet-monitor.toml</code> and \
         <code>systemctl reload fleet-monitor</code>"
    )
}

/// A link from a path to `/`. It is relative, because a proxy may have removed the beginning of the
/// path.
fn link_to_root(path: &str) -> String {
    let folders = path.matches('/').count().saturating_sub(1);
    let up = "../".repeat(folders.min(MAX_DEPTH));

    format!("<p><a href=\"./{up}\">To the page of fleet-monitor</a></p>\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn refusal(message: &str) -> HttpError {
        HttpError::forbidden(message)
    }

    /// What `sha256sum` prints, as bytes.
    fn sha256(text: &str) -> Vec<u8> {
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sha256sum");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("written");
        drop(stdin);

        let output = child.wait_with_output().expect("an output").stdout;
        output[..64]
            .chunks(2)
            .map(|digits| std::str::from_utf8(digits).expect("ASCII"))
            .map(|digits| u8::from_str_radix(digits, 16).expect("hexadecimal digits"))
            .collect()
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_no_other() {
        use base64::Engine;

        let hash = base64::engine::general_purpose::STANDARD.encode(sha256(STYLE));
        let policy = POLICY;
        let policy = policy.to_str().expect("ASCII");
        assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "{hash}: {policy}");
        assert!(page(&refusal("no"), None).contains(&format!("<style>{STYLE}</style>")));
    }

    #[test]
    fn nothing_of_a_request_is_markup() {
        let evil = "<script>alert('1')</script>";
        let error = refusal(evil).with_missing("allowed_hosts", &evil);
        let page = page(&error, Some(evil));
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;alert(&#39;1&#39;)").count(), 2, "{page}");
    }

    #[test]
    fn a_link_leads_to_the_root_from_any_depth_and_below_a_path_of_a_proxy() {
        for (path, link) in [
            ("/", "href=\"./\""),
            ("/nothing", "href=\"./\""),
            ("/a/b", "href=\"./../\""),
            ("/a/b/", "href=\"./../../\""),
            ("*", "href=\"./\""),
        ] {
            let page = page(&refusal("no"), Some(path));
            assert!(page.contains(link), "{path}: {page}");
        }

        let deep = page(&refusal("no"), Some(&"/".repeat(10_000)));
        assert!(deep.len() < 4096, "{} bytes", deep.len());
        assert!(!page(&refusal("no"), None).contains("href=\"./"));
    }
}
