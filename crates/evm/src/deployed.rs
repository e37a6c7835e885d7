//! Code that was deployed in the block already, so that deploying it again takes no analysis and no hash.
//!
//! Factories deploy one code over and over: wallets, proxies, the contracts that gas tokens are made of. Most of what such a
//! creation takes is to hash what was hashed before.
//!
//! - D1 Code is compared in full: no other can pass for it.
//! - D2 Memory and time are bounded: a few codes are kept, of which a newcomer takes the place of the oldest.
//! - D3 Nothing is kept beyond a block. So whatever is kept was deployed under the rules that hold, and passes those of them that
//!   ask about the code alone.

use alloy_primitives::B256;
use revm::{
    bytecode::Bytecode,
    context::Cfg,
    context_interface::ContextTr,
    handler::{EthFrame, FrameData, FrameInitOrResult, FrameResult, ItemOrResult, evm::ContextDbError},
    interpreter::{InterpreterAction, InterpreterResult},
    primitives::hardfork::SpecId,
};

use crate::machine::EvmContext;

/// Codes that are kept.
const PLACES: usize = 4;

/// The codes that one worker has deployed.
#[derive(Debug, Default)]
pub(crate) struct Deployed {
    codes: [Option<(B256, Bytecode)>; PLACES],
    oldest: usize,
}

impl Deployed {
    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The code with these bytes, and its hash, if it is kept.
    fn get(&self, bytes: &[u8]) -> Option<(B256, Bytecode)> {
        let mut codes = self.codes.iter().flatten();
        codes.find(|(_, code)| code.original_byte_slice() == bytes).cloned()
    }

    fn keep(&mut self, hash: B256, code: Bytecode) {
        self.codes[self.oldest] = Some((hash, code));
        self.oldest = (self.oldest + 1) % PLACES;
    }
}

/// Ends a frame, or begins another, as revm does.
///
/// # Errors
/// As revm's own.
pub(crate) fn process_next_action(
    frame: &mut EthFrame,
    context: &mut EvmContext,
    mut action: InterpreterAction,
) -> Result<FrameInitOrResult<EthFrame>, ContextDbError<EvmContext>> {
    let (InterpreterAction::Return(returned), FrameData::Create(creation)) = (&mut action, &frame.data) else {
        return frame.process_next_action(context, action);
    };
    let created = creation.created_address;
    let Some((hash, code)) = deployed_before(context, returned) else {
        let next = frame.process_next_action::<_, ContextDbError<EvmContext>>(context, action)?;
        if let ItemOrResult::Result(FrameResult::Create(outcome)) = &next
            && outcome.result.result.is_ok()
        {
            let journal = &mut context.journaled_state;
            let account = journal.inner.state.get(&created).map(|account| &account.info);
            let deployed = account.and_then(|info| Some((info.code_hash, info.code.clone()?)));
            let deployed = deployed.filter(|(_, code)| !code.is_empty());
            deployed.into_iter().for_each(|(hash, code)| journal.database.deployed.keep(hash, code));
        }
        return Ok(next);
    };
    // revm charges by what is returned, and deploys that: here it is nothing.
    let output = std::mem::take(&mut returned.output);
    let charged = returned.gas.record_regular_cost(context.cfg.gas_params().code_deposit_cost(output.len()));
    assert!(charged, "there is as much gas as was asked for");
    let mut next = frame.process_next_action::<_, ContextDbError<EvmContext>>(context, action)?;
    context.journaled_state.inner.set_code_with_hash(created, code, hash);
    if let ItemOrResult::Result(result) = &mut next {
        result.interpreter_result_mut().output = output;
    }
    Ok(next)
}

/// The code that a creation returns, if it deploys it and it was deployed before. Left to revm where gas does not suffice, and where
/// a fork charges for more than the length of the code (EIP-8037).
fn deployed_before(context: &EvmContext, returned: &InterpreterResult) -> Option<(B256, Bytecode)> {
    let handle = &context.journaled_state.database;
    let may = handle.hashes.remembers && !context.cfg().spec().is_enabled_in(SpecId::AMSTERDAM);
    if !may || !returned.result.is_ok() || returned.output.is_empty() {
        return None;
    }
    let suffices = returned.gas.remaining() >= context.cfg.gas_params().code_deposit_cost(returned.output.len());
    handle.deployed.get(&returned.output).filter(|_| suffices)
}

#[cfg(test)]
mod tests {
    use revm::bytecode::opcode as op;

    use super::*;

    #[test]
    fn code_is_found_by_all_of_its_bytes_until_others_have_taken_its_place() {
        let code = |end: u8| Bytecode::new_legacy(vec![op::PUSH1, 7, op::STOP, end].into());
        let mut deployed = Deployed::default();
        for end in 0..=PLACES as u8 {
            assert_eq!(deployed.get(code(end).original_byte_slice()), None);
            deployed.keep(code(end).hash_slow(), code(end));
            assert_eq!(deployed.get(code(end).original_byte_slice()), Some((code(end).hash_slow(), code(end))));
        }
        assert_eq!(deployed.get(code(0).original_byte_slice()), None, "it was the oldest");
        assert!(deployed.get(code(1).original_byte_slice()).is_some());
        assert_eq!(deployed.get(&code(1).original_byte_slice()[..3]), None);
        deployed.forget();
        assert_eq!(deployed.get(code(1).original_byte_slice()), None);
    }
}
