//! Lists of toy transactions, from a seed or for proptest.

use proptest::{
    collection::{btree_map, vec},
    option::weighted,
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    GROUPS, Key, MEMBERS, Trial, Value,
    machine::{Op, Transaction},
    trial::{Rule, Verdict},
};

/// The trial that `seed` stands for, with at most `most` transactions.
pub(crate) fn from_seed(seed: u64, most: usize) -> Trial {
    pick(&trials(most), seed)
}

/// A trial whose transactions all go for the same few words, and rely on them late.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn hot_from_seed(seed: u64, most: usize) -> Trial {
    let (group, member) = (Key::Group(0), Key::Member(0, 1));
    let hot = prop_oneof![
        3 => Just(Op::Chase(0)),
        2 => Just(Op::Late(group, member)),
        1 => Just(Op::Late(member, group)),
        2 => (0..3u64).prop_map(move |word| Op::Put(group, word)),
        1 => Just(Op::Count(member)),
        1 => Just(Op::Keep(Key::Member(0, 0))),
    ];
    let transaction = vec(hot, 1..4).prop_map(|ops| Transaction { ops, ..Transaction::default() });
    pick(&vec(transaction, 2..=most).prop_map(Trial::new), seed)
}

fn pick(trials: &impl Strategy<Value = Trial>, seed: u64) -> Trial {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    trials.new_tree(&mut runner).expect("the strategy rejects nothing").current()
}

/// Any trial with at most `most` transactions.
pub(crate) fn trials(most: usize) -> BoxedStrategy<Trial> {
    let values = btree_map(keys(), (0..4u64, 0..30u64), 0..8);
    let broken = prop_oneof![3 => Just(false), 1 => Just(true)];
    (vec(transactions(), 0..=most), values, broken, rules())
        .prop_map(|(list, values, broken, rule)| {
            let value = |(key, (word, balance))| (key, Value { word, balance });
            Trial { list, values: values.into_iter().map(value).collect(), broken, rule }
        })
        .boxed()
}

fn rules() -> impl Strategy<Value = Rule> {
    let verdict = || prop_oneof![3 => Just(Verdict::Skip), 1 => Just(Verdict::Stop)];
    (weighted(0.2, 10..80u64), verdict(), weighted(0.3, 3..12u64), verdict())
        .prop_map(|(limit, beyond_limit, unlucky, on_unlucky)| Rule { limit, beyond_limit, unlucky, on_unlucky })
}

fn transactions() -> impl Strategy<Value = Transaction> {
    // Long ones look at the frontier on the way.
    let ops = prop_oneof![12 => vec(ops(), 0..7), 1 => vec(ops(), 18..26)];
    let light = prop_oneof![3 => Just(false), 1 => Just(true)];
    let lane = (weighted(0.4, 0..3u64), weighted(0.2, 0..24u32), weighted(0.7, keys()));
    (ops, lane, light, any::<bool>()).prop_map(|(ops, (lane, follows, meets), light, backwards)| Transaction {
        ops,
        lane,
        follows,
        meets,
        light,
        backwards,
    })
}

/// Few keys, so that transactions meet; members far more often than groups.
fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        1 => (0..GROUPS).prop_map(Key::Group),
        4 => (0..GROUPS, 0..MEMBERS - 1).prop_map(|(group, member)| Key::Member(group, member)),
    ]
}

/// Now and then a key that a broken base state cannot read.
fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![12 => keys(), 1 => (0..GROUPS).prop_map(|group| Key::Member(group, MEMBERS - 1))]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any_key().prop_map(Op::Read),
        4 => any_key().prop_map(Op::Look),
        // Never a fragile one: whether a load that nobody relies upon meets a fault may depend on the schedule.
        1 => keys().prop_map(Op::Peek),
        3 => (keys(), any_key()).prop_map(|(first, second)| Op::Late(first, second)),
        // Few words, so that the same value is written again and A-B-A happens.
        6 => (any_key(), 0..4u64).prop_map(|(key, word)| Op::Put(key, word)),
        3 => keys().prop_map(Op::Keep),
        5 => keys().prop_map(Op::Count),
        5 => (any_key(), 0..9u64).prop_map(|(key, amount)| Op::Credit(key, amount)),
        5 => (keys(), 0..20u64).prop_map(|(key, amount)| Op::Debit(key, amount)),
        5 => (keys(), 0..20u64).prop_map(|(key, amount)| Op::Spend(key, amount)),
        3 => (keys(), 0..60u64).prop_map(|(key, amount)| Op::Fill(key, amount)),
        4 => (0..GROUPS).prop_map(Op::Follow),
        3 => (0..GROUPS).prop_map(Op::Chase),
        4 => (keys(), 1..4u8).prop_map(|(key, leave)| Op::Branch(key, leave)),
        2 => (0..GROUPS).prop_map(Op::Clear),
        1 => (keys(), 4..9u64).prop_map(|(key, word)| Op::Panic(key, word)),
    ]
}
