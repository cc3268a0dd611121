-- What kinds of events there are: accepted ones by site, hour and type, added up in the transaction that stores them.

-- The ledger knows no types, and what came before is not counted again: it would be a look at every event.
lock table writers in share row exclusive mode;
alter table writers add column types_from_segment_no bigint not null default 0;
update writers set types_from_segment_no = next_segment_no;

-- By hour, as loads are. A type is a name that a sender chose: see event_types.
create table usage_types (
  hour timestamptz not null,
  site_id text not null,
  event_type text not null,
  events bigint not null,
  primary key (site_id, hour, event_type)
) with (fillfactor = 50); -- this hour's rows are updated in their place
create index usage_types_hour on usage_types using brin (hour) with (pages_per_range = 16);

-- Types that are counted by name, but for those of tracking.js, which are everywhere. A site has so many, and all its
-- further types are one, '(other)': else anybody could make a row an hour for each word that he thinks of.
create table event_types (
  site_id text not null,
  event_type text not null,
  first_seen_at timestamptz not null default now(),
  primary key (site_id, event_type)
);
