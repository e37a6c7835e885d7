//! One worker's own counts of the code that all workers share.
//!
//! revm counts a reference whenever it looks at an account with code, and lets it go soon after. Workers that call the same
//! contract would change one count all the time, and each wait for the other's change to come over. So each worker keeps code
//! with a count of its own; the bytes are the same.
//!
//! Found by the hash of the code, compared in full; a code takes the place of another. Kept from block to block: a worker
//! holds at most 1,024 codes, whose bytes are the shared cache's as long as that holds them.

use alloy_primitives::{B256, Bytes};
use revm::bytecode::{Bytecode, JumpTable, opcode};

/// Codes that are kept.
const PLACES: usize = 1 << 10;

/// Codes with counts of one worker.
#[derive(Debug)]
pub(crate) struct OwnCodes {
    /// Nothing until the first code.
    places: Box<[Option<(B256, Bytecode)>]>,
    /// No code.
    pub(crate) empty: Bytecode,
}

impl OwnCodes {
    /// Keeps nothing.
    pub(crate) fn new() -> Self {
        Self { places: Box::default(), empty: with_own_count(&Bytecode::default()) }
    }

    /// The code with this hash, if it is kept.
    pub(crate) fn get(&self, hash: &B256) -> Option<Bytecode> {
        let (known, code) = self.places.get(place_of(hash))?.as_ref()?;
        (known == hash).then(|| code.clone())
    }

    /// Keeps a shared code, and returns it with a count of this worker's.
    pub(crate) fn keep(&mut self, hash: &B256, shared: &Bytecode) -> Bytecode {
        if self.places.is_empty() {
            self.places = vec![None; PLACES].into();
        }
        let own = with_own_count(shared);
        self.places[place_of(hash)] = Some((*hash, own.clone()));
        own
    }
}

fn place_of(hash: &B256) -> usize {
    usize::from(u16::from_be_bytes([hash[0], hash[1]])) & (PLACES - 1)
}

/// The same code with a count of its own.
#[expect(unsafe_code, reason = "analysing it again would take longer than all that counting")]
fn with_own_count(code: &Bytecode) -> Bytecode {
    if let Some(delegated) = code.eip7702_address() {
        return Bytecode::new_eip7702(delegated);
    }
    let Some(jumps) = code.legacy_jump_table() else { return code.clone() };
    if code.is_empty() {
        // SAFETY: the analysis of no code: it stops.
        return unsafe { Bytecode::new_analyzed(Bytes::from_static(&[opcode::STOP]), 0, JumpTable::default()) };
    }
    // SAFETY: these are the parts of an analysis.
    unsafe { Bytecode::new_analyzed(code.bytes(), code.len(), jumps.clone()) }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;

    #[test]
    fn code_with_its_own_count_is_the_same_code() {
        let ends = [opcode::STOP, opcode::PUSH1, opcode::PUSH32, opcode::JUMPDEST];
        let legacy =
            ends.map(|end| Bytecode::new_legacy(vec![opcode::PUSH1, opcode::JUMPDEST, opcode::JUMPDEST, end].into()));
        let delegation = Bytecode::new_eip7702(Address::repeat_byte(7));
        for code in legacy.into_iter().chain([delegation, Bytecode::default()]) {
            let own = with_own_count(&code);
            assert_eq!((own.kind(), own.len(), own.bytes()), (code.kind(), code.len(), code.bytes()));
            assert_eq!(own.legacy_jump_table(), code.legacy_jump_table());
            assert_eq!((own.hash_slow(), own.is_empty()), (code.hash_slow(), code.is_empty()));
        }
    }

    #[test]
    fn codes_that_share_a_place_do_not_pass_for_each_other() {
        let mut codes = OwnCodes::new();
        let code = |end| Bytecode::new_legacy(vec![opcode::PUSH1, end].into());
        let (first, second) = (B256::repeat_byte(3), {
            let mut other = B256::repeat_byte(4);
            other[..2].fill(3);
            other
        });
        assert_eq!(codes.get(&first), None);
        assert_eq!(codes.keep(&first, &code(1)), code(1));
        assert_eq!(codes.get(&first), Some(code(1)));
        assert_eq!(codes.get(&second), None);
        assert_eq!(codes.keep(&second, &code(2)), code(2));
        assert_eq!(codes.get(&second), Some(code(2)));
        assert_eq!(codes.get(&first), None, "the other has taken its place");
    }
}
