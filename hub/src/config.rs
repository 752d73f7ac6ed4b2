//! The configuration: one `liftline.toml`, one section a crate, all of it checked before a socket opens.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use board::BoardConfig;
use desk::Policies;
use gateway::GatewayConfig;
use journal::JournalConfig;
use model::{Profile, ProfileError, ProfileId};
use notify::NotifyConfig;
use rules::Ruleset;
use serde::Deserialize;
use store::{Keep, Retention, StoreConfig};

use crate::forecasts::ForecastConfig;

/// The whole configuration. Each crate receives its own section only.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The hub itself.
    #[serde(default)]
    pub hub: HubConfig,
    /// Where tickets and readings are kept; default: SQLite in the data folder.
    pub store: Option<StoreConfig>,
    /// The durable log.
    #[serde(default)]
    pub journal: JournalConfig,
    /// MQTT.
    #[serde(default)]
    pub gateway: GatewayConfig,
    /// Enrolling unknown devices by themselves.
    pub enrolment: Option<EnrolmentConfig>,
    /// Escalation.
    #[serde(default)]
    pub desk: Policies,
    /// Messages to people.
    #[serde(default)]
    pub notify: NotifyConfig,
    /// The web.
    #[serde(default)]
    pub board: BoardConfig,
    /// Failure models.
    #[serde(default)]
    pub forecasts: ForecastConfig,
}

/// The `[hub]` section.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubConfig {
    /// The journal, the SQLite database and the lock live here.
    pub data_dir: PathBuf,
    /// The address of the web server.
    pub listen: SocketAddr,
    /// Profile files, or folders of them, beside the ones that come with the hub. One with the same id replaces it.
    pub profiles: Vec<PathBuf>,
    /// How long tasks may take to end after a signal.
    #[serde(with = "model::duration")]
    pub shutdown_grace: Duration,
    /// How long readings and events are kept; default: for ever.
    pub keep_readings: Keep,
    /// How long the readings of single profiles are kept instead.
    pub keep_readings_of: BTreeMap<ProfileId, Keep>,
    /// How many rejects a minute are kept of each reason, as samples. Every one is counted.
    pub rejects_per_minute: u32,
    /// How long samples of rejects are kept. Their number stays.
    #[serde(with = "model::duration")]
    pub keep_rejects: Duration,
}

impl HubConfig {
    /// How long what is kept in the store.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let (readings, profiles) = (self.keep_readings, self.keep_readings_of.clone());
        Retention { readings, profiles, rejects: self.keep_rejects, ..Retention::default() }
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            data_dir: "liftline-data".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            profiles: Vec::new(),
            shutdown_grace: Duration::from_secs(10),
            keep_readings: Keep::Forever,
            keep_readings_of: BTreeMap::new(),
            rejects_per_minute: 60,
            keep_rejects: Retention::default().rejects,
        }
    }
}

/// The `[enrolment]` section: unknown devices are registered when they first speak.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentConfig {
    /// The profile they get.
    pub auto_register: ProfileId,
    /// The organisation they join, by name; it must exist.
    pub organisation: String,
    /// The site they join, by name; created if it does not exist.
    pub site: String,
    /// For the front door: a file with the secret that unregistered devices log in with.
    pub secret_file: Option<PathBuf>,
}

/// A problem in the configuration: where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 if the problem is not on one line.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}; {}", self.message, self.remedy)
    }
}

impl From<ProfileError> for ConfigError {
    fn from(error: ProfileError) -> Self {
        Self { file: error.file, line: error.line, message: error.message, remedy: error.remedy }
    }
}

/// A profile and its compiled rules.
#[derive(Clone)]
pub struct LoadedProfile {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Its rules.
    pub rules: Arc<Ruleset>,
}

/// The profiles that come with the hub: (file name, text).
const SHIPPED: [(&str, &str); 3] = [
    ("profiles/lift.toml", include_str!("../../profiles/lift.toml")),
    ("profiles/escalator.toml", include_str!("../../profiles/escalator.toml")),
    ("profiles/water_pump.toml", include_str!("../../profiles/water_pump.toml")),
];

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every [`ConfigError`] found.
    pub fn load(file: &Path) -> Result<(Self, Vec<LoadedProfile>), Vec<ConfigError>> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            vec![ConfigError {
                file: file.to_owned(),
                line: 0,
                message: format!("the file cannot be read ({error})"),
                remedy: "name an existing file with --config, or write one after docs/configuration.md".to_owned(),
            }]
        })?;
        Self::parse(file, &text)
    }

    /// Checks the text of a configuration file. Relative paths are taken from the file's folder.
    ///
    /// # Errors
    /// Every [`ConfigError`] found.
    pub fn parse(file: &Path, text: &str) -> Result<(Self, Vec<LoadedProfile>), Vec<ConfigError>> {
        let mut config: Self = toml::from_str(text).map_err(|error| vec![syntax_error(file, text, &error)])?;
        let base = file.parent().unwrap_or(Path::new(""));
        config.hub.data_dir = base.join(&config.hub.data_dir);
        config.notify.public_url = config.board.public_url.clone();
        for profile in &mut config.hub.profiles {
            *profile = base.join(&*profile);
        }
        for table in &mut config.gateway.codes.files {
            *table = base.join(&*table);
        }
        let mut errors = Vec::new();
        let profiles = load_profiles(&config.hub.profiles, &mut errors);
        match crate::codes::book(&config.gateway.codes, &profiles) {
            Ok(book) => config.gateway.code_book = book,
            Err(error) => errors.push(ConfigError {
                file: file.to_owned(),
                line: line_of(text, "gateway.codes"),
                message: error.to_string(),
                remedy: "see docs/codes.md".to_owned(),
            }),
        }
        config.check(file, text, &profiles, &mut errors);
        if errors.is_empty() { Ok((config, profiles)) } else { Err(errors) }
    }

    /// The shipped profiles and those of the given files and folders, compiled.
    ///
    /// # Errors
    /// Every [`ConfigError`] found.
    pub fn profiles(extra: &[PathBuf]) -> Result<Vec<LoadedProfile>, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let profiles = load_profiles(extra, &mut errors);
        if errors.is_empty() { Ok(profiles) } else { Err(errors) }
    }

    /// The database to open: the configured one, or SQLite in the data folder.
    #[must_use]
    pub fn store_config(&self) -> StoreConfig {
        self.store.clone().unwrap_or_else(|| StoreConfig {
            url: format!("sqlite:{}", self.hub.data_dir.join("liftline.sqlite").display()),
            ..StoreConfig::default()
        })
    }

    fn check(&self, file: &Path, text: &str, profiles: &[LoadedProfile], errors: &mut Vec<ConfigError>) {
        let mut problem = |key: &str, message: String, remedy: &str| {
            errors.push(ConfigError {
                file: file.to_owned(),
                line: line_of(text, key),
                message,
                remedy: remedy.to_owned(),
            });
        };
        for profile in self.hub.keep_readings_of.keys() {
            if !profiles.iter().any(|loaded| loaded.profile.id == *profile) {
                let known: Vec<_> = profiles.iter().map(|loaded| loaded.profile.id.to_string()).collect();
                problem(
                    profile.as_str(),
                    format!("hub.keep_readings_of: there is no profile \"{profile}\""),
                    &format!("write one of {} or add its file to hub.profiles", known.join(", ")),
                );
            }
        }
        if let Some(store) = &self.store
            && let Err(remedy) = store.check()
        {
            problem("partition", "store.partition cannot work".to_owned(), remedy);
        }
        if let Some(enrolment) = &self.enrolment
            && !profiles.iter().any(|loaded| loaded.profile.id == enrolment.auto_register)
        {
            let known: Vec<_> = profiles.iter().map(|loaded| loaded.profile.id.to_string()).collect();
            problem(
                "auto_register",
                format!("there is no profile \"{}\"", enrolment.auto_register),
                &format!("use one of {}, or add its file to hub.profiles", known.join(", ")),
            );
        }
        if let Err((key, remedy)) = self.forecasts.check() {
            problem(key, format!("forecasts.{key} cannot work"), remedy);
        }
        for profile in self.forecasts.costs.keys() {
            if !profiles.iter().any(|loaded| loaded.profile.id == *profile && loaded.profile.failures.is_some()) {
                problem(
                    profile.as_str(),
                    format!("forecasts.costs: no profile \"{profile}\" names its failures"),
                    "name one that has a [failures] section, or add the section",
                );
            }
        }
        if let Err(error) = self.desk.validate() {
            problem("desk", error.to_string(), "see docs/configuration.md, section desk");
        }
        if let Err(error) = self.notify.validate() {
            problem("notify", error.to_string(), "see docs/configuration.md, section notify");
        }
        if let Err(error) = self.gateway.validate() {
            problem("gateway", error.to_string(), "see docs/configuration.md, section gateway");
        }
    }
}

/// The profiles that come with the hub and those of the given files and folders.
fn load_profiles(extra: &[PathBuf], errors: &mut Vec<ConfigError>) -> Vec<LoadedProfile> {
    let mut texts: Vec<(PathBuf, String)> =
        SHIPPED.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect();
    for path in extra {
        match profile_files(path) {
            Ok(files) => texts.extend(files),
            Err(error) => errors.push(ConfigError {
                file: path.clone(),
                line: 0,
                message: format!("the profile cannot be read ({error})"),
                remedy: "correct hub.profiles: it lists profile files or folders of them".to_owned(),
            }),
        }
    }
    let mut loaded: Vec<LoadedProfile> = Vec::new();
    for (file, text) in texts {
        match compile(&file, &text) {
            Ok(profile) => {
                loaded.retain(|other| other.profile.id != profile.profile.id);
                loaded.push(profile);
            }
            Err(error) => errors.push(error.into()),
        }
    }
    loaded
}

/// The profile of one file, with its rules.
///
/// # Errors
/// If it cannot be read, or the first problem in it.
pub fn profile(file: &Path) -> anyhow::Result<LoadedProfile> {
    Ok(compile(file, &std::fs::read_to_string(file)?)?)
}

fn compile(file: &Path, text: &str) -> Result<LoadedProfile, ProfileError> {
    let profile = Profile::parse(file, text)?;
    let rules = Ruleset::compile(&profile)?;
    Ok(LoadedProfile { profile: Arc::new(profile), rules: Arc::new(rules) })
}

/// A profile file, or the `.toml` files of a folder in the order of their names.
fn profile_files(path: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    let files = if path.is_dir() {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        files
    } else {
        vec![path.to_owned()]
    };
    files.into_iter().map(|file| std::fs::read_to_string(&file).map(|text| (file, text))).collect()
}

/// Turns the TOML reader's error into a place, a sentence and a remedy.
fn syntax_error(file: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let line = text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
    let message = error.message().trim().replace('\n', "; ");
    let remedy = match unknown_field(&message) {
        Some((field, expected)) => match nearest(field, &expected) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => format!("the keys allowed here are {}", expected.join(", ")),
        },
        None => "see docs/configuration.md for the keys and their values".to_owned(),
    };
    ConfigError { file: file.to_owned(), line, message, remedy }
}

/// Takes "unknown field `x`, expected one of `a`, `b`" apart.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    model::text::nearest(name, known.iter().copied())
}

/// The first line that sets `key` or opens its section; 0 if there is none.
fn line_of(text: &str, key: &str) -> usize {
    text.lines()
        .position(|line| {
            let line = line.trim_start().trim_start_matches('[');
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', ']', '.']))
        })
        .map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        match Config::parse(Path::new("liftline.toml"), text) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn an_empty_file_is_a_working_configuration() {
        assert_eq!(errors(""), Vec::<String>::new());
    }

    #[test]
    fn a_misspelt_key_names_its_line_and_the_right_key() {
        let found = errors("[hub]\ndata_dir = \"d\"\nlisen = \"127.0.0.1:1\"\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("liftline.toml:3: unknown field `lisen`"), "{}", found[0]);
        assert!(found[0].ends_with("did you mean \"listen\"?"), "{}", found[0]);
    }

    #[test]
    fn retention_is_given_for_all_and_for_single_profiles() {
        let config: Config =
            toml::from_str("[hub]\nkeep_readings = \"400d\"\n[hub.keep_readings_of]\nlift = \"forever\"\n").unwrap();
        let retention = config.hub.retention();
        assert_eq!(retention.readings, Keep::For(Duration::from_secs(400 * 86_400)));
        assert_eq!(retention.profiles, [(ProfileId::new("lift").unwrap(), Keep::Forever)].into());
        let found = errors("[hub.keep_readings_of]\nlfit = \"90d\"\n");
        assert!(found[0].contains(":2:") && found[0].contains("lfit"), "{found:?}");
        let found = errors("[hub]\nkeep_readings = \"5s\"\n");
        assert!(found[0].contains("at least \"1h\""), "{found:?}");
        let found = errors("[store]\nurl = \"sqlite:x\"\npartition = \"36h\"\n");
        assert!(found[0].contains(":3:") && found[0].contains("whole days"), "{found:?}");
    }

    #[test]
    fn forecasts_are_checked_before_a_socket_opens() {
        assert_eq!(
            errors("[forecasts]\nat = \"03:30\"\n[forecasts.costs.lift]\nmiss_cost = 5.0\nvisit_cost = 1.0\n").len(),
            0
        );
        let found = errors("[forecasts]\ncpu_share = 2.0\n");
        assert!(found[0].contains(":2:") && found[0].contains("above 0 and up to 1"), "{found:?}");
        let found = errors("[forecasts]\nat = \"dawn\"\n");
        assert!(found[0].contains(":2:") && found[0].contains("\"02:00\""), "{found:?}");
        let found = errors("[forecasts.costs.boat]\nmiss_cost = 5.0\nvisit_cost = 1.0\n");
        assert!(found[0].contains("no profile \"boat\" names its failures"), "{found:?}");
    }

    #[test]
    fn a_bad_duration_names_its_line_and_how_to_write_one() {
        let found = errors("[hub]\nshutdown_grace = \"ten seconds\"\n");
        assert!(found[0].starts_with("liftline.toml:2: \"ten seconds\" is not a duration"), "{}", found[0]);
        assert!(found[0].contains("\"30s\""), "{}", found[0]);
    }

    #[test]
    fn a_profile_with_an_unknown_channel_names_file_line_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let profile = dir.path().join("fan.toml");
        std::fs::write(
            &profile,
            "[profile]\nid = \"fan\"\nname = { en = \"Fan\", zh = \"风机\" }\nversion = 1\n\n[[channels]]\nid = \"speed_rpm\"\n\
             name = { en = \"Speed\", zh = \"转速\" }\ntype = \"number\"\nunit = \"1/min\"\nrange = [0.0, 5000.0]\n\n[[rules]]\n\
             id = \"stalled\"\ntitle = { en = \"Stalled\", zh = \"堵转\" }\nsource = \"the maker's manual\"\nseverity = \"major\"\n\
             ticket = \"breakdown\"\nwhen = \"sped_rpm < 10.0\"\n",
        )
        .unwrap();
        let found = errors(&format!("[hub]\nprofiles = [{:?}]\n", profile.to_str().unwrap()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("fan.toml:19: "), "{}", found[0]);
        assert!(found[0].contains("sped_rpm") && found[0].contains("did you mean \"speed_rpm\"?"), "{}", found[0]);
    }

    #[test]
    fn enrolment_into_an_unknown_profile_is_refused() {
        let found = errors("[enrolment]\nauto_register = \"boat\"\norganisation = \"o\"\nsite = \"s\"\n");
        assert!(
            found[0].starts_with("liftline.toml:2: there is no profile \"boat\"; use one of lift, "),
            "{}",
            found[0]
        );
    }
}
