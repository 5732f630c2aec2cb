// A schedule is one node, whoever sees it first.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_schedule_key IF NOT EXISTS FOR (n:RunbookSchedule) REQUIRE n.key IS UNIQUE;
