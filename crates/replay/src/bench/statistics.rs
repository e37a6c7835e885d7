//! From samples to figures: medians, spread, and how sure a ratio is.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Median and spread of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// A tenth of the samples lies below.
    pub p10: f64,
    /// A tenth of the samples lies above.
    pub p90: f64,
}

/// A ratio of paired samples with the bounds of its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PairedRatio {
    /// Median of the ratios of pairs.
    pub median: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Resamplings of the bootstrap: enough that the bounds' third digit stands.
const RESAMPLINGS: usize = 2000;

impl Spread {
    /// Of at least one sample.
    ///
    /// # Panics
    /// Without a sample.
    pub(crate) fn of(samples: &[f64]) -> Self {
        let sorted = sorted(samples);
        Self { median: quantile(&sorted, 0.5), p10: quantile(&sorted, 0.1), p90: quantile(&sorted, 0.9) }
    }
}

impl PairedRatio {
    /// Of `numerators[i] / denominators[i]`. The resampling is seeded, so that the same samples give the same bounds.
    ///
    /// # Panics
    /// Without a pair.
    pub(crate) fn of(numerators: &[f64], denominators: &[f64]) -> Self {
        let ratios: Vec<f64> = numerators.iter().zip(denominators).map(|(above, below)| above / below).collect();
        let median = quantile(&sorted(&ratios), 0.5);
        let mut random = ChaCha8Rng::seed_from_u64(ratios.len() as u64);
        let mut resampled = vec![0.0; ratios.len()];
        let medians: Vec<f64> = (0..RESAMPLINGS)
            .map(|_| {
                resampled.fill_with(|| ratios[random.next_u64() as usize % ratios.len()]);
                quantile(&sorted(&resampled), 0.5)
            })
            .collect();
        let medians = sorted(&medians);
        Self { median, low: quantile(&medians, 0.025), high: quantile(&medians, 0.975) }
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Quantile of sorted samples, linear between two.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 4.0]);
        assert_eq!(spread.median, 2.5);
        assert!((spread.p10 - 1.3).abs() < 1e-12 && (spread.p90 - 3.7).abs() < 1e-12, "{spread:?}");
        assert_eq!(Spread::of(&[5.0]), Spread { median: 5.0, p10: 5.0, p90: 5.0 });
    }

    #[test]
    fn equal_ratios_leave_no_doubt() {
        let ratio = PairedRatio::of(&[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0]);
        assert_eq!(ratio, PairedRatio { median: 2.0, low: 2.0, high: 2.0 });
    }

    #[test]
    fn bounds_enclose_the_median_and_repeat() {
        let above: Vec<f64> = (0..21).map(|sample| 10.0 + f64::from(sample % 5)).collect();
        let below = vec![10.0; 21];
        let ratio = PairedRatio::of(&above, &below);
        assert!(ratio.low <= ratio.median && ratio.median <= ratio.high, "{ratio:?}");
        assert!(ratio.low < ratio.high);
        assert_eq!(ratio, PairedRatio::of(&above, &below));
    }
}
