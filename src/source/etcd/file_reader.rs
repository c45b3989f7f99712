//! Reads single unit files from fleet's registry in etcd, when a client requests them.
//!
//! It has connections of its own, which are closed after each file. So it does not disturb the
//! watch. It must not know who requests a file.

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;

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

/// Reads unit files from one etcd.
#[derive(Clone, Debug)]
pub(crate) struct EtcdFileReader {
    config: Arc<MemberConfig>,
    /// fleet's directory.
    prefix: String,
}

impl EtcdFileReader {
    pub(super) fn new(config: Arc<MemberConfig>, prefix: String) -> Self {
        Self { config, prefix }
    }

    /// Reads the file of a unit, and those of these old versions that etcd still has. fleet removes
    /// none (fleet v1.0.0, `registry/job.go`). If a member fails, the next one is used.
    pub(crate) async fn read(&self, unit: &str, old: &[Text]) -> Result<ReadFiles, FileReadError> {
        let mut errors = Vec::new();
        for endpoint in &self.config.members {
            match self.read_from(endpoint, unit, old).await {
                Err(MemberError::Etcd(error)) => errors.push(error),
                Err(MemberError::File(error)) => return Err(error),
                Ok(files) => return Ok(files),
            }
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
            if !is_current && is_hash(hash) {
                files.old.extend(self.file(&mut client, hash).await?);
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
