-- A role for Grafana, which reads the tables and cannot change anything. Run it as the user of database.url, who owns the
-- tables and needs CREATEROLE, or as a superuser:
--   psql -v ON_ERROR_STOP=1 -v owner=sparkle -v password="$SPARKLE_GRAFANA_PASSWORD" -f postgresql-role.sql sparkle
CREATE ROLE grafana LOGIN CONNECTION LIMIT 10 PASSWORD :'password';
GRANT USAGE ON SCHEMA public TO grafana;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO grafana;
-- Tables of plugins that are installed later.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO grafana;
-- A panel that asks for too much ends, and holds back neither VACUUM nor migrations.
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '30s';
ALTER ROLE grafana SET idle_in_transaction_session_timeout = '30s';
