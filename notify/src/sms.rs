//! What fits into a text message: the GSM-7 alphabet of 3GPP TS 23.038, its replacements, and segment counting.

/// Characters of the GSM-7 default alphabet beside ASCII letters, digits and space.
const GSM7: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ!\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";

/// Characters that take two places: an escape and themselves.
const GSM7_EXTENDED: &str = "^{}\\[~]|€\u{c}";

/// How a text is coded on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Seven bits a character: 160 in one segment, 153 in each of several.
    Gsm7,
    /// Sixteen bits a unit: 70 in one segment, 67 in each of several.
    Ucs2,
}

/// How this text will be coded.
#[must_use]
pub fn encoding(text: &str) -> Encoding {
    if text.chars().all(|c| gsm7_width(c).is_some()) { Encoding::Gsm7 } else { Encoding::Ucs2 }
}

/// How many segments this text takes.
#[must_use]
pub fn segments(text: &str) -> usize {
    let (units, one, each) = match encoding(text) {
        Encoding::Gsm7 => (text.chars().filter_map(gsm7_width).sum::<usize>(), 160, 153),
        Encoding::Ucs2 => (text.encode_utf16().count(), 70, 67),
    };
    if units <= one { 1 } else { units.div_ceil(each) }
}

fn gsm7_width(c: char) -> Option<usize> {
    if c == ' ' || c.is_ascii_alphanumeric() || GSM7.contains(c) {
        Some(1)
    } else if GSM7_EXTENDED.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// Replaces typographic characters that would make the whole message cost twice as much; what has no plain
/// equivalent (a Chinese name) stays, and the message is then coded in UCS-2.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{2032}' | '`' | '´' => out.push('\''),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2033}' | '«' | '»' => out.push('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => out.push('-'),
            '…' => out.push_str("..."),
            '·' | '•' => out.push('.'),
            '×' => out.push('x'),
            '°' => out.push_str(" deg "),
            '²' => out.push('2'),
            '³' => out.push('3'),
            'µ' | 'μ' => out.push('u'),
            '\u{a0}' | '\u{2009}' | '\u{202f}' | '\t' => out.push(' '),
            'á' | 'â' | 'ã' => out.push('a'),
            'ç' => out.push('c'),
            'ê' | 'ë' => out.push('e'),
            'í' | 'î' | 'ï' => out.push('i'),
            'ó' | 'ô' | 'õ' => out.push('o'),
            'ú' | 'û' => out.push('u'),
            c => out.push(c),
        }
    }
    out
}

/// Cuts a text to at most `max` characters, at a space if one is near, and marks the cut.
#[must_use]
pub fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mark = if encoding(text) == Encoding::Gsm7 { "..." } else { "…" };
    let keep = max.saturating_sub(mark.chars().count());
    let mut cut: String = text.chars().take(keep).collect();
    if let Some(space) = cut.rfind(' ').filter(|at| *at * 2 > cut.len()) {
        cut.truncate(space);
    }
    cut.truncate(cut.trim_end().len());
    cut.push_str(mark);
    cut
}

/// Builds a message of at most two segments: `build` is given ever less room for its free texts until it fits. What
/// is not free text (a link, a reply code) is never cut, so a very long link may still take a third segment.
#[must_use]
pub fn fit(build: impl Fn(usize) -> String) -> String {
    const ROOMS: [usize; 8] = [160, 110, 80, 60, 45, 32, 22, 14];
    let mut text = String::new();
    for room in ROOMS {
        text = normalise(&build(room));
        if segments(&text) <= 2 {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_counted_as_the_network_counts_them() {
        for (text, expected) in [
            (String::new(), 1),
            ("x".repeat(160), 1),
            ("x".repeat(161), 2),
            ("x".repeat(306), 2),
            ("x".repeat(307), 3),
            ("[".repeat(80), 1),
            ("[".repeat(81), 2),
            ("梯".repeat(70), 1),
            ("梯".repeat(71), 2),
            ("梯".repeat(134), 2),
            ("梯".repeat(135), 3),
        ] {
            assert_eq!(segments(&text), expected, "{} characters", text.chars().count());
        }
    }

    #[test]
    fn typography_does_not_double_the_price() {
        let text = normalise("“Lift 2” – it’s at 45 °C…");
        assert_eq!(text, "\"Lift 2\" - it's at 45  deg C...");
        assert_eq!(encoding(&text), Encoding::Gsm7);
        assert_eq!(encoding(&normalise("东塔")), Encoding::Ucs2);
    }

    #[test]
    fn a_cut_is_marked() {
        assert_eq!(clip("The door closes slower every day", 20), "The door closes...");
        assert_eq!(clip("门机关门时间逐日变长", 6), "门机关门时…");
        assert_eq!(clip("short", 20), "short");
    }

    proptest::proptest! {
        #[test]
        fn a_clipped_text_is_never_too_long(text in "\\PC{0,80}", max in 3usize..60) {
            proptest::prop_assert!(clip(&text, max).chars().count() <= max);
        }
    }
}
