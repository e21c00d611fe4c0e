-- On whose behalf a task is, who can be asked for it. Of one that waits for that person, and of one that was
-- denied, until is when that is over.
ALTER TABLE tasks ADD COLUMN person {{key}} NOT NULL DEFAULT '';
CREATE INDEX tasks_person ON tasks (person, state) WHERE person <> '';
DROP INDEX tasks_until;
CREATE INDEX tasks_until ON tasks (until) WHERE state IN ('open', 'waiting');
