-- A dissector of YAK's protocol for Wireshark and tshark. Put it into the folder of personal Lua
-- plugins (Help, About, Folders), or name it: tshark -X lua_script:yak.lua -r capture.pcap
-- Written by `yak decode --wireshark-dissector` from the tables of the code; do not edit.

local VERSION = 1
local PREFIX_BYTES = 4
local FRAME_BYTES_CEILING = 134217727
local NESTING_MAX = 32
local HEADER_BYTES = 61
local PORTS = "9700-9708"

-- kind = the role of a listener that takes it
local KINDS = {
  hello = "client",
  publish = "client",
  consume = "client",
  metadata = "client",
  offsets = "client",
  leader_info = "client",
  create_topic = "client",
  delete_topic = "client",
  alter_topic = "client",
  delete_records = "client",
  register_producer = "client",
  register_consumer = "client",
  replicate = "replica",
  read_range = "replica",
  recollect = "control",
  register_broker = "control",
  heartbeat = "control",
  propose_isr = "control",
  stream_silent = "control",
  probe = "control",
  producer_ids = "control",
  elect = "client",
  drain = "client",
  why = "client",
  raft_vote = "control",
  raft_append = "control",
  raft_snapshot = "control",
  coordinator_hello = "control",
  change_peers = "client",
  move_partitions = "client",
  cancel_moves = "client",
  list_moves = "client",
  replace_broker = "client",
  decommission_broker = "client",
  elect_preferred = "client",
  group_heartbeat = "client",
  group_commit = "client",
  group_fetch = "client",
  group_describe = "client",
  group_list = "client",
  group_delete = "client",
}

-- `replicate` frames with one of these are a follower's
local FOLLOWER_KEYS = { cluster_id = true, broker_id = true, open = true, ack = true, close = true, }

local ERRORS = {
  [1] = "BAD_FRAME",
  [2] = "FRAME_TOO_LARGE",
  [3] = "UNKNOWN_KIND",
  [4] = "WRONG_ROLE",
  [5] = "BAD_REQUEST",
  [6] = "NOT_LEADER",
  [7] = "NO_LEADER",
  [8] = "UNKNOWN_TOPIC",
  [9] = "UNKNOWN_PARTITION",
  [10] = "ILLEGAL_TOPIC_NAME",
  [11] = "TOPIC_EXISTS",
  [12] = "BAD_BATCH",
  [13] = "BATCH_TOO_LARGE",
  [14] = "NOT_ENOUGH_REPLICAS",
  [15] = "STORAGE_FULL",
  [16] = "OUTCOME_UNKNOWN",
  [17] = "OFFSET_OUT_OF_RANGE",
  [18] = "HW_UNKNOWN",
  [19] = "LEASE_OVER",
  [20] = "FENCED",
  [21] = "UNKNOWN_EPOCH",
  [22] = "UNKNOWN_SESSION",
  [23] = "PRODUCER_FENCED",
  [24] = "OUT_OF_ORDER_SEQUENCE",
  [25] = "UNKNOWN_PRODUCER_ID",
  [26] = "DAMAGED",
  [27] = "DUPLICATE_BROKER",
  [28] = "WRONG_CLUSTER",
  [29] = "STALE_BROKER_EPOCH",
  [30] = "COORDINATOR_UNAVAILABLE",
  [31] = "NOT_ENOUGH_BROKERS",
  [32] = "NOT_READY",
  [33] = "SHUTTING_DOWN",
  [34] = "TIMEOUT",
  [35] = "OVERLOADED",
  [36] = "NOT_APPLIED",
  [37] = "UNSUPPORTED_VERSION",
  [38] = "INTERNAL",
  [39] = "WRONG_PROCESS",
  [40] = "RECOVERING",
  [41] = "AUTO_CREATE_OFF",
  [42] = "DISABLED",
  [43] = "PROTO",
  [44] = "NOT_ACTIVE",
  [45] = "DECOMMISSIONED",
  [50] = "NOT_COORDINATOR",
  [51] = "UNKNOWN_GROUP",
  [52] = "UNKNOWN_MEMBER",
  [53] = "STALE_GENERATION",
  [54] = "FENCED_INSTANCE",
  [55] = "GROUP_NOT_EMPTY",
  [56] = "COMMIT_BEHIND",
  [57] = "INTERNAL_TOPIC",
}

-- the header of a batch: name, first byte, bytes, whether it has a sign
local HEADER = {
  { "base offset", 0, 8, false },
  { "batch length", 8, 4, false },
  { "leader epoch", 12, 4, false },
  { "magic", 16, 1, false },
  { "CRC-32C", 17, 4, false },
  { "attributes", 21, 2, false },
  { "last offset delta", 23, 4, false },
  { "base timestamp", 27, 8, true },
  { "largest timestamp", 35, 8, true },
  { "producer id", 43, 8, true },
  { "producer epoch", 51, 2, true },
  { "base sequence", 53, 4, true },
  { "record count", 57, 4, false },
}

local yak = Proto("yak", "YAK")

local fields = {
  length = ProtoField.uint32("yak.length", "Length"),
  version = ProtoField.uint8("yak.version", "Version"),
  id = ProtoField.uint64("yak.id", "Id"),
  kind = ProtoField.string("yak.kind", "Kind"),
  role = ProtoField.string("yak.role", "Role"),
  shape = ProtoField.string("yak.shape", "Shape"),
  topic = ProtoField.string("yak.topic", "Topic"),
  code = ProtoField.uint16("yak.error", "Error", base.DEC, ERRORS),
  body = ProtoField.none("yak.body", "Body"),
  bin = ProtoField.none("yak.bin", "Batches"),
  batch = ProtoField.none("yak.batch", "Batch"),
  text = ProtoField.string("yak.text", "Text"),
}
yak.fields = fields

local malformed = ProtoExpert.new("yak.malformed", "Not as the protocol says", expert.group.MALFORMED, expert.severity.ERROR)
local unknown = ProtoExpert.new("yak.unknown", "Not known to this version", expert.group.UNDECODED, expert.severity.WARN)
yak.experts = { malformed, unknown }

-- 2 to the power of the index
local POWERS = { [0] = 1, 2, 4, 8, 16 }

-- The head of the MessagePack value at `at`: its type, where its contents begin, and what they are: a number,
-- or how many bytes or values follow. Lua stops with an error beyond the end; `dissect_frame` catches it.
local function head(tvb, at)
  local b = tvb(at, 1):uint()
  if b <= 0x7f then return "int", at + 1, b end
  if b <= 0x8f then return "map", at + 1, b - 0x80 end
  if b <= 0x9f then return "array", at + 1, b - 0x90 end
  if b <= 0xbf then return "str", at + 1, b - 0xa0 end
  if b >= 0xe0 then return "int", at + 1, b - 0x100 end
  if b == 0xc0 then return "nil", at + 1, "nil" end
  if b == 0xc2 then return "bool", at + 1, "false" end
  if b == 0xc3 then return "bool", at + 1, "true" end
  if b >= 0xc4 and b <= 0xc6 then
    local size = POWERS[b - 0xc4]
    return "bin", at + 1 + size, tvb(at + 1, size):uint()
  end
  if b >= 0xc7 and b <= 0xc9 then
    local size = POWERS[b - 0xc7]
    return "ext", at + 2 + size, tvb(at + 1, size):uint()
  end
  if b == 0xca then return "float", at + 5, tostring(tvb(at + 1, 4):float()) end
  if b == 0xcb then return "float", at + 9, tostring(tvb(at + 1, 8):float()) end
  if b >= 0xcc and b <= 0xce then
    local size = POWERS[b - 0xcc]
    return "int", at + 1 + size, tvb(at + 1, size):uint()
  end
  if b == 0xcf then return "int", at + 9, tostring(tvb(at + 1, 8):uint64()) end
  if b >= 0xd0 and b <= 0xd2 then
    local size = POWERS[b - 0xd0]
    return "int", at + 1 + size, tvb(at + 1, size):int()
  end
  if b == 0xd3 then return "int", at + 9, tostring(tvb(at + 1, 8):int64()) end
  if b >= 0xd4 and b <= 0xd8 then return "ext", at + 2, POWERS[b - 0xd4] end
  if b >= 0xd9 and b <= 0xdb then
    local size = POWERS[b - 0xd9]
    return "str", at + 1 + size, tvb(at + 1, size):uint()
  end
  if b == 0xdc or b == 0xdd then
    local size = POWERS[b - 0xdc + 1]
    return "array", at + 1 + size, tvb(at + 1, size):uint()
  end
  if b == 0xde or b == 0xdf then
    local size = POWERS[b - 0xde + 1]
    return "map", at + 1 + size, tvb(at + 1, size):uint()
  end
  error("byte " .. at .. " is not MessagePack")
end

-- Bytes as text, with what is not printable escaped.
local function printable(tvb, at, length)
  if length == 0 then return '""' end
  local shown = math.min(length, 80)
  local raw = tvb(at, shown):raw()
  local text = raw:gsub("[^\32-\126]", function(c) return string.format("\\x%02x", c:byte()) end)
  return '"' .. text .. '"' .. (length > shown and ".. (" .. length .. " bytes)" or "")
end

-- Adds the value at `at` to the tree, and everything in it; returns where the next one begins, and the value
-- itself if it is a plain one. `found` collects what the summary is made of.
local function add(tree, tvb, at, label, depth, found)
  if depth > NESTING_MAX then error("nested more than " .. NESTING_MAX .. " deep") end
  local kind, from, what = head(tvb, at)
  if kind == "map" or kind == "array" then
    local branch = tree:add(tvb(at), label .. kind .. " of " .. what)
    local next = from
    for index = 1, what do
      local name = "[" .. (index - 1) .. "] "
      local key
      local start = next
      if kind == "map" then
        local key_kind, key_from, key_length = head(tvb, next)
        if key_kind == "str" then
          key = key_length > 0 and tvb(key_from, key_length):string() or ""
          name = key .. ": "
          next = key_from + key_length
        else
          next = add(branch, tvb, next, "key: ", depth + 1, found)
        end
      end
      local value
      next, value = add(branch, tvb, next, name, depth + 1, found)
      if depth == 2 and key == "ok" then found.ok = value end
      if depth == 2 and FOLLOWER_KEYS[key or ""] then found.follower = true end
      if key == "code" and type(value) == "number" then
        branch:add(fields.code, tvb(start, next - start), value)
        found.error = ERRORS[value] or ("error " .. value)
      end
      if key == "topic" and type(value) == "string" then
        branch:add(fields.topic, tvb(start, next - start), value):set_hidden()
        found.topic = found.topic or value
      end
    end
    branch:set_len(next - at)
    return next
  end
  local value, next, text = what, from, tostring(what)
  if kind == "str" or kind == "bin" then
    next = from + what
    value = what > 0 and tvb(from, what):string() or ""
    text = (kind == "bin" and "bytes " or "") .. printable(tvb, from, what)
  elseif kind == "ext" then
    next = from + what
    text = "extension of " .. what .. " bytes"
  end
  tree:add(tvb(at, next - at), label .. text)
  return next, value
end

local function add_batches(tree, tvb, at, length)
  local branch = tree:add(fields.bin, tvb(at, length))
  branch:append_text(": " .. length .. " bytes")
  local stop = at + length
  while stop - at >= HEADER_BYTES do
    local size = tvb(at + 8, 4):uint() + 12
    if at + size > stop then break end
    local batch = branch:add(fields.batch, tvb(at, size))
    for _, field in ipairs(HEADER) do
      local name, first, bytes, signed = table.unpack(field)
      local range = tvb(at + first, bytes)
      local number
      if bytes == 8 then
        number = tostring(signed and range:int64() or range:uint64())
      else
        number = signed and range:int() or range:uint()
      end
      batch:add(range, name .. ": " .. number)
      if name == "base offset" then batch:append_text(" at offset " .. number) end
      if name == "record count" then batch:append_text(", " .. number .. " records") end
    end
    if size > HEADER_BYTES then
      batch:add(tvb(at + HEADER_BYTES, size - HEADER_BYTES), "records: " .. (size - HEADER_BYTES) .. " bytes")
    end
    at = at + size
  end
  if at < stop then branch:add_proto_expert_info(malformed, (stop - at) .. " bytes are no batch") end
end

local function add_envelope(tree, tvb, pinfo)
  local _, at, count = head(tvb, PREFIX_BYTES)
  local _, after_version, version = head(tvb, at)
  tree:add(fields.version, tvb(at, after_version - at), version)
  if version ~= VERSION then tree:add_proto_expert_info(unknown, "version " .. version) end
  local _, after_id, id = head(tvb, after_version)
  if after_id - after_version == 9 then
    tree:add(fields.id, tvb(after_version + 1, 8))
  else
    tree:add(fields.id, tvb(after_version, after_id - after_version), UInt64.new(id))
  end
  local _, kind_at, kind_length = head(tvb, after_id)
  local kind = tvb(kind_at, kind_length):string()
  local kind_tree = tree:add(fields.kind, tvb(kind_at, kind_length))
  if KINDS[kind] then
    kind_tree:add(fields.role, KINDS[kind]):set_generated()
  elseif kind ~= "error" then
    tree:add_proto_expert_info(unknown, "kind " .. kind)
  end

  local body_at = kind_at + kind_length
  local body = tree:add(fields.body, tvb(body_at))
  local found = {}
  local after = add(body, tvb, body_at, "", 2, found)
  body:set_len(after - body_at)
  local shape = "request"
  if found.ok then
    shape = found.ok == "true" and "reply" or "refusal"
  elseif id == 0 and not (kind == "replicate" and found.follower) then
    shape = "push"
  end
  tree:add(fields.shape, shape):set_generated()

  if count > 4 then
    local _, bin_at, length = head(tvb, after)
    if length > 0 then add_batches(tree, tvb, bin_at, length) end
    after = bin_at + length
  end
  if after < tvb:len() then
    tree:add_proto_expert_info(malformed, (tvb:len() - after) .. " bytes too many")
  end

  local summary = kind .. " " .. shape .. " " .. id
  if found.topic then summary = summary .. " " .. found.topic end
  if found.error then summary = summary .. " " .. found.error end
  tree:append_text(", " .. summary)
  pinfo.cols.info:append(" [" .. summary .. "]")
end

local function dissect_frame(tvb, pinfo, root)
  pinfo.cols.protocol = "YAK"
  local tree = root:add(yak, tvb())
  tree:add(fields.length, tvb(0, PREFIX_BYTES))
  local fine, problem = pcall(add_envelope, tree, tvb, pinfo)
  if not fine then tree:add_proto_expert_info(malformed, tostring(problem)) end
  return tvb:len()
end

local function frame_length(tvb, pinfo, offset)
  local length = tvb(offset, PREFIX_BYTES):uint()
  -- What is no length cannot be followed: the rest is shown as one.
  if length == 0 or length > FRAME_BYTES_CEILING then return tvb:len() - offset end
  return length + PREFIX_BYTES
end

function yak.dissector(tvb, pinfo, root)
  if tvb:len() == 0 then return 0 end
  if tvb(0, 1):uint() > math.floor(FRAME_BYTES_CEILING / 0x1000000) then
    pinfo.cols.protocol = "YAK text"
    local line = tvb(0, math.min(tvb:len(), 120)):string():gsub("[\r\n].*", "")
    pinfo.cols.info:append(" [" .. line .. "]")
    root:add(yak, tvb()):add(fields.text, tvb())
    return tvb:len()
  end
  dissect_tcp_pdus(tvb, root, PREFIX_BYTES, frame_length, dissect_frame)
  return tvb:len()
end

-- On other ports: what begins as a frame with an envelope does.
local function guess(tvb, pinfo, root)
  if tvb:len() < PREFIX_BYTES + 3 then return false end
  local length, array = tvb(0, PREFIX_BYTES):uint(), tvb(PREFIX_BYTES, 1):uint()
  if length == 0 or length > FRAME_BYTES_CEILING then return false end
  if (array ~= 0x94 and array ~= 0x95) or tvb(PREFIX_BYTES + 1, 1):uint() ~= VERSION then return false end
  pinfo.conversation = yak
  yak.dissector(tvb, pinfo, root)
  return true
end

DissectorTable.get("tcp.port"):add(PORTS, yak)
yak:register_heuristic("tcp", guess)
