//! The store behind all partitions of a broker; it can be closed while others still hold the broker.

use std::path::Path;
use std::sync::{Arc, OnceLock, RwLock};
use yak_protocol::ids::{TopicId, TopicPartition};
use yak_storage::io::Io;
use yak_storage::{
    FatalHook, Identity, Log, Observer, OpenError, Recovered, Space, Store, StoreConfig, StoreError,
    WalTotals,
};

/// A broker's data dir.
pub(crate) struct DataDir {
    store: RwLock<Option<Store>>,
    /// The identity when the store was closed.
    last_identity: OnceLock<Identity>,
}

impl DataDir {
    /// Opens the store. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(
        dir: &Path,
        config: StoreConfig,
        io: Arc<dyn Io>,
        fatal: FatalHook,
    ) -> Result<Self, OpenError> {
        let store = Store::open(dir, config, io, fatal)?;
        Ok(Self { store: RwLock::new(Some(store)), last_identity: OnceLock::new() })
    }

    fn with<T>(&self, use_it: impl FnOnce(&Store) -> T) -> Result<T, StoreError> {
        let store = self.store.read().expect("nobody panics while holding the store");
        store.as_ref().map(use_it).ok_or(StoreError::Stopped)
    }

    /// Whose it is; also when it is closed.
    pub(crate) fn identity(&self) -> Identity {
        let identity = self.with(Store::identity).ok().or_else(|| self.last_identity.get().cloned());
        identity.expect("it is noted before the store is closed")
    }

    /// Changes the identity, durably. Blocks.
    ///
    /// # Errors
    /// If it could not be written, or the store is closed.
    pub(crate) fn update_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), StoreError> {
        self.with(|store| store.update_identity(change))?
    }

    /// What was found at open.
    pub(crate) fn recovered(&self) -> Vec<(TopicPartition, Recovered)> {
        self.with(|store| store.recovered().to_vec()).unwrap_or_default()
    }

    /// What the write-ahead log has done.
    ///
    /// # Errors
    /// The store is closed.
    pub(crate) fn wal(&self) -> Result<WalTotals, StoreError> {
        self.with(Store::wal)
    }

    /// How much room there is. Asks the file system.
    ///
    /// # Errors
    /// The store is closed, or what the file system said.
    pub(crate) fn space(&self) -> Result<Space, StoreError> {
        self.with(Store::space)?
    }

    /// Whether appends are refused for lack of room; costs nothing.
    pub(crate) fn is_full(&self) -> bool {
        self.with(Store::is_full).unwrap_or(false)
    }

    /// The log of a partition.
    ///
    /// # Errors
    /// The store is closed.
    pub(crate) fn log(&self, id: TopicPartition, observer: Arc<dyn Observer>) -> Result<Log, StoreError> {
        self.with(|store| store.log(id, observer))
    }

    /// Deletes the data of a topic. Blocks.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub(crate) fn delete(&self, topic: TopicId) -> Result<(), StoreError> {
        self.with(|store| store.delete(topic))?
    }

    /// Deletes one partition's data. Blocks.
    ///
    /// # Errors
    /// As [`Store::delete_log`].
    pub(crate) fn delete_log(&self, id: TopicPartition) -> Result<(), StoreError> {
        self.with(|store| store.delete_log(id))?
    }

    /// Moves a partition's data to `orphan/`. Blocks.
    ///
    /// # Errors
    /// As [`Store::set_aside`].
    pub(crate) fn set_aside(&self, id: TopicPartition) -> Result<(), StoreError> {
        self.with(|store| store.set_aside(id))?
    }

    /// Closes the store, with the mark of a clean stop. Blocks.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let store = {
            let mut open = self.store.write().expect("nobody panics while holding the store");
            if let Some(store) = open.as_ref() {
                let _ = self.last_identity.set(store.identity());
            }
            open.take()
        };
        store.map_or(Err(StoreError::Stopped), Store::close)
    }
}
