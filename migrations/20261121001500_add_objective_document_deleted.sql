-- A version that takes its document out of force; its body is what stood until then.
alter table objective_document add column deleted boolean not null default false;
