//! The keys, and the scripts that are the only ones to write them. A script runs alone, start to end.
//!
//! ```text
//! leader_lease             name of the active coordinator; runs out after the lease
//! leader_lease:token       number of the last term; only grows
//! leader_lease:holder      "token node name address lease-ms" of who took the lease last
//! coordinator_journal      list of entries
//! coordinator_journal:end  header of its last entry
//! ```
//!
//! Strings and lists only, and one `EVAL` each, so that every Redis-compatible server will do.

/// The keys of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Keys(pub(super) [String; 5]);

impl Keys {
    /// With `prefix` before each.
    pub(super) fn new(prefix: &str) -> Self {
        Self(
            [
                "leader_lease",
                "leader_lease:token",
                "leader_lease:holder",
                "coordinator_journal",
                "coordinator_journal:end",
            ]
            .map(|key| format!("{prefix}{key}")),
        )
    }

    pub(super) fn lease(&self) -> &str {
        &self.0[0]
    }

    pub(super) fn journal(&self) -> &str {
        &self.0[3]
    }
}

/// `sequence`. `lease, its time to live in ms, token, holder, end, length`, and the header of the entry with that
/// number, if there is one.
pub(super) const LOOK: &str = r"
local last, known = redis.call('GET', KEYS[5]) or '', ''
local back = (tonumber(string.sub(last, 9, 28)) or 0) - tonumber(ARGV[1])
if back == 0 then known = last
elseif back > 0 then known = string.sub(redis.call('LINDEX', KEYS[4], -1 - back) or '', 1, 68) end
return {redis.call('GET', KEYS[1]) or '', tostring(redis.call('PTTL', KEYS[1])),
  redis.call('GET', KEYS[2]) or '0', redis.call('GET', KEYS[3]) or '',
  last, tostring(redis.call('LLEN', KEYS[4])), known}";

/// `name, node, address, lease ms`. `taken, token`, or `held, by`.
///
/// Whoever has the lease already and asks again is in a new term: it no longer knows what became of the old
/// one. The token is always greater than every one in the journal, also after somebody deleted its key.
pub(super) const ACQUIRE: &str = r"
local lease = redis.call('GET', KEYS[1])
if lease then
  local node = string.match(redis.call('GET', KEYS[3]) or '', '^%d+ (%S+) ')
  if lease ~= ARGV[1] or node ~= ARGV[2] then return {'held', lease} end
end
local last = tonumber(string.sub(redis.call('GET', KEYS[5]) or '', 30, 49)) or 0
if last > (tonumber(redis.call('GET', KEYS[2]) or '0')) then
  redis.call('SET', KEYS[2], string.format('%.0f', last))
end
local token = tostring(redis.call('INCR', KEYS[2]))
redis.call('SET', KEYS[3], token .. ' ' .. ARGV[2] .. ' ' .. ARGV[1] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
return {'taken', token}";

/// `name, token, lease ms, sequence`. `kept, length`, or `lost, lease, token`, or `behind, end` where the
/// journal ends before that sequence number.
pub(super) const RENEW: &str = r"
local lease, token = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if lease ~= ARGV[1] or token ~= ARGV[2] then return {'lost', lease or '', token or ''} end
local last = redis.call('GET', KEYS[5]) or ''
if (tonumber(string.sub(last, 9, 28)) or 0) < tonumber(ARGV[4]) then return {'behind', last} end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'kept', tostring(redis.call('LLEN', KEYS[4]))}";

/// `name, token, end, length, new end, place, entries`; the place is `behind` what is there, or `instead` of it.
/// `kept`, or `fenced, lease, token`, or `moved, end, length`.
pub(super) const APPEND: &str = r"
local lease, token = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if lease ~= ARGV[1] or token ~= ARGV[2] then return {'fenced', lease or '', token or ''} end
local last, length = redis.call('GET', KEYS[5]) or '', tostring(redis.call('LLEN', KEYS[4]))
if last ~= ARGV[3] or length ~= ARGV[4] then return {'moved', last, length} end
redis.call('RPUSH', KEYS[4], unpack(ARGV, 7))
if ARGV[6] == 'instead' then redis.call('LTRIM', KEYS[4], -1, -1) end
redis.call('SET', KEYS[5], ARGV[5])
return {'kept'}";

/// `name, token`. `released`, or `lost, lease, token`.
pub(super) const RELEASE: &str = r"
local lease, token = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if lease ~= ARGV[1] or token ~= ARGV[2] then return {'lost', lease or '', token or ''} end
redis.call('DEL', KEYS[1])
return {'released'}";

/// `holder, lease ms`: what [`LOOK`] found. Takes the lease from a holder that has not renewed it and whose end the
/// Redis has put off by itself: it lives on for longer than whoever took it has ever asked for. `lapsed`, or `kept`.
pub(super) const LAPSE: &str = r"
local holder, left = redis.call('GET', KEYS[3]), redis.call('PTTL', KEYS[1])
if holder ~= ARGV[1] or left <= tonumber(ARGV[2]) then return {'kept'} end
redis.call('DEL', KEYS[1])
return {'lapsed'}";

/// `token, end, entry`. `kept`, or `held, by`, or `used`. Begins a journal where there is none.
pub(super) const BEGIN: &str = r"
local lease = redis.call('GET', KEYS[1])
if lease then return {'held', lease} end
if redis.call('EXISTS', KEYS[4], KEYS[5]) > 0 then return {'used'} end
if (tonumber(redis.call('GET', KEYS[2]) or '0')) < tonumber(ARGV[1]) then redis.call('SET', KEYS[2], ARGV[1]) end
redis.call('RPUSH', KEYS[4], ARGV[3])
redis.call('SET', KEYS[5], ARGV[2])
return {'kept'}";
