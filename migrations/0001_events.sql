-- What was collected: events by day, the loads they came in, and the keys that recognise a retry.

-- The position of the loader in each writer's spool folder. Moved only in the transaction that stores a segment.
create table writers (
  writer integer primary key,
  next_segment_no bigint not null default 0,
  first_seen_at timestamptz not null default now()
);

-- One row per sealed segment; the primary key makes a second load of the same segment impossible. A segment that was
-- given up (see audit_log) has a row too, so that numbers have no gap.
create table loads (
  writer integer not null,
  segment_no bigint not null,
  sha256 bytea not null,
  hour timestamptz not null,
  first_received_at timestamptz not null,
  last_received_at timestamptz not null,
  accepted integer not null,
  duplicate integer not null,
  rejected integer not null,
  withheld integer not null,
  damaged integer not null,
  bytes bigint not null,
  lost boolean not null default false,
  loaded_at timestamptz not null default now(),
  primary key (writer, segment_no)
);

-- No key and no B-tree: (writer, segment_no, idx) is the row's identity, the loads row guards it,
-- and each index costs microseconds a row (see docs/benchmarks.md).
create table events_log (
  writer integer not null,
  segment_no bigint not null,
  idx integer not null,
  created_at timestamptz not null,
  event_id uuid not null,
  event_type text not null,
  session_id text,
  visitor_id text,
  site_id text not null,
  timestamp timestamptz not null,
  url text,
  path text,
  user_agent text,
  ip_address inet,
  raw_event_data jsonb not null,
  event_id_reused boolean not null default false
) partition by range (created_at);
create index events_log_created_at on events_log using brin (created_at) with (pages_per_range = 32, autosummarize = on);

create table rejected_events (
  writer integer not null,
  segment_no bigint not null,
  idx integer not null,
  created_at timestamptz not null,
  site_id text,
  code text not null,
  message text not null,
  event text not null
) partition by range (created_at);
create index rejected_events_created_at on rejected_events using brin (created_at);

-- key: the event's id. fingerprint: of the site and the event's content. idx: the row that owns the key,
-- so that an insert can tell which of its own rows survived.
create table dedup_keys (
  day date not null,
  key uuid not null,
  fingerprint bigint not null,
  idx integer not null
) partition by range (day);

create table sites (
  site_id text primary key,
  first_seen_at timestamptz not null default now()
);

-- Makes the partitions of one UTC day. Attaching takes a weaker lock than "create table ... partition of",
-- which would wait for every reader of the parent, a running export too.
create function ensure_partitions(day date) returns void language plpgsql as $$
declare
  suffix text := to_char(day, 'YYYYMMDD');
  parent text;
begin
  foreach parent in array array['events_log', 'rejected_events'] loop
    if to_regclass(parent || '_' || suffix) is null then
      execute format('create table %I (like %I including defaults including constraints)', parent || '_' || suffix, parent);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, parent || '_' || suffix,
                     day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
    end if;
  end loop;
  if to_regclass('dedup_keys_' || suffix) is null then
    execute format('create table %I (like dedup_keys including constraints, primary key (key))', 'dedup_keys_' || suffix);
    execute format('alter table dedup_keys attach partition %I for values from (%L) to (%L)', 'dedup_keys_' || suffix, day, day + 1);
  end if;
end $$;
