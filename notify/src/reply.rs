//! What people write back: the grammar of SMS replies. Pure.
//!
//! A reply to a page is a code and a verb in either order, or a verb alone for the latest page: `1a`, `a1`, `ack 1`,
//! `1 ok`, `a`, `收到`, `1 接单`. The code is the number by which the receiver names the ticket. A person in or at a
//! lift sends the number on its plate. Only whole messages are understood: "not received" is not "received".

/// What a responder says about a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// I accept.
    Acknowledge,
    /// I cannot come.
    Decline,
    /// Call the next level.
    Escalate,
    /// I am on the way.
    EnRoute,
    /// I am on site.
    Arrived,
    /// The person is out.
    Released,
    /// The case is finished.
    Close,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 7] =
        [Self::Acknowledge, Self::Decline, Self::Escalate, Self::EnRoute, Self::Arrived, Self::Released, Self::Close];

    /// The letter that stands for it in a reply.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Acknowledge => 'a',
            Self::Decline => 'd',
            Self::Escalate => 'e',
            Self::EnRoute => 'g',
            Self::Arrived => 'h',
            Self::Released => 'r',
            Self::Close => 'c',
        }
    }

    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Acknowledge => &[
                "a",
                "ack",
                "acknowledge",
                "acknowledged",
                "accept",
                "accepted",
                "ok",
                "okay",
                "yes",
                "接单",
                "收到",
                "接受",
                "好的",
            ],
            Self::Decline => &[
                "d",
                "decline",
                "declined",
                "no",
                "cannot come",
                "can't come",
                "cant come",
                "拒绝",
                "来不了",
                "去不了",
                "无法前往",
            ],
            Self::Escalate => &["e", "escalate", "pass", "pass on", "升级", "转派", "上报"],
            Self::EnRoute => &["g", "going", "go", "en route", "on my way", "omw", "coming", "出发", "在路上", "前往"],
            Self::Arrived => &["h", "here", "arrived", "on site", "onsite", "到达", "到了", "到场", "到现场"],
            Self::Released => &["r", "released", "release", "out", "free", "freed", "放人", "救出", "解救", "获救"],
            Self::Close => &["c", "close", "closed", "done", "finished", "关闭", "完成", "结束"],
        }
    }

    fn from_words(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.words().contains(&words))
    }
}

/// A message from a person, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A responder says something about a ticket; without a code, about the latest one they were paged for.
    Act {
        /// The number by which they name the ticket.
        code: Option<u32>,
        /// What they say.
        verb: Verb,
    },
    /// The number on a lift's plate: a person in or at this lift. Upper case, without spaces.
    Plate(String),
    /// No more messages, please.
    Stop,
    /// Messages again, please.
    Start,
    /// What can I write?
    Help,
    /// Anything else, as it was written (at most [`Reply::MAX_TEXT`] characters).
    Text(String),
}

impl Reply {
    /// How much of a message that is not understood is kept, in characters.
    pub const MAX_TEXT: usize = 500;
}

/// Reads a reply.
#[must_use]
pub fn parse(body: &str) -> Reply {
    let text = plain(body);
    match text.as_str() {
        // The words on which carriers and providers stop and start messages by themselves.
        "stop" | "stopall" | "stop all" | "unsubscribe" | "cancel" | "end" | "quit" | "退订" | "td" => {
            return Reply::Stop;
        }
        "start" | "unstop" | "恢复" => return Reply::Start,
        "help" | "info" | "?" | "帮助" => return Reply::Help,
        _ => {}
    }
    if let Some((code, verb)) = act(&text) {
        return Reply::Act { code, verb };
    }
    match plates(body).into_iter().next() {
        Some(plate) => Reply::Plate(plate),
        None => Reply::Text(body.trim().chars().take(Reply::MAX_TEXT).collect()),
    }
}

/// What in a message could be the number on a lift's plate, the likeliest first: a run of 4 to 10 letters and digits
/// with at least four digits, or the whole message if it is letters, digits and hyphens with a digit among them.
#[must_use]
pub fn plates(body: &str) -> Vec<String> {
    let upper: String = body.chars().map(narrow).collect::<String>().to_ascii_uppercase();
    let whole: String = upper.trim().trim_start_matches('#').split_whitespace().collect();
    let plain_plate = (4..=16).contains(&whole.len())
        && whole.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && whole.bytes().filter(u8::is_ascii_digit).count() >= 2
        && !whole.starts_with('-');
    let mut found = Vec::new();
    if plain_plate {
        found.push(whole);
    }
    for token in upper.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let digits = token.bytes().filter(u8::is_ascii_digit).count();
        if (4..=10).contains(&token.len()) && digits >= 4 && !found.iter().any(|known| known == token) {
            found.push(token.to_owned());
        }
    }
    found.truncate(4);
    found
}

/// Lower case, full-width forms narrowed, white space collapsed, punctuation at the ends removed.
fn plain(body: &str) -> String {
    let narrowed: String = body.chars().map(narrow).collect::<String>().to_lowercase();
    let edge = |c: char| c.is_whitespace() || ".,!;:'\"()[]#。，！；：、（）【】".contains(c);
    narrowed.trim_matches(edge).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        '’' => '\'',
        c => c,
    }
}

fn act(text: &str) -> Option<(Option<u32>, Verb)> {
    if let Some(verb) = verb(text) {
        return Some((None, verb));
    }
    let ascii_digit = |c: char| c.is_ascii_digit();
    let leading = text.len() - text.trim_start_matches(ascii_digit).len();
    let (digits, words) = if leading > 0 {
        text.split_at(leading)
    } else {
        let end = text.trim_end_matches(ascii_digit).len();
        let (words, digits) = text.split_at(end);
        (digits, words)
    };
    // Codes are the lowest free number of a telephone: three digits are plenty, and longer ones are plates.
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    let code = digits.parse().ok()?;
    Some((Some(code), verb(words.trim_matches(|c: char| c.is_whitespace() || "#.,:-，：。、".contains(c)))?))
}

fn verb(words: &str) -> Option<Verb> {
    Verb::from_words(words).or_else(|| {
        let core = ["我已经", "我已", "已经", "已", "我"]
            .iter()
            .find_map(|prefix| words.strip_prefix(prefix))
            .unwrap_or(words);
        let core = core.strip_suffix('了').unwrap_or(core);
        // Only Chinese words take these particles.
        Verb::from_words(core).filter(|_| !core.is_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(code: Option<u32>, verb: Verb) -> Reply {
        Reply::Act { code, verb }
    }

    #[test]
    fn replies_are_understood() {
        use Verb::{Acknowledge, Arrived, Close, Decline, EnRoute, Escalate, Released};
        for (text, expected) in [
            ("1a", act(Some(1), Acknowledge)),
            ("a1", act(Some(1), Acknowledge)),
            (" 1A. ", act(Some(1), Acknowledge)),
            ("１ａ", act(Some(1), Acknowledge)),
            ("ack 1", act(Some(1), Acknowledge)),
            ("ack #12", act(Some(12), Acknowledge)),
            ("1 ok", act(Some(1), Acknowledge)),
            ("1: ok!", act(Some(1), Acknowledge)),
            ("a", act(None, Acknowledge)),
            ("OK", act(None, Acknowledge)),
            ("1d", act(Some(1), Decline)),
            ("Can’t come", act(None, Decline)),
            ("1e", act(Some(1), Escalate)),
            ("pass on 3", act(Some(3), Escalate)),
            ("g", act(None, EnRoute)),
            ("on my way", act(None, EnRoute)),
            ("2 omw", act(Some(2), EnRoute)),
            ("h", act(None, Arrived)),
            ("on site", act(None, Arrived)),
            ("1r", act(Some(1), Released)),
            ("c999", act(Some(999), Close)),
            ("收到", act(None, Acknowledge)),
            ("收到。", act(None, Acknowledge)),
            ("1接单", act(Some(1), Acknowledge)),
            ("接单 1", act(Some(1), Acknowledge)),
            ("已接单", act(None, Acknowledge)),
            ("我已到达", act(None, Arrived)),
            ("到了", act(None, Arrived)),
            ("2到了", act(Some(2), Arrived)),
            ("出发了", act(None, EnRoute)),
            ("已出发", act(None, EnRoute)),
            ("放人", act(None, Released)),
            ("已救出", act(None, Released)),
            ("升级", act(None, Escalate)),
            ("１拒绝", act(Some(1), Decline)),
            ("STOP", Reply::Stop),
            ("退订", Reply::Stop),
            ("start", Reply::Start),
            ("help", Reply::Help),
            ("？", Reply::Help),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_reply_is_not_taken_for_one() {
        // A negation, a question or a story never acknowledges anything.
        for text in [
            "没收到",
            "还没到达",
            "not ok",
            "ok?? what is this",
            "1",
            "1x",
            "1 a 2",
            "请问到了吗",
            "",
            "a 1 lift is broken",
            "已a",
        ] {
            assert_eq!(parse(text), Reply::Text(text.trim().to_owned()), "{text}");
        }
    }

    #[test]
    fn a_plate_is_recognised_in_what_a_frightened_person_writes() {
        for (text, plate) in [
            ("120345", "120345"),
            ("#120345", "120345"),
            ("１２０３４５", "120345"),
            ("120 345", "120345"),
            ("1234a", "1234A"),
            ("lift-0042", "LIFT-0042"),
            ("stuck in lift 120345 please help", "120345"),
            ("困在电梯里了，编号120345", "120345"),
            ("我被困在 SZ12034 号电梯", "SZ12034"),
        ] {
            assert_eq!(parse(text), Reply::Plate(plate.to_owned()), "{text}");
        }
        assert_eq!(parse("help me I am stuck"), Reply::Text("help me I am stuck".to_owned()));
    }

    #[test]
    fn every_letter_is_its_own_verb() {
        for verb in Verb::ALL {
            assert_eq!(parse(&format!("7{}", verb.letter())), act(Some(7), verb));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC*") {
            drop(parse(&text));
        }
    }
}
