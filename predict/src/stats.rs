//! The statistics that detectors and forecasts share.

/// Makes a median absolute deviation estimate the standard deviation of normal noise (1 / 0.6745).
const MAD_TO_SIGMA: f64 = 1.4826;
/// Makes a mean absolute deviation estimate the standard deviation of normal noise (sqrt(pi / 2)).
pub(crate) const MEAN_AD_TO_SIGMA: f64 = 1.253_314;

/// The median; `None` of nothing. Sorts the values.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The quantile at `share` (0 to 1), linear between neighbours; `None` of nothing. Sorts the values.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// A robust level and standard deviation: the median, and the greater of what the median and the mean absolute
/// deviation say. The median deviation alone is zero for a channel that rests most of the time (Rousseeuw and Croux
/// 1993 call it imploding), and then anything would be an alarm.
pub(crate) fn robust(values: &[f64]) -> Option<(f64, f64)> {
    let level = median(&mut values.to_vec())?;
    let mut off: Vec<f64> = values.iter().map(|value| (value - level).abs()).collect();
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    let mad = median(&mut off)?;
    Some((level, (MAD_TO_SIGMA * mad).max(MEAN_AD_TO_SIGMA * mean)))
}

/// The slope of a line by weighted least squares through points (x, y, weight); `None` without spread in x.
pub(crate) fn weighted_slope(points: &[(f64, f64, f64)]) -> Option<f64> {
    let weight: f64 = points.iter().map(|(_, _, w)| w).sum();
    let mean_x = points.iter().map(|(x, _, w)| x * w).sum::<f64>() / weight;
    let mean_y = points.iter().map(|(_, y, w)| y * w).sum::<f64>() / weight;
    let spread: f64 = points.iter().map(|(x, _, w)| w * (x - mean_x) * (x - mean_x)).sum();
    let along: f64 = points.iter().map(|(x, y, w)| w * (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| along / spread)
}

/// Student's t quantile for the standard normal quantile `z`: the Cornish-Fisher expansion (Abramowitz and Stegun
/// 26.7.5), within 1 % from 4 degrees of freedom on for the two quantiles used here.
pub(crate) fn student(z: f64, dof: f64) -> f64 {
    let g1 = (z.powi(3) + z) / 4.0;
    let g2 = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let g3 = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + g1 / dof + g2 / dof.powi(2) + g3 / dof.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robust_ignores_one_wild_value_and_survives_a_channel_at_rest() {
        let (level, sigma) = robust(&[1.0, 2.0, 3.0, 2.0, 1.0, 3.0, 2.0, 900.0]).unwrap();
        assert_eq!(level, 2.0);
        assert!(sigma > 0.0);
        assert_eq!(robust(&[5.0; 9]).unwrap(), (5.0, 0.0));
        let (level, sigma) = robust(&[0.0, 0.0, 0.0, 0.0, 10.0]).unwrap();
        assert!(level == 0.0 && sigma > 2.0);
        assert!(robust(&[]).is_none());
    }

    #[test]
    fn student_agrees_with_the_tables() {
        for (z, dof, table) in [(1.644_85, 5.0, 2.015), (1.644_85, 30.0, 1.697), (3.090_23, 10.0, 4.144)] {
            assert!((student(z, dof) / table - 1.0).abs() < 0.01, "{z} {dof}: {}", student(z, dof));
        }
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&mut [3.0, 1.0], 0.5), Some(2.0));
        assert_eq!(quantile(&mut [4.0], 0.1), Some(4.0));
        assert_eq!(quantile(&mut [], 0.1), None);
    }
}
