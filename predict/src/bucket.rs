//! Values averaged over spans of event time, so that one journey or one burst of messages is one observation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detector::micros;

/// The span over which values are averaged.
pub const BUCKET: Duration = Duration::from_mins(10);

const BUCKET_US: i64 = micros(BUCKET);

/// The values of one span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) index: i64,
    pub(crate) mean: f64,
    count: u32,
    /// Event time of its first value, microseconds.
    pub(crate) first: i64,
}

impl Bucket {
    /// Adds a value to the open bucket; returns that one when the value begins another.
    pub(crate) fn add(open: &mut Option<Self>, time: i64, value: f64) -> Option<Self> {
        let index = time.div_euclid(BUCKET_US);
        match open {
            Some(bucket) if bucket.index == index => {
                bucket.count = bucket.count.saturating_add(1);
                bucket.mean += (value - bucket.mean) / f64::from(bucket.count);
                None
            }
            open => open.replace(Self { index, mean: value, count: 1, first: time }),
        }
    }
}
