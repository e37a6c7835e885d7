//! The line about a slow block in the log.

use std::{collections::BTreeMap, time::Duration};

use ropewalk_block::{AbortCause, Step, TxIndex, field};

use super::watch::{Recorded, Seen};
use crate::{cause::field_names, run::milliseconds};

/// Warns of a slow block, with what is known of the reason.
pub(super) fn warn(seen: &Seen<'_>) {
    let Seen { fixture, outcome, stats, took, in_order, recorded } = seen;
    let ms = milliseconds(*took);
    let slowest = recorded.and_then(slowest_transaction);
    let hash = slowest.and_then(|(index, ..)| Some(*fixture.block.transactions.get(index.at())?.recovered.hash()));
    let rate = if ms > 0.0 { outcome.gas_used as f64 / 1e3 / ms } else { 0.0 };
    tracing::warn!(
        target: "ropewalk::slow_block",
        number = fixture.number(),
        chain = fixture.chain.name,
        hash = %fixture.block.hash,
        txs = fixture.block.transactions.len(),
        gas_used = outcome.gas_used,
        ms = format_args!("{ms:.3}"),
        sequential_ms = in_order.map(|time| tracing::field::display(format!("{:.3}", milliseconds(time)))),
        mgas_per_second = format_args!("{rate:.1}"),
        aborts = stats.aborts,
        aborts_by_location = by_location(&stats.aborts_by_field),
        wasted_gas = stats.wasted_cost,
        slowest_index = slowest.map(|(index, ..)| index.0),
        slowest_hash = hash.map(tracing::field::display),
        slowest_ms = slowest.map(|(_, time, _)| tracing::field::display(format!("{:.3}", milliseconds(time)))),
        slowest_attempts = slowest.map(|(.., attempts)| attempts),
        hottest_location = recorded.and_then(hottest_location),
        "slow block"
    );
}

/// Aborts by the kind of location: `slot:12,balance:3`.
fn by_location(counts: &[u32]) -> String {
    let named = field::NAMES.iter().zip(counts).filter(|(_, count)| **count > 0);
    named.map(|(name, count)| format!("{name}:{count}")).collect::<Vec<_>>().join(",")
}

/// The transaction whose attempts took longest altogether, how long, and how many they were.
fn slowest_transaction(recorded: &Recorded) -> Option<(TxIndex, Duration, u32)> {
    let mut attempts: BTreeMap<TxIndex, (Duration, u32)> = BTreeMap::new();
    for span in recorded.timeline.spans() {
        if let Step::Execute { index, .. } = span.step {
            let (time, count) = attempts.entry(index).or_default();
            *time += span.duration();
            *count += 1;
        }
    }
    let slowest = attempts.into_iter().max_by_key(|(_, (time, _))| *time);
    slowest.map(|(index, (time, count))| (index, time, count))
}

/// The account or slot that most aborts come from, with what of it was wrong and how many they are.
fn hottest_location(recorded: &Recorded) -> Option<String> {
    let locations = recorded.locations.as_ref()?;
    let mut counts: BTreeMap<_, (u32, u8)> = BTreeMap::new();
    for abort in recorded.timeline.aborts() {
        let Some(cell) = abort.cell else { continue };
        let (count, fields) = counts.entry(locations.key(cell)).or_default();
        *count += 1;
        if let AbortCause::Invalid(wrong) = abort.cause {
            *fields |= wrong;
        }
    }
    let (key, (count, fields)) = counts.into_iter().max_by_key(|(_, (count, _))| *count)?;
    let names = field_names(fields);
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    Some(format!("{key}{names}: {count}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_locations_without_aborts_are_left_out() {
        assert_eq!(by_location(&[3, 0, 0, 0, 0, 12]), "balance:3,slot:12");
        assert_eq!(by_location(&[0; 6]), "");
    }
}
