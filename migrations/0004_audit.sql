-- Who decided what: decisions that change what the data means, and who may change it.

create table audit_log (
  audit_id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text not null,
  action text not null,
  details jsonb not null
);
