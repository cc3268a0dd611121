-- Which part of the events a destination wants.

-- What a destination gets of a chunk, as it was configured when the delivery was planned; {} is everything. And what
-- the guide in its bucket tells of.
alter table deliveries add column selection jsonb not null default '{}';
alter table destinations add column selection jsonb not null default '{}';
