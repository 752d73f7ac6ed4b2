//! Numbers and addresses for eyes that have no need of them.

use model::MessageChannel;

/// Enough of an address to recognise it by, not enough to use it.
pub(crate) fn mask(channel: MessageChannel, address: &str) -> String {
    match channel {
        MessageChannel::Sms | MessageChannel::Voice => mask_number(address),
        MessageChannel::Email => match address.rsplit_once('@') {
            Some((name, domain)) => format!("{}…@{domain}", name.chars().next().unwrap_or('…')),
            None => "…".to_owned(),
        },
        MessageChannel::Webhook => match address.split_once("://") {
            Some((scheme, rest)) => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}/…")
            }
            None => "…".to_owned(),
        },
    }
}

fn mask_number(number: &str) -> String {
    let digits: Vec<char> = number.chars().collect();
    if digits.len() < 8 {
        return "…".to_owned();
    }
    let head: String = digits[..3].iter().collect();
    let tail: String = digits[digits.len() - 2..].iter().collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_enough_to_recognise_and_too_little_to_use() {
        assert_eq!(mask(MessageChannel::Sms, "+8613812345678"), "+86…78");
        assert_eq!(mask(MessageChannel::Voice, "12345"), "…");
        assert_eq!(mask(MessageChannel::Email, "ann@example.org"), "a…@example.org");
        assert_eq!(mask(MessageChannel::Email, "nonsense"), "…");
        assert_eq!(mask(MessageChannel::Webhook, "https://u:secret@x.org/hook?key=1"), "https://x.org/…");
        assert_eq!(mask(MessageChannel::Sms, "电梯电梯电梯电梯"), "电梯电…电梯");
    }
}
