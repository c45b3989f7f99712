//! Reads single unit files from fleet's registry in etcd, when a client requests them.
//!
//! It has connections of its own, which are closed after each file. So it does not disturb the
//! watch. It must not know who requests a file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::utf8_percent_encode;
use tokio::time::{Instant, timeout};

use super::connector::MemberConfig;
use super::endpoint::Endpoint;
use super::error::{EtcdError, EtcdErrors};
use super::keys;
use super::member_client::MemberClient;
use super::value::{decode_job, decode_unit_text};
use crate::cluster::Text;
use crate::net::percent::RESERVED;
use crate::source::SourceError;
use crate::source::source_file::{FileReadError, JSON_BYTES, ReadFiles, SourceFile};
use crate::source::unit_file::hash_of_text;

/// How long all members together may take. The one that requests a file waits for 5 s, and should
/// know what each member did.
const READ_TIMEOUT: Duration = Duration::from_millis(4500);

/// Reads unit files from one etcd. Clones know which member answered last.
#[derive(Clone, Debug)]
pub(crate) struct EtcdFileReader {
    config: Arc<MemberConfig>,
    /// fleet's directory.
    prefix: String,
    /// The index of the member that answered last. It is asked first.
    answered_last: Arc<AtomicUsize>,
}

impl EtcdFileReader {
    pub(super) fn new(config: Arc<MemberConfig>, prefix: String) -> Self {
        Self { config, prefix, answered_last: Arc::default() }
    }

    /// Reads the file of a unit, and those of these old versions that etcd still has. fleet removes
    /// none (fleet v1.0.0, `registry/job.go`). If a member fails or hangs, the next one is used.
    pub(crate) async fn read(&self, unit: &str, old: &[Text]) -> Result<ReadFiles, FileReadError> {
        let members = &self.config.members;
        let first = self.answered_last.load(Ordering::Relaxed);
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut errors = Vec::new();

        for (tried, index) in (first..members.len()).chain(0..first).enumerate() {
            // Each of those that are left has the same share of the time that is left.
            let left = u32::try_from(members.len() - tried).unwrap_or(u32::MAX);
            let share = (deadline - Instant::now()) / left;
            let endpoint = &members[index];

            let error = match timeout(share, self.read_from(endpoint, unit, old)).await {
                Ok(Err(MemberError::Etcd(error))) => error,
                Ok(Err(MemberError::File(error))) => {
                    self.answered_last.store(index, Ordering::Relaxed);
                    return Err(error);
                }
                Ok(Ok(files)) => {
                    self.answered_last.store(index, Ordering::Relaxed);
                    return Ok(files);
                }
                Err(_) => {
                    let error = io::ErrorKind::TimedOut.into();
                    EtcdError::Unreachable(endpoint.clone(), error)
                }
            };
            errors.push(error);
        }
        Err(SourceError::from(EtcdErrors(errors)).into())
    }

    async fn read_from(
        &self,
        endpoint: &Endpoint,
        unit: &str,
        old: &[Text],
    ) -> Result<ReadFiles, MemberError> {
        let mut client = MemberClient::new(endpoint, self.config.clone());
        let job = format!("job/{}/object", utf8_percent_encode(unit, RESERVED));
        let mut files = ReadFiles::default();

        if let Some(job) = self.value(&mut client, &job).await? {
            let hash = decode_job(&job).ok_or(FileReadError::Unreadable)?;
            let file = self.file(&mut client, &hash).await?;
            files.current = Some(file.ok_or(FileReadError::Unreadable)?);
        }

        for hash in old {
            let is_current = files.current.as_ref().is_some_and(|file| file.hash == **hash);
            if is_current || !is_hash(hash) {
                continue;
            }
            match self.file(&mut client, hash).await {
                Ok(file) => files.old.extend(file),
                // It is as good as none. The file that fleet has is what matters.
                Err(MemberError::File(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    /// The file with this hash. `None` if etcd has none, or one that does not have that hash.
    async fn file(
        &self,
        client: &mut MemberClient,
        hash: &str,
    ) -> Result<Option<SourceFile>, MemberError> {
        let Some(value) = self.value(client, &format!("unit/{hash}")).await? else {
            return Ok(None);
        };
        let text = decode_unit_text(&value).ok_or(FileReadError::Unreadable)?;

        if hash_of_text(&text, Some(hash)) != hash {
            return Ok(None);
        }
        Ok(Some(SourceFile::new(hash.to_owned(), text)?))
    }

    /// The value of a key below fleet's directory. `None` if there is no such key.
    async fn value(
        &self,
        client: &mut MemberClient,
        key: &str,
    ) -> Result<Option<String>, MemberError> {
        let key = format!("{}/{key}", self.prefix);
        match client.get_up_to(JSON_BYTES, &key, "?quorum=true").await {
            // The error would quote the body.
            Ok(response) => match keys::decode_node(&response.body) {
                Ok(node) => Ok(node.value),
                Err(_) => Err(FileReadError::Unreadable.into()),
            },
            Err(EtcdError::KeyNotFound(..)) => Ok(None),
            Err(EtcdError::TooLarge(..)) => Err(FileReadError::TooLarge.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Why a file was not read from one member.
enum MemberError {
    /// The member failed; another one may not.
    Etcd(EtcdError),
    /// It is the same at each member.
    File(FileReadError),
}

impl From<EtcdError> for MemberError {
    fn from(error: EtcdError) -> Self {
        MemberError::Etcd(error)
    }
}

impl From<FileReadError> for MemberError {
    fn from(error: FileReadError) -> Self {
        MemberError::File(error)
    }
}

/// Whether a text is a hash. Machines report it, so it may be anything, and it becomes a path.
fn is_hash(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;

    /// A member of etcd that has these values, or that accepts connections and hangs.
    struct FakeMember {
        address: SocketAddr,
        connections: watch::Receiver<usize>,
    }

    impl FakeMember {
        /// `None`: it hangs.
        async fn start(values: Option<&BTreeMap<String, Value>>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (counter, connections) = watch::channel(0);
            let values = values.cloned();

            tokio::spawn(async move {
                let mut open = Vec::new();
                while let Ok((stream, _)) = listener.accept().await {
                    counter.send_modify(|count| *count += 1);
                    match values.clone() {
                        None => open.push(stream),
                        Some(values) => _ = tokio::spawn(serve(stream, values)),
                    }
                }
            });
            Self { address, connections }
        }

        fn connections(&self) -> usize {
            *self.connections.borrow()
        }
    }

    /// Answers the requests of one connection.
    async fn serve(mut stream: TcpStream, values: BTreeMap<String, Value>) {
        let mut received = Vec::new();
        loop {
            while !received.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let request = String::from_utf8(std::mem::take(&mut received)).unwrap();
            let path = request.split(' ').nth(1).unwrap();
            let key = path.strip_prefix("/v2/keys/fleet/").unwrap();
            let key = key.split('?').next().unwrap();

            let (status, body) = match values.get(key) {
                Some(value) => {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    ("200 OK", json!({"node": {"key": key, "value": value}}))
                }
                None => ("404 Not Found", json!({"errorCode": 100, "message": "Key not found"})),
            };
            let body = body.to_string();
            let response = format!(
                "HTTP/1.1 {status}\r\nX-Etcd-Index: 7\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn reader(members: &[&FakeMember]) -> EtcdFileReader {
        let members = members
            .iter()
            .map(|member| format!("http://{}", member.address).parse().unwrap())
            .collect();
        let config = MemberConfig {
            members,
            tls: None,
            authorization: None,
            timeout: Duration::from_secs(60),
        };
        EtcdFileReader::new(Arc::new(config), "/fleet".to_owned())
    }

    /// A registry with one unit, and the hash of its file.
    fn registry(text: &str) -> (BTreeMap<String, Value>, Text) {
        let hash = hash_of_text(text, None);
        let bytes: Vec<u8> = (0..20)
            .map(|byte| u8::from_str_radix(&hash[2 * byte..2 * byte + 2], 16).unwrap())
            .collect();
        let values = [
            (
                "job/a.service/object".to_owned(),
                json!({"Name": "a.service", "UnitHash": bytes}),
            ),
            (format!("unit/{hash}"), json!({ "Raw": text })),
        ];
        (values.into(), (&*hash).into())
    }

    #[tokio::test]
    async fn a_member_that_hangs_does_not_keep_others_from_answering() {
        let (values, hash) = registry("[Unit]\nDescription=new\n");
        let hanging = FakeMember::start(None).await;
        let good = FakeMember::start(Some(&values)).await;
        let reader = reader(&[&hanging, &good]);

        let begun = Instant::now();
        let files = reader.read("a.service", &[]).await.unwrap();
        assert_eq!(files.current.unwrap().hash, *hash);
        assert!(begun.elapsed() < READ_TIMEOUT, "{:?}", begun.elapsed());

        // The next one begins with the member that has answered, for a clone too.
        reader.clone().read("a.service", &[]).await.unwrap();
        assert_eq!((hanging.connections(), good.connections()), (1, 2));
    }

    #[tokio::test]
    async fn if_all_members_hang_the_error_names_each_within_the_time() {
        let members = [FakeMember::start(None).await, FakeMember::start(None).await];
        let reader = reader(&[&members[0], &members[1]]);

        let begun = Instant::now();
        let error = reader.read("a.service", &[]).await.unwrap_err().to_string();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        for member in members {
            assert!(error.contains(&member.address.to_string()), "{error}");
        }
    }

    #[tokio::test]
    async fn an_old_version_that_cannot_be_read_is_as_good_as_none() {
        let (mut values, hash) = registry("[Unit]\nDescription=new\n");
        let (old_values, old) = registry("[Unit]\nDescription=old\n");
        values.extend(old_values.into_iter().filter(|(key, _)| key.starts_with("unit/")));

        let bad = [
            json!("no JSON"),
            json!({"Raw": "x".repeat(100 << 10)}),
            json!({"Raw": "x".repeat(300 << 10)}),
        ];
        let mut wanted = Vec::new();
        for (index, value) in bad.into_iter().enumerate() {
            let hash = format!("{index:040}");
            values.insert(format!("unit/{hash}"), value);
            wanted.push(Text::from(&*hash));
        }
        // One with the hash that it should have, and too large.
        let (large, large_hash) =
            registry(&format!("[Unit]\nDescription={}", "x".repeat(65 << 10)));
        values.extend(large.into_iter().filter(|(key, _)| key.starts_with("unit/")));
        wanted.extend([large_hash, old.clone()]);

        let member = FakeMember::start(Some(&values)).await;
        let files = reader(&[&member]).read("a.service", &wanted).await.unwrap();
        assert_eq!(files.current.unwrap().hash, *hash);
        let read: Vec<&str> = files.old.iter().map(|file| &*file.hash).collect();
        assert_eq!(read, [&*old]);
    }
}
