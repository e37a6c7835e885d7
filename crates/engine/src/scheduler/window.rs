//! How far ahead of the commit frontier the engine speculates.

/// How far ahead of the frontier transactions are speculated on. Grows by a step for each transaction whose speculation
/// held, halves for each whose speculation came to nothing. Closed altogether, it opens again by one transaction at a
/// time, every so many commits: what follows may be of another kind.
#[derive(Debug)]
pub(super) struct Window {
    /// Transactions that are speculated on, beyond the frontier.
    pub(super) size: u32,
    step: u32,
    most: u32,
    /// Commits until a closed window is opened to try again.
    until_trial: u32,
    /// Commits between the last two trials; doubles while they fail.
    between_trials: u32,
}

/// Commits before a closed window is opened for the first time.
const COMMITS_BEFORE_TRIAL: u32 = 8;
/// Most commits between two trials.
const MOST_COMMITS_BETWEEN_TRIALS: u32 = 256;

impl Window {
    /// The window of a run over so many transactions: open as far as it goes.
    pub(super) fn new(workers: u32, per_worker: u32, count: u32) -> Self {
        let helpers = workers.saturating_sub(1);
        let most = helpers.saturating_mul(per_worker).min(count);
        Self { size: most, step: helpers.saturating_mul(2), most, until_trial: 0, between_trials: COMMITS_BEFORE_TRIAL }
    }

    /// A transaction was committed as it was speculated.
    pub(super) fn held(&mut self) {
        self.size = self.size.saturating_add(self.step).min(self.most);
        self.between_trials = COMMITS_BEFORE_TRIAL;
    }

    /// A transaction was speculated on, and its result thrown away at the commit.
    pub(super) fn failed(&mut self) {
        self.size /= 2;
        if self.size == 0 {
            self.until_trial = self.between_trials;
            self.between_trials = (self.between_trials * 2).min(MOST_COMMITS_BETWEEN_TRIALS);
        }
    }

    /// Whether speculation mostly fails. What follows the frontier is then left to the committing worker: it would come
    /// there before another worker is done, wait for it, and find the result wrong.
    pub(super) fn is_narrow(&self) -> bool {
        self.size < self.most.min(self.step.saturating_mul(4))
    }

    /// A transaction was committed that nobody had speculated on.
    pub(super) fn nothing_speculated(&mut self) {
        if self.size == 0 {
            self.until_trial = self.until_trial.saturating_sub(1);
            self.size = u32::from(self.until_trial == 0).min(self.most);
        }
    }
}
