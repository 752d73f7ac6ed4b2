//! Devices, profiles and entries for tests; and the recorded data.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{Body, Device, DeviceId, Entry, OrgId, Profile, Sample, SiteId, Timestamp, Value};

/// A profile of this repository.
#[allow(dead_code, reason = "not every test binary uses a shipped profile")]
pub fn profile(name: &str) -> Arc<Profile> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles").join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&file).expect("the profile is part of the repository");
    Arc::new(Profile::parse(&file, &text).expect("the profile is valid"))
}

/// A device of that profile.
#[allow(dead_code, reason = "not every test binary feeds a predictor")]
pub fn device(id: &str, profile: &Profile) -> Device {
    Device {
        id: DeviceId::new(id).expect("a valid name"),
        org: OrgId(uuid::Uuid::from_u128(1)),
        site: SiteId(uuid::Uuid::from_u128(2)),
        profile: profile.id.clone(),
        name: id.to_owned(),
        plate: None,
    }
}

/// One value of one channel.
#[allow(dead_code, reason = "not every test binary feeds a predictor")]
pub fn sample(device: &Device, channel: &str, time: Timestamp, value: f64) -> Entry {
    Entry {
        device: Some(device.id.clone()),
        received_at: time,
        body: Body::Sample(Sample {
            time,
            seq: None,
            values: vec![(channel.parse().expect("a valid name"), Value::Number(value))],
        }),
    }
}

/// A file or folder of the recorded data; `None`, and a word about it, if the data is not there.
#[allow(dead_code, reason = "not every test binary reads recorded data")]
pub fn recorded(path: &str) -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !data.is_dir() {
        println!("skipped: shared/data is not there");
        return None;
    }
    Some(data.join(path))
}

/// `2004-02-12 10:32:39`, taken as UTC.
#[allow(dead_code, reason = "not every test binary reads recorded data")]
pub fn time(text: &str) -> Timestamp {
    format!("{}Z", text.trim().replacen(' ', "T", 1)).parse().expect("a time")
}
