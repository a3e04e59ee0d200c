use crate::message::Role;
use std::fmt;
use std::str::FromStr;

/// What a listener lets its peers do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RoleSet(u8);

const NAMES: [(Role, &str); 3] =
    [(Role::Client, "client"), (Role::Replica, "replica"), (Role::Control, "control")];

impl RoleSet {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(0b111);

    /// These roles.
    #[must_use]
    pub fn of(roles: &[Role]) -> Self {
        roles.iter().fold(Self::NONE, |set, role| set.with(*role))
    }

    /// This set and `role`.
    #[must_use]
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | Self::bit(role))
    }

    /// Whether `role` is among them.
    #[must_use]
    pub fn contains(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }

    fn bit(role: Role) -> u8 {
        match role {
            Role::Client => 0b001,
            Role::Replica => 0b010,
            Role::Control => 0b100,
        }
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            NAMES.iter().filter(|(role, _)| self.contains(*role)).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// A name that is no role.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no role; there are client, replica and control, joined by commas")]
pub struct UnknownRole(String);

impl FromStr for RoleSet {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        text.split(',').map(str::trim).try_fold(Self::NONE, |set, name| {
            let role = NAMES.iter().find(|(_, known)| *known == name);
            role.map(|(role, _)| set.with(*role)).ok_or_else(|| UnknownRole(name.to_owned()))
        })
    }
}

pub(crate) fn role_name(role: Role) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == role).map_or("?", |(_, name)| name)
}
