//! What no command may be: one that comes near a safety chain. A hub tells people what to do; it never does to a machine
//! what its safety chain is there to prevent.

use serde_json::{Map, Value};

use super::{Channel, CommandKind, Profile, did_you_mean};

/// Of these no name of a command or of an argument may hold any, in whatever spelling: they name a safety device, or what
/// takes one out of service.
const NEVER: &[&str] = &[
    "safety",
    "interlock",
    "bypass",
    "override",
    "overrule",
    "jumper",
    "shunt",
    "unlock",
    "governor",
    "overspeed",
    "brake",
    "ucmp",
    "estop",
    "emergencystop",
    "stopswitch",
    "limitswitch",
    "finallimit",
    "doorlock",
    "landinglock",
    "doorcontact",
    "lockcontact",
    "combswitch",
    "inspection",
    "protection",
];

/// Of these words no name may be made on a machine that has a safety chain: nobody who is not beside it moves it, its
/// doors or its locks.
const NOT_FROM_AFAR: &[&str] = &[
    "move", "run", "drive", "travel", "jog", "hoist", "raise", "lower", "relevel", "start", "restart", "stop", "goto",
    "recall", "rescue", "evacuate", "open", "close", "door", "doors", "lock", "locks", "release", "bridge",
];

/// Why a command or an argument is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Refusal {
    fn new(message: String, remedy: impl Into<String>) -> Self {
        Self { message, remedy: remedy.into() }
    }
}

/// A name without what separates its words: `Safety-Chain` and `safetyChain` are both `safetychain`.
fn compact(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The words of a name: `openDoor_now` has three.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Refuses a name that is of a forbidden kind or names a channel of the safety chain. `what` is what bears it.
pub(super) fn check_name(what: &str, name: &str, channels: &[Channel]) -> Result<(), Refusal> {
    let bare = compact(name);
    let mut chain = channels.iter().filter(|channel| channel.safety_chain).peekable();
    let has_chain = chain.peek().is_some();
    if let Some(channel) = chain.find(|channel| bare.contains(&compact(channel.id.as_str()))) {
        let message = format!("{what} \"{name}\" names the channel \"{}\", which is of the safety chain", channel.id);
        return Err(Refusal::new(message, "remove it: nothing that the hub sends may reach a safety chain"));
    }
    if let Some(found) = NEVER.iter().find(|never| bare.contains(**never)) {
        let message = format!("{what} \"{name}\" is of a forbidden kind (\"{found}\")");
        return Err(Refusal::new(message, "remove it: nothing that the hub sends may reach a safety chain"));
    }
    let words = words(name);
    match NOT_FROM_AFAR.iter().find(|word| has_chain && words.iter().any(|found| found == *word)) {
        Some(found) => {
            let message = format!(
                "{what} \"{name}\" is of a kind (\"{found}\") that is forbidden on a machine with a safety chain"
            );
            Err(Refusal::new(
                message,
                "remove it: nothing that the hub sends may move the machine, its doors or its locks",
            ))
        }
        None => Ok(()),
    }
}

impl Profile {
    /// The command that may be sent with these arguments.
    ///
    /// # Errors
    /// [`Refusal`] if the profile has no such command, the command no such argument, or an argument names a channel of the
    /// safety chain.
    pub fn allow(&self, command: &str, args: &Map<String, Value>) -> Result<&CommandKind, Refusal> {
        let Some(kind) = self.commands.iter().find(|kind| kind.name == command) else {
            let message = format!("the profile \"{}\" does not allow the command \"{command}\"", self.id);
            let known: Vec<_> = self.commands.iter().map(|kind| kind.name.as_str()).collect();
            let remedy = match known.as_slice() {
                [] => "this kind of device takes no commands".to_owned(),
                [..] => did_you_mean(command, &known),
            };
            return Err(Refusal::new(message, remedy));
        };
        for (name, value) in args {
            if !kind.params.contains(name) {
                let message = format!("the command \"{command}\" takes no argument \"{name}\"");
                let known: Vec<_> = kind.params.iter().map(String::as_str).collect();
                let remedy = match known.as_slice() {
                    [] => "send it without arguments, or add the argument to params in the profile".to_owned(),
                    [..] => did_you_mean(name, &known),
                };
                return Err(Refusal::new(message, remedy));
            }
            self.check_value(name, value)?;
        }
        Ok(kind)
    }

    /// Refuses a value that names a channel of the safety chain, at whatever depth.
    fn check_value(&self, name: &str, value: &Value) -> Result<(), Refusal> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
            Value::String(text) => self.check_text(name, text),
            Value::Array(items) => items.iter().try_for_each(|item| self.check_value(name, item)),
            Value::Object(fields) => fields.iter().try_for_each(|(field, value)| {
                self.check_text(name, field)?;
                self.check_value(name, value)
            }),
        }
    }

    fn check_text(&self, name: &str, text: &str) -> Result<(), Refusal> {
        let bare = compact(text);
        let chain = self.channels.iter().filter(|channel| channel.safety_chain);
        match chain.map(|channel| channel.id.as_str()).find(|id| bare.contains(&compact(id))) {
            Some(id) => {
                let message =
                    format!("the argument \"{name}\" names the channel \"{id}\", which is of the safety chain");
                Err(Refusal::new(message, "nothing that the hub sends may reach a safety chain"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_spelling() {
        assert_eq!(words("openDoor-now_2"), ["open", "door", "now", "2"]);
        assert_eq!(words("__A__b"), ["a", "b"]);
        assert_eq!(compact("Safety-Chain_closed"), "safetychainclosed");
    }
}
