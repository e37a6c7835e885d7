//! Parallel equals sequential, on small blocks made by hand.
//!
//! Every block is executed by the oracle and by the parallel executor in every way there is: 1, 2, 4 and 8 threads, with
//! and without frontier runs, in order and backwards. Under the backward schedule each transaction runs once without
//! having seen any other, so whatever it would rely upon wrongly, it does.
//!
//! | module | about |
//! |---|---|
//! | `assembler`, `world`, `transaction`, `case` | how blocks are made, executed and compared |
//! | `balances`, `beneficiary` | payments, bounds, fees |
//! | `creation`, `destruction`, `emptiness`, `delegation` | accounts that come, go and change |
//! | `amsterdam` | payments that leave logs, destruction that burns nothing |
//! | `validity` | nonces, funds, block gas: invalid blocks, and builders that skip |
//! | `attempts` | what belongs to one attempt and stays in it; logs and receipts in order |
//! | `positions` | what runs before and after the transactions |
//! | `failures`, `sources` | state sources that fail or panic |
//! | `lists` | records and access lists (EIP-7928): produced, followed, refused |
//! | `frontier` | attempts that their turn overtakes |
//! | `chain`, `ledger`, `pipeline` | blocks that follow each other, a store in memory, and both through a pipeline |
//! | `latency` | states that are slow to answer |
//! | `embedding` | precompiles, inspectors and cancellation |
//! | `timelines` | who did what when, and where aborts and dependencies come from |
//! | `random`, `programs` | random contracts in random blocks |

mod assembler;
mod case;
mod chain;
mod ledger;
mod programs;
mod sources;
mod transaction;
mod world;

mod amsterdam;
mod attempts;
mod balances;
mod beneficiary;
mod creation;
mod delegation;
mod destruction;
mod embedding;
mod emptiness;
mod failures;
mod frontier;
mod latency;
mod lists;
mod pipeline;
mod positions;
mod random;
mod timelines;
mod validity;
