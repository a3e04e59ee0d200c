//! `CONF`: what this broker was told.

use crate::broker::Broker;
use crate::config;
use yak_protocol::defaults;
use yak_protocol::net::{ListenerConfig, limits};
use yak_protocol::text::Settings;
use yak_storage::StoreConfig;

/// Every setting in use, and where it comes from.
pub(super) fn settings(broker: &Broker, listener: &ListenerConfig) -> Settings {
    let mut settings = of_broker(broker);
    listener.show(&broker.config.sources, &mut settings);
    settings
}

/// Those that are not the listener's.
pub(super) fn of_broker(broker: &Broker) -> Settings {
    let config = &broker.config;
    let mut settings = Settings::default();
    let given = [
        ("name", config.name.clone()),
        ("coordinator", config.coordinator.join(",")),
        ("listen", broker.listen.clone()),
        ("advertise", broker.address.clone()),
        ("data", config.data.display().to_string()),
        ("rack", config.rack.clone()),
        ("insecure", broker.insecure.to_string()),
        ("on_lease_loss", if config.step_down { "step-down" } else { "serve" }.to_owned()),
        ("no_auto_create", (!config.auto_create.enabled).to_string()),
    ];
    for (name, value) in given {
        settings.given(&config.sources, name, value);
    }
    let ms = |duration: std::time::Duration| duration.as_millis();
    settings.by_program("replica_lag_max_ms", ms(config.replica_lag_max), ms(defaults::REPLICA_LAG_MAX));
    settings.by_program("drain_timeout_ms", ms(config.drain_timeout), ms(config::DRAIN_TIMEOUT));
    store(&config.store, &mut settings);
    for (name, value) in [
        ("limit.publishes_pending", config::PUBLISHES_PENDING_MAX),
        ("limit.publish_memory_bytes", config::PUBLISH_MEMORY_BYTES),
        ("limit.consume_bytes", config::CONSUME_BYTES_MAX as usize),
        ("limit.line_bytes", limits::LINE_BYTES_MAX),
        ("limit.json_line_bytes", limits::JSON_LINE_BYTES_MAX),
        ("limit.rows", limits::ROWS_MAX),
    ] {
        settings.built_in(name, value);
    }
    settings.built_in("limit.consume_wait_ms", ms(config::CONSUME_WAIT_MAX));
    settings.built_in("limit.publish_timeout_ms", ms(config::PUBLISH_TIMEOUT_MAX));
    settings
}

fn store(store: &StoreConfig, settings: &mut Settings) {
    let usual = StoreConfig::default();
    let sizes = [
        ("store.segment_bytes", store.segment_bytes, usual.segment_bytes),
        ("store.wal_file_bytes", store.wal_file_bytes, usual.wal_file_bytes),
        ("store.tail_bytes", store.tail_bytes, usual.tail_bytes),
        ("store.write_behind_bytes", store.write_behind_bytes, usual.write_behind_bytes),
        ("store.dirty_bytes_max", store.dirty_bytes_max, usual.dirty_bytes_max),
        ("store.ballast_bytes", store.ballast_bytes, usual.ballast_bytes),
    ];
    for (name, value, default) in sizes {
        settings.by_program(name, value, default);
    }
    let (checkpoint, default) = (store.checkpoint.as_millis(), usual.checkpoint.as_millis());
    settings.by_program("store.checkpoint_ms", checkpoint, default);
    let reserve =
        |bytes: Option<u64>| bytes.map_or_else(|| "5% (1 GiB at most)".to_owned(), |it| it.to_string());
    settings.by_program("store.reserve_bytes", reserve(store.reserve_bytes), reserve(usual.reserve_bytes));
}
