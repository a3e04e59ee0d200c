//! What must hold of a partition's record, whatever has happened.

use yak_protocol::ids::BrokerId;
use yak_protocol::message::PartitionInfo;

/// I6, and what a record must look like by itself.
pub(super) fn check_shape(info: &PartitionInfo) {
    let ascending = |list: &[BrokerId]| list.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(ascending(&info.isr) && ascending(&info.elr), "{info:?}: ISR and ELR are ascending");
    assert!(
        info.isr.iter().all(|member| !info.elr.contains(member)),
        "{info:?}: ISR and ELR are disjoint (I6)"
    );
    assert!(
        info.isr.iter().chain(&info.elr).all(|member| info.replicas.contains(member)),
        "{info:?}: only replicas are in sync"
    );
    check_move(info);
    if !info.recovering {
        assert!(
            info.elr.is_empty() || info.isr.len() < info.min_isr as usize,
            "{info:?}: no ELR beside a full ISR (I6)"
        );
        assert!(
            info.leader.is_none_or(|leader| info.isr.contains(&leader)),
            "{info:?}: the leader is in the ISR"
        );
    }
}

/// R18: what a record says of a move fits its replicas.
fn check_move(info: &PartitionInfo) {
    let Some(moving) = &info.moving else { return };
    let held = |list: &[BrokerId]| list.iter().all(|id| info.replicas.contains(id));
    assert!(!moving.to.is_empty(), "{info:?}: it moves to nobody");
    assert!(held(&moving.from) && held(&moving.to), "{info:?}: a move adds before it takes away");
}

/// I13: who goes is not missed.
pub(super) fn check_removal(old: &PartitionInfo, new: &PartitionInfo) {
    let gone = |id: &BrokerId| !new.replicas.contains(id);
    let missed = old.isr.iter().chain(&old.elr).any(gone);
    assert!(
        !missed || new.isr.len() >= new.min_isr as usize,
        "replicas are taken away that others do not make up for: {old:?} -> {new:?} (I13)"
    );
}

/// I7 and I9: epochs grow, and nobody else leads in the same epoch.
pub(super) fn check_succession(old: &PartitionInfo, new: &PartitionInfo) {
    assert!(
        new.partition_epoch > old.partition_epoch,
        "partition epoch stands still: {old:?} -> {new:?} (I9)"
    );
    assert!(new.leader_epoch >= old.leader_epoch, "leader epoch goes back: {old:?} -> {new:?} (I9)");
    assert!(
        new.leader == old.leader || new.leader_epoch > old.leader_epoch,
        "two leaders in one epoch: {old:?} -> {new:?} (I7)"
    );
}
