-- A user for Grafana, who reads the tables and cannot change anything. Set the password, then run it as the administrator:
--   mariadb sparkle < mariadb-role.sql
-- MySQL has no MAX_STATEMENT_TIME: remove these words there.
CREATE USER grafana IDENTIFIED BY 'password' WITH MAX_USER_CONNECTIONS 10 MAX_STATEMENT_TIME 30;
GRANT SELECT, SHOW VIEW ON sparkle.* TO grafana;
