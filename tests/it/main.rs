//! The integration tests, in one binary. Each file is named after what it guarantees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy spares only the tests themselves, not what they share"
)]

mod acceptance_controller;
mod acceptance_table;
#[cfg(feature = "host")]
mod agent_model_failures;
mod agent_sessions;
#[cfg(feature = "host")]
mod agent_support;
#[cfg(feature = "host")]
mod agent_tool_calls;
mod agent_turns;
#[cfg(feature = "cli")]
mod asciicast;
#[cfg(feature = "cli")]
mod audit_access;
#[cfg(feature = "audit")]
mod audit_bundle;
#[cfg(feature = "cli")]
mod audit_cli;
#[cfg(feature = "cli")]
mod audit_erasure;
#[cfg(feature = "cli")]
mod audit_report;
#[cfg(feature = "audit")]
mod audit_sealing;
#[cfg(feature = "audit")]
mod audit_support;
#[cfg(all(feature = "audit", feature = "sqlite"))]
mod audit_tampering;
#[cfg(all(feature = "audit", feature = "sqlite"))]
mod audit_verdicts;
#[cfg(feature = "audit")]
mod bundle_damage;
#[cfg(feature = "audit")]
mod bundle_support;
#[cfg(all(feature = "cli", feature = "postgres"))]
mod citus_cluster;
#[cfg(feature = "cli")]
mod cli_bad_input;
#[cfg(feature = "cli")]
mod cli_bundle;
#[cfg(feature = "cli")]
mod cli_demo;
#[cfg(feature = "cli")]
mod cli_diff;
#[cfg(feature = "cli")]
mod cli_doctor;
#[cfg(feature = "cli")]
mod cli_exit_codes;
#[cfg(feature = "cli")]
mod cli_feed;
#[cfg(feature = "cli")]
mod cli_fork;
#[cfg(feature = "cli")]
mod cli_import_export;
#[cfg(feature = "cli")]
mod cli_read;
#[cfg(feature = "cli")]
mod cli_replay;
#[cfg(feature = "cli")]
mod cli_secrets;
#[cfg(feature = "cli")]
mod cli_store;
#[cfg(feature = "cli")]
mod cli_support;
#[cfg(feature = "cli")]
mod cli_travel;
#[cfg(feature = "cli")]
mod clock_jumps;
#[cfg(feature = "cli")]
mod condensing;
mod condensing_decided;
#[cfg(feature = "cli")]
mod copy_killed;
#[cfg(feature = "host")]
mod cutting_proxy;
mod defect_register;
mod delegation;
mod delegation_support;
#[cfg(feature = "cli")]
mod encryption;
mod engine_sessions;
mod feed;
#[cfg(feature = "postgres")]
mod feed_torture;
mod file_blame;
#[cfg(feature = "cli")]
mod fork_kills;
mod forks;
#[cfg(feature = "host")]
mod git_server;
mod golden_vectors;
mod import_round_trip;
mod keyed_actions;
#[cfg(feature = "cli")]
mod kill_anywhere;
#[cfg(feature = "cli")]
mod kill_at_every_write;
mod layers;
#[cfg(feature = "cli")]
mod live_kills;
#[cfg(feature = "cli")]
mod live_runs;
#[cfg(feature = "cli")]
mod live_support;
#[cfg(feature = "host")]
mod mcp_misbehaviour;
#[cfg(feature = "host")]
mod mcp_servers;
#[cfg(feature = "cli")]
mod mcp_sessions;
#[cfg(feature = "host")]
mod mcp_support;
#[cfg(feature = "host")]
mod memory_gathered;
#[cfg(feature = "cli")]
mod memory_told;
#[cfg(feature = "cli")]
mod metrics_and_traces;
#[cfg(feature = "host")]
mod model_server;
#[cfg(feature = "cli")]
mod node_support;
#[cfg(feature = "cli")]
mod organisation;
mod ownership;
#[cfg(feature = "cli")]
mod packing;
#[cfg(feature = "cli")]
mod page_support;
#[cfg(all(feature = "cli", feature = "postgres"))]
mod postgres_citus;
#[cfg(feature = "postgres")]
mod postgres_contract;
#[cfg(feature = "postgres")]
mod postgres_failover;
#[cfg(feature = "postgres")]
mod postgres_load;
#[cfg(feature = "postgres")]
mod postgres_nodes;
#[cfg(feature = "postgres")]
mod postgres_outages;
#[cfg(feature = "postgres")]
mod postgres_pooler;
#[cfg(all(feature = "host", feature = "postgres"))]
mod postgres_reads;
#[cfg(feature = "postgres")]
mod postgres_server;
#[cfg(feature = "postgres")]
mod postgres_server_ends;
mod projection_views;
mod redecided;
#[cfg(feature = "host")]
mod remote_support;
#[cfg(feature = "cli")]
mod replay_recordings;
#[cfg(feature = "cli")]
mod replay_steered;
#[cfg(feature = "cli")]
mod replay_verified;
#[cfg(feature = "cli")]
mod report_pages;
#[cfg(feature = "cli")]
mod repository_cli;
#[cfg(feature = "host")]
mod repository_clone;
#[cfg(feature = "host")]
mod repository_prepare;
#[cfg(feature = "host")]
mod repository_support;
#[cfg(feature = "host")]
mod runtime_containment;
#[cfg(feature = "cli")]
mod runtime_fence;
#[cfg(feature = "host")]
mod runtime_files;
#[cfg(feature = "cli")]
mod runtime_launcher;
#[cfg(feature = "host")]
mod runtime_python;
#[cfg(feature = "host")]
mod runtime_remote;
#[cfg(feature = "cli")]
mod runtime_remote_killed;
#[cfg(feature = "host")]
mod runtime_sandbox;
#[cfg(feature = "host")]
mod runtime_shell;
#[cfg(feature = "cli")]
mod runtime_ssh;
#[cfg(feature = "host")]
mod runtime_support;
#[cfg(feature = "host")]
mod runtime_workspace_mount;
mod scenario_support;
#[cfg(feature = "sqlite")]
mod search;
#[cfg(feature = "cli")]
mod search_cli;
#[cfg(feature = "sqlite")]
mod search_forgotten;
mod search_words;
#[cfg(feature = "host")]
mod secrets_forms;
#[cfg(all(feature = "host", feature = "sqlite"))]
mod secrets_never_in_the_store;
#[cfg(feature = "host")]
mod secrets_support;
#[cfg(feature = "host")]
mod secrets_words_of_the_log;
#[cfg(feature = "cli")]
mod security_consent;
#[cfg(feature = "host")]
mod security_rules;
mod session_properties;
mod session_scenarios;
#[cfg(feature = "cli")]
mod split_brain;
#[cfg(feature = "sqlite")]
mod sqlite_version;
#[cfg(feature = "sqlite")]
mod statements;
#[cfg(feature = "sqlite")]
mod store_cancellation;
#[cfg(feature = "sqlite")]
mod store_care;
#[cfg(feature = "sqlite")]
mod store_contract;
#[cfg(feature = "sqlite")]
mod store_crash_points;
#[cfg(feature = "sqlite")]
mod store_damage;
#[cfg(feature = "sqlite")]
mod store_fixture;
#[cfg(feature = "sqlite")]
mod store_open_errors;
mod stored_forms;
#[cfg(feature = "postgres")]
mod tcp_proxy;
mod time_travel;
mod trajectory_bad_input;
mod trajectory_round_trip;
#[cfg(feature = "cli")]
mod two_nodes;
#[cfg(feature = "cli")]
mod two_processes;
#[cfg(feature = "cli")]
mod workspace_cli;
#[cfg(feature = "host")]
mod workspace_snapshots;
