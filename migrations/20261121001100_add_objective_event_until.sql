-- Until when an approval holds; null: for good.
alter table objective_event add column until timestamptz;
