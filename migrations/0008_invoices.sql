-- What is billed: sums of the ledger that are quick to ask, invoices, and a guard over what must stay as it was written.

-- A load has a row for each site, so that a month may have as many as it has events. Sums of whole blocks of 16
-- loads are kept by site and day: reports read these, and the ledger only behind each writer's last whole block.
create table usage_sums (
  usage_day date not null,
  site_id text not null,
  accepted bigint not null,
  duplicate bigint not null,
  rejected bigint not null,
  withheld bigint not null,
  bots bigint not null,
  bytes bigint not null,
  primary key (usage_day, site_id)
) with (fillfactor = 50); -- today's rows are updated in their place

create function sum_usage(of_writer integer, first bigint, next bigint) returns void language sql as $$
  insert into usage_sums as s (usage_day, site_id, accepted, duplicate, rejected, withheld, bots, bytes)
  select usage_day, site_id, sum(accepted), sum(duplicate), sum(rejected), sum(withheld), sum(bots), sum(bytes)
    from usage_ledger
   where writer = of_writer and segment_no >= first and segment_no < next
   group by usage_day, site_id
  on conflict (usage_day, site_id) do update
     set accepted = s.accepted + excluded.accepted, duplicate = s.duplicate + excluded.duplicate,
         rejected = s.rejected + excluded.rejected, withheld = s.withheld + excluded.withheld,
         bots = s.bots + excluded.bots, bytes = s.bytes + excluded.bytes
$$;

-- In the transaction that moves a writer's position, whoever moves it: sums and ledger cannot disagree.
create function sum_whole_blocks() returns trigger language plpgsql as $$
begin
  perform sum_usage(new.writer, old.next_segment_no / 16 * 16, new.next_segment_no / 16 * 16);
  return null;
end $$;
create trigger sum_whole_blocks after update of next_segment_no on writers
  for each row when (new.next_segment_no / 16 > old.next_segment_no / 16) execute function sum_whole_blocks();

-- No load between the sums of what is there and the first block that the trigger adds.
lock table writers in share row exclusive mode;
select sum_usage(writer, 0, next_segment_no / 16 * 16) from writers;

-- Rows that add up to the ledger. "offset 0" keeps each writer's tail a question of its own, which the primary key
-- answers: joined with the rest, the planner would rather read all of the ledger.
create view usage_counts as
select usage_day, site_id, accepted, duplicate, rejected, withheld, bots, bytes from usage_sums
union all
select tail.usage_day, tail.site_id, tail.accepted, tail.duplicate, tail.rejected, tail.withheld, tail.bots, tail.bytes
  from writers w
 cross join lateral (
   select * from usage_ledger l
    where l.writer = w.writer and l.segment_no >= w.next_segment_no / 16 * 16 and l.segment_no < w.next_segment_no
   offset 0
 ) tail;

-- An invoice, or a credit on one. Numbers chain, so that none is missing; a month has one invoice.
create table invoices (
  number bigint primary key,
  previous_number bigint unique references invoices,
  name text not null unique,
  instance text not null,
  month date not null check (month = date_trunc('month', month)),
  corrects bigint references invoices,
  reason text,
  amount numeric not null,
  currency text not null,
  events bigint not null default 0,
  billable bigint not null default 0,
  duplicates bigint not null default 0,
  bots bigint not null default 0,
  rejected bigint not null default 0,
  withheld bigint not null default 0,
  tariff json,
  lines json not null,
  sites json not null default '[]',
  closed_at timestamptz not null default now(),
  closed_by text not null,
  check (number = coalesce(previous_number + 1, 1)),
  check ((corrects is null) = (reason is null)),
  check ((corrects is null) = (tariff is not null)),
  check ((corrects is null) = (amount >= 0)),
  unique (corrects, reason)
);
create unique index invoices_month on invoices (month) where corrects is null;

-- Which loads an invoice covers: ranges of a writer chain like those of export_ranges.
create table invoice_ranges (
  number bigint not null references invoices,
  writer integer not null,
  previous_segment_no bigint,
  first_segment_no bigint not null,
  last_segment_no bigint not null,
  primary key (writer, last_segment_no),
  unique (writer, previous_segment_no),
  foreign key (writer, previous_segment_no) references invoice_ranges (writer, last_segment_no),
  check (first_segment_no = coalesce(previous_segment_no + 1, 0)),
  check (last_segment_no >= first_segment_no)
);
create unique index invoice_ranges_first on invoice_ranges (writer) where previous_segment_no is null;
create index invoice_ranges_number on invoice_ranges (number);

-- Rights would not do: the tables belong to the role that every command uses. A trigger stops their owner too.
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'rows of % are never changed or deleted', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger insert_only before update or delete or truncate on usage_ledger
  for each statement execute function refuse_change();
create trigger insert_only before update or delete or truncate on invoices
  for each statement execute function refuse_change();
create trigger insert_only before update or delete or truncate on invoice_ranges
  for each statement execute function refuse_change();

-- For questions about one day's loads, of which there may be hundreds of thousands among hundreds of millions.
create index loads_hour on loads using brin (hour);
