//! A topic that is changed: other settings, another `min_isr` (rule R9), more partitions.

use super::topics::{check_min_isr, check_partitions, default_min_isr};
use super::{Cluster, Record, Step};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{AlterTopic, AlterTopicReply, KeySlots, TopicInfo};
use yak_protocol::text::count;
use yak_protocol::topic_settings::{self, MIN_ISR, SETTINGS};

/// What [`AlterTopicReply`] calls another number of partitions.
const PARTITIONS: &str = "partitions";

impl Cluster {
    pub(super) fn alter_topic(
        &mut self,
        request: &AlterTopic,
        step: &mut Step,
    ) -> Result<AlterTopicReply, WireError> {
        let old = self.state.find_topic(&request.topic)?.clone();
        let new = altered(&old, request)?;
        let changed = changes(&old, &new);
        if new.partitions > old.partitions || new.config != old.config {
            // What is in it is found by the hash over its partitions, and must not go with time.
            yak_protocol::names::check_not_internal(&request.topic)?;
        }
        if new.partitions > old.partitions {
            self.check_brokers()?;
        }
        if request.dry_run || changed.is_empty() {
            return Ok(AlterTopicReply { topic: new, changed });
        }
        self.record(step, Record::Topic(new.clone()));
        step.note("topic", format!("topic {:?} is altered: {}", new.name, changed.join(", ")));
        if new.min_isr != old.min_isr {
            self.revise_min_isr(&new, step);
        }
        if new.partitions > old.partitions {
            self.make_partitions(&new, old.partitions..new.partitions, None, step);
            let partitions = count(new.partitions.into(), "partition");
            step.note("topic", format!("topic {:?} has {partitions} now", new.name));
        }
        Ok(AlterTopicReply { topic: new, changed })
    }

    /// R9: `min_isr` changes only as a new record of each partition. A lower one is taken at once, and clears an
    /// ELR that is needed no more; a higher one as soon as so many are in sync (`raise_min_isr`): from then on
    /// everything that is committed is on that many.
    fn revise_min_isr(&mut self, topic: &TopicInfo, step: &mut Step) {
        let (id, min_isr) = (topic.id, topic.min_isr);
        step.because(format!("min_isr of {:?} became {min_isr}", topic.name));
        self.revise(step, |info| info.id.topic == id, |_, info| info.min_isr = info.min_isr.min(min_isr));
    }
}

/// The topic as it is to be.
fn altered(old: &TopicInfo, request: &AlterTopic) -> Result<TopicInfo, WireError> {
    let mut new = old.clone();
    for change in &request.set {
        let (name, value) = (change.0.as_str(), change.1.as_deref());
        if name == MIN_ISR {
            let number = value.map(|text| text.parse().map_err(|_| not_a_number(text))).transpose()?;
            let default = || default_min_isr(old.wanted_replicas as usize, old.config.durability);
            new.min_isr = number.unwrap_or_else(default);
        } else {
            topic_settings::setting(name)?.set(&mut new.config, value)?;
        }
    }
    // What was acknowledged as one kind would be counted as the other.
    if new.config.durability != old.config.durability {
        let what = format!("the durability of {:?} was settled when it was made", old.name);
        return Err(WireError::new(ErrorCode::NotApplied, what)
            .hint("make another topic with the durability that you want"));
    }
    topic_settings::check(&new.config)?;
    if new.min_isr != old.min_isr {
        check_min_isr(new.min_isr, old.wanted_replicas, old.config.durability)?;
    }
    if let Some(partitions) = request.partitions {
        check_partitions(partitions)?;
        if partitions < old.partitions {
            let what = format!("{:?} has {} already", old.name, count(old.partitions.into(), "partition"));
            return Err(WireError::bad_request(what).hint("a topic can only grow"));
        }
        // One of before there were slots: its keys stay where they are.
        if new.key_slots.slots == 0 {
            new.key_slots = KeySlots::new(old.partitions);
        }
        new.partitions = partitions;
    }
    Ok(new)
}

fn not_a_number(text: &str) -> WireError {
    WireError::bad_request(format!("{MIN_ISR} takes a number of replicas, not {text:?}"))
}

fn changes(old: &TopicInfo, new: &TopicInfo) -> Vec<String> {
    let set = SETTINGS.iter().filter(|setting| setting.get(&old.config) != setting.get(&new.config));
    let mut changed: Vec<String> = set.map(|setting| setting.name.to_owned()).collect();
    if new.min_isr != old.min_isr {
        changed.push(MIN_ISR.to_owned());
    }
    if new.partitions != old.partitions {
        changed.push(PARTITIONS.to_owned());
    }
    changed
}
