//! The command-line tools that work on a hub's store beside it.

pub mod backtest;
pub mod benchmarks;
pub mod codes;
pub mod detect;
pub mod devices;
pub mod export;
pub mod lab;
pub mod machines;
pub mod models;
pub mod organisation;
pub mod outages;
pub mod quiet;
pub mod rul;
pub mod rules;
pub mod series;
pub mod simulate;
pub mod users;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, anyhow};
use model::{Profile, ProfileId};
use store::{DeskSettings, Store};

use crate::config::{Config, ConfigError, LoadedProfile};

/// Reads the configuration, or says everything that is wrong with it.
///
/// # Errors
/// All problems, one a line.
pub fn load_config(file: &Path) -> anyhow::Result<(Config, Vec<LoadedProfile>)> {
    Config::load(file).map_err(all_problems)
}

/// The profile of this name.
///
/// # Errors
/// If there is none; the message names those that there are.
pub fn profile<'a>(profiles: &'a [LoadedProfile], id: &ProfileId) -> anyhow::Result<&'a Arc<Profile>> {
    profiles.iter().map(|loaded| &loaded.profile).find(|profile| profile.id == *id).ok_or_else(|| {
        let known: Vec<_> = profiles.iter().map(|loaded| loaded.profile.id.as_str()).collect();
        anyhow!("there is no profile \"{id}\"; use one of {}", known.join(", "))
    })
}

/// All problems of a configuration as one error, one a line.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "it ends the list, as map_err hands it over")]
pub fn all_problems(errors: Vec<ConfigError>) -> anyhow::Error {
    anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Opens the store of a configuration beside a running hub.
///
/// # Errors
/// If the configuration is bad or the database cannot be opened.
pub async fn attach(file: &Path) -> anyhow::Result<(Store, Config, Vec<LoadedProfile>)> {
    let (config, profiles) = load_config(file)?;
    std::fs::create_dir_all(&config.hub.data_dir)
        .with_context(|| format!("creating the data folder {}", config.hub.data_dir.display()))?;
    let store = Store::attach(&config.store_config(), desk_settings(&config)).await.context("opening the database")?;
    Ok((store, config, profiles))
}

/// What the store needs to open and advance tickets.
#[must_use]
pub fn desk_settings(config: &Config) -> DeskSettings {
    DeskSettings { policies: config.desk.clone(), public_url: config.board.public_url.clone() }
}
