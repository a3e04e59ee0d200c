//! Heartbeats: joining, staying, giving up, getting, leaving.

use super::event::{Clock, Journal};
use super::state::{Group, Member, Standing, ms};
use super::topics::Topics;
use std::collections::BTreeSet;
use std::time::Duration;
use yak_protocol::defaults::{
    GROUP_HEARTBEAT, GROUP_HEARTBEAT_MOVING, GROUP_MEMBER_BYTES_MAX, GROUP_MEMBERS_MAX, GROUP_REBALANCE,
    GROUP_SESSION, GROUP_SESSION_MAX, GROUP_SESSION_MIN, GROUP_TOPICS_MAX,
};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Generation, TopicPartition};
use yak_protocol::message::{GroupHeartbeat, GroupHeartbeatReply, Leave};
use yak_protocol::names;

/// Checks what does not depend on the group.
pub(super) fn check(request: &GroupHeartbeat) -> Result<(), WireError> {
    names::check_group(&request.group)?;
    let bad = |what: String| Err(WireError::bad_request(format!("group_heartbeat: {what}")));
    let long = |name: &str| name.is_empty() || name.len() > GROUP_MEMBER_BYTES_MAX;
    if long(&request.member) || request.instance.as_deref().is_some_and(long) {
        return bad(format!("a member's name has 1 to {GROUP_MEMBER_BYTES_MAX} bytes; a UUID is a good one"));
    }
    if request.client.len() > GROUP_MEMBER_BYTES_MAX {
        return bad(format!("what a client calls itself has at most {GROUP_MEMBER_BYTES_MAX} bytes"));
    }
    for topic in &request.topics {
        names::check_topic(topic)?;
    }
    if request.topics.len() > GROUP_TOPICS_MAX {
        return bad(format!("it asks for {} topics, at most {GROUP_TOPICS_MAX}", request.topics.len()));
    }
    if request.generation == Generation::ZERO && request.leave.is_none() && request.topics.is_empty() {
        return bad("who joins says which topics it wants to read".to_owned());
    }
    let session = Duration::from_millis(request.session_ms);
    if request.session_ms != 0 && !(GROUP_SESSION_MIN..=GROUP_SESSION_MAX).contains(&session) {
        let (min, max) = (ms(GROUP_SESSION_MIN), ms(GROUP_SESSION_MAX));
        return bad(format!("session_ms must be {min} to {max}, not {}", request.session_ms));
    }
    Ok(())
}

fn session(request: &GroupHeartbeat) -> Duration {
    if request.session_ms == 0 { GROUP_SESSION } else { Duration::from_millis(request.session_ms) }
}

fn rebalance(request: &GroupHeartbeat) -> Duration {
    if request.rebalance_ms == 0 { GROUP_REBALANCE } else { Duration::from_millis(request.rebalance_ms) }
}

/// One heartbeat of one member.
pub(super) struct Beat<'a> {
    pub(super) request: &'a GroupHeartbeat,
    pub(super) host: &'a str,
    pub(super) clock: Clock,
    pub(super) topics: &'a Topics,
}

impl Group {
    /// The member that speaks, if it is one and takes part.
    ///
    /// # Errors
    /// `FENCED_INSTANCE` when another process has its place, `UNKNOWN_MEMBER` otherwise.
    pub(super) fn member(&self, name: &str, instance: Option<&str>) -> Result<&Member, WireError> {
        let group = &self.name;
        match self.members.get(name) {
            Some(member) if member.standing == Standing::In => return Ok(member),
            Some(member) if member.standing == Standing::Evicted => {
                let what =
                    format!("member {name} of group {group} did not give up what it was told to in time");
                return Err(
                    WireError::new(ErrorCode::UnknownMember, what).hint("join anew, under a new name")
                );
            }
            _ => {}
        }
        if let Some(instance) = instance
            && let Some(holder) = self.holder_of(instance).filter(|holder| *holder != name)
        {
            let what = format!("the place {instance} in group {group} has been taken by member {holder}");
            return Err(WireError::new(ErrorCode::FencedInstance, what)
                .hint("two processes use the same instance name; give each its own"));
        }
        let what = format!("group {group} has no member {name}: it has left, or was not heard in time");
        Err(WireError::new(ErrorCode::UnknownMember, what).hint("join anew, under a new name"))
    }

    pub(super) fn heartbeat(
        &mut self,
        beat: &Beat<'_>,
        journal: &mut Journal<'_>,
    ) -> Result<GroupHeartbeatReply, WireError> {
        let request = beat.request;
        let name = request.member.as_str();
        if let Some(member) = self.members.get(name)
            && request.beat != 0
            && request.beat < member.beat
        {
            let what =
                format!("heartbeat {} of member {name} was overtaken by {}", request.beat, member.beat);
            return Err(WireError::new(ErrorCode::StaleGeneration, what));
        }
        if let Some(leave) = request.leave {
            return self.leave(beat, leave, journal);
        }
        // A copy of the join that was answered already: its member may hand out by now what that gave it.
        let repeats = |member: &Member| {
            request.beat != 0 && request.beat == member.beat && member.standing == Standing::In
        };
        let repeats = self.members.get(name).is_some_and(repeats);
        let joins = request.generation == Generation::ZERO && !repeats;
        let changed = if joins { self.join(beat, journal)? } else { self.stay(beat, journal)? };
        let changed = self.advance(name, beat, joins || changed);
        if changed {
            self.persist_member(name, journal);
        }
        Ok(self.answer(name, beat, joins))
    }

    fn join(&mut self, beat: &Beat<'_>, journal: &mut Journal<'_>) -> Result<bool, WireError> {
        let request = beat.request;
        let name = request.member.as_str();
        let before = request.instance.as_deref().and_then(|instance| self.holder_of(instance));
        let before = before.filter(|holder| *holder != name).map(str::to_owned);
        if before.is_none() && !self.members.contains_key(name) && self.members.len() >= GROUP_MEMBERS_MAX {
            let what = format!("group {} has {GROUP_MEMBERS_MAX} members, the most there can be", self.name);
            return Err(WireError::new(ErrorCode::Overloaded, what));
        }
        // Who joins under a name that is known holds nothing any more.
        self.release_all(name);
        let mut why = format!("{name} joined");
        if let Some(before) = before {
            let target = self.target.remove(&before).unwrap_or_default();
            self.target.insert(name.to_owned(), target);
            self.remove(&before, journal);
            why = format!(
                "{name} took the place {} of {before}",
                request.instance.as_deref().unwrap_or_default()
            );
        }
        let member = Member {
            instance: request.instance.clone(),
            client: request.client.clone(),
            host: beat.host.to_owned(),
            topics: request.topics.iter().cloned().collect(),
            session: session(request),
            rebalance: rebalance(request),
            assignor: request.assignor,
            beat: request.beat,
            heard: beat.clock.now,
            deadline: beat.clock.now + session(request),
            ..Member::default()
        };
        self.members.insert(name.to_owned(), member);
        self.next_generation(beat.topics, why, journal);
        Ok(true)
    }

    fn stay(&mut self, beat: &Beat<'_>, journal: &mut Journal<'_>) -> Result<bool, WireError> {
        let request = beat.request;
        let name = request.member.as_str();
        let known = self.member(name, request.instance.as_deref())?.generation;
        if request.generation > known {
            return Err(newer(&self.name, request.generation, known));
        }
        let report = request.owned.as_deref().map(|owned| beat.topics.resolve(owned));
        let target = self.target.get(name).cloned().unwrap_or_default();
        let Some(member) = self.members.get_mut(name) else { return Ok(false) };
        // A copy of a heartbeat that was answered already knows nothing of that answer.
        let counts = request.beat == 0 || request.beat > member.beat;
        member.beat = member.beat.max(request.beat);
        member.heard = beat.clock.now;
        member.host = beat.host.to_owned();
        let session_before = member.session;
        if request.session_ms != 0 {
            member.session = session(request);
        }
        // The next coordinator has to know what this one has promised.
        let other_session = member.session != session_before;
        member.deadline = beat.clock.now + member.session;
        let wants: BTreeSet<String> = request.topics.iter().cloned().collect();
        let wants_other = !wants.is_empty() && wants != member.topics;
        if wants_other {
            member.topics = wants;
        }
        let given_up: Vec<TopicPartition> = match report {
            Some(report) if counts => {
                let held = member.owned.keys().copied();
                held.filter(|id| !target.contains(id) && !report.contains(id)).collect()
            }
            _ => Vec::new(),
        };
        for id in &given_up {
            self.release(*id, name);
        }
        if wants_other {
            let why = format!("{} reads other topics now", self.show(name));
            self.next_generation(beat.topics, why, journal);
        }
        Ok(wants_other || other_session || !given_up.is_empty())
    }

    /// Brings a member as near to what it is to hold as the others let it; whether anything has changed.
    fn advance(&mut self, name: &str, beat: &Beat<'_>, mut changed: bool) -> bool {
        let target = self.target.get(name).cloned().unwrap_or_default();
        let generation = self.generation;
        let Some(member) = self.members.get_mut(name) else { return changed };
        if member.owned.keys().any(|id| !target.contains(id)) {
            member.revoke_by.get_or_insert(beat.clock.now + member.rebalance);
            return changed;
        }
        member.revoke_by = None;
        changed |= member.generation != generation;
        member.generation = generation;
        let free: Vec<_> = target.into_iter().filter(|id| !self.owners.contains_key(id)).collect();
        for id in free {
            self.grant(id, name, beat.topics, beat.clock);
            changed = true;
        }
        changed
    }

    fn answer(&self, name: &str, beat: &Beat<'_>, joins: bool) -> GroupHeartbeatReply {
        let member = &self.members[name];
        let assigned: BTreeSet<_> =
            member.owned.keys().copied().filter(|id| self.is_for(*id, name)).collect();
        let reported = beat.request.owned.as_deref().map(|owned| beat.topics.resolve(owned));
        let news = joins || reported.as_ref() != Some(&assigned);
        let pace = if self.is_settled() { GROUP_HEARTBEAT } else { GROUP_HEARTBEAT_MOVING };
        GroupHeartbeatReply {
            generation: member.generation,
            assignment: news.then(|| beat.topics.listed(assigned)),
            heartbeat_ms: ms(pace.min(member.session / 5)),
            session_ms: ms(member.session),
            coordinator: None,
        }
    }

    fn leave(
        &mut self,
        beat: &Beat<'_>,
        leave: Leave,
        journal: &mut Journal<'_>,
    ) -> Result<GroupHeartbeatReply, WireError> {
        let name = beat.request.member.as_str();
        let member = self.member(name, beat.request.instance.as_deref())?;
        let (generation, session) = (member.generation, member.session);
        if leave == Leave::ForAWhile && member.instance.is_some() {
            self.release_all(name);
            if let Some(member) = self.members.get_mut(name) {
                member.standing = Standing::Away;
                member.deadline = beat.clock.now + member.session;
                member.revoke_by = None;
            }
            self.persist_member(name, journal);
        } else {
            let why = format!("{} left", self.show(name));
            self.remove(name, journal);
            self.next_generation(beat.topics, why, journal);
        }
        Ok(GroupHeartbeatReply {
            generation,
            assignment: Some(Vec::new()),
            heartbeat_ms: 0,
            session_ms: ms(session),
            coordinator: None,
        })
    }
}

/// Somebody knows a newer generation than this coordinator: it has been replaced and does not know it yet.
pub(super) fn newer(group: &str, theirs: Generation, known: Generation) -> WireError {
    let what = format!(
        "the member knows generation {theirs} of group {group}, this coordinator knows {known}: another one \
         coordinates the group by now"
    );
    WireError::new(ErrorCode::NotCoordinator, what).hint("ask again in a moment")
}
