//! What a workload plans for a block, and in which order it ends up there.
//!
//! A [`Plan`] gives *chains*: each is a list of transactions of which every one depends on the one before it. Chains do
//! not depend on each other except through the hot keys. [`interleave`] mixes them into one block without disturbing
//! the order within a chain, and [`Shape`] says how many chains of which length there are:
//!
//! | quantity | formula |
//! |---|---|
//! | hot transactions | `txs * hot`, rounded; each a chain of one |
//! | chains | the others divided by `depth`, rounded up; the last may be shorter |

use std::collections::HashMap;

use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};

use super::{Link, draw::Draw, genesis::Alloc, wallet::Wallet};

/// What a workload puts into genesis and into each block.
pub(crate) trait Plan {
    /// Puts the accounts that must be there from the start into the genesis state.
    fn allocate(&self, alloc: &mut Alloc);

    /// Upper bound of the gas that one block's transactions declare.
    fn declared_gas(&self) -> u64;

    /// The transactions of the next block.
    fn chains(&mut self, round: &mut Round<'_>) -> Vec<Chain>;
}

/// Transactions of which each depends on the one before it.
pub(crate) type Chain = Vec<Draft>;

/// A transaction without nonce and signature.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) sender: Wallet,
    pub(crate) to: TxKind,
    /// In wei.
    pub(crate) value: U256,
    pub(crate) input: Bytes,
    pub(crate) limit_gas: u64,
    pub(crate) fees: Fees,
    pub(crate) form: Form,
}

/// What a transaction offers per gas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fees {
    /// Most that it pays; the gas price of forms that know one price only.
    pub(crate) max_wei: u128,
    /// Most that the beneficiary gets of it.
    pub(crate) tip_wei: u128,
}

/// The envelope a transaction travels in.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// Before EIP-2718, with the chain's id in the signature (EIP-155).
    Legacy,
    /// With an access list (EIP-2930).
    AccessList(AccessList),
    /// With a fee cap and a tip (EIP-1559).
    DynamicFee,
    /// With blobs (EIP-4844), of which only the hashes are in the block.
    Blobs(Vec<B256>),
    /// With an authorization to delegate `authority`'s account to the code at `delegate` (EIP-7702).
    SetCode { authority: Wallet, delegate: Address },
}

/// What a plan may look at while it makes one block.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    /// Base fee of the block per gas.
    pub(crate) base_fee_wei: u128,
    /// The block's stream of random numbers.
    pub(crate) draw: &'a mut Draw,
    /// Nonces before the block; an account that is not listed has none.
    pub(crate) nonces: &'a HashMap<Address, u64>,
}

impl Round<'_> {
    /// Fees as a user sets them: room for the base fee to double, and a tip of up to 2 gwei.
    pub(crate) fn fees(&mut self) -> Fees {
        let tip_wei = u128::from(self.draw.between(1, 2_000)) * 1_000_000;
        Fees { max_wei: 2 * self.base_fee_wei + tip_wei, tip_wei }
    }

    /// Fees that are paid in full, so that what a transaction costs is known before it is executed.
    pub(crate) fn exact_fees(&mut self) -> Fees {
        let fees = self.fees();
        Fees { max_wei: self.base_fee_wei + fees.tip_wei, ..fees }
    }

    /// An envelope of the kind that most transactions travel in: one in six is a legacy transaction.
    pub(crate) fn form(&mut self) -> Form {
        if self.draw.below(6) == 0 { Form::Legacy } else { Form::DynamicFee }
    }

    /// Nonce of an account before the block.
    pub(crate) fn nonce(&self, address: &Address) -> u64 {
        self.nonces.get(address).copied().unwrap_or_default()
    }
}

/// How many transactions a plan makes for each block, and how they hang together.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Number of transactions that touch a hot key.
    pub(crate) hot: usize,
    /// Lengths of the chains that the others form.
    pub(crate) chains: Vec<usize>,
    /// What ties a chain together.
    pub(crate) link: Link,
}

/// A transfer's two ends.
pub(crate) type Hop = (Wallet, Address);

impl Shape {
    pub(crate) fn new(txs: usize, hot: f64, depth: usize, link: Link) -> Self {
        let hot = ((txs as f64 * hot).round() as usize).min(txs);
        let cold = txs - hot;
        let chains = (0..cold).step_by(depth).map(|first| depth.min(cold - first)).collect();
        Self { hot, chains, link }
    }

    /// Number of transactions.
    pub(crate) fn txs(&self) -> usize {
        self.hot + self.cold()
    }

    /// Number of transactions that touch no hot key.
    pub(crate) fn cold(&self) -> usize {
        self.chains.iter().sum()
    }

    /// Number of senders, with those left out that stand within a chain.
    pub(crate) fn senders(&self) -> usize {
        self.hot + self.chains.len()
    }

    /// Number of accounts that pass on within a chain what they receive in it.
    pub(crate) fn carriers(&self) -> usize {
        match self.link {
            Link::Value => self.cold() - self.chains.len(),
            Link::Nonce => 0,
        }
    }

    /// Lays transfers along the chains: through carriers to one recipient, or from one sender to several recipients.
    ///
    /// Takes [`chains`](Self::chains) many senders, [`carriers`](Self::carriers) many carriers and at most
    /// [`cold`](Self::cold) many recipients.
    pub(crate) fn routes(&self, senders: &[Wallet], carriers: &[Wallet], recipients: &[Address]) -> Vec<Vec<Hop>> {
        let mut carriers = carriers.iter().copied();
        let mut recipients = recipients.iter().copied();
        let route = |(&sender, &length): (&Wallet, &usize)| match self.link {
            Link::Nonce => recipients.by_ref().take(length).map(|recipient| (sender, recipient)).collect(),
            Link::Value => {
                let stations: Vec<Wallet> = std::iter::once(sender).chain(carriers.by_ref().take(length - 1)).collect();
                let targets = stations[1..].iter().map(|station| station.address).chain(recipients.next());
                stations.iter().copied().zip(targets.collect::<Vec<_>>()).collect()
            }
        };
        senders.iter().zip(&self.chains).map(route).collect()
    }
}

/// Mixes chains into one order that keeps the order within each; every position is equally likely to go to any of the
/// transactions that are left.
pub(crate) fn interleave(chains: Vec<Chain>, draw: &mut Draw) -> Vec<Draft> {
    let mut owners: Vec<usize> =
        chains.iter().enumerate().flat_map(|(owner, chain)| std::iter::repeat_n(owner, chain.len())).collect();
    draw.shuffle(&mut owners);
    let mut chains: Vec<_> = chains.into_iter().map(Vec::into_iter).collect();
    owners.into_iter().filter_map(|owner| chains[owner].next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallets(role: &str, count: usize) -> Vec<Wallet> {
        Wallet::derive_many(1, role, 0, count)
    }

    fn addresses(count: u8) -> Vec<Address> {
        (1..=count).map(Address::with_last_byte).collect()
    }

    #[test]
    fn a_shape_accounts_for_every_transaction() {
        for (txs, hot, depth) in [(0, 0.5, 1), (1, 1.0, 1), (10, 0.0, 1), (10, 0.25, 3), (10, 1.0, 3), (10, 0.0, 50)] {
            let shape = Shape::new(txs, hot, depth, Link::Value);
            assert_eq!(shape.txs(), txs, "{txs} {hot} {depth}");
            assert!(shape.chains.iter().all(|&length| (1..=depth).contains(&length)));
        }
        assert_eq!(Shape::new(10, 0.25, 3, Link::Value).hot, 3);
        assert_eq!(Shape::new(10, 0.0, 50, Link::Value).chains, [10]);
        assert_eq!(Shape::new(7, 0.0, 3, Link::Value).chains, [3, 3, 1]);
    }

    #[test]
    fn value_passes_from_each_carrier_to_the_next() {
        let shape = Shape::new(5, 0.0, 3, Link::Value);
        let (senders, carriers) = (wallets("sender", 2), wallets("carrier", shape.carriers()));
        let recipients = addresses(5);
        let routes = shape.routes(&senders, &carriers, &recipients);
        assert_eq!(routes.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
        for (route, (sender, recipient)) in routes.iter().zip(senders.iter().zip(&recipients)) {
            assert_eq!(route[0].0, *sender);
            assert_eq!(route[route.len() - 1].1, *recipient);
            assert!(route.windows(2).all(|hops| hops[0].1 == hops[1].0.address));
        }
    }

    #[test]
    fn a_nonce_chain_has_one_sender_and_many_recipients() {
        let shape = Shape::new(5, 0.0, 3, Link::Nonce);
        assert_eq!(shape.carriers(), 0);
        let senders = wallets("sender", 2);
        let routes = shape.routes(&senders, &[], &addresses(5));
        assert_eq!(routes.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
        assert!(routes.iter().zip(&senders).all(|(route, sender)| route.iter().all(|hop| hop.0 == *sender)));
        let mut targets: Vec<_> = routes.iter().flatten().map(|hop| hop.1).collect();
        targets.dedup();
        assert_eq!(targets.len(), 5);
    }

    #[test]
    fn interleaving_keeps_the_order_within_each_chain() {
        let draft = |sender: Wallet, value: u64| Draft {
            sender,
            to: TxKind::Create,
            value: U256::from(value),
            input: Bytes::new(),
            limit_gas: 0,
            fees: Fees { max_wei: 0, tip_wei: 0 },
            form: Form::Legacy,
        };
        let senders = wallets("sender", 4);
        let chains = senders.iter().map(|&sender| (0..25).map(|value| draft(sender, value)).collect()).collect();
        let mixed = interleave(chains, &mut Draw::new(3, "interleave", 0));
        assert_eq!(mixed.len(), 100);
        for sender in senders {
            let values: Vec<_> = mixed.iter().filter(|draft| draft.sender == sender).map(|draft| draft.value).collect();
            assert_eq!(values, (0..25).map(U256::from).collect::<Vec<_>>());
        }
        assert!(mixed[..25].iter().any(|draft| draft.sender != mixed[0].sender));
    }
}
