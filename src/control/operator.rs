//! Who asks: the kernel's word on the other end of the socket, and the client's claim beside it.

use nix::unistd::{Uid, User};

/// The longest claim that is recorded, in characters.
const CLAIM_MAX_CHARS: usize = 64;

/// The operator as it is recorded: `wang`, `root (claims wang)`, `uid 1002`.
///
/// Looks into the system's user database: call it where blocking is allowed.
pub fn operator(uid: Option<u32>, claims: Option<&str>) -> String {
    let known = match uid {
        Some(uid) => user_name(uid).unwrap_or_else(|| format!("uid {uid}")),
        None => "unknown".to_string(),
    };
    with_claim(known, claims)
}

fn user_name(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(user.name)
}

fn with_claim(known: String, claims: Option<&str>) -> String {
    let plain = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let claim: String = claims
        .unwrap_or_default()
        .chars()
        .filter(plain)
        .take(CLAIM_MAX_CHARS)
        .collect();
    if claim.is_empty() || claim == known {
        return known;
    }
    format!("{known} (claims {claim})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_word_stands_first() {
        assert_eq!(operator(Some(0), None), "root");
        assert_eq!(operator(Some(0), Some("wang")), "root (claims wang)");
        assert_eq!(operator(Some(0), Some("root")), "root");
        assert_eq!(operator(Some(4_000_000_001), None), "uid 4000000001");
    }

    #[test]
    fn a_claim_can_not_pass_for_more_than_a_claim() {
        let claim = ") root\u{1b}[2J\n(";
        assert_eq!(operator(Some(0), Some(claim)), "root (claims root2J)");
        let long = "x".repeat(500);
        assert_eq!(operator(Some(0), Some(&long)).len(), 14 + CLAIM_MAX_CHARS);
    }
}
