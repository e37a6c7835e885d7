//! Makes a failing plan smaller, one part at a time, as long as it keeps failing.

use crate::{
    plan::{Form, Plan, PlannedAccount, PlannedCode},
    program::{Action, Ending, Init},
};

/// Plans that are tried at most.
const MOST_TRIALS: usize = 4_000;

/// The smallest plan that was found to fail too.
pub(crate) fn smallest(mut plan: Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut trials = 0;
    loop {
        let smaller = candidates(&plan).find(|candidate| {
            trials += 1;
            trials <= MOST_TRIALS && fails(candidate)
        });
        match smaller {
            Some(smaller) => plan = smaller,
            None => return plan,
        }
    }
}

/// All plans with one part less: transactions first, since every one of them that goes makes the rest quicker.
fn candidates(plan: &Plan) -> impl Iterator<Item = Plan> + '_ {
    let transactions = without(&plan.transactions).map(|transactions| Plan { transactions, ..plan.clone() });
    let withdrawals = without(&plan.withdrawals).map(|withdrawals| Plan { withdrawals, ..plan.clone() });
    let ommers = without(&plan.ommers).map(|ommers| Plan { ommers, ..plan.clone() });
    let accounts = without(&plan.accounts).map(|accounts| Plan { accounts, ..plan.clone() });
    let codes = (0..plan.accounts.len()).flat_map(move |at| {
        smaller_accounts(&plan.accounts[at]).into_iter().map(move |account| {
            let mut plan = plan.clone();
            plan.accounts[at] = account;
            plan
        })
    });
    let inits = (0..plan.inits.len()).flat_map(move |at| {
        smaller_inits(&plan.inits[at]).into_iter().map(move |init| {
            let mut plan = plan.clone();
            plan.inits[at] = init;
            plan
        })
    });
    let simpler = (0..plan.transactions.len()).flat_map(move |at| simpler_transactions(plan, at));
    transactions.chain(withdrawals).chain(ommers).chain(accounts).chain(codes).chain(inits).chain(simpler)
}

fn without<T: Clone>(all: &[T]) -> impl Iterator<Item = Vec<T>> + '_ {
    (0..all.len()).map(|at| [&all[..at], &all[at + 1..]].concat())
}

fn smaller_accounts(account: &PlannedAccount) -> Vec<PlannedAccount> {
    let mut smaller = Vec::new();
    if let PlannedCode::Program(actions) = &account.code {
        let programs = smaller_programs(actions).into_iter().map(PlannedCode::Program);
        smaller.extend(programs.map(|code| PlannedAccount { code, ..account.clone() }));
    }
    smaller.extend(account.storage.keys().map(|slot| {
        let mut account = account.clone();
        account.storage.remove(slot);
        account
    }));
    smaller
}

fn smaller_inits(init: &Init) -> Vec<Init> {
    let setups = smaller_programs(&init.setup).into_iter().map(|setup| Init { setup, ..init.clone() });
    let runtimes = smaller_programs(&init.runtime).into_iter().map(|runtime| Init { runtime, ..init.clone() });
    let stops = (init.ending != Ending::Stop).then(|| Init { ending: Ending::Stop, ..init.clone() });
    setups.chain(runtimes).chain(stops).collect()
}

/// All programs with one action less, or with one branch in place of both.
fn smaller_programs(actions: &[Action]) -> Vec<Vec<Action>> {
    let mut smaller: Vec<Vec<Action>> = without(actions).collect();
    for (at, action) in actions.iter().enumerate() {
        let Action::Branch(condition, yes, no) = action else { continue };
        let replaced = |by: Vec<Action>| [&actions[..at], &by, &actions[at + 1..]].concat();
        smaller.extend([replaced(yes.clone()), replaced(no.clone())]);
        let yeses = smaller_programs(yes).into_iter().map(|yes| (yes, no.clone()));
        let noes = smaller_programs(no).into_iter().map(|no| (yes.clone(), no));
        smaller.extend(yeses.chain(noes).map(|(yes, no)| replaced(vec![Action::Branch(condition.clone(), yes, no)])));
    }
    smaller
}

fn simpler_transactions(plan: &Plan, at: usize) -> Vec<Plan> {
    let transaction = &plan.transactions[at];
    let mut simpler = Vec::new();
    if !transaction.access_list.is_empty() {
        let mut plan = plan.clone();
        plan.transactions[at].access_list.clear();
        simpler.push(plan);
    }
    if let Form::Delegations { tip, authorizations } = &transaction.form
        && authorizations.len() > 1
    {
        simpler.extend(without(authorizations).map(|authorizations| {
            let mut plan = plan.clone();
            plan.transactions[at].form = Form::Delegations { tip: *tip, authorizations };
            plan
        }));
    }
    if transaction.form != (Form::Legacy { protected: false }) {
        let mut plan = plan.clone();
        plan.transactions[at].form = Form::Legacy { protected: false };
        plan.transactions[at].access_list.clear();
        simpler.push(plan);
    }
    simpler
}
