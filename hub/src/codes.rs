//! The tables of codes that come with the hub and those of the configuration, and which device speaks which.

use std::{path::PathBuf, sync::Arc};

use gateway::CodesConfig;
use model::codes::{CodeBook, CodeTable, CodeTableError};

use crate::config::LoadedProfile;

/// The tables that come with the hub: (file name, text).
pub const SHIPPED: [(&str, &str); 4] = [
    ("codes/cn_upload.toml", include_str!("../../codes/cn_upload.toml")),
    ("codes/cn_chongqing.toml", include_str!("../../codes/cn_chongqing.toml")),
    ("codes/gbt_24476.toml", include_str!("../../codes/gbt_24476.toml")),
    ("codes/eca_mcpx.toml", include_str!("../../codes/eca_mcpx.toml")),
];

/// Why the codes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CodesError {
    /// A file cannot be read.
    #[error("the table of codes {} cannot be read ({source}); correct gateway.codes.files", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not a table.
    #[error("the table of codes {} cannot be used: {source}", file.display())]
    Table {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: CodeTableError,
    },
    /// There is no such code set.
    #[error("there is no code set \"{id}\"; use one of {known}, or add its table to gateway.codes.files")]
    Unknown {
        /// Its name.
        id: String,
        /// Those that there are.
        known: String,
    },
    /// A table names an event that the profile does not have.
    #[error(
        "the code set \"{id}\" speaks of the event \"{event}\", which the profile \"{profile}\" does not have; add the event to the profile"
    )]
    Event {
        /// The code set.
        id: String,
        /// The event.
        event: String,
        /// The profile.
        profile: String,
    },
}

/// Every table: those that come with the hub and those of the files, which go before one with the same id.
///
/// # Errors
/// [`CodesError`] for the first that cannot be used.
pub fn tables(files: &[PathBuf]) -> Result<Vec<Arc<CodeTable>>, CodesError> {
    let mut texts: Vec<(PathBuf, String)> =
        SHIPPED.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|source| CodesError::File { file: file.clone(), source })?;
        texts.push((file.clone(), text));
    }
    let mut tables: Vec<Arc<CodeTable>> = Vec::new();
    for (file, text) in texts {
        let table = CodeTable::parse(&text).map_err(|source| CodesError::Table { file, source })?;
        tables.retain(|known| known.id != table.id);
        tables.push(Arc::new(table));
    }
    Ok(tables)
}

/// The table with this id.
///
/// # Errors
/// [`CodesError::Unknown`] names those that there are.
pub fn find(tables: &[Arc<CodeTable>], id: &str) -> Result<Arc<CodeTable>, CodesError> {
    tables.iter().find(|table| table.id == id).cloned().ok_or_else(|| CodesError::Unknown {
        id: id.to_owned(),
        known: tables.iter().map(|table| table.id.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// Which device speaks which code set.
///
/// # Errors
/// [`CodesError`] for the first setting that cannot be used.
pub fn book(config: &CodesConfig, profiles: &[LoadedProfile]) -> Result<CodeBook, CodesError> {
    let tables = tables(&config.files)?;
    let mut book = CodeBook::default();
    for (profile, id) in &config.profiles {
        let table = find(&tables, id)?;
        if let Some(loaded) = profiles.iter().find(|loaded| loaded.profile.id == *profile)
            && let Some(code) = table.codes.iter().find(|code| loaded.profile.event(&code.event).is_none())
        {
            let (id, event, profile) = (id.clone(), code.event.clone(), profile.to_string());
            return Err(CodesError::Event { id, event, profile });
        }
        book.profiles.insert(profile.clone(), table);
    }
    for (device, id) in &config.devices {
        book.devices.insert(device.clone(), find(&tables, id)?);
    }
    Ok(book)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use model::ProfileId;

    use super::*;
    use crate::config::Config;

    /// Every code there and back: read to the neutral code and the event, and written again. The file holds what must
    /// come of it; a change of a table is seen there.
    #[test]
    fn every_code_goes_there_and_back_as_recorded() {
        let lift = Config::profiles(&[]).unwrap().into_iter().find(|p| p.profile.id.as_str() == "lift").unwrap();
        let mut lines = String::new();
        for table in tables(&[]).unwrap() {
            for code in &table.codes {
                assert!(
                    lift.profile.event(&code.event).is_some(),
                    "{}: {} is no event of the profile",
                    table.id,
                    code.event
                );
                let read = table.read(&code.code).unwrap();
                let written = table.write(&read.event).unwrap_or_else(|| panic!("{}: {}", table.id, code.event));
                let by_name = table.write_neutral(read.neutral).map_or("-", |code| code.code.as_str());
                if !code.import_only {
                    assert_eq!(
                        (written.code.as_str(), by_name),
                        (code.code.as_str(), code.code.as_str()),
                        "{}",
                        table.id
                    );
                }
                writeln!(
                    lines,
                    "{} {} {} {} {} {by_name}",
                    table.id, code.code, code.neutral, code.event, written.code
                )
                .unwrap();
            }
            for state in &table.states {
                let channel = lift.profile.channel(&state.channel).unwrap();
                assert_eq!(channel.check(&model::Value::Text(state.state.as_str().into())), Ok(()));
                let read = table.read_state(&state.channel, &state.code).unwrap();
                let written = table.write_state(&state.channel, &read.state).unwrap();
                assert_eq!(written.code, state.code);
                writeln!(
                    lines,
                    "{} {}={} {} {} {}",
                    table.id, state.channel, state.code, state.neutral, state.state, written.code
                )
                .unwrap();
            }
        }
        let golden = include_str!("../../tests/wire/codes.txt");
        assert_eq!(lines, golden, "if the change is meant, put this into tests/wire/codes.txt:\n{lines}");
    }

    #[test]
    fn the_regulators_disagree_and_the_tables_know() {
        let tables = tables(&[]).unwrap();
        let of = |id: &str, event: &str| find(&tables, id).unwrap().write(event).map(|code| code.code.clone());
        assert_eq!(of("cn_upload", "overtravel_top").as_deref(), Some("09"));
        assert_eq!(of("cn_chongqing", "overtravel_top").as_deref(), Some("92"));
        assert_eq!(of("cn_upload", "person_trapped").as_deref(), Some("11"));
        assert_eq!(of("cn_chongqing", "person_trapped").as_deref(), Some("93"));
        assert_eq!(of("eca_mcpx", "person_trapped"), None);
    }

    #[test]
    fn a_code_set_that_is_not_there_is_named_with_those_that_are() {
        let config =
            CodesConfig { profiles: [(ProfileId::new("lift").unwrap(), "cn".to_owned())].into(), ..Default::default() };
        let error = book(&config, &[]).unwrap_err().to_string();
        assert!(error.contains("\"cn\"") && error.contains("cn_upload"), "{error}");
    }
}
