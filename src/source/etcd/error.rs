//! The errors of etcd and of the files for it, with messages that say what to do. It knows nothing
//! of connections.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use hyper::StatusCode;

use super::endpoint::Endpoint;
use super::login::LoginError;
pub use super::redirect::RedirectError;
pub use super::tls_error::MemberTlsError;
use crate::net::causes;
pub use crate::net::tls::{CertificateRefusal, HandshakeError, TlsFileError};

/// Why one member of etcd could not be read. In the variants, "it" is that member.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Its host refuses the connection.
    #[error(
        "etcd at {0} refuses the connection: nothing listens there; see 'systemctl status etcd2 \
         etcd'"
    )]
    Refused(Endpoint),
    /// A connection is not possible for another reason.
    #[error("cannot connect to etcd at {0}: {1}")]
    Unreachable(Endpoint, #[source] io::Error),
    /// The connection cannot be encrypted.
    #[error("no TLS with etcd at {0}: {1}")]
    Tls(Endpoint, #[source] Box<MemberTlsError>),
    /// The connection was closed before or in the middle of a response.
    #[error("etcd at {0} closed the connection: {cause}", cause = causes(.1))]
    BrokenOff(Endpoint, #[source] hyper::Error),
    /// A response was not complete after this time.
    #[error(
        "etcd at {0} gave no complete response within {time} s (--poll-timeout)",
        time = .1.as_secs_f64()
    )]
    Timeout(Endpoint, Duration),
    /// It responds, but the watch does not deliver its changes.
    #[error("the watch of etcd at {0} has stalled: reading the registry again")]
    Stalled(Endpoint),
    /// It has no v2 API: etcd 3.4 and 3.5 have it only with an option, later ones not at all.
    #[error(
        "etcd at {0} has no v2 API (HTTP 404), which fleet needs: start etcd with \
         --enable-v2=true (up to etcd 3.5)"
    )]
    NoV2(Endpoint),
    /// It has the v2 API, but lacks this key, which each fleet has.
    #[error(
        "there is no fleet in etcd at {0}: no key {1}; has fleetd ever run with this etcd, and is \
         --etcd-prefix right?"
    )]
    KeyNotFound(Endpoint, String),
    /// It has users, and none is configured.
    #[error(
        "etcd at {endpoint} requires a login to read {key} (HTTP {status}{}): name a user that may \
         read it with --etcd-user, and its password with --etcd-password-file",
        after_colon(message)
    )]
    NoLogin {
        /// The member that refused.
        endpoint: Endpoint,
        /// The HTTP status: 401 or 403.
        status: StatusCode,
        /// etcd's message; may be empty.
        message: String,
        /// The key that was requested.
        key: String,
    },
    /// It does not know the user or its password, or the user lacks the right to read.
    #[error(
        "etcd at {endpoint} does not let the user {user:?} read {key} (HTTP {status}{}): is the \
         password right, and may the user read it? Try 'etcdctl -u {user} ls {key}', and give a \
         role of that user read access to {key} and {key}/*",
        after_colon(message)
    )]
    Forbidden {
        /// The member that refused.
        endpoint: Endpoint,
        /// The HTTP status: 401 or 403.
        status: StatusCode,
        /// etcd's message; may be empty.
        message: String,
        /// The key that was requested.
        key: String,
        /// The value of `--etcd-user`.
        user: String,
    },
    /// It redirects, and the redirect is not followed.
    #[error("etcd at {endpoint} redirects to {to} (HTTP {status}), which is not followed: {why}")]
    Redirect {
        /// The member that redirects.
        endpoint: Endpoint,
        /// A status from 300 to 399.
        status: StatusCode,
        /// The `Location`, without credentials.
        to: String,
        /// The rule that the redirect breaks.
        why: RedirectError,
    },
    /// It responds with a status other than 200 for which there is no variant of its own.
    #[error("etcd at {endpoint} answers HTTP {status}{}", after_colon(message))]
    Status {
        /// The member that responds.
        endpoint: Endpoint,
        /// Any status but 200.
        status: StatusCode,
        /// etcd's message; may be empty.
        message: String,
    },
    /// The response is not one of etcd's v2 API, with the reason.
    #[error("what listens at {0} does not answer like etcd's v2 API: {1}")]
    NotEtcd(Endpoint, String),
    /// The response has more than this many MiB below this key.
    #[error("etcd at {0} has more than {1} MiB below {2}: gave up")]
    TooLarge(Endpoint, usize, String),
}

fn after_colon(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// Why no member of etcd could be read: one error for each member.
#[derive(Debug)]
pub struct EtcdErrors(pub Vec<EtcdError>);

impl Error for EtcdErrors {}

impl fmt::Display for EtcdErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl EtcdErrors {
    /// Whether a retry is pointless, because each member is an etcd without the v2 API. Any other
    /// response may be from a proxy whose etcd has not started yet.
    pub(crate) fn is_unusable(&self) -> bool {
        self.0.iter().all(|error| matches!(error, EtcdError::NoV2(_)))
    }
}

/// Why the files that the options name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// There is no `--etcd-ca`, and this host has no CA certificates.
    #[error("this host has no CA certificates to verify etcd with: name a file with --etcd-ca")]
    NoCaCertificates,
    /// The password cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::net::http::{self, HttpConnection};
    use crate::snapshots::assert_catalogue;

    fn endpoint() -> Endpoint {
        "http://10.0.0.1:2379".parse().unwrap()
    }

    fn key() -> String {
        "/_coreos.com/fleet".to_owned()
    }

    /// The error of a request to a server that reads it, and closes the connection.
    async fn closed() -> hyper::Error {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut connection = HttpConnection::over(ours).await.unwrap();
        let close = async move { theirs.read(&mut [0; 1024]).await.unwrap() };
        let response = connection.send(http::get("10.0.0.1:2379", "/").unwrap());
        tokio::join!(response, close).0.unwrap_err()
    }

    fn redirect(why: RedirectError) -> EtcdError {
        EtcdError::Redirect {
            endpoint: endpoint(),
            status: StatusCode::TEMPORARY_REDIRECT,
            to: "http://10.0.0.2:2379/v2/keys".to_owned(),
            why,
        }
    }

    fn no_login(status: StatusCode, message: &str) -> EtcdError {
        EtcdError::NoLogin {
            endpoint: endpoint(),
            status,
            message: message.to_owned(),
            key: key(),
        }
    }

    fn forbidden(status: StatusCode, message: &str) -> EtcdError {
        EtcdError::Forbidden {
            endpoint: endpoint(),
            status,
            message: message.to_owned(),
            key: key(),
            user: "monitor".to_owned(),
        }
    }

    fn status(message: &str) -> EtcdError {
        EtcdError::Status {
            endpoint: endpoint(),
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.to_owned(),
        }
    }

    #[tokio::test]
    async fn each_error_of_etcd_is_explained() {
        const MESSAGE: &str = "Insufficient credentials";
        let timed_out = io::ErrorKind::TimedOut.into();
        let tls = HandshakeError::Io(io::Error::other("PROBLEM"));
        let tls = MemberTlsError::new(tls, None);
        let errors = [
            ("nothing listens", EtcdError::Refused(endpoint())),
            ("no connection in time", EtcdError::Unreachable(endpoint(), timed_out)),
            ("no TLS", EtcdError::Tls(endpoint(), tls.into())),
            ("closed without an answer", EtcdError::BrokenOff(endpoint(), closed().await)),
            ("no answer in time", EtcdError::Timeout(endpoint(), Duration::from_millis(2500))),
            ("a watch that misses what etcd has", EtcdError::Stalled(endpoint())),
            ("no v2 API", EtcdError::NoV2(endpoint())),
            ("no key of fleet", EtcdError::KeyNotFound(endpoint(), key())),
            ("no login, with etcd's message", no_login(StatusCode::UNAUTHORIZED, MESSAGE)),
            ("no login, without a message", no_login(StatusCode::FORBIDDEN, "")),
            (
                "a user that may not, with etcd's message",
                forbidden(StatusCode::UNAUTHORIZED, MESSAGE),
            ),
            ("a user that may not, without a message", forbidden(StatusCode::FORBIDDEN, "")),
            ("a redirect of a proxy", redirect(RedirectError::Status)),
            ("a redirect to no address", redirect(RedirectError::Address)),
            ("a redirect to another scheme", redirect(RedirectError::Scheme)),
            ("a redirect to another path", redirect(RedirectError::Path)),
            ("a redirect to an unknown host", redirect(RedirectError::UnknownHost)),
            ("a redirect without an end", redirect(RedirectError::TooMany)),
            ("another status, with etcd's message", status("Raft Internal Error")),
            ("another status, without a message", status("")),
            ("another server", EtcdError::NotEtcd(endpoint(), "PROBLEM".to_owned())),
            ("too much", EtcdError::TooLarge(endpoint(), 256, key())),
        ];
        let two = vec![EtcdError::Refused(endpoint()), EtcdError::NoV2(endpoint())];
        let two = ("two members", EtcdErrors(two).to_string());

        let errors = errors.map(|(given, error)| (given, error.to_string()));
        assert_catalogue("etcd-errors", errors.into_iter().chain([two]));
    }

    #[test]
    fn each_problem_with_a_file_is_explained() {
        let file = || PathBuf::from("/etc/FILE");
        let user = || "monitor".to_owned();
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let problem = "PROBLEM".to_owned();
        let errors: [(&str, FileError); 6] = [
            (
                "a file for TLS",
                TlsFileError::File { option: "etcd_ca", path: file(), problem }.into(),
            ),
            (
                "a key of another certificate",
                TlsFileError::Pair {
                    cert_option: "etcd_cert",
                    cert: file(),
                    key_option: "etcd_key",
                    key: "/etc/KEY".into(),
                }
                .into(),
            ),
            ("no CA certificates", FileError::NoCaCertificates),
            ("no password", LoginError::NoPassword(user()).into()),
            (
                "a password that cannot be read",
                LoginError::Unreadable { user: user(), path: file(), source }.into(),
            ),
            ("no password in the file", LoginError::Unusable(file()).into()),
        ];
        assert_catalogue("etcd-file-errors", errors);
    }
}
