//! One switch for each rule of docs/REPLICATION.md that model checking has shown to be needed.
//!
//! The switches exist only under the feature `rule-switches`, which no shipped build turns on: without
//! it [`Rules`] has no fields, every question is answered `true`, and the checks fold away. With it a test
//! removes one rule and shows that the promise then breaks.

macro_rules! rules {
    ($($(#[$doc:meta])* $field:ident = $rule:ident;)+) => {
        /// A rule that can be removed.
        #[cfg(feature = "rule-switches")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule { $($(#[$doc])* $rule,)+ }

        #[cfg(feature = "rule-switches")]
        impl Rule {
            /// Every rule, in the order of the protocol.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)+];

            /// Its name, as the field of [`Rules`] has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$rule => stringify!($field),)+ }
            }
        }

        /// Which rules are in force: all of them, except in tests.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct Rules {
            $($(#[$doc])* #[cfg(feature = "rule-switches")] pub $field: bool,)+
        }

        impl Rules {
            /// Every rule in force.
            #[must_use]
            pub const fn all() -> Self {
                Self { $(#[cfg(feature = "rule-switches")] $field: true,)+ }
            }

            /// Every rule but one in force.
            #[cfg(feature = "rule-switches")]
            #[must_use]
            pub const fn without(rule: Rule) -> Self {
                let mut rules = Self::all();
                match rule { $(Rule::$rule => rules.$field = false,)+ }
                rules
            }

            $($(#[$doc])*
            #[must_use]
            #[inline]
            pub const fn $field(&self) -> bool {
                #[cfg(feature = "rule-switches")]
                { self.$field }
                #[cfg(not(feature = "rule-switches"))]
                { true }
            })+
        }
    };
}

rules! {
    /// R2: the leader counts for itself only what it has synced.
    r2_leader_counts_synced = LeaderCountsSynced;
    /// R2: a follower opens and acknowledges only with what it has synced.
    r2_follower_reports_synced = FollowerReportsSynced;
    /// R3: the leader serves only followers of its own leader epoch.
    r3_leader_epoch_fence = LeaderEpochFence;
    /// R4: a follower finds its truncation point by the epoch history, not by its high watermark.
    r4_truncate_by_epoch = TruncateByEpoch;
    /// R4: a follower cuts at the least of the leader's and its own end of the epoch, not at the leader's alone.
    r4_least_of_both_ends = LeastOfBothEnds;
    /// R5: a follower counts only when it has opened in this leader epoch; a new one clears the table.
    r5_seen_this_epoch = SeenThisEpoch;
    /// R6: the members of an unanswered proposal count for the commit, too.
    r6_maximal_isr = MaximalIsr;
    /// R6: nothing is committed while the ISR is smaller than `min_isr`.
    r6_strict_min_isr = StrictMinIsr;
    /// R7: a follower joins the ISR only when it has reached the start of the leader's epoch.
    r7_epoch_start = EpochStart;
    /// R7, R9: a follower joins the ISR only in the broker epoch in which the leader saw it.
    r9_broker_epoch = BrokerEpoch;
    /// R8: a proposal stays pending until it is answered; a timeout only sends it again.
    r8_pending_stays = PendingStays;
    /// R9: the coordinator applies a proposal only to the record that it was made for.
    r9_partition_epoch = PartitionEpoch;
    /// R10: only members of the ISR or the ELR are elected.
    r10_clean_election = CleanElection;
    /// R10: who leaves the ISR below `min_isr` stays eligible (ELR).
    r10_eligible_replicas = EligibleReplicas;
    /// R11: a registration fences the broker's earlier session first.
    r11_restart_fences = RestartFences;
    /// R12: a broker that comes back with less than it had is a new replica.
    r12_regression_check = RegressionCheck;
    /// R12: an unclean stop costs eligibility on topics that do not sync before they acknowledge.
    r12_lossy_stop = LossyStop;
    /// R14: a replica promises durably before it acts in an epoch, and keeps the promise.
    r14_promise = Promise;
    /// R15: brokers refuse a coordinator that knows less than one they have seen.
    r15_ratchet = Ratchet;
    /// R16: the data of unknown topics is set aside, never deleted.
    r16_orphans_kept = OrphansKept;
    /// R17: a damaged replica leaves ISR and ELR, and leads only if nobody else can.
    r17_damage_demotes = DamageDemotes;
    /// R18: a move adds the new replicas and waits until they are in sync before it takes the old ones away.
    r18_add_before_remove = AddBeforeRemove;
    /// R18: who holds a partition changes only together with its leader epoch.
    r18_new_epoch = NewEpoch;
    /// R18: a replica is deleted only for a record that is newer than what it knows.
    r18_newer_record_removes = NewerRecordRemoves;
}

impl Default for Rules {
    fn default() -> Self {
        Self::all()
    }
}

#[cfg(all(test, feature = "rule-switches"))]
mod tests {
    use super::*;

    #[test]
    fn each_switch_removes_exactly_its_rule() {
        let all = format!("{:?}", Rules::all());
        assert!(!all.contains("false"));
        for rule in Rule::ALL {
            let rules = format!("{:?}", Rules::without(*rule));
            assert_eq!(rules.matches("false").count(), 1, "{rules}");
            assert!(rules.contains(&format!("{}: false", rule.name())), "{rules}");
        }
    }
}
