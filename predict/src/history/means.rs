//! Daily means of a fleet's channels, in eight bytes each: a large fleet has tens of millions.

use std::collections::BTreeMap;

use model::Timestamp;

use super::Measurement;

/// Daily means, by when the day ended and by channel.
#[derive(Debug, Clone, Default)]
pub struct Means(BTreeMap<(Timestamp, u32), Vec<(u32, f32)>>);

impl Means {
    /// Adds one. Of two of the same day the first counts.
    pub fn push(&mut self, Measurement { unit, channel, at, mean }: Measurement) {
        // No fleet has 2^32 units or channels.
        let (Ok(unit), Ok(channel)) = (u32::try_from(unit), u32::try_from(channel)) else { return };
        // Seven digits are more than a usual level is told from.
        self.0.entry((at, channel)).or_default().push((unit, mean as f32));
    }

    /// All of them, in order of time.
    pub fn iter(&self) -> impl Iterator<Item = Measurement> {
        self.0.iter().flat_map(|((at, channel), means)| {
            means.iter().map(|(unit, mean)| Measurement {
                unit: *unit as usize,
                channel: *channel as usize,
                at: *at,
                mean: f64::from(*mean),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_come_in_order_of_time_whatever_order_they_were_added_in() {
        let at = Timestamp::from_secs;
        let mut means = Means::default();
        for (unit, channel, day, mean) in [(1, 0, 2, 4.5), (0, 1, 1, 0.25), (0, 0, 2, 1.0), (1, 1, 1, 8.0)] {
            means.push(Measurement { unit, channel, at: at(day), mean });
        }
        let told: Vec<_> = means.iter().map(|m| (m.at, m.channel, m.unit, m.mean)).collect();
        assert_eq!(told, [(at(1), 1, 0, 0.25), (at(1), 1, 1, 8.0), (at(2), 0, 1, 4.5), (at(2), 0, 0, 1.0)]);
    }
}
