-- What was delivered: a plan is durable before the first byte leaves, and each destination has its own state.

-- One chunk: whole loads of one UTC hour, at most export.rows_max rows.
create table exports (
  export_id bigint primary key,
  export_key text not null unique,
  hour timestamptz not null,
  first_received_at timestamptz not null,
  last_received_at timestamptz not null,
  rows bigint not null,
  planned_at timestamptz not null default now()
);

-- Which loads a chunk holds. Each range of a writer follows the one before it: a range names its predecessor's
-- end, and an end can be followed only once, so that ranges cannot overlap and cannot leave a gap.
create table export_ranges (
  export_id bigint not null references exports,
  writer integer not null,
  previous_segment_no bigint,
  first_segment_no bigint not null,
  last_segment_no bigint not null,
  primary key (writer, last_segment_no),
  unique (writer, previous_segment_no),
  -- deferred: a clock that was set back makes an earlier hour of later segments, all planned in one transaction
  foreign key (writer, previous_segment_no) references export_ranges (writer, last_segment_no)
    deferrable initially deferred,
  check (first_segment_no = coalesce(previous_segment_no + 1, 0)),
  check (last_segment_no >= first_segment_no)
);
create unique index export_ranges_first on export_ranges (writer) where previous_segment_no is null;
create index export_ranges_export_id on export_ranges (export_id);

create table manifests (
  destination text not null,
  sequence bigint not null,
  key text not null,
  body bytea not null,
  sha256 bytea not null,
  rows bigint not null,
  files integer not null,
  bytes bigint not null,
  created_at timestamptz not null,
  published_at timestamptz,
  primary key (destination, sequence)
);

create table deliveries (
  destination text not null,
  export_id bigint not null references exports,
  format text not null,
  key text not null,
  state text not null default 'planned' check (state in ('planned', 'rendered', 'stored', 'published')),
  rows bigint,
  bytes bigint,
  sha256 bytea,
  rows_by_site jsonb,
  manifest_sequence bigint,
  attempts integer not null default 0,
  error text,
  changed_at timestamptz not null default now(),
  primary key (destination, export_id, format),
  unique (destination, key),
  foreign key (destination, manifest_sequence) references manifests
);
create index deliveries_unpublished on deliveries (destination, export_id) where state <> 'published';

-- The table as people query it: with the moment at which an event had reached every destination.
create view events as
select e.*, delivered.processed_at
  from events_log e
  left join export_ranges r
    on r.writer = e.writer and e.segment_no between r.first_segment_no and r.last_segment_no
  left join (
    select d.export_id, case when bool_and(d.state = 'published') then max(d.changed_at) end as processed_at
      from deliveries d
     group by d.export_id
  ) delivered on delivered.export_id = r.export_id;
