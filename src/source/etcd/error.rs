//! Why etcd could not be read, for the person who reads it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;

use super::endpoint::Endpoint;
use super::login::LoginError;
pub use super::redirect::NotFollowed;

/// Why one member of etcd could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Nobody listens.
    #[error(
        "etcd at {0} refuses the connection: nothing listens there; see 'systemctl status etcd2 etcd'"
    )]
    Refused(Endpoint),
    /// There is no connection for another reason.
    #[error("cannot connect to etcd at {0}: {1}")]
    Unreachable(Endpoint, #[source] io::Error),
    /// TLS could not be agreed on, with the reason in words for people.
    #[error("no TLS with etcd at {0}: {1}")]
    Tls(Endpoint, String),
    /// The connection was closed, or what comes is not HTTP.
    #[error("etcd at {0} broke off: {because}", because = causes(.1))]
    BrokenOff(Endpoint, #[source] hyper::Error),
    /// There was no whole answer in time.
    #[error("etcd at {0} gave no whole answer within {time} s (--poll-timeout)", time = .1.as_secs_f64())]
    Timeout(Endpoint, Duration),
    /// It answers, but the watch missed what it has.
    #[error("the watch of etcd at {0} has fallen silent: asking anew")]
    Silent(Endpoint),
    /// It has no v2 API: etcd 3.4 and 3.5 have it only if they are told to, later ones not at all.
    #[error(
        "etcd at {0} has no v2 API (HTTP 404), which fleet needs: start etcd with --enable-v2=true (up to etcd 3.5)"
    )]
    NoV2(Endpoint),
    /// It has the v2 API, but nothing of fleet's in it.
    #[error(
        "there is no fleet in etcd at {0}: no key {1}; has fleetd ever run with this etcd, and is --etcd-prefix right?"
    )]
    NoFleet(Endpoint, String),
    /// It does not let this client read.
    #[error(
        "etcd at {endpoint} lets nobody read {key} without a login (HTTP {status}{}): name a user that may with \
         --etcd-user, and its password with --etcd-password-file",
        told(message)
    )]
    NoLogin {
        /// Who refused.
        endpoint: Endpoint,
        /// 401 or 403.
        status: StatusCode,
        /// etcd's words, if there were any.
        message: String,
        /// What was to be read.
        key: String,
    },
    /// It does not let this user read.
    #[error(
        "etcd at {endpoint} does not let the user {user:?} read {key} (HTTP {status}{}): is the password right, and may \
         the user read it? Try 'etcdctl -u {user} ls {key}', and give a role of that user read access to {key} and \
         {key}/*",
        told(message)
    )]
    Forbidden {
        /// Who refused.
        endpoint: Endpoint,
        /// 401 or 403.
        status: StatusCode,
        /// etcd's words, if there were any.
        message: String,
        /// What was to be read.
        key: String,
        /// `--etcd-user`.
        user: String,
    },
    /// It redirects to where it is not followed.
    #[error("etcd at {endpoint} redirects to {to} (HTTP {status}), which is not followed: {why}")]
    Redirect {
        /// Who redirects.
        endpoint: Endpoint,
        /// With which status.
        status: StatusCode,
        /// Where it leads, without credentials.
        to: String,
        /// Why it is not followed.
        why: NotFollowed,
    },
    /// Another answer than was expected.
    #[error("etcd at {endpoint} answers HTTP {status}{}", told(message))]
    Status {
        /// Who answered.
        endpoint: Endpoint,
        /// With which status.
        status: StatusCode,
        /// etcd's words, if there were any.
        message: String,
    },
    /// What answers is not etcd.
    #[error("what listens at {0} does not answer like etcd's v2 API: {1}")]
    NotEtcd(Endpoint, String),
    /// The registry is too large to be true.
    #[error("etcd at {0} has more than {1} MiB below {2}: gave up")]
    TooLarge(Endpoint, usize, String),
}

/// An error with all that has led to it: those of hyper do not say that by themselves.
pub(super) fn causes(error: &dyn Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {}", causes(cause)))
}

fn told(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// Why no member of etcd could be read: one error for each.
#[derive(Debug)]
pub struct EtcdErrors(pub Vec<EtcdError>);

impl Error for EtcdErrors {}

impl fmt::Display for EtcdErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl EtcdErrors {
    /// Whether all of them are etcd's own word that it is of no use to a fleet. Whatever else
    /// answers may be a proxy in front of an etcd that is still to come.
    pub fn is_unusable(&self) -> bool {
        self.0.iter().all(|error| matches!(error, EtcdError::NoV2(_)))
    }
}

/// Why the files that the options name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Those for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// That with the password.
    #[error(transparent)]
    Login(#[from] LoginError),
}

/// Why the files for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has nothing of use in it.
    #[error("{option} = {:?}: {problem}", .path.display())]
    File {
        /// Which option names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Certificate and key do not belong together.
    #[error(
        "etcd_key = {:?} does not belong to etcd_cert = {:?}: the first certificate there must be of that key",
        .key.display(), .cert.display()
    )]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The host has no certificates of authorities.
    #[error(
        "this host has no certificates of authorities to believe etcd's from: name them with --etcd-ca"
    )]
    NoAuthorities,
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::snapshots::assert_catalogue;
    use crate::source::http::{self, Connection};

    fn endpoint() -> Endpoint {
        "http://10.0.0.1:2379".parse().unwrap()
    }

    /// What comes of a server that reads the request, and closes the connection without a word.
    async fn closed() -> hyper::Error {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut connection = Connection::over(ours).await.unwrap();
        let closes = async move { theirs.read(&mut [0; 1024]).await.unwrap() };
        let answer = connection.send(http::get("10.0.0.1:2379", "/").unwrap());
        tokio::join!(answer, closes).0.unwrap_err()
    }

    fn redirect(why: NotFollowed) -> EtcdError {
        let to = "http://10.0.0.2:2379/v2/keys".to_owned();
        EtcdError::Redirect {
            endpoint: endpoint(),
            status: StatusCode::TEMPORARY_REDIRECT,
            to,
            why,
        }
    }

    #[tokio::test]
    async fn why_etcd_cannot_be_read_is_told_in_these_words() {
        let key = || "/_coreos.com/fleet".to_owned();
        let (unauthorized, forbidden) = (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN);
        let message = || "Insufficient credentials".to_owned();
        let user = || "monitor".to_owned();
        let no_login = |status, message| EtcdError::NoLogin {
            endpoint: endpoint(),
            status,
            message,
            key: key(),
        };
        let denied = |status, message| EtcdError::Forbidden {
            endpoint: endpoint(),
            status,
            message,
            key: key(),
            user: user(),
        };
        let status = |message: &str| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            EtcdError::Status { endpoint: endpoint(), status, message: message.to_owned() }
        };

        let errors = [
            ("nothing listens", EtcdError::Refused(endpoint())),
            (
                "no connection in time",
                EtcdError::Unreachable(endpoint(), io::ErrorKind::TimedOut.into()),
            ),
            ("no TLS", EtcdError::Tls(endpoint(), "PROBLEM".to_owned())),
            ("closed without an answer", EtcdError::BrokenOff(endpoint(), closed().await)),
            ("no answer in time", EtcdError::Timeout(endpoint(), Duration::from_millis(2500))),
            ("a watch that misses what etcd has", EtcdError::Silent(endpoint())),
            ("no v2 API", EtcdError::NoV2(endpoint())),
            ("no key of fleet", EtcdError::NoFleet(endpoint(), key())),
            ("no login, with etcd's words", no_login(unauthorized, message())),
            ("no login, without words", no_login(forbidden, String::new())),
            ("a user that may not, with etcd's words", denied(unauthorized, message())),
            ("a user that may not, without words", denied(forbidden, String::new())),
            ("a redirect of a proxy", redirect(NotFollowed::Status)),
            ("a redirect to no address", redirect(NotFollowed::Address)),
            ("a redirect to another scheme", redirect(NotFollowed::Scheme)),
            ("a redirect to another path", redirect(NotFollowed::Path)),
            ("a redirect to a stranger", redirect(NotFollowed::Stranger)),
            ("a redirect without an end", redirect(NotFollowed::TooMany)),
            ("another status, with etcd's words", status("Raft Internal Error")),
            ("another status, without words", status("")),
            ("another server", EtcdError::NotEtcd(endpoint(), "PROBLEM".to_owned())),
            ("too much", EtcdError::TooLarge(endpoint(), 256, key())),
        ];
        let all = EtcdErrors(vec![EtcdError::Refused(endpoint()), EtcdError::NoV2(endpoint())])
            .to_string();
        let told = errors.map(|(given, error)| (given, error.to_string()));
        assert_catalogue("etcd-errors", told.into_iter().chain([("two members", all)]));
    }

    #[test]
    fn why_files_for_etcd_cannot_be_used_is_told_in_these_words() {
        let file = || PathBuf::from("/etc/FILE");
        let user = || "monitor".to_owned();
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let problem = "PROBLEM".to_owned();
        let errors: [(&str, FileError); 6] = [
            (
                "a file for TLS",
                TlsError::File { option: "etcd_ca", path: file(), problem }.into(),
            ),
            (
                "a key of another certificate",
                TlsError::Pair { cert: file(), key: "/etc/KEY".into() }.into(),
            ),
            ("no certificates of authorities", TlsError::NoAuthorities.into()),
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
