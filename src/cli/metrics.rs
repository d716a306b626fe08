//! What this process measures, for Prometheus: one small page over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::exit::CliError;
use crate::engine::measure;

/// The form of the page.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Where times are parted, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0];
/// How often what was measured is put in order, whether anybody looks or not.
const UPKEEP: Duration = Duration::from_secs(5);

/// A page that is served for as long as this is kept.
pub struct Page {
    /// Where it is.
    pub url: String,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Page {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Reads `PORT`, which means this machine alone, or `HOST:PORT`.
///
/// # Errors
/// In words, when it is neither.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => text.parse().map_err(|_| "say PORT, or IP:PORT to be seen from elsewhere too".to_owned()),
    }
}

/// Measures from now on, and serves what was measured.
///
/// # Errors
/// When nothing can be served there.
pub async fn serve(address: SocketAddr) -> Result<Page, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(format!("metrics cannot be served at {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(|error| failed(&error))?;
    let at = listener.local_addr().map_err(|error| failed(&error))?;
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS);
    let handle = builder.and_then(PrometheusBuilder::install_recorder).map_err(|error| failed(&error))?;
    measure::begin();
    metrics::gauge!("rekindle_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let page = handle.clone();
    let router = Router::new().route("/metrics", get(move || std::future::ready(([(CONTENT_TYPE, TEXT)], page.render()))));
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(error = &error as &dyn std::error::Error, "metrics are not served any more");
        }
    });
    Ok(Page { url: format!("http://{at}/metrics"), tasks: [serving, tokio::spawn(upkeep(handle))] })
}

async fn upkeep(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

/// What is measured, for the help.
pub fn table() -> String {
    let lines = measure::ALL.iter().map(|measure| format!("  {}\n      {}\n", measure.name, measure.help));
    format!("Metrics:\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_seen_from_this_machine_only() {
        assert!(address("9464").unwrap().ip().is_loopback());
        assert_eq!(address("0.0.0.0:9464").unwrap().to_string(), "0.0.0.0:9464");
        assert!(address("here").unwrap_err().contains("IP:PORT"));
    }

    #[test]
    fn a_name_ends_in_its_unit() {
        for measure in measure::ALL {
            let ends = ["_total", "_seconds", "_live"].iter().any(|end| measure.name.ends_with(end));
            assert!(ends && measure.name.starts_with("rekindle_"), "{}", measure.name);
        }
    }
}
