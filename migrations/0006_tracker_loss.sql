-- What trackers recorded, and how much of it arrived: they number the events of each page view, see docs/tracking.md.

-- The day is that on which the page view began by the visitor's clock, which its id tells (UUIDv7, RFC 9562).
-- Seven days: it is for people, and reads all events of them. Numbers that no tracker wrote must not count, nor fail.
create view tracker_loss as
select site_id, began_on as day, sum(sent)::bigint as sent, sum(received)::bigint as received,
       sum(sent - received)::bigint as lost
  from (
    select site_id, view_id, max(sequence) as sent, count(distinct sequence) as received,
           (to_timestamp(('x' || left(replace(view_id, '-', ''), 12))::bit(48)::bigint / 1000.0) at time zone 'UTC')::date
             as began_on
      from (
        select site_id,
               case when data ->> 'viewId' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$'
                    then data ->> 'viewId' end as view_id,
               case when data ->> 'sequence' ~ '^[1-9][0-9]{0,3}$' then (data ->> 'sequence')::integer end as sequence
          from (
            select site_id, raw_event_data -> 'data' as data
              from events_log
             where created_at >= now() - interval '9 days'
          ) recent
      ) numbered
     where view_id is not null and sequence is not null
     group by site_id, view_id
  ) views
 where began_on > (now() at time zone 'UTC')::date - 7
   and began_on <= (now() at time zone 'UTC')::date
 group by site_id, began_on;
