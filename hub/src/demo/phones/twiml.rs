//! Reads the documents that the hub sends: the part of TwiML that it uses, strictly.

use std::collections::VecDeque;

/// What a document tells a call or an SMS to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verb {
    Say(String),
    Gather(Gather),
    Pause,
    Redirect(String),
    Hangup,
    Message(String),
}

/// A question that is answered by keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gather {
    /// Where the keys go.
    pub action: String,
    /// How many keys make an answer.
    pub digits: usize,
    /// How long it waits, in seconds.
    pub timeout_s: u64,
    /// The key that ends an answer early.
    pub finish: Option<char>,
    /// What is said meanwhile.
    pub said: Vec<String>,
}

#[derive(Debug)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Self>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// How deep elements may lie in each other.
const MAX_DEPTH: usize = 8;

/// Reads a document.
pub(super) fn parse(document: &str) -> Result<VecDeque<Verb>, String> {
    let mut rest = document.trim();
    if let Some(declaration) = rest.strip_prefix("<?xml") {
        rest = declaration.split_once("?>").ok_or("the XML declaration does not end")?.1.trim_start();
    }
    let (root, after) = element(rest, 0)?;
    if root.name != "Response" || !after.trim().is_empty() {
        return Err("the document is not one <Response>".to_owned());
    }
    root.children.iter().map(verb).collect()
}

fn verb(element: &Element) -> Result<Verb, String> {
    let number = |name: &str, default: u64| match element.attribute(name) {
        Some(text) => text.parse().map_err(|_| format!("{name}=\"{text}\" of <{}> is not a number", element.name)),
        None => Ok(default),
    };
    Ok(match element.name.as_str() {
        "Say" => Verb::Say(element.text.trim().to_owned()),
        "Pause" => Verb::Pause,
        "Hangup" => Verb::Hangup,
        "Redirect" => Verb::Redirect(element.text.trim().to_owned()),
        "Message" => Verb::Message(element.text.trim().to_owned()),
        "Gather" => Verb::Gather(Gather {
            action: element.attribute("action").ok_or("<Gather> has no action")?.to_owned(),
            digits: usize::try_from(number("numDigits", 1)?.clamp(1, 20)).unwrap_or(1),
            timeout_s: number("timeout", 5)?.min(600),
            finish: element.attribute("finishOnKey").map_or(Some('#'), |key| key.chars().next()),
            said: element
                .children
                .iter()
                .filter(|child| child.name == "Say")
                .map(|say| say.text.trim().to_owned())
                .collect(),
        }),
        other => return Err(format!("<{other}> is not known")),
    })
}

/// Reads the element at the start of `text`; returns it and what follows.
fn element(text: &str, depth: usize) -> Result<(Element, &str), String> {
    if depth > MAX_DEPTH {
        return Err("elements lie too deep in each other".to_owned());
    }
    let inside = text.strip_prefix('<').ok_or("an element is expected")?;
    let end = tag_end(inside).ok_or("a tag does not end")?;
    let (tag, mut rest) = (&inside[..end], &inside[end + 1..]);
    let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut element = Element {
        name: name.to_owned(),
        attributes: parse_attributes(attributes)?,
        children: Vec::new(),
        text: String::new(),
    };
    if empty {
        return Ok((element, rest));
    }
    loop {
        let next = rest.find('<').ok_or_else(|| format!("<{name}> is not closed"))?;
        element.text.push_str(&unescape(&rest[..next])?);
        rest = &rest[next..];
        if let Some(closing) = rest.strip_prefix("</") {
            let (closed, after) = closing.split_once('>').ok_or("a tag does not end")?;
            if closed.trim() != name {
                return Err(format!("<{name}> is closed by </{closed}>"));
            }
            return Ok((element, after));
        }
        let (child, after) = self::element(rest, depth + 1)?;
        element.children.push(child);
        rest = after;
    }
}

/// Where a tag ends: the first `>` outside quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some(_), _) => {}
        }
        None
    })
}

fn parse_attributes(mut text: &str) -> Result<Vec<(String, String)>, String> {
    let mut attributes = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Ok(attributes);
        }
        let (name, after) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not an attribute"))?;
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("an attribute is not quoted")?;
        let (value, after) = after[1..].split_once(quote).ok_or("an attribute does not end")?;
        attributes.push((name.trim().to_owned(), unescape(value)?));
        text = after;
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (entity, after) = after.split_once(';').ok_or("a bare & is not XML")?;
        out.push_str(before);
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            other => return Err(format!("&{other}; is not known")),
        });
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_documents_are_understood() {
        let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Gather numDigits=\"1\" timeout=\"10\" finishOnKey=\"\" \
            action=\"http://h/v?m=1&amp;x=2>3\"><Say language=\"en-GB\">A &amp; B</Say><Say>two</Say></Gather><Pause length=\"1\"/>\
            <Say>bye</Say></Response>";
        let verbs = parse(document).unwrap();
        let gather = Gather {
            action: "http://h/v?m=1&x=2>3".to_owned(),
            digits: 1,
            timeout_s: 10,
            finish: None,
            said: vec!["A & B".to_owned(), "two".to_owned()],
        };
        assert_eq!(Vec::from(verbs), [Verb::Gather(gather), Verb::Pause, Verb::Say("bye".to_owned())]);
        assert!(parse("<Response/>").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_a_document_is_refused() {
        for bad in [
            "",
            "OK",
            "<Response>",
            "<Response><Say>a & b</Say></Response>",
            "<Response><Say>x</Response></Say>",
            "<Response><Gather/></Response>",
            "<Response><Dance/></Response>",
            "<Response/><Response/>",
            "<html><body>not found</body></html>",
            &"<Response>".repeat(1000),
        ] {
            assert!(parse(bad).is_err(), "{bad:.40}");
        }
    }
}
