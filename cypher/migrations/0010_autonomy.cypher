// Rungs of the ladder of autonomy with their history, and the evidence that they are earned by.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_autonomy_standing_key IF NOT EXISTS FOR (n:AutonomyStanding) REQUIRE n.key IS UNIQUE;
CREATE CONSTRAINT rootmend_autonomy_move_id IF NOT EXISTS FOR (n:AutonomyMove) REQUIRE n.id IS UNIQUE;
CREATE INDEX rootmend_autonomy_move_of IF NOT EXISTS FOR (n:AutonomyMove) ON (n.key);
CREATE INDEX rootmend_execution_finished IF NOT EXISTS FOR (n:RunbookExecution) ON (n.finished_at);
