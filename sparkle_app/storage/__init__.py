"""SQL: the engine, the columns that every plugin's tables have, and the statements that are the same for every one."""
