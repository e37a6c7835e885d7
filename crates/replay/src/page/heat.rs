//! Which locations aborts and dependencies come from.

use std::collections::HashMap;

use maud::{Markup, html};
use ropewalk_block::{Abort, AbortCause, Dependencies, EvmKey, Fields, Locations, Timeline, field};

use crate::{cause::field_names, report::grouped};

/// Locations of one block that are kept when blocks are added up.
const KEPT_OF_A_BLOCK: usize = 200;

/// Counts by location: one field of an account, or a slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Heat(HashMap<(EvmKey, Fields), Counts>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// Attempts that came to nothing because of it.
    aborts: u64,
    /// Pairs of transactions of which one depends on the other through it.
    dependencies: u64,
    /// Blocks in which either happened.
    blocks: u64,
}

impl Counts {
    fn sum(self) -> u64 {
        self.aborts + self.dependencies
    }
}

impl Heat {
    /// That of one block.
    pub(super) fn of(timeline: &Timeline, places: &Locations, dependencies: &Dependencies, links: &Locations) -> Self {
        let mut heat = Self::default();
        for abort in timeline.aborts() {
            let Some(cell) = abort.cell else { continue };
            let key = places.key(cell);
            heat.each(key, fields_of(abort, key), |counts| counts.aborts += 1);
        }
        for link in dependencies.links() {
            heat.each(links.key(link.cell), link.fields, |counts| counts.dependencies += 1);
        }
        heat.0.values_mut().for_each(|counts| counts.blocks = 1);
        heat
    }

    fn each(&mut self, key: EvmKey, fields: Fields, mut change: impl FnMut(&mut Counts)) {
        for bit in (0..Fields::BITS).map(|bit| 1 << bit).filter(|bit| fields & bit != 0) {
            change(self.0.entry((key, bit)).or_default());
        }
    }

    /// Adds the hottest locations of another block.
    pub(super) fn add(&mut self, other: &Self) {
        for (location, counts) in other.hottest(KEPT_OF_A_BLOCK) {
            let sum = self.0.entry(location).or_default();
            sum.aborts += counts.aborts;
            sum.dependencies += counts.dependencies;
            sum.blocks += counts.blocks;
        }
    }

    /// The hottest so many, the hottest first; in the order of their keys where they are equally hot.
    fn hottest(&self, most: usize) -> Vec<((EvmKey, Fields), Counts)> {
        let mut all: Vec<_> = self.0.iter().map(|(location, counts)| (*location, *counts)).collect();
        all.sort_unstable_by_key(|(location, counts)| (std::cmp::Reverse(counts.sum()), *location));
        all.truncate(most);
        all
    }

    /// A table of the hottest so many.
    pub(super) fn table(&self, most: usize) -> Markup {
        let hottest = self.hottest(most);
        let Some((_, first)) = hottest.first() else {
            return html! { p.quiet { "No transaction aborted, and none depends on another." } };
        };
        let percent = |count: u64| format!("width:{:.2}%", count as f64 * 100.0 / first.sum().max(1) as f64);
        html! {
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "location" } th { "field" } th.number { "aborts" } th.number { "dependencies" }
                            th.number.spare { "blocks" } th.bar { "" }
                        }
                    }
                    tbody {
                        @for ((key, field), counts) in &hottest {
                            tr {
                                td.key title=(key) { (short(key)) }
                                td { (field_names(*field).join(", ")) }
                                td.number { (grouped(counts.aborts)) }
                                td.number { (grouped(counts.dependencies)) }
                                td.number.spare { (grouped(counts.blocks)) }
                                td.bar {
                                    span.track {
                                        span.lost style=(percent(counts.aborts)) {}
                                        span.link style=(percent(counts.dependencies)) {}
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A key in words, the middle of a long slot left out: slots of mappings are hashes.
pub(super) fn short(key: &EvmKey) -> String {
    let EvmKey::Slot(address, slot) = key else { return key.to_string() };
    let slot = format!("{slot:#x}");
    // Hexadecimal digits are one byte each.
    let slot = if slot.len() > 20 { format!("{}…{}", &slot[..10], &slot[slot.len() - 6..]) } else { slot };
    format!("slot {slot} of {address}")
}

/// Fields that an abort is about. One that met an estimate had not got so far as to look at a field: it is all there is to
/// the key.
fn fields_of(abort: &Abort, key: EvmKey) -> Fields {
    match (abort.cause, key) {
        (AbortCause::Invalid(fields), _) if fields != 0 => fields,
        (_, EvmKey::Slot(..)) => field::SLOT,
        (_, EvmKey::StorageEmpty(_)) => field::STORAGE,
        (_, EvmKey::Account(_)) => field::EXISTENCE,
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};

    use super::*;

    fn heat(entries: &[(u8, u64, u64)]) -> Heat {
        let entry = |&(slot, aborts, dependencies): &(u8, u64, u64)| {
            let key = EvmKey::Slot(Address::ZERO, U256::from(slot));
            ((key, field::SLOT), Counts { aborts, dependencies, blocks: 1 })
        };
        Heat(entries.iter().map(entry).collect())
    }

    #[test]
    fn the_hottest_come_first_and_equals_in_the_order_of_their_keys() {
        let heat = heat(&[(1, 0, 2), (2, 5, 1), (3, 1, 1)]);
        let order: Vec<_> = heat.hottest(3).into_iter().map(|((key, _), _)| key).collect();
        let slot = |slot: u8| EvmKey::Slot(Address::ZERO, U256::from(slot));
        assert_eq!(order, [slot(2), slot(1), slot(3)]);
    }

    #[test]
    fn long_slots_lose_their_middle_and_short_ones_nothing() {
        let slot = |slot| short(&EvmKey::Slot(Address::ZERO, slot));
        assert!(slot(U256::from(0x123)).starts_with("slot 0x123 of 0x0000"), "{}", slot(U256::from(0x123)));
        assert!(slot(U256::MAX).starts_with("slot 0xffffffff…ffffff of 0x"), "{}", slot(U256::MAX));
    }

    #[test]
    fn counts_of_blocks_add_up_by_location() {
        let mut sum = heat(&[(1, 1, 2)]);
        sum.add(&heat(&[(1, 10, 20), (2, 0, 1)]));
        let counts: Vec<_> = sum.hottest(9).into_iter().map(|(_, counts)| counts).collect();
        let expected = [(11, 22, 2), (0, 1, 1)];
        assert_eq!(counts, expected.map(|(aborts, dependencies, blocks)| Counts { aborts, dependencies, blocks }));
    }
}
