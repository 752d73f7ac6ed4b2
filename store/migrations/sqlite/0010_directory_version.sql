-- How often the registered devices were changed. Its twin is ../postgres/0010_directory_version.sql.

-- One row. A hub asks for it every few seconds and reads all the devices only when it is another.
CREATE TABLE directory_version (
    version INTEGER NOT NULL
) STRICT;
INSERT INTO directory_version (version) VALUES (1);
