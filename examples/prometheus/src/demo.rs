//! The check that a story was counted.

use std::error::Error;

use metrics_exporter_prometheus::PrometheusHandle;

use super::{listener, story};

pub(crate) async fn run(recorder: &PrometheusHandle) -> Result<(), Box<dyn Error>> {
    story::act().await?;
    let text = recorder.render();
    print!("{text}");
    for line in [
        format!("{}{{code=\"token_missing\"}} 1", listener::REFUSALS),
        format!("{}{{code=\"xsrf_missing\"}} 1", listener::REFUSALS),
        format!("{}{{code=\"session_revoked\"}} 1", listener::REFUSALS),
        format!("{} 1", listener::SIGN_INS),
        format!("{} 2", listener::ROTATIONS),
        format!("{} 1", listener::LOST_ANSWERS),
        format!("{}{{operation=\"create\"}} 1", listener::STORE_ERRORS),
        format!("{} 1", listener::REUSE),
        format!("{}_count{{operation=\"create\"}} 2", listener::STORE_SECONDS),
    ] {
        if !text.lines().any(|found| found == line) {
            return Err(format!("not counted: {line}").into());
        }
    }
    Ok(())
}
