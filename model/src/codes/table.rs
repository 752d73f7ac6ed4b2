//! Mapping tables, and who speaks which.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::Neutral;
use crate::{DeviceId, Localised, ProfileId};

/// One code set: a regulator's or a controller's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeTable {
    /// Its name in the configuration.
    pub id: String,
    /// What people call it.
    pub name: Localised,
    /// Where it comes from.
    pub source: String,
    /// Codes of things that happen.
    #[serde(default)]
    pub codes: Vec<Code>,
    /// Codes of states that a channel reports.
    #[serde(default)]
    pub states: Vec<State>,
}

/// A code of something that happens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// As the code set writes it.
    pub code: String,
    /// What it means.
    pub neutral: Neutral,
    /// The event of the profile.
    pub event: String,
    /// As the code set calls it.
    pub name: Localised,
    /// True if another code of this table is written for the same event: this one is understood and never written.
    #[serde(default)]
    pub import_only: bool,
}

/// A code of a state that a channel reports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The channel.
    pub channel: String,
    /// As the code set writes it.
    pub code: String,
    /// What it means.
    pub neutral: Neutral,
    /// The channel's state.
    pub state: String,
    /// True if another code of this table is written for the same state.
    #[serde(default)]
    pub import_only: bool,
}

/// Why a mapping table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeTableError {
    /// It is not such a table.
    #[error("it is not a table of codes ({0}); compare it with the ones in codes/")]
    Syntax(String),
    /// A code stands twice.
    #[error("the code \"{code}\" stands twice; keep one of them")]
    Twice {
        /// The code.
        code: String,
    },
    /// Two codes would be written for one thing.
    #[error("\"{first}\" and \"{second}\" both stand for {what}; mark all but one as import_only")]
    Ambiguous {
        /// What they stand for.
        what: String,
        /// The one code.
        first: String,
        /// The other code.
        second: String,
    },
}

/// A code as it is compared: without leading zeros if it is a number. Some set senders drop them, as JSON numbers do.
fn canonical(code: &str) -> &str {
    let code = code.trim();
    if code.bytes().all(|b| b.is_ascii_digit()) {
        let short = code.trim_start_matches('0');
        if short.is_empty() && !code.is_empty() { "0" } else { short }
    } else {
        code
    }
}

impl CodeTable {
    /// Reads a table.
    ///
    /// # Errors
    /// [`CodeTableError`] if it is none, or could not be read back.
    pub fn parse(text: &str) -> Result<Self, CodeTableError> {
        let table: Self = toml::from_str(text)
            .map_err(|error| CodeTableError::Syntax(error.to_string().trim().replace('\n', " ")))?;
        let codes = table.codes.iter().map(|c| (String::new(), &c.code, &c.event, c.import_only));
        let states = table.states.iter().map(|s| (s.channel.clone(), &s.code, &s.state, s.import_only));
        let mut read: BTreeMap<(String, &str), ()> = BTreeMap::new();
        let mut written: BTreeMap<(String, &String), &String> = BTreeMap::new();
        for (channel, code, meaning, import_only) in codes.chain(states) {
            if read.insert((channel.clone(), canonical(code)), ()).is_some() {
                return Err(CodeTableError::Twice { code: code.clone() });
            }
            if !import_only && let Some(first) = written.insert((channel, meaning), code) {
                let what = format!("\"{meaning}\"");
                return Err(CodeTableError::Ambiguous { what, first: first.clone(), second: code.clone() });
            }
        }
        Ok(table)
    }

    /// What a code means.
    #[must_use]
    pub fn read(&self, code: &str) -> Option<&Code> {
        self.codes.iter().find(|known| canonical(&known.code) == canonical(code))
    }

    /// The code that is written for an event of the profile.
    #[must_use]
    pub fn write(&self, event: &str) -> Option<&Code> {
        self.codes.iter().find(|known| known.event == event && !known.import_only)
    }

    /// The code that is written for a neutral code.
    #[must_use]
    pub fn write_neutral(&self, neutral: Neutral) -> Option<&Code> {
        self.codes.iter().find(|known| known.neutral == neutral && !known.import_only)
    }

    /// What a code of a channel's states means.
    #[must_use]
    pub fn read_state(&self, channel: &str, code: &str) -> Option<&State> {
        self.states.iter().find(|known| known.channel == channel && canonical(&known.code) == canonical(code))
    }

    /// The code that is written for a channel's state.
    #[must_use]
    pub fn write_state(&self, channel: &str, state: &str) -> Option<&State> {
        self.states.iter().find(|known| known.channel == channel && known.state == state && !known.import_only)
    }
}

/// Which device speaks which code set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CodeBook {
    /// By profile.
    pub profiles: BTreeMap<ProfileId, Arc<CodeTable>>,
    /// By device, or by the beginning of devices' names followed by `*`; goes before the profile's. The longest
    /// beginning counts.
    pub devices: BTreeMap<String, Arc<CodeTable>>,
}

impl CodeBook {
    /// The code set of a device; `None`: it sends the profile's own events.
    #[must_use]
    pub fn of(&self, device: &DeviceId, profile: &ProfileId) -> Option<&CodeTable> {
        let name = device.as_str();
        let beginning = || {
            let fits =
                self.devices.iter().filter(|(known, _)| known.strip_suffix('*').is_some_and(|b| name.starts_with(b)));
            fits.max_by_key(|(known, _)| known.len()).map(|(_, table)| table)
        };
        self.devices.get(name).or_else(beginning).or_else(|| self.profiles.get(profile)).map(|table| &**table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
id = "test"
name = { en = "Test", zh = "测试" }
source = "test"
[[codes]]
code = "07"
neutral = "fault.position-lost"
event = "position_lost"
name = { en = "Position lost", zh = "楼层位置丢失" }
"#;

    #[test]
    fn leading_zeros_do_not_matter_and_are_written_as_the_set_writes_them() {
        let table = CodeTable::parse(TABLE).unwrap();
        for code in ["07", "7", "007", " 7 "] {
            assert_eq!(table.read(code).map(|known| known.event.as_str()), Some("position_lost"), "{code}");
        }
        assert_eq!(table.read("70"), None);
        assert_eq!(table.write("position_lost").unwrap().code, "07");
    }

    #[test]
    fn a_table_that_could_not_be_read_back_is_refused() {
        let again = |code: &str, more: &str| {
            let text = format!(
                "{TABLE}[[codes]]\ncode = \"{code}\"\nneutral = \"fault.position-lost\"\nevent = \"position_lost\"\n{more}name = {{ en = \"\", zh = \"\" }}\n"
            );
            CodeTable::parse(&text)
        };
        assert!(matches!(again("7", ""), Err(CodeTableError::Twice { .. })));
        assert!(matches!(again("8", ""), Err(CodeTableError::Ambiguous { .. })));
        assert!(again("8", "import_only = true\n").is_ok());
        assert!(matches!(CodeTable::parse("id = 1"), Err(CodeTableError::Syntax(_))));
    }

    #[test]
    fn a_device_goes_before_its_family_and_that_before_its_profile() {
        let named = |id: &str| Arc::new(CodeTable { id: id.to_owned(), ..CodeTable::parse(TABLE).unwrap() });
        let lift = ProfileId::new("lift").unwrap();
        let book = CodeBook {
            profiles: [(lift.clone(), named("profile"))].into(),
            devices: [("eca-*".to_owned(), named("family")), ("eca-7".to_owned(), named("device"))].into(),
        };
        let of = |device: &str| book.of(&DeviceId::new(device).unwrap(), &lift).unwrap().id.clone();
        assert_eq!((of("eca-7"), of("eca-70"), of("x")), ("device".into(), "family".into(), "profile".into()));
        assert!(CodeBook::default().of(&DeviceId::new("x").unwrap(), &lift).is_none());
    }
}
