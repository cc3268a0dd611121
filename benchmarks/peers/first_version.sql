-- The first version's table and indexes. event_id, created_at: the names that users know.
create table if not exists events_log (
  id serial primary key,
  event_id uuid default gen_random_uuid(),
  event_type varchar(50),
  session_id text,
  visitor_id text,
  site_id varchar(100),
  timestamp timestamptz,
  url text,
  path varchar(500),
  user_agent text,
  ip_address inet,
  raw_event_data jsonb,
  created_at timestamptz default now(),
  processed_at timestamptz
);
create index if not exists events_log_timestamp on events_log (timestamp);
create index if not exists events_log_site_id_created_at on events_log (site_id, created_at);
create index if not exists events_log_processed_at on events_log (processed_at);
