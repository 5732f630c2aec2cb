// What the storm breaker has stopped, so that an emptied Redis cannot forget it.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_storm_id IF NOT EXISTS FOR (n:StormStop) REQUIRE n.id IS UNIQUE;
CREATE INDEX rootmend_storm_at IF NOT EXISTS FOR (n:StormStop) ON (n.at);
