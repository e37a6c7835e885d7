//! A mix with a little of everything, in proportions like those of a busy public chain.
//!
//! | part | share |
//! |---|---|
//! | payments | what the others leave: 40 % |
//! | ERC-20 transfers | 30 % |
//! | swaps | 20 % |
//! | creations (with the calls of what they created) | 2 % |
//! | failures | 4 % |
//! | unusual forms and targets | 4 % |
//!
//! The hot share and the depth apply to payments, transfers and swaps alike, each with its own hot key.

use super::{
    Link,
    erc20::Erc20,
    exchange::Exchange,
    genesis::Alloc,
    payments::Payments,
    plan::{Chain, Plan, Round, Shape},
    rare::{Counts, Rare},
};

/// The plans that make up the mix.
#[derive(Debug)]
pub(crate) struct Mixed {
    payments: Payments,
    erc20: Erc20,
    exchange: Exchange,
    rare: Rare,
}

impl Mixed {
    pub(crate) fn new(seed: u64, txs: usize, hot: f64, depth: usize, link: Link) -> Self {
        let (transfers, swaps) = (txs * 30 / 100, txs * 20 / 100);
        let counts = Counts { creations: txs * 2 / 100, failures: txs * 4 / 100, unusual: txs * 4 / 100 };
        let payments = txs - transfers - swaps - counts.creations - counts.failures - counts.unusual;
        let shape = |txs| Shape::new(txs, hot, depth, link);
        let exchange = Exchange::new(seed, shape(swaps));
        Self {
            payments: Payments::new(seed, shape(payments)),
            erc20: Erc20::new(seed, shape(transfers)),
            rare: Rare::new(seed, counts, exchange.hot_pool()),
            exchange,
        }
    }

    fn parts(&self) -> [&dyn Plan; 4] {
        [&self.payments, &self.erc20, &self.exchange, &self.rare]
    }
}

impl Plan for Mixed {
    fn allocate(&self, alloc: &mut Alloc) {
        self.parts().iter().for_each(|part| part.allocate(alloc));
    }

    fn declared_gas(&self) -> u64 {
        self.parts().iter().map(|part| part.declared_gas()).sum()
    }

    fn chains(&mut self, round: &mut Round<'_>) -> Vec<Chain> {
        let parts: [&mut dyn Plan; 4] = [&mut self.payments, &mut self.erc20, &mut self.exchange, &mut self.rare];
        parts.into_iter().flat_map(|part| part.chains(round)).collect()
    }
}
