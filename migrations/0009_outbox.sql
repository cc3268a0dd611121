-- What others are to be told: a message is written in the transaction that makes it true, and sent later.

-- kind and key name what happened, once. Who receives a message is decided by the first `usage notify` after it: that
-- gives it its id, which is the same whenever the same is told again, and the bytes that are signed and sent.
-- json, not jsonb: members keep their order.
create table outbox (
  outbox_id bigint generated always as identity primary key,
  kind text not null,
  key text not null,
  data json not null,
  created_at timestamptz not null default now(),
  message_id uuid unique,
  payload text,
  unique (kind, key),
  check ((message_id is null) = (payload is null))
);
create index outbox_undecided on outbox (outbox_id) where message_id is null;

-- One row for each channel that receives a message. next_attempt_at is null when nothing more is to be done: it was
-- delivered, or given up.
create table outbox_deliveries (
  outbox_id bigint not null references outbox on delete cascade,
  channel text not null check (channel in ('webhook', 'email')),
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  delivered_at timestamptz,
  error text,
  primary key (outbox_id, channel),
  check (delivered_at is null or next_attempt_at is null)
);
create index outbox_deliveries_due on outbox_deliveries (channel, next_attempt_at) where next_attempt_at is not null;
