//! TwiML: the small XML language by which a provider is told what to do in a call or with an SMS.

use model::Language;

/// Escapes text for an element or an attribute; what XML cannot hold is left out.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// A whole document.
#[must_use]
pub fn response(verbs: &[&str]) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{}</Response>", verbs.concat())
}

/// A document that asks for nothing: the answer to an inbound SMS that gets no reply.
#[must_use]
pub fn nothing() -> String {
    response(&[])
}

/// A document that answers an inbound SMS with one SMS.
#[must_use]
pub fn message(body: &str) -> String {
    response(&[&format!("<Message>{}</Message>", escape(body))])
}

/// Says a text.
#[must_use]
pub fn say(language: Language, text: &str) -> String {
    let tag = match language {
        Language::En => "en-GB",
        Language::Zh => "zh-CN",
    };
    format!("<Say language=\"{tag}\">{}</Say>", escape(text))
}

/// Says texts and waits ten seconds for one key, which is posted to `action`. Every key counts, `#` too.
#[must_use]
pub fn gather(language: Language, action: &str, texts: &[&str]) -> String {
    let said: String = texts.iter().map(|text| say(language, text)).collect();
    format!(
        "<Gather input=\"dtmf\" numDigits=\"1\" timeout=\"10\" finishOnKey=\"\" method=\"POST\" action=\"{}\">{said}</Gather>",
        escape(action)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_document() {
        let text = say(Language::En, "A & B's <Hangup/> \"lift\"\u{0}");
        assert_eq!(text, "<Say language=\"en-GB\">A &amp; B&apos;s &lt;Hangup/&gt; &quot;lift&quot;</Say>");
    }
}
