//! A short digest: the same number for the same bytes, also in another run of the program. It is
//! not meant to withstand somebody who makes bytes with the same number.

use sha1::{Digest, Sha1};

/// The first 64 bits of the SHA-1.
pub(crate) fn digest(bytes: impl AsRef<[u8]>) -> u64 {
    let digest = Sha1::digest(bytes);
    let first: [u8; 8] = std::array::from_fn(|index| digest[index]);

    u64::from_be_bytes(first)
}
