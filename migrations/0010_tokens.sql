-- Who may ask the operator's API, and a record of changes that shows when somebody has changed it.

-- The token itself is kept nowhere. One that was revoked stays, for audit_log speaks of it.
create table tokens (
  token_id bigint generated always as identity primary key,
  name text not null,
  sha256 bytea not null unique,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  check (scopes <> '{}' and scopes <@ array['read', 'export', 'admin'])
);
create unique index tokens_name on tokens (name) where revoked_at is null;

-- Each row names the digest of the one before it, so that none can be changed or taken away unnoticed.
alter table audit_log add column sha256 bytea;

create function audit_digest(previous bytea, entry audit_log) returns bytea language sql stable as $$
  select sha256(coalesce(previous, '') || convert_to(jsonb_build_array(
           entry.audit_id, extract(epoch from entry.at), entry.actor, entry.action, entry.details)::text, 'UTF8'))
$$;

-- Numbers follow each other: one that is missing tells too. The lock is held until the end of the transaction, which
-- is short wherever something is recorded.
create function audit_chain() returns trigger language plpgsql as $$
declare
  newest audit_log;
begin
  perform pg_advisory_xact_lock(111559115629684); -- "evaudt": any number that nothing else here locks
  select * into newest from audit_log order by audit_id desc limit 1;
  new.audit_id := coalesce(newest.audit_id, 0) + 1;
  new.sha256 := audit_digest(newest.sha256, new);
  return new;
end $$;

create function audit_refuse() returns trigger language plpgsql as $$
begin
  raise exception 'audit_log only grows';
end $$;

do $$
declare
  entry audit_log;
  previous bytea;
begin
  for entry in select * from audit_log order by audit_id loop
    previous := audit_digest(previous, entry);
    update audit_log set sha256 = previous where audit_id = entry.audit_id;
  end loop;
end $$;

alter table audit_log alter column sha256 set not null;
create trigger audit_chain before insert on audit_log for each row execute function audit_chain();
create trigger audit_refuse before update or delete on audit_log for each row execute function audit_refuse();
create trigger audit_refuse_truncate before truncate on audit_log execute function audit_refuse();

-- The entries that are not what the one before them, and they themselves, say: none when all is as it was written.
create view audit_problems as
select audit_id, at, actor, action
  from (
    select a as entry, lag(a.sha256) over (order by a.audit_id) as previous from audit_log a
  ) chain, lateral (select (entry).audit_id, (entry).at, (entry).actor, (entry).action) as named
 where (entry).sha256 <> audit_digest(previous, entry);
