//! Claims about what transactions are found to depend on.

use std::{collections::BTreeSet, sync::Mutex};

use proptest::prelude::*;

use super::*;
use crate::{
    CommitHook, Decision,
    toy::{
        Clerk, Key, Op, Output, Rule, Toy, Transaction, Trial, lists,
        machine::{Factory, NoPause},
        trial::Entry,
    },
};

const A: Key = Key::Member(0, 0);
const B: Key = Key::Member(0, 1);

struct Genealogist<'l> {
    clerk: Clerk<'l>,
    recorder: DependencyRecorder<Toy>,
}

impl CommitHook<Toy> for Genealogist<'_> {
    fn admit(&mut self, index: TxIndex, transaction: &Transaction) -> Decision {
        self.clerk.admit(index, transaction)
    }

    fn commit_transaction(&mut self, index: TxIndex, output: Output, effects: Effects<'_, Toy>) -> Decision {
        let kept = self.clerk.rule == Rule::default();
        assert!(kept, "every transaction is kept");
        self.recorder.add(index, &effects).expect("the base state is whole");
        self.clerk.commit_transaction(index, output, effects)
    }
}

/// Dependencies of a list, and what the hook was told. A panic ends the list.
fn found(trial: &Trial) -> (Dependencies, Vec<Entry>) {
    let ledger = Mutex::default();
    let clerk = Clerk { rule: Rule::default(), ledger: &ledger, curious: false };
    let mut hook = Genealogist { clerk, recorder: DependencyRecorder::default() };
    let memory = trial.memory();
    let run = || crate::serial::run(&memory, &trial.list, &Factory(NoPause), &mut hook);
    let _ending = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    let recorder = std::mem::take(&mut hook.recorder);
    drop(hook);
    (recorder.finish(), ledger.into_inner().unwrap().entries)
}

/// What each transaction of a list depends on.
fn dependencies<const N: usize>(list: [&[Op]; N]) -> [Vec<u32>; N] {
    let list: Vec<_> = list.iter().map(|ops| Transaction { ops: ops.to_vec(), ..Transaction::default() }).collect();
    let (dependencies, _) = found(&Trial::new(list));
    let mut at = (0..).map(TxIndex);
    [(); N].map(|()| dependencies.of(at.next().unwrap()).iter().map(|index| index.0).collect())
}

#[test]
fn reader_depends_on_the_writer_of_what_it_read() {
    let [_, _, reader] = dependencies([&[Op::Put(A, 1)], &[Op::Put(B, 2)], &[Op::Look(A)]]);
    assert_eq!(reader, [0]);
}

#[test]
fn value_written_again_leaves_nobody_dependent() {
    let [_, rewriter, reader] = dependencies([&[Op::Put(A, 1)], &[Op::Put(A, 1)], &[Op::Look(A)]]);
    assert_eq!((rewriter, reader), (vec![], vec![0]));
}

#[test]
fn value_that_came_back_leaves_nobody_dependent_on_its_way() {
    // The reader could have run before all of them.
    let [.., reader] = dependencies([&[Op::Put(A, 1)], &[Op::Put(A, 2)], &[Op::Put(A, 0)], &[Op::Look(A)]]);
    assert_eq!(reader, [2]);
}

#[test]
fn credits_commute_and_who_needs_them_depends_on_them() {
    let credit: &[Op] = &[Op::Credit(A, 5)];
    let [first, second, poor, rich] = dependencies([credit, credit, &[Op::Debit(A, 4)], &[Op::Debit(A, 6)]]);
    assert_eq!((first, second), (vec![], vec![]));
    assert_eq!(poor, [0], "five are enough");
    assert_eq!(rich, [0, 1], "the debit in between leaves enough");
}

#[test]
fn key_that_everybody_steps_is_looked_through_so_far_and_no_further() {
    let mut list = vec![Transaction::from([Op::Credit(A, 1)]); 3 * LONGEST_LOOK];
    list.push(Transaction::from([Op::Read(A)]));
    let last = TxIndex(list.len() as u32 - 1);
    let (dependencies, _) = found(&Trial::new(list));
    assert_eq!(dependencies.of(last).len(), LONGEST_LOOK);
    assert_eq!(dependencies.of(last).last(), Some(&TxIndex(last.0 - 1)), "the latest are those that count");
}

#[test]
fn bound_of_a_step_is_depended_upon() {
    let [_, spender] = dependencies([&[Op::Credit(A, 5)], &[Op::Spend(A, 4)]]);
    assert_eq!(spender, [0]);
}

#[test]
fn reader_of_a_cleared_member_depends_on_the_clear() {
    let [_, _, reader, later] =
        dependencies([&[Op::Put(A, 1)], &[Op::Clear(0)], &[Op::Look(A)], &[Op::Credit(A, 1), Op::Look(B)]]);
    assert_eq!(reader, [1]);
    assert_eq!(later, [1]);
}

#[test]
fn links_tell_apart_the_keys_that_two_transactions_depend_on_each_other_by() {
    let list = [Transaction::from([Op::Put(A, 1), Op::Put(B, 2)]), Transaction::from([Op::Look(A), Op::Look(B)])];
    let (dependencies, _) = found(&Trial::new(list));
    let [one, other] = dependencies.links() else { panic!("two reasons: {dependencies:?}") };
    assert_eq!([(one.index, one.on), (other.index, other.on)], [(TxIndex(1), TxIndex(0)); 2]);
    assert_ne!(one.cell, other.cell);
    assert_eq!(dependencies.of(TxIndex(1)), [TxIndex(0)]);
}

#[test]
fn critical_path_is_the_costliest_chain() {
    let trial = Trial::new([
        Transaction::from([Op::Count(A)]),
        Transaction::from([Op::Count(B)]),
        Transaction::from([Op::Count(A)]),
        Transaction::from([Op::Look(A)]),
    ]);
    let (dependencies, _) = found(&trial);
    assert!((dependencies.critical_path(&[1.0, 20.0, 2.0, 3.0]) - 20.0).abs() < 1e-9);
    assert!((dependencies.critical_path(&[1.0, 2.0, 20.0, 3.0]) - 24.0).abs() < 1e-9);
    assert!(dependencies.critical_path(&[]).abs() < 1e-9);
    let chain = |costs: &[f64]| dependencies.critical_chain(costs).into_iter().map(|index| index.0).collect::<Vec<_>>();
    assert_eq!(chain(&[1.0, 20.0, 2.0, 3.0]), [1]);
    assert_eq!(chain(&[1.0, 2.0, 20.0, 3.0]), [0, 2, 3]);
    assert_eq!(chain(&[]), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// With nothing before it but what it depends on, and what that depends on, a transaction does what it did. Balances
    /// only fall here: a bound that holds with a credit and a debit, or with neither, is taken to depend on neither.
    #[test]
    fn what_nothing_depends_on_can_be_left_out(drawn in lists::trials(10)) {
        let mut whole = Trial { broken: false, rule: Rule::default(), ..drawn };
        let raises = |op: &Op| matches!(op, Op::Credit(..) | Op::Fill(..));
        whole.list.iter_mut().for_each(|transaction| transaction.ops.retain(|op| !raises(op)));
        let (dependencies, entries) = found(&whole);
        for entry in &entries {
            let Entry::Committed { index, output, writes, .. } = entry else { continue };
            let mut needed = BTreeSet::from([*index]);
            let mut open = vec![*index];
            while let Some(next) = open.pop() {
                open.extend(dependencies.of(next).iter().filter(|on| needed.insert(**on)));
            }
            let list: Vec<_> = needed.iter().map(|index| whole.list[index.at()].clone()).collect();
            let (_, fewer) = found(&Trial { list, ..whole.clone() });
            let Some(Entry::Committed { output: again, writes: rewritten, .. }) = fewer.last() else {
                return Err(TestCaseError::fail(format!("transaction {index} panics over {needed:?} alone")));
            };
            prop_assert_eq!((output, writes), (again, rewritten), "transaction {} over {:?} alone", index, needed);
        }
    }
}
