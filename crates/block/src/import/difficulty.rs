//! Difficulty under proof of work: Yellow Paper, section 4.4.4, EIP-2, EIP-100 and the delays of the ice age.
//!
//! | fork | x |
//! |---|---|
//! | Frontier | 1 if less than 13 seconds after the parent, else -1 |
//! | Homestead (EIP-2) | max(1 - seconds / 10, -99) |
//! | Byzantium (EIP-100) | max(1 - seconds / 9, -99), 2 instead of 1 where the parent has ommers |
//!
//! difficulty = max(parent's + parent's / 2048 * x, 131072) + 2^(p - 2), the last term from p = 2 on, where p is the
//! number of whole periods of 100000 blocks, counted from a block that forks have moved:
//!
//! | fork | EIP | delay in blocks |
//! |---|---|---|
//! | Byzantium | 649 | 3000000 |
//! | Constantinople | 1234 | 5000000 |
//! | Muir Glacier | 2384 | 9000000 |
//! | London | 3554 | 9700000 |
//! | Arrow Glacier | 4345 | 10700000 |
//! | Gray Glacier | 5133 | 11400000 |

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks};
use alloy_primitives::U256;

use super::HeaderFault;
use crate::ChainSpec;

const LEAST: U256 = U256::from_limbs([131_072, 0, 0, 0]);
const BOUND_DIVISOR: U256 = U256::from_limbs([2048, 0, 0, 0]);
const PERIOD_BLOCKS: u64 = 100_000;
const MOST_STEPS_DOWN: u64 = 99;

const DELAYS: [(EthereumHardfork, u64); 6] = [
    (EthereumHardfork::GrayGlacier, 11_400_000),
    (EthereumHardfork::ArrowGlacier, 10_700_000),
    (EthereumHardfork::London, 9_700_000),
    (EthereumHardfork::MuirGlacier, 9_000_000),
    (EthereumHardfork::Constantinople, 5_000_000),
    (EthereumHardfork::Byzantium, 3_000_000),
];

/// The difficulty of the block that follows `parent` at `timestamp` (seconds, after the parent's) under proof of work.
pub fn next_difficulty(chain: &ChainSpec, parent: &Header, timestamp: u64) -> U256 {
    let number = parent.number.saturating_add(1);
    let seconds = timestamp.saturating_sub(parent.timestamp);
    let is_active = |fork| chain.ethereum_fork_activation(fork).active_at_block(number);
    let (up, down) = if is_active(EthereumHardfork::Byzantium) {
        (if parent.ommers_hash == EMPTY_OMMER_ROOT_HASH { 1 } else { 2 }, seconds / 9)
    } else if is_active(EthereumHardfork::Homestead) {
        (1, seconds / 10)
    } else {
        (1, if seconds < 13 { 0 } else { 2 })
    };
    let step = parent.difficulty / BOUND_DIVISOR;
    let moved = if up >= down {
        parent.difficulty.saturating_add(step * U256::from(up - down))
    } else {
        parent.difficulty.saturating_sub(step * U256::from((down - up).min(MOST_STEPS_DOWN)))
    };
    let delay = DELAYS.iter().find(|(fork, _)| is_active(*fork)).map_or(0, |(_, delay)| *delay);
    moved.max(LEAST).saturating_add(ice_age(number.saturating_sub(delay)))
}

/// 2^(p - 2) at `number`, counted from where the ice age begins; zero before the second period.
fn ice_age(number: u64) -> U256 {
    match (number / PERIOD_BLOCKS).checked_sub(2) {
        None => U256::ZERO,
        Some(exponent) => U256::ONE.checked_shl(usize::try_from(exponent).unwrap_or(usize::MAX)).unwrap_or(U256::MAX),
    }
}

/// Checks the difficulty of a block of proof of work.
pub(super) fn check_difficulty(chain: &ChainSpec, header: &Header, parent: &Header) -> Result<(), HeaderFault> {
    let expected = next_difficulty(chain, parent, header.timestamp);
    match header.difficulty == expected {
        true => Ok(()),
        false => Err(HeaderFault::Difficulty { expected, found: header.difficulty }),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    fn next(number: u64, difficulty: u64, seconds: u64, has_ommers: bool) -> U256 {
        let ommers_hash = if has_ommers { B256::ZERO } else { EMPTY_OMMER_ROOT_HASH };
        let parent = Header {
            number: number - 1,
            difficulty: U256::from(difficulty),
            timestamp: 1000,
            ommers_hash,
            ..Default::default()
        };
        next_difficulty(&ChainSpec::mainnet(), &parent, 1000 + seconds)
    }

    #[test]
    fn the_formulas_of_the_forks_hold_on_both_sides_of_their_steps() {
        // Number, parent's difficulty, seconds, parent has ommers, difficulty; periods of the ice age add 2^(p - 2).
        let cases = [
            (1u64, 1u64 << 34, 12, false, (1u64 << 34) + (1 << 23)),
            (1, 1 << 34, 13, false, (1 << 34) - (1 << 23)),
            (1, 131_072, 13, false, 131_072),
            (200_000, 1 << 34, 12, false, (1 << 34) + (1 << 23) + 1),
            (1_150_000, 1 << 34, 9, false, (1 << 34) + (1 << 23) + 512),
            (1_150_000, 1 << 34, 10, false, (1 << 34) + 512),
            (1_150_000, 1 << 34, 100_000, false, (1 << 34) - 99 * (1 << 23) + 512),
            (4_370_000, 1 << 34, 8, true, (1 << 34) + 2 * (1 << 23) + 2048),
            (4_370_000, 1 << 34, 9, true, (1 << 34) + (1 << 23) + 2048),
            (4_370_000, 1 << 34, 9, false, (1 << 34) + 2048),
            (7_280_000, 1 << 34, 9, false, (1 << 34) + (1 << 20)),
            (9_200_000, 1 << 34, 9, false, (1 << 34) + 1),
        ];
        for (number, parent, seconds, has_ommers, expected) in cases {
            let found = next(number, parent, seconds, has_ommers);
            assert_eq!(found, U256::from(expected), "block {number} after {seconds} seconds");
        }
    }

    #[test]
    fn hostile_numbers_do_not_overflow() {
        let parent = Header { number: u64::MAX, difficulty: U256::MAX, ..Default::default() };
        assert_eq!(next_difficulty(&ChainSpec::mainnet(), &parent, u64::MAX), U256::MAX);
    }
}
