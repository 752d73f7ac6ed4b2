//! What the provider's error codes mean for us.

/// What to do about an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It can never be sent to this receiver, or not with this content.
    Permanent,
    /// It may work later.
    Temporary,
    /// The account, its numbers or our settings are wrong. The operator can mend it, so the message waits.
    Operator,
}

/// What an error code of a request or of a failed message means; `None` for codes not known here.
#[must_use]
pub fn class(code: u32) -> Option<Class> {
    Some(match code {
        // Too many requests; queue full; unreachable handset; unknown carrier error; provider trouble.
        20429 | 20500 | 20503 | 21611 | 30001 | 30003 | 30008 | 30017 | 30022 => Class::Temporary,
        // Login, account suspended, not permitted, no such account, wrong sender, wrong callback address.
        20003 | 20004 | 20005 | 20008 | 20404 | 21203 | 21205 | 21210 | 21212 | 21606 | 21603 | 21609 | 21659
        | 21660 | 30002 | 30018 => Class::Operator,
        // Wrong or unreachable number, country switched off, opted out, not a mobile, bad or missing content,
        // blocked, unknown or landline handset, filtered, unregistered sender campaign.
        13223 | 13224 | 13225 | 13227 | 21201 | 21211 | 21214 | 21215 | 21216 | 21217 | 21401 | 21408 | 21601
        | 21602 | 21604 | 21605 | 21610 | 21612 | 21614 | 21617 | 30004 | 30005 | 30006 | 30007 | 30034 => {
            Class::Permanent
        }
        _ => return None,
    })
}

/// A sentence for the codes that people meet; the provider's own words serve for the others.
#[must_use]
pub fn sentence(code: u32) -> Option<&'static str> {
    Some(match code {
        20003 => "the provider refused the login: check account_sid and auth_token_file in [notify.twilio]",
        21211 | 21217 | 21401 | 13224 => {
            "the number is not a telephone number: correct it in the person's contact methods"
        }
        21408 | 21215 | 13227 => {
            "the provider account may not reach this country: allow it in the provider's geographic permissions"
        }
        21606 | 21212 | 21659 | 21660 | 21603 => "the provider does not own the sender: check from in [notify.twilio]",
        21610 => "the receiver sent STOP: they must send START to get messages again",
        21614 | 30006 => "the number cannot receive SMS: use voice or another number",
        30001 => "the provider's queue is full",
        30003 => "the telephone is off or out of reach",
        30004 => "the receiver's carrier blocks these messages",
        30005 => "the number does not exist any more",
        30007 => "the carrier filtered the message as unwanted",
        30008 => "the carrier gave no reason",
        30034 => "the sender is not registered with the carriers (A2P 10DLC): register it with the provider",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_fact_sheet_are_classed() {
        for code in [21211, 21408, 21610, 21614, 30005, 30006, 30007, 30034] {
            assert_eq!(class(code), Some(Class::Permanent), "{code}");
        }
        for code in [20429, 20503, 30001, 30003, 30008] {
            assert_eq!(class(code), Some(Class::Temporary), "{code}");
        }
        assert_eq!(class(20003), Some(Class::Operator));
        assert_eq!(class(1), None);
    }
}
