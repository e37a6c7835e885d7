//! Figures as they are shown: six significant digits, and geometric means.

use serde::{Serialize, Serializer};

/// A measured figure. Digits beyond the sixth significant one are noise and are cut, in JSON too.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Figure(pub f64);

/// Significant digits that are kept.
const DIGITS: i32 = 6;

impl Figure {
    /// The figure with six significant digits; what is not finite stays as it is.
    pub(crate) fn rounded(self) -> f64 {
        let Self(value) = self;
        if value == 0.0 || !value.is_finite() {
            return value;
        }
        let magnitude = value.abs().log10().floor() as i32 + 1;
        // Dividing by a power of ten that is a whole number is exact to the last bit; multiplying by 0.001 is not.
        let shift = DIGITS - magnitude;
        let scale = 10f64.powi(shift.abs());
        if shift >= 0 { (value * scale).round() / scale } else { (value / scale).round() * scale }
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.rounded())
    }
}

/// Geometric mean of the figures that are there; `None` of none.
pub(crate) fn geometric_mean(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut count = 0u32;
    let mut sum = 0.0;
    for figure in figures {
        count += 1;
        sum += figure.ln();
    }
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

/// A duration in milliseconds for people: three digits after the point below ten, fewer above.
pub(crate) fn milliseconds(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.3}"),
        value if value < 1000.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

/// A coordinate or a ratio with two digits after the point.
pub(crate) fn fixed(value: f64) -> String {
    format!("{value:.2}")
}

/// A count with its noun, in the plural where it takes one.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A count with its digits in groups of three.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_significant_digits_are_kept() {
        assert_eq!(Figure(1.234_567_89).rounded(), 1.234_57);
        assert_eq!(Figure(0.000_123_456_789).rounded(), 0.000_123_457);
        assert_eq!(Figure(123_456_789.0).rounded(), 123_457_000.0);
        assert_eq!(Figure(0.0).rounded(), 0.0);
        assert_eq!(serde_json::to_string(&Figure(2.0 / 3.0)).expect("a number"), "0.666667");
    }

    #[test]
    fn the_geometric_mean_of_a_figure_and_its_inverse_is_one() {
        let mean = geometric_mean([2.0, 0.5]).expect("two figures");
        assert!((mean - 1.0).abs() < 1e-12, "{mean}");
        assert_eq!(geometric_mean([]), None);
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
