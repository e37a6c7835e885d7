//! Importing a block: everything that is checked of it besides what its transactions do.
//!
//! ```text
//! decode_block     bytes -> DecodedBlock                  one list, canonical, nothing left over
//! check_header     header against its parent              no body, no state
//! check_body       body against its own header            no parent, no state
//! check_ommers     ommers against the last seven blocks   proof of work only
//! (execute)        recover, then an executor              the parent's state
//! check_outcome    outcome against the header
//! ```
//!
//! The order is that of the costs: whatever can be refused without a state is refused before one is touched. Each step
//! is a plain function over what it needs, so that a client which has done one of them elsewhere leaves it out. Seals of
//! proof of work are not checked.
//!
//! Rules that an EIP made are in a file of that EIP; each asks the chain by itself whether its fork is active.

mod body;
mod decode;
mod difficulty;
mod error;
mod gas_limit;
mod header;
mod ommers;
mod outcome;

// One EIP per file.
mod eip1559;
mod eip3675;
mod eip4844;
mod eip7934;

pub use body::check_body;
pub use decode::{DecodedBlock, decode_block};
pub use difficulty::next_difficulty;
pub use eip1559::next_base_fee;
pub use eip3675::{Consensus, consensus_after};
pub use eip4844::next_excess_blob_gas;
pub use error::{BodyFault, HeaderFault, HeaderField, ImportError, MalformedBlock, OmmerFault, OutcomeFault};
pub use header::{Parent, check_header};
pub use ommers::{Ancestor, MOST_ANCESTORS, check_ommers};
pub use outcome::check_outcome;
