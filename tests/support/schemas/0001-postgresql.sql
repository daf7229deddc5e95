-- The tables of schema revision 0001, with which databases exist: never change this file.

CREATE TABLE pu_workload_readings (
    id UUID NOT NULL,
    config_id BIGINT NOT NULL,
    hostname VARCHAR(1024) NOT NULL,
    metric VARCHAR(255) NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    clock_trusted BOOLEAN NOT NULL,
    topic VARCHAR(249) NOT NULL,
    partition INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_pu_workload_readings_hostname_observed_at ON pu_workload_readings (hostname, observed_at);

CREATE TABLE pu_workload_aggregates (
    hostname VARCHAR(1024) NOT NULL,
    metric VARCHAR(255) NOT NULL,
    resolution INTEGER NOT NULL,
    bucket_start TIMESTAMP WITH TIME ZONE NOT NULL,
    count BIGINT NOT NULL,
    sum DOUBLE PRECISION NOT NULL,
    minimum DOUBLE PRECISION NOT NULL,
    maximum DOUBLE PRECISION NOT NULL,
    last DOUBLE PRECISION NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (hostname, metric, resolution, bucket_start)
);

CREATE INDEX ix_pu_workload_aggregates_bucket_start ON pu_workload_aggregates (bucket_start);

CREATE TABLE temperature_readings (
    id UUID NOT NULL,
    config_id BIGINT NOT NULL,
    hostname VARCHAR(1024) NOT NULL,
    metric VARCHAR(255) NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    clock_trusted BOOLEAN NOT NULL,
    topic VARCHAR(249) NOT NULL,
    partition INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_temperature_readings_hostname_observed_at ON temperature_readings (hostname, observed_at);

CREATE TABLE temperature_aggregates (
    hostname VARCHAR(1024) NOT NULL,
    metric VARCHAR(255) NOT NULL,
    resolution INTEGER NOT NULL,
    bucket_start TIMESTAMP WITH TIME ZONE NOT NULL,
    count BIGINT NOT NULL,
    sum DOUBLE PRECISION NOT NULL,
    minimum DOUBLE PRECISION NOT NULL,
    maximum DOUBLE PRECISION NOT NULL,
    last DOUBLE PRECISION NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (hostname, metric, resolution, bucket_start)
);

CREATE INDEX ix_temperature_aggregates_bucket_start ON temperature_aggregates (bucket_start);
