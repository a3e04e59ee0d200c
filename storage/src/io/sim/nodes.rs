//! Files and folders of the simulated disk, each with what is durable of it.

use super::Crash;
use crate::io::DirEntry;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

const SECTOR_BYTES: usize = 512;

enum Node {
    File(File),
    Dir(Dir),
}

#[derive(Default)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    changes: Vec<Change>,
}

enum Change {
    Write { position: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Default)]
struct Dir {
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
}

/// All of them; number 0 is the root.
pub(super) struct Nodes {
    all: Vec<Node>,
    incarnation: u64,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { all: vec![Node::Dir(Dir::default())], incarnation: 0 }
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

fn names(path: &Path) -> impl Iterator<Item = String> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    let name = path.file_name().ok_or_else(|| not_found(path))?;
    Ok((path.parent().unwrap_or(Path::new("")), name.to_string_lossy().into_owned()))
}

fn apply(content: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[position..end].copy_from_slice(bytes);
}

impl Nodes {
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn number(&self, path: &Path) -> io::Result<usize> {
        names(path).try_fold(0, |at, name| match &self.all[at] {
            Node::Dir(dir) => dir.names.get(&name).copied().ok_or_else(|| not_found(path)),
            Node::File(_) => Err(not_found(path)),
        })
    }

    fn dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        let at = self.number(path)?;
        match &mut self.all[at] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder")),
        }
    }

    pub(super) fn file_number(&self, path: &Path) -> io::Result<usize> {
        let at = self.number(path)?;
        match self.all[at] {
            Node::File(_) => Ok(at),
            Node::Dir(_) => Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder")),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<&[u8]> {
        let at = self.file_number(path)?;
        match &self.all[at] {
            Node::File(file) => Ok(&file.content),
            Node::Dir(_) => Err(not_found(path)),
        }
    }

    fn at(&mut self, node: usize) -> &mut File {
        match &mut self.all[node] {
            Node::File(file) => file,
            Node::Dir(_) => unreachable!("numbers of open files are numbers of files"),
        }
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.number(path).is_ok()
    }

    pub(super) fn bytes(&self) -> u64 {
        let mut total = 0;
        let mut queue = vec![0];
        while let Some(at) = queue.pop() {
            match &self.all[at] {
                Node::File(file) => total += file.content.len() as u64,
                Node::Dir(dir) => queue.extend(dir.names.values()),
            }
        }
        total
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        let (parent, name) = split(path)?;
        let node = self.all.len();
        self.dir(parent)?.names.insert(name, node);
        self.all.push(Node::File(File::default()));
        Ok(node)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = 0;
        for name in names(path) {
            let next = self.all.len();
            let Node::Dir(dir) = &mut self.all[at] else {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder"));
            };
            at = *dir.names.entry(name).or_insert(next);
            if at == next {
                self.all.push(Node::Dir(Dir::default()));
            }
        }
        match self.all[at] {
            Node::Dir(_) => Ok(()),
            Node::File(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file")),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.number(from)?;
        let (to_parent, to_name) = split(to)?;
        self.dir(to_parent)?;
        let (from_parent, from_name) = split(from)?;
        self.dir(from_parent)?.names.remove(&from_name);
        self.dir(to_parent)?.names.insert(to_name, node);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        self.dir(parent)?.names.remove(&name).map(|_| ()).ok_or_else(|| not_found(path))
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let at = self.number(path)?;
        let Node::Dir(dir) = &self.all[at] else {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder"));
        };
        let entry = |(name, node): (&String, &usize)| DirEntry {
            name: name.clone(),
            is_dir: matches!(self.all[*node], Node::Dir(_)),
        };
        Ok(dir.names.iter().map(entry).collect())
    }

    /// Makes the names of a folder durable. What was moved between two folders is then durably in one.
    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let at = self.number(path)?;
        let dir = self.dir(path)?;
        let before = std::mem::replace(&mut dir.durable, dir.names.clone());
        let now = dir.names.clone();
        let left: Vec<usize> =
            before.values().copied().filter(|node| !now.values().any(|n| n == node)).collect();
        for (number, node) in self.all.iter_mut().enumerate() {
            let Node::Dir(other) = node else { continue };
            if number == at {
                continue;
            }
            let names = other.names.clone();
            other
                .durable
                .retain(|name, node| names.get(name) == Some(node) || !now.values().any(|n| n == node));
            for (name, node) in names.iter().filter(|(_, node)| left.contains(node)) {
                other.durable.insert(name.clone(), *node);
            }
        }
        Ok(())
    }

    pub(super) fn len(&mut self, node: usize) -> u64 {
        self.at(node).content.len() as u64
    }

    pub(super) fn read(&mut self, node: usize, buffer: &mut [u8], position: u64) -> usize {
        let content = &self.at(node).content;
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(content.len());
        let length = buffer.len().min(content.len() - from);
        buffer[..length].copy_from_slice(&content[from..from + length]);
        length
    }

    pub(super) fn write(&mut self, node: usize, bytes: &[u8], position: u64) {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        let file = self.at(node);
        apply(&mut file.content, position, bytes);
        file.changes.push(Change::Write { position, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, node: usize, length: u64) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let file = self.at(node);
        file.content.resize(length, 0);
        file.changes.push(Change::SetLen(length));
    }

    pub(super) fn sync(&mut self, node: usize) {
        let file = self.at(node);
        if !file.changes.is_empty() {
            file.changes.clear();
            file.durable.clone_from(&file.content);
        }
    }

    pub(super) fn damage(&mut self, path: &Path, alter: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let node = self.file_number(path)?;
        let file = self.at(node);
        alter(&mut file.content);
        file.changes.clear();
        file.durable.clone_from(&file.content);
        Ok(())
    }

    pub(super) fn crash(&mut self, how: Crash) {
        self.incarnation += 1;
        let mut random = match how {
            Crash::KeepAll => return,
            Crash::LoseUnsynced => None,
            Crash::KeepSome { seed } => Some(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        };
        for node in &mut self.all {
            match node {
                Node::Dir(dir) => dir.names.clone_from(&dir.durable),
                Node::File(file) => {
                    let mut content = std::mem::take(&mut file.durable);
                    for change in std::mem::take(&mut file.changes) {
                        let Some(random) = &mut random else { continue };
                        keep_some(&mut content, &change, random);
                    }
                    file.durable.clone_from(&content);
                    file.content = content;
                }
            }
        }
    }

    pub(super) fn copy(&self) -> Self {
        let all = self.all.iter().map(|node| match node {
            Node::Dir(dir) => Node::Dir(Dir { names: dir.names.clone(), durable: dir.names.clone() }),
            Node::File(file) => Node::File(File {
                content: file.content.clone(),
                durable: file.content.clone(),
                changes: Vec::new(),
            }),
        });
        Self { all: all.collect(), incarnation: 0 }
    }
}

/// Applies those sectors of a change that luck has it.
fn keep_some(content: &mut Vec<u8>, change: &Change, random: &mut u64) {
    let mut luck = || {
        // xorshift64
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random & 1 == 1
    };
    match change {
        Change::SetLen(length) => {
            if luck() {
                content.resize(*length, 0);
            }
        }
        Change::Write { position, bytes } => {
            let mut at = 0;
            while at < bytes.len() {
                let sector_end = ((position + at) / SECTOR_BYTES + 1) * SECTOR_BYTES - position;
                let end = sector_end.min(bytes.len());
                if luck() {
                    apply(content, position + at, &bytes[at..end]);
                }
                at = end;
            }
        }
    }
}
