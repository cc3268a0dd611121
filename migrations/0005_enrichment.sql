-- What the collector makes of an event and its request: columns that are NULL for events of before. A default that is
-- constant is no rewrite of the table, and partitions follow their parent.
alter table events_log
  add column is_bot boolean not null default false,
  add column bot_reason text,
  add column browser text,
  add column browser_version text,
  add column os text,
  add column device_type text,
  add column country text,
  add column referrer_type text,
  add column referrer_source text,
  add column utm_source text,
  add column utm_medium text,
  add column utm_campaign text,
  add column utm_term text,
  add column utm_content text,
  add column utm_id text,
  add column click_id_type text;

-- A file that was stored by the version before may be published by this one.
alter table deliveries add column schema_version integer not null default 1;

-- Replaced, not made anew, so that rights and what is built on it stay: new columns can only come last.
create or replace view events as
select e.writer, e.segment_no, e.idx, e.created_at, e.event_id, e.event_type, e.session_id, e.visitor_id, e.site_id,
       e.timestamp, e.url, e.path, e.user_agent, e.ip_address, e.raw_event_data, e.event_id_reused,
       delivered.processed_at,
       e.is_bot, e.bot_reason, e.browser, e.browser_version, e.os, e.device_type, e.country,
       e.referrer_type, e.referrer_source,
       e.utm_source, e.utm_medium, e.utm_campaign, e.utm_term, e.utm_content, e.utm_id, e.click_id_type
  from events_log e
  left join export_ranges r
    on r.writer = e.writer and e.segment_no between r.first_segment_no and r.last_segment_no
  left join (
    select d.export_id, case when bool_and(d.state = 'published') then max(d.changed_at) end as processed_at
      from deliveries d
     group by d.export_id
  ) delivered on delivered.export_id = r.export_id;
