//! `ropewalk generate`: fixtures from a seed.

use std::{io, ops::ControlFlow};

use ropewalk_block::CancelToken;

use crate::{
    arguments::GenerateArguments,
    compare::chain_of,
    fixture::{WriteError, write_chain, write_rlp_chain},
    generate::{GenerateOptions, Generator},
    report::{Progress, counted, print},
    status::Status,
};

/// Generates what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn generate(arguments: &GenerateArguments, interrupt: &CancelToken) -> io::Result<Status> {
    let &GenerateArguments { workload, seed, blocks, txs, hot, depth, link, ref out, ref chain } = arguments;
    let mut progress = Progress::new(blocks);
    let options = GenerateOptions { workload, seed, blocks, txs, hot, depth, link };
    let generator = Generator::new(options).map_err(WriteError::from);
    let written = generator.and_then(|generator| match chain {
        None => write_chain(generator, out, |_| progress.advance(0, 1)),
        Some(chain) => write_rlp_chain(generator, out, chain, |_| {
            progress.advance(0, 1);
            if interrupt.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }),
    });
    progress.finish();
    match written {
        Err(WriteError::Interrupted) => Ok(Status::Interrupted),
        Ok(()) if interrupt.is_cancelled() => Ok(Status::Interrupted),
        Ok(()) => {
            let place = chain.as_ref().unwrap_or(out);
            print(&format!("{} written to {}", counted(blocks, "block"), place.display()))?;
            Ok(Status::Verified)
        }
        Err(error) => {
            progress.say(&format!("error: {}", chain_of(&error)));
            Ok(Status::Input)
        }
    }
}
