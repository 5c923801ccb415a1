//! The settings of the private cluster, given on the command line: they hold whatever stands in its files, and a
//! newer homeostat brings its own.

use super::site::{PORT, Site};

/// Name and value of each setting that differs from Postgres' default, or that must not.
pub(super) fn settings(site: &Site) -> Vec<(&'static str, String)> {
    let socket_dir = quoted(&site.socket_dir.to_string_lossy());
    let mut all = fixed().map(|(name, value)| (name, value.to_owned())).to_vec();
    all.push(("unix_socket_directories", socket_dir));
    all.push(("port", PORT.to_string()));
    all.push(("cluster_name", site.tag.clone()));
    all
}

fn fixed() -> [(&'static str, &'static str); 26] {
    [
        // Reached through the socket alone.
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        // Five services share a pool of at most 32; as many again for psql, tests and a restart that overlaps.
        ("max_connections", "64"),
        // What was acknowledged stays, whatever loses power.
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        // Half of what a 128 MB machine could give; the ledger's working set is a few megabytes.
        ("shared_buffers", "64MB"),
        // 64 connections, each with two sorts at once: at most 512 MB, in practice a few.
        ("work_mem", "4MB"),
        ("maintenance_work_mem", "64MB"),
        // Many small commits: 2,000 a second of about 1 KB are 2 MB/s. 16 MB buffer 8 s of them, and 1 GB is a
        // checkpoint at most every 8 minutes, so that full pages are rarely written twice. Replay takes seconds.
        ("wal_buffers", "16MB"),
        ("max_wal_size", "1GB"),
        ("min_wal_size", "128MB"),
        ("checkpoint_timeout", "15min"),
        ("checkpoint_completion_target", "0.9"),
        // Queries are short: neither compiling nor parallel workers (and their shared memory) pay.
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
        // Logs of one week: a file per weekday, begun anew when the day comes round.
        ("logging_collector", "on"),
        ("log_directory", "log"),
        ("log_filename", "postgres-%a.log"),
        ("log_rotation_age", "1d"),
        ("log_rotation_size", "0"),
        ("log_truncate_on_rotation", "on"),
        ("log_line_prefix", "%m [%p] %a "),
        ("log_min_duration_statement", "1s"),
        ("log_timezone", "UTC"),
        ("timezone", "UTC"),
    ]
}

/// The setting is a list: quotes keep a comma in a path from ending it.
fn quoted(directory: &str) -> String {
    format!("\"{}\"", directory.replace('"', "\"\""))
}
