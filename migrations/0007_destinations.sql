-- What is known of each destination, and what was removed from the database after delivery.

-- conditional: whether the store refuses to overwrite an object when it is told so (If-None-Match), as it was found
-- where `place` says. The error is that of the last run, null when it went well.
create table destinations (
  name text primary key,
  place text not null default '',
  conditional boolean,
  probed_at timestamptz,
  guide_version integer,
  tried_at timestamptz,
  succeeded_at timestamptz,
  failures integer not null default 0,
  error text,
  hint text
);

-- One row for each load whose events are gone: rows here and rows there are together what was accepted.
create table removed (
  writer integer not null,
  segment_no bigint not null,
  events integer not null,
  rejected integer not null,
  reason text not null,
  removed_at timestamptz not null default now(),
  primary key (writer, segment_no)
);
