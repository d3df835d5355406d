//! Converts v1's ranges of weights to v2's.

/// `cpu.shares` [2, 262144] as `cpu.weight` [1, 10000]: a quadratic in the logarithm, through both
/// ends and through both defaults (1024 and 100), as runc computes it since 1.3. 0 means unset.
pub(super) fn cpu(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// `blkio.weight` [10, 1000] as `io.weight` [1, 10000], linearly.
pub(super) fn io(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_shares() {
        // Computed from the formula by other means (Python).
        for (shares, weight) in [
            (1, 1),
            (2, 1),
            (3, 2),
            (10, 4),
            (100, 17),
            (128, 21),
            (256, 35),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (4096, 303),
            (131_072, 5478),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(cpu(shares), weight, "{shares}");
        }
    }

    #[test]
    fn cpu_shares_stay_in_order() {
        let weights: Vec<_> = (2..=262_144).map(cpu).collect();
        assert!(weights.is_sorted());
        assert!(weights.iter().all(|weight| (1..=10_000).contains(weight)));
    }

    #[test]
    fn io_weight() {
        for (weight, expected) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000), (5, 1)] {
            assert_eq!(io(weight), expected, "{weight}");
        }
    }
}
