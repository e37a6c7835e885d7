//! `ropewalk generate`: fixtures from a seed.

use std::io;

use ropewalk_block::CancelToken;

use crate::{
    arguments::GenerateArguments,
    compare::chain_of,
    fixture::{WriteError, write_chain},
    generate::{GenerateOptions, Generator},
    report::{Progress, counted, print},
    status::Status,
};

/// Generates what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn generate(arguments: &GenerateArguments, interrupt: &CancelToken) -> io::Result<Status> {
    let &GenerateArguments { workload, seed, blocks, txs, hot, depth, link, ref out } = arguments;
    let mut progress = Progress::new(blocks);
    let options = GenerateOptions { workload, seed, blocks, txs, hot, depth, link };
    let written = Generator::new(options)
        .map_err(WriteError::from)
        .and_then(|generator| write_chain(generator, out, |_| progress.advance(0, 1)));
    progress.finish();
    match written {
        Ok(()) if interrupt.is_cancelled() => Ok(Status::Interrupted),
        Ok(()) => {
            print(&format!("{} written to {}", counted(blocks, "block"), out.display()))?;
            Ok(Status::Verified)
        }
        Err(error) => {
            progress.say(&format!("error: {}", chain_of(&error)));
            Ok(Status::Input)
        }
    }
}
