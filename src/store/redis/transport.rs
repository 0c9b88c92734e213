//! TCP and TLS, as every connection has them.

use std::time::Duration;

use redis::io::tcp::TcpSettings;

pub(super) fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    // If a machine or a network disappears, nothing else closes the connection for minutes.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(RESPONSE_TIMEOUT);
    settings
}

/// Trusts only what this authority has signed.
#[cfg(feature = "tls")]
pub(super) const fn authority(root: Vec<u8>) -> redis::TlsCertificates {
    redis::TlsCertificates { client_tls: None, root_cert: Some(root) }
}

/// Shorter than the 5 seconds of a call, so that a timeout is attributed to the connection.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);
