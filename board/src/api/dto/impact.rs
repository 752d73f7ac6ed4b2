//! Whom a device that is out, or will be, affects.

use model::{Timestamp, Traffic};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::codes::TrafficCode;

/// How many people would take the device in an hour.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HourView {
    /// When the hour begins.
    #[schema(value_type = String, format = "date-time")]
    pub at: Timestamp,
    /// How many people.
    pub people: u64,
}

/// When a visit disturbs the fewest people.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VisitView {
    /// Its beginning.
    #[schema(value_type = String, format = "date-time")]
    pub from: Timestamp,
    /// Its end.
    #[schema(value_type = String, format = "date-time")]
    pub to: Timestamp,
    /// How many people would take the device in it.
    pub people: u64,
}

/// Who uses a site's devices, and how many of them a ticket's device would carry.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CrowdView {
    /// How many people live or work at the site.
    pub population: u32,
    /// How many of them cannot do without.
    pub vulnerable: u32,
    /// When they come and go.
    #[schema(value_type = TrafficCode)]
    pub traffic: Traffic,
    /// How many people would take the device in each of the next 24 hours.
    pub hours: Vec<HourView>,
    /// How many would take it while it is expected to be out, from now or, for a forecast, from when it is expected to
    /// fail; somebody who comes twice is counted twice.
    pub people_out: u64,
    /// For forecasts: the hours before `expected_at` in which a visit disturbs the fewest; null if there is no time.
    pub visit: Option<VisitView>,
}

/// Whom a device that is out, or will be, affects.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImpactView {
    /// Other devices of the same profile at the site that are in service.
    pub alternatives: u32,
    /// Other devices of the same profile at the site.
    pub others: u32,
    /// How long it is expected to be out, such as `6h`.
    pub time_out: String,
    /// The number of closed tickets whose median that is; null: it is the time of the repair and four hours.
    pub cases: Option<usize>,
    /// For forecasts: when it is expected to fail.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub expected_at: Option<Timestamp>,
    /// Its people; null if nobody said who uses the site.
    pub crowd: Option<CrowdView>,
}
