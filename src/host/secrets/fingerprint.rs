//! Telling values apart without telling them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The first 16 hexadecimal digits of a digest that nobody can guess at who has not the key. Equal values of two secrets differ.
pub(super) fn of(key: &[u8; 32], name: &str, value: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(&(name.len() as u64).to_be_bytes());
    mac.update(name.as_bytes());
    mac.update(value.as_bytes());
    let digest = mac.finalize().into_bytes();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_names_and_keys_make_different_ones() {
        let all = [
            of(&[1; 32], "A", "secret"),
            of(&[2; 32], "A", "secret"),
            of(&[1; 32], "B", "secret"),
            of(&[1; 32], "A", "secret2"),
            of(&[1; 32], "As", "ecret"),
        ];
        assert!(all.iter().all(|one| one.len() == 16));
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
        assert_eq!(all[0], of(&[1; 32], "A", "secret"));
    }
}
