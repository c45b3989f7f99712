//! The small part of DER (X.690) that is needed to measure an RSA key. Pure: no bytes can make it
//! panic.

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The contents of the object identifier `rsaEncryption` (RFC 3279, section 2.3.1).
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Whether the whole file is one SEQUENCE, as certificates and keys are.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && element(bytes).is_some_and(|(_, rest)| rest.is_empty())
}

/// How many bits a certificate's RSA key has. `None` if its key is of another kind, or the
/// certificate cannot be read.
pub(super) fn rsa_bits_of_certificate(certificate: &CertificateDer<'_>) -> Option<usize> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let key_info = certificate.subject_public_key_info();
    rsa_bits(element(&key_info)?.0)
}

/// How many bits an RSA key has, from the contents of its SubjectPublicKeyInfo (RFC 3279, section
/// 2.3.1).
pub(super) fn rsa_bits(key_info: &[u8]) -> Option<usize> {
    let (algorithm, rest) = element(key_info)?;
    if !contains(algorithm, RSA_ENCRYPTION) {
        return None;
    }

    let (bit_string, _) = element(rest)?;
    // The first byte is the number of unused bits.
    let (key, _) = element(bit_string.get(1..)?)?;
    let (modulus, _) = element(key)?;

    let first = modulus.iter().position(|byte| *byte != 0)?;
    let leading_zeros = modulus[first].leading_zeros() as usize;
    Some((modulus.len() - first) * 8 - leading_zeros)
}

/// Whether `part` occurs in `bytes`. `part` must not be empty.
pub(super) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Splits off the first element, whatever its tag is: its contents, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One element with a length of two bytes.
    fn encode(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = [0x82, (contents.len() >> 8) as u8, contents.len() as u8];
        [&[tag], &length[..], contents].concat()
    }

    /// The contents of the SubjectPublicKeyInfo of an RSA key.
    fn rsa_key(modulus: &[u8]) -> Vec<u8> {
        let exponent = vec![0x02, 0x03, 1, 0, 1];
        let numbers = [encode(0x02, modulus), exponent].concat();
        let bits = [&[0], encode(0x30, &numbers).as_slice()].concat();
        let algorithm = [&[0x06, 0x09], RSA_ENCRYPTION, &[0x05, 0x00]].concat();

        [encode(0x30, &algorithm), encode(0x03, &bits)].concat()
    }

    #[test]
    fn the_bits_of_an_rsa_key_are_counted() {
        let long = |first: u8, count: usize| [&[0, first][..], &vec![1; count]].concat();
        assert_eq!(rsa_bits(&rsa_key(&long(0x80, 127))), Some(1024));
        assert_eq!(rsa_bits(&rsa_key(&long(0xff, 255))), Some(2048));
        assert_eq!(rsa_bits(&rsa_key(&[1; 128])), Some(1017));
        assert_eq!(rsa_bits(&rsa_key(&[0; 128])), None);
        assert_eq!(rsa_bits(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = element(&bytes);
            let _ = rsa_bits(&bytes);
            let _ = rsa_bits_of_certificate(&bytes.as_slice().into());
        }
    }
}
