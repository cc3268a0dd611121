-- When a site was last heard of, kept beside its sums: to find it took a look at every load of seven days.

alter table usage_sums add column last_received_at timestamptz;

-- Both tables are told the range: an index of each leads to it, and no plan reads a writer from its first load on.
create or replace function sum_usage(of_writer integer, first bigint, next bigint) returns void language sql as $$
  insert into usage_sums as s
         (usage_day, site_id, accepted, duplicate, rejected, withheld, bots, bytes, last_received_at)
  select u.usage_day, u.site_id, sum(u.accepted), sum(u.duplicate), sum(u.rejected), sum(u.withheld), sum(u.bots),
         sum(u.bytes), max(l.last_received_at)
    from usage_ledger u
    left join loads l on l.writer = of_writer and l.segment_no >= first and l.segment_no < next
                     and l.segment_no = u.segment_no
   where u.writer = of_writer and u.segment_no >= first and u.segment_no < next
   group by u.usage_day, u.site_id
  on conflict (usage_day, site_id) do update
     set accepted = s.accepted + excluded.accepted, duplicate = s.duplicate + excluded.duplicate,
         rejected = s.rejected + excluded.rejected, withheld = s.withheld + excluded.withheld,
         bots = s.bots + excluded.bots, bytes = s.bytes + excluded.bytes,
         last_received_at = greatest(s.last_received_at, excluded.last_received_at)
$$;

-- Of the days that anybody asks about; those before are over.
update usage_sums s
   set last_received_at = recent.last_received_at
  from (
    select u.usage_day, u.site_id, max(l.last_received_at) as last_received_at
      from usage_ledger u join loads l using (writer, segment_no)
     where u.usage_day > (now() at time zone 'UTC')::date - 7
     group by u.usage_day, u.site_id
  ) recent
 where s.usage_day = recent.usage_day and s.site_id = recent.site_id;
