-- What is open at a site, for pages that ask again every few seconds. Its twin is ../sqlite/0008_site_tickets.sql.

CREATE INDEX tickets_site ON tickets (site) WHERE status <> 'closed';
