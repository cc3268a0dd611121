-- What is billed: counted in the transaction that stores the events, never by scanning them.

create table usage_ledger (
  writer integer not null,
  segment_no bigint not null,
  site_id text not null,
  usage_day date not null,
  accepted integer not null default 0,
  duplicate integer not null default 0,
  rejected integer not null default 0,
  withheld integer not null default 0,
  bots integer not null default 0,
  bytes bigint not null default 0,
  primary key (writer, segment_no, site_id, usage_day)
);
create index usage_ledger_usage_day on usage_ledger using brin (usage_day);
